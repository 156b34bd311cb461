/* sweep.json: what was asked, what it ran on, how it stands. And the progress that the caller and the metrics file are shown. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cpu/cpu.h"
#include "sweep/sweep_impl.h"

static const char *keep_name(lct_keep k) { return k == LCT_KEEP_SCORES ? "scores" : k == LCT_KEEP_POOLED ? "pooled" : "tokens"; }

static const char *stored_name(lct_stored t) {
  return t == LCT_STORED_F16 ? "f16" : t == LCT_STORED_BF16 ? "bf16" : t == LCT_STORED_F32 ? "f32" : "int8";
}

static json_t *position_names(const sweep *s) {
  json_t *a = json_array();
  for (int i = 0; i < s->n_positions; i++) json_array_append_new(a, json_string(s->positions[i].name));
  return a;
}

static json_t *source_names(const sweep *s) {
  json_t *a = json_array();
  for (int i = 0; i < s->n_sources; i++) json_array_append_new(a, json_string(lct_source_name(s->sources[i].source)));
  return a;
}

json_t *sweep_layers_json(const sweep *s) {
  json_t *a = json_array();
  for (int i = 0; i < s->n_layers; i++) json_array_append_new(a, json_integer(s->layers[i]));
  return a;
}

static json_t *metric_names(const sweep *s) {
  json_t *a = json_array();
  for (int i = 0; i < s->n_metrics; i++) json_array_append_new(a, json_string(lct_any_metric_name(s->metrics[i])));
  return a;
}

json_t *sweep_config_json(const sweep *s) {
  return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:s, s:I, s:I, s:s, s:i}", "model", s->model->hash, "template",
                   s->template.hash, "precision", lct_precision_name(s->device.precision), "device", s->device.gpu ? "cuda" : "cpu", "keep",
                   keep_name(s->o->keep), "store-dtype", stored_name(s->o->store_dtype), "derive residual", s->o->derive_residual, "positions",
                   position_names(s), "sources", source_names(s), "layers", sweep_layers_json(s), "metrics", metric_names(s), "fingerprints",
                   s->fingerprints_hash, "shard-rows", (json_int_t)s->shard_rows, "token shard", (json_int_t)s->token_shard, "long",
                   s->o->too_long == LCT_LONG_SKIP ? "skip" : "truncate", "max-tokens", s->max_tokens);
}

static json_t *model_json(const sweep *s) {
  const lct_config *c = &s->cfg;
  return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:I, s:s}", "path", s->model_path, "id", s->o->model.id, "arch",
                   lct_arch_name(c->arch), "format", s->model->format, "n_layers", c->n_layers, "hidden", c->hidden, "n_heads", c->n_heads,
                   "n_kv_heads", c->n_kv_heads, "vocab", c->vocab, "n_params", (json_int_t)lct_model_n_params(s->model), "hash",
                   s->model->hash);
}

static json_t *fingerprints_json(const sweep *s) {
  if (s->fingerprints == NULL) return json_null();
  json_t *labels = json_array();
  for (int i = 0; i < s->fingerprints->n_labels; i++) json_array_append_new(labels, json_string(s->fingerprints->labels[i]));
  return json_pack("{s:s, s:s, s:o}", "path", s->o->fingerprints, "hash", s->fingerprints_hash, "labels", labels);
}

/* Of what this run stored: relative L2 error and largest absolute error of the stored type. */
static json_t *loss_json(const sweep *s) {
  json_t *all = json_object();
  for (int i = 0; i < s->n_streams; i++) {
    if (!s->streams[i].stored || s->value2 == NULL || s->value2[i] <= 0) continue;
    json_object_set_new(all, s->streams[i].name, json_pack("{s:f, s:f}", "relative_l2", sqrt(s->error2[i] / s->value2[i]), "max_abs",
                                                           s->error_max[i]));
  }
  return all;
}

static json_t *machine_json(const sweep *s) {
  char cpu[256];
  lct_device_cpu_name(cpu, sizeof cpu);
  return json_pack("{s:s, s:i, s:s, s:s}", "cpu", cpu, "threads", s->o->model.threads, "device", s->device.label, "device_name", s->device.name);
}

static json_t *inputs_json(const sweep *s) {
  json_t *a = json_array();
  for (size_t i = 0; i < s->o->n_inputs; i++) json_array_append_new(a, json_string(s->o->inputs[i]));
  return a;
}

/* The arrays with the rows that stand in them now. */
static json_t *arrays_json(const sweep *s) {
  json_t *all = json_deep_copy(s->arrays), *a;
  size_t i;
  json_array_foreach(all, i, a) {
    const char *name = json_string_value(json_object_get(a, "name"));
    int64_t rows = strncmp(name, "tokens/", 7) == 0 ? s->tokens : strncmp(name, "moments/", 8) == 0 ? s->n_positions : s->rows;
    json_array_set_new(json_object_get(a, "shape"), 0, json_integer((json_int_t)rows));
  }
  return all;
}

