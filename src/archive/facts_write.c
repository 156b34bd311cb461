/* sweep.json, written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "archive/facts.h"

const char *lct_keep_name(lct_keep k) { return k == LCT_KEEP_SCORES ? "scores" : k == LCT_KEEP_POOLED ? "pooled" : "tokens"; }

const char *lct_stored_name(lct_stored t) {
  return t == LCT_STORED_F16 ? "f16" : t == LCT_STORED_BF16 ? "bf16" : t == LCT_STORED_F32 ? "f32" : "int8";
}

static json_t *names_json(const lct_names *names) {
  json_t *a = json_array();
  for (int i = 0; i < names->n; i++) json_array_append_new(a, json_string(names->names[i]));
  return a;
}

static json_t *layers_json(const lct_sweep_asked *q) {
  json_t *a = json_array();
  for (int i = 0; i < q->n_layers; i++) json_array_append_new(a, json_integer(q->layers[i]));
  return a;
}

static json_t *sizes_json(const int64_t *v, int n) {
  json_t *a = json_array();
  for (int i = 0; i < n; i++) json_array_append_new(a, json_integer((json_int_t)v[i]));
  return a;
}

json_t *lct_sweep_config_json(const lct_sweep_asked *q) {
  return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:s, s:I, s:I, s:s, s:i}", "model", q->model_hash, "template",
                   q->template_hash, "precision", q->precision, "device", q->gpu ? "cuda" : "cpu", "keep", lct_keep_name(q->keep),
                   "store-dtype", lct_stored_name(q->store_dtype), "derive residual", q->derive_residual, "positions",
                   names_json(&q->positions), "sources", names_json(&q->sources), "layers", layers_json(q), "metrics",
                   names_json(&q->metrics), "fingerprints", q->fingerprints_hash, "shard-rows", (json_int_t)q->shard_rows, "token shard",
                   (json_int_t)q->token_shard, "long", q->too_long == LCT_LONG_SKIP ? "skip" : "truncate", "max-tokens", q->max_tokens);
}

json_t *lct_sweep_array_json(const char *name, const lct_zarr_meta *m, json_t *attributes) {
  json_t *dims = json_array();
  for (int i = 0; i < m->n_dims; i++) json_array_append_new(dims, json_string(m->dim_names[i]));
  return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:O}", "name", name, "dtype", lct_zarr_dtype_name(m->dtype), "codec",
                   m->codec == LCT_ZARR_BLOSC ? "blosc" : "zstd", "shape", sizes_json(m->shape, m->n_dims), "shard",
                   sizes_json(m->shard, m->n_dims), "chunk", sizes_json(m->chunk, m->n_dims), "dims", dims, "attributes", attributes);
}

static json_t *fingerprints_json(const lct_sweep_asked *q) {
  if (q->fingerprints == NULL) return json_null();
  return json_pack("{s:s, s:s, s:o}", "path", q->fingerprints, "hash", q->fingerprints_hash, "labels", names_json(&q->labels));
}

static json_t *errors_json(const lct_sweep_facts *f) {
  json_t *all = json_object();
  for (int i = 0; i < f->n_errors; i++) {
    const lct_store_error *e = &f->errors[i];
    json_object_set_new(all, e->stream, json_pack("{s:f, s:f}", "relative_l2", e->relative_l2, "max_abs", e->max_abs));
  }
  return all;
}

/* The arrays with the rows that stand in them now. */
static json_t *arrays_json(const lct_sweep_facts *f) {
  json_t *all = json_deep_copy(f->arrays), *a;
  size_t i;
  json_array_foreach(all, i, a) {
    const char *name = json_string_value(json_object_get(a, "name"));
    int64_t rows = strncmp(name, "tokens/", 7) == 0    ? f->result->tokens_stored
                   : strncmp(name, "moments/", 8) == 0 ? f->asked->positions.n
                                                       : f->result->rows;
    json_array_set_new(json_object_get(a, "shape"), 0, json_integer((json_int_t)rows));
  }
  return all;
}

static json_t *asked_json(const lct_sweep_facts *f) {
  const lct_sweep_asked *q = f->asked;
  return json_pack("{s:s, s:i, s:s, s:s, s:O, s:{s:s, s:s}, s:s, s:s, s:o, s:s, s:s, s:s?, s:o, s:o, s:o, s:o, s:o}", "format",
                   "llmct-sweep", "version", 1, "state", f->state, "llmct_version", f->llmct_version, "model", f->model, "template", "name",
                   q->template_name, "hash", q->template_hash, "precision", q->precision, "device", f->result->device.label, "inputs",
                   names_json(&q->inputs), "keep", lct_keep_name(q->keep), "store_dtype", lct_stored_name(q->store_dtype), "derive",
                   q->derive_residual ? "residual" : NULL, "positions", names_json(&q->positions), "sources", names_json(&q->sources),
                   "layers", layers_json(q), "metrics", names_json(&q->metrics), "fingerprints", fingerprints_json(q));
}

static json_t *stands_json(const lct_sweep_facts *f) {
  const lct_sweep_result *r = f->result;
  return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:{s:I, s:I, s:I}, s:{s:f, s:f, s:f, s:f, s:f, s:f}, s:I, s:I, s:o, s:I, s:I, s:O}",
                   "rows", (json_int_t)r->rows, "tokens_stored", (json_int_t)r->tokens_stored, "conversations",
                   (json_int_t)r->conversations, "rejected", (json_int_t)r->rejected, "truncated", (json_int_t)r->truncated, "arrays",
                   arrays_json(f), "tokens", "computed", (json_int_t)r->tokens_computed, "naive", (json_int_t)r->tokens_naive,
                   "from_prefix", (json_int_t)r->tokens_from_prefix, "seconds", "load", r->seconds.load, "forward", r->seconds.forward,
                   "gemm", r->seconds.gemm, "sink", r->seconds.sink, "finish", r->seconds.finish, "total", r->seconds.total, "raw_bytes",
                   (json_int_t)r->raw_bytes, "stored_bytes", (json_int_t)r->stored_bytes, "store_error", errors_json(f), "saturated",
                   (json_int_t)r->saturated, "utf8_replaced", (json_int_t)r->utf8_replaced, "machine", f->machine);
}

lct_status lct_sweep_facts_write(const char *dir, const lct_sweep_facts *f, lct_error *err) {
  json_t *root = asked_json(f), *rest = stands_json(f);
  if (root != NULL && rest != NULL) json_object_update(root, rest);
  json_decref(rest);
  if (root != NULL && f->result->batch_rows_shrunk_to > 0) {
    json_object_set_new(root, "out_of_memory",
                        json_pack("{s:i, s:i}", "batch_rows_failed", f->result->batch_rows_failed, "batch_rows_shrunk_to",
                                  f->result->batch_rows_shrunk_to));
  }
  if (root != NULL && f->error != NULL) json_object_set_new(root, "error", json_string(f->error));
  char *text = root != NULL ? json_dumps(root, JSON_INDENT(1) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9)) : NULL;
  json_decref(root);
  char path[4200];
  (void)snprintf(path, sizeof path, "%s/sweep.json", dir);
  if (text == NULL) return lct_fail(err, LCT_E_NOMEM, "could not make the JSON of %s", path);
  lct_status st = lct_file_write_atomic(path, text, strlen(text), err);
  free(text);
  return st;
}
