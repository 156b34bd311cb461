#include "report/load_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

static lct_status copy_text(lct_run *r, const char *text, const char **out, lct_error *err) {
  *out = lct_arena_strndup(&r->arena, text, strlen(text));
  return *out != NULL ? LCT_OK : lct_fail(err, LCT_E_NOMEM, "out of memory for the report");
}

static lct_status take(lct_run *r, void *out_ptr, size_t n, size_t size, lct_error *err) {
  size_t bytes = 0;
  void *p = lct_mul_ok(n ? n : 1, size, &bytes) ? lct_arena_alloc(&r->arena, bytes) : NULL;
  if (p == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the report: %zu x %zu bytes", n, size);
  memcpy(out_ptr, &p, sizeof p);
  return LCT_OK;
}

/* A descriptive field: absent is fine, another type is not. */
static lct_status opt_string(lct_run *r, const lct_json *at, const char *key, const char **out, lct_error *err) {
  lct_json v;
  const char *text = NULL;
  *out = NULL;
  if (!lct_json_find(at, key, &v)) return LCT_OK;
  LCT_TRY(lct_json_string(&v, &text, err));
  return copy_text(r, text, out, err);
}

static lct_status opt_int(const lct_json *at, const char *key, int64_t *out, lct_error *err) {
  lct_json v;
  *out = -1;
  return lct_json_find(at, key, &v) ? lct_json_int(&v, 0, INT64_MAX, out, err) : LCT_OK;
}

static lct_status opt_number(const lct_json *at, const char *key, double *out, lct_error *err) {
  lct_json v;
  *out = NAN;
  return lct_json_find(at, key, &v) ? lct_json_number(&v, out, err) : LCT_OK;
}

/* A sub-object; an empty one stands in when it is absent. */
static lct_status sub_object(const lct_json *at, const char *key, const json_t *empty, lct_json *out, lct_error *err) {
  if (!lct_json_find(at, key, out)) *out = lct_json_root(at->file, empty);
  return lct_json_object(out, err);
}

static lct_status read_model(lct_run *r, const lct_json *m, lct_error *err) {
  LCT_TRY(opt_string(r, m, "path", &r->model.path, err));
  LCT_TRY(opt_string(r, m, "id", &r->model.id, err));
  LCT_TRY(opt_string(r, m, "arch", &r->model.arch, err));
  LCT_TRY(opt_string(r, m, "format", &r->model.format, err));
  LCT_TRY(opt_string(r, m, "hash", &r->model.hash, err));
  LCT_TRY(opt_int(m, "n_layers", &r->model.n_layers, err));
  LCT_TRY(opt_int(m, "hidden", &r->model.hidden, err));
  LCT_TRY(opt_int(m, "n_heads", &r->model.n_heads, err));
  LCT_TRY(opt_int(m, "n_kv_heads", &r->model.n_kv_heads, err));
  LCT_TRY(opt_int(m, "vocab", &r->model.vocab, err));
  return opt_int(m, "n_params", &r->model.n_params, err);
}

static lct_status read_groups(lct_run *r, const lct_json *root, const json_t *empty, lct_error *err) {
  lct_json at;
  LCT_TRY(sub_object(root, "model", empty, &at, err));
  LCT_TRY(read_model(r, &at, err));
  LCT_TRY(sub_object(root, "template", empty, &at, err));
  LCT_TRY(opt_string(r, &at, "name", &r->chat_template.name, err));
  LCT_TRY(opt_string(r, &at, "hash", &r->chat_template.hash, err));
  LCT_TRY(sub_object(root, "tokens", empty, &at, err));
  LCT_TRY(opt_int(&at, "computed", &r->tokens_computed, err));
  LCT_TRY(opt_int(&at, "prefix_by_prefix", &r->tokens_naive, err));
  LCT_TRY(opt_int(&at, "generated", &r->tokens_generated, err));
  LCT_TRY(sub_object(root, "seconds", empty, &at, err));
  LCT_TRY(opt_number(&at, "load", &r->seconds.load, err));
  LCT_TRY(opt_number(&at, "prefill", &r->seconds.prefill, err));
  LCT_TRY(opt_number(&at, "decode", &r->seconds.decode, err));
  LCT_TRY(opt_number(&at, "write", &r->seconds.write, err));
  LCT_TRY(opt_number(&at, "total", &r->seconds.total, err));
  LCT_TRY(sub_object(root, "machine", empty, &at, err));
  LCT_TRY(opt_string(r, &at, "cpu", &r->cpu, err));
  LCT_TRY(opt_string(r, &at, "device", &r->device, err));
  LCT_TRY(opt_string(r, &at, "device_name", &r->device_name, err));
  return opt_int(&at, "threads", &r->threads, err);
}

static lct_status read_prompt_names(lct_run *r, const lct_json *root, lct_error *err) {
  lct_json at;
  LCT_TRY(lct_json_get(root, "prompts", &at, err));
  char **names = NULL;
  LCT_TRY(lct_json_labels(&at, &r->arena, &names, &r->n_prompts, err));
  LCT_TRY(take(r, &r->prompts, r->n_prompts, sizeof *r->prompts, err));
  for (size_t i = 0; i < r->n_prompts; i++) {
    /* a folder of this run and nothing else */
    if (names[i][0] == '\0' || names[i][0] == '.' || strchr(names[i], '/') != NULL) {
      return lct_fail(err, LCT_E_FORMAT, "%s: prompts[%zu]: \"%.80s\" is not the name of a folder", root->file, i, names[i]);
    }
    r->prompts[i].name = names[i];
  }
  return LCT_OK;
}

static lct_status read_scan(lct_run *r, const lct_json *root, const json_t *empty, lct_error *err) {
  const char *text = NULL;
  int64_t version = 0;
  LCT_TRY(lct_json_get_string(root, "format", &text, err));
  if (strcmp(text, "llmct-scan") != 0) {
    return lct_fail(err, LCT_E_FORMAT, "%s: format: expected \"llmct-scan\", found \"%.60s\"", root->file, text);
  }
  LCT_TRY(lct_json_get_int(root, "version", INT64_MIN, INT64_MAX, &version, err));
  if (version != 1) return lct_fail(err, LCT_E_FORMAT, "%s: version: expected 1, found %lld", root->file, (long long)version);
  LCT_TRY(lct_json_get_string(root, "state", &text, err));
  if (strcmp(text, "done") != 0 && strcmp(text, "partial") != 0 && strcmp(text, "failed") != 0 && strcmp(text, "running") != 0) {
    return lct_fail(err, LCT_E_FORMAT, "%s: state: expected done, partial, failed or running, found \"%.60s\"", root->file, text);
  }
  LCT_TRY(copy_text(r, text, &r->state, err));
  LCT_TRY(lct_json_get_string(root, "name", &text, err));
  LCT_TRY(copy_text(r, text, &r->name, err));
  LCT_TRY(opt_string(r, root, "created_at", &r->created_at, err));
  LCT_TRY(opt_string(r, root, "llmct_version", &r->version, err));
  LCT_TRY(opt_string(r, root, "precision", &r->precision, err));
  LCT_TRY(opt_string(r, root, "scenario_sha256", &r->scenario_sha256, err));
  LCT_TRY(opt_string(r, root, "error", &r->error, err));
  LCT_TRY(opt_int(root, "saturated", &r->saturated, err));
  LCT_TRY(opt_int(root, "utf8_replaced", &r->utf8_replaced, err));
  LCT_TRY(read_groups(r, root, empty, err));
  return read_prompt_names(r, root, err);
}

static lct_status read_candidates(lct_run *r, const lct_json *step, lct_step *out, lct_error *err) {
  lct_json at;
  if (!lct_json_find(step, "top_k", &at)) return LCT_OK;
  LCT_TRY(lct_json_array(&at, &out->n_top, err));
  LCT_TRY(take(r, &out->top, out->n_top, sizeof *out->top, err));
  for (size_t i = 0; i < out->n_top; i++) {
    lct_json item = lct_json_item(&at, i);
    const char *token = NULL;
    double logprob = NAN;
    LCT_TRY(lct_json_get_string(&item, "token", &token, err));
    LCT_TRY(lct_json_get_number(&item, "logprob", &logprob, err));
    LCT_TRY(copy_text(r, token, &out->top[i].token, err));
    out->top[i].prob = exp(logprob);
  }
  return LCT_OK;
}

static lct_status read_step(lct_run *r, const lct_json *item, const json_t *empty, lct_step *out, lct_error *err) {
  int64_t step = 0;
  LCT_TRY(lct_json_get_int(item, "step", 0, INT32_MAX, &step, err));
  out->step = (int)step;
  LCT_TRY(opt_string(r, item, "generated_token", &out->token, err));
  if (out->token == NULL) out->token = "";
  lct_json stats;
  LCT_TRY(sub_object(item, "logit_stats", empty, &stats, err));
  LCT_TRY(opt_number(&stats, "entropy", &out->entropy, err));
  LCT_TRY(opt_number(&stats, "effective_vocab", &out->effective_vocab, err));
  LCT_TRY(opt_number(&stats, "top1_prob", &out->top1_prob, err));
  return read_candidates(r, item, out, err);
}

static lct_status read_steps(lct_run *r, lct_run_prompt *p, const char *path, const json_t *empty, lct_error *err) {
  json_t *doc = NULL;
  LCT_TRY(lct_json_load(path, &doc, err));
  lct_json root = lct_json_root(path, doc), at;
  lct_status st = lct_json_get(&root, "steps", &at, err);
  size_t n = 0;
  if (st == LCT_OK) st = lct_json_array(&at, &n, err);
  if (st == LCT_OK) st = take(r, &p->steps, n, sizeof *p->steps, err);
  for (size_t i = 0; i < n && st == LCT_OK; i++) {
    lct_json item = lct_json_item(&at, i);
    st = read_step(r, &item, empty, &p->steps[i], err);
    if (st == LCT_OK) p->n_steps++;
  }
  json_decref(doc);
  return st;
}

static lct_status analyse_prompt(lct_run *r, lct_run_prompt *p, lct_error *err) {
  LCT_TRY(take(r, &p->by_pooling, p->scores->n_poolings, sizeof(lct_analysis *), err));
  for (size_t i = 0; i < p->scores->n_poolings; i++) {
    LCT_TRY(lct_analysis_run(p->scores, p->scores->poolings[i], &p->by_pooling[i], err));
  }
  int last = lct_label_find(p->scores->poolings, p->scores->n_poolings, "last");
  if (p->scores->n_poolings > 0) p->main = p->by_pooling[last >= 0 ? last : 0];
  return LCT_OK;
}

static lct_status read_prompt(lct_run *r, lct_run_prompt *p, const json_t *empty, lct_error *err) {
  lct_buf path = {0};
  lct_status st = lct_buf_printf(&path, err, "%s/%s/scores.json", r->dir, p->name);
  if (st == LCT_OK && (lct_path_exists(path.data) || strcmp(r->state, "done") == 0)) {
    st = lct_scores_load(path.data, &p->scores, err);
    if (st == LCT_OK) st = analyse_prompt(r, p, err);
  }
  path.len = 0;
  if (st == LCT_OK) st = lct_buf_printf(&path, err, "%s/%s/steps.json", r->dir, p->name);
  if (st == LCT_OK && lct_path_exists(path.data)) st = read_steps(r, p, path.data, empty, err);
  lct_buf_free(&path);
  return st;
}

static lct_status load_all(lct_run *r, const char *scan_path, const json_t *empty, lct_error *err) {
  json_t *doc = NULL;
  LCT_TRY(lct_json_load(scan_path, &doc, err));
  lct_json root = lct_json_root(scan_path, doc);
  lct_status st = read_scan(r, &root, empty, err);
  json_decref(doc);
  for (size_t i = 0; i < r->n_prompts && st == LCT_OK; i++) st = read_prompt(r, &r->prompts[i], empty, err);
  return st;
}

lct_status lct_run_load(const char *dir, lct_run **out, lct_error *err) {
  *out = NULL;
  lct_run *r = NULL;
  LCT_TRY(lct_calloc(&r, 1, sizeof *r, "the run", err));
  lct_buf path = {0};
  json_t *empty = json_object();
  lct_status st = empty != NULL ? copy_text(r, dir, &r->dir, err) : lct_fail(err, LCT_E_NOMEM, "out of memory for the report");
  if (st == LCT_OK) st = lct_path_join(&path, dir, "scan.json", err);
  if (st == LCT_OK) st = load_all(r, path.data, empty, err);
  json_decref(empty);
  lct_buf_free(&path);
  if (st != LCT_OK) {
    lct_run_free(r);
    return st;
  }
  *out = r;
  return LCT_OK;
}

void lct_run_free(lct_run *r) {
  if (r == NULL) return;
  for (size_t i = 0; i < r->n_prompts && r->prompts != NULL; i++) {
    lct_run_prompt *p = &r->prompts[i];
    for (size_t k = 0; p->scores != NULL && p->by_pooling != NULL && k < p->scores->n_poolings; k++) {
      lct_analysis_free(p->by_pooling[k]);
    }
    lct_scores_free(p->scores);
  }
  lct_arena_free(&r->arena);
  free(r);
}