lct_status sweep_write_state(sweep *s, const char *state, const char *error, lct_error *err) {
  const lct_sweep_result *r = s->result;
  json_t *root = json_pack("{s:s, s:i, s:s, s:s, s:o, s:{s:s, s:s}, s:s, s:s, s:o, s:s, s:s, s:s?, s:o, s:o, s:o, s:o, s:o}", "format", "llmct-sweep",
                           "version", 1, "state", state, "llmct_version", lct_version(), "model", model_json(s), "template", "name",
                           lct_template_name(s->template.kind), "hash", s->template.hash, "precision",
                           lct_precision_name(s->device.precision), "device", s->device.label, "inputs", inputs_json(s), "keep",
                           keep_name(s->o->keep), "store_dtype", stored_name(s->o->store_dtype), "derive",
                           s->o->derive_residual ? "residual" : NULL, "positions", position_names(s), "sources", source_names(s), "layers",
                           sweep_layers_json(s), "metrics", metric_names(s), "fingerprints", fingerprints_json(s));
  json_t *rest = json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:{s:I, s:I, s:I}, s:{s:f, s:f, s:f, s:f, s:f, s:f}, s:I, s:I, s:o, s:I, s:I, s:o}", "rows",
                           (json_int_t)s->rows, "tokens_stored", (json_int_t)s->tokens, "conversations", (json_int_t)r->conversations,
                           "rejected", (json_int_t)r->rejected, "truncated", (json_int_t)r->truncated, "arrays", arrays_json(s), "tokens",
                           "computed", (json_int_t)r->tokens_computed, "naive", (json_int_t)r->tokens_naive, "from_prefix",
                           (json_int_t)r->tokens_from_prefix, "seconds", "load", r->seconds.load, "forward", r->seconds.forward, "gemm",
                           r->seconds.gemm, "sink", r->seconds.sink, "finish", r->seconds.finish, "total", lct_seconds() - s->t_start, "raw_bytes",
                           (json_int_t)r->raw_bytes, "stored_bytes", (json_int_t)r->stored_bytes, "store_error", loss_json(s), "saturated",
                           (json_int_t)r->saturated, "utf8_replaced", (json_int_t)r->utf8_replaced, "machine", machine_json(s));
  if (root != NULL && rest != NULL) json_object_update(root, rest);
  json_decref(rest);
  if (root != NULL && error != NULL) json_object_set_new(root, "error", json_string(error));
  char *text = root != NULL ? json_dumps(root, JSON_INDENT(1) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9)) : NULL;
  json_decref(root);
  char path[4200];
  (void)snprintf(path, sizeof path, "%s/sweep.json", s->o->output);
  if (text == NULL) return lct_fail(err, LCT_E_NOMEM, "could not make the JSON of %s", path);
  lct_status st = lct_file_write_atomic(path, text, strlen(text), err);
  free(text);
  return st;
}

bool sweep_read_done(const char *output, lct_sweep_result *r) {
  char path[4200];
  (void)snprintf(path, sizeof path, "%s/sweep.json", output);
  json_t *root = json_load_file(path, 0, NULL);
  const char *state = json_string_value(json_object_get(root, "state")), *device = json_string_value(json_object_get(root, "device"));
  const char *name = json_string_value(json_object_get(json_object_get(root, "machine"), "device_name"));
  const json_t *tokens = json_object_get(root, "tokens");
  const struct {
    const json_t *in;
    const char *key;
    int64_t *to;
  } counts[] = {{root, "rows", &r->rows},           {root, "conversations", &r->conversations}, {root, "rejected", &r->rejected},
                {root, "truncated", &r->truncated}, {root, "tokens_stored", &r->tokens_stored}, {tokens, "computed", &r->tokens_computed},
                {tokens, "naive", &r->tokens_naive}, {root, "raw_bytes", &r->raw_bytes},        {root, "stored_bytes", &r->stored_bytes}};
  bool done = state != NULL && strcmp(state, "done") == 0;
  for (size_t i = 0; done && i < sizeof counts / sizeof *counts; i++) *counts[i].to = json_integer_value(json_object_get(counts[i].in, counts[i].key));
  if (done) {
    (void)snprintf(r->device.label, sizeof r->device.label, "%s", device != NULL ? device : "");
    (void)snprintf(r->device.name, sizeof r->device.name, "%s", name != NULL ? name : "");
    r->rows_resumed = r->rows;
    r->complete = r->was_complete = true;
  }
  json_decref(root);
  return done;
}
