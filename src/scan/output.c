/* The run directory: folders, scan.json, and Activation Lab's manifests. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "archive/facts.h"
#include "base/file.h"
#include "scan/output_impl.h"

/* A new folder: made here and by nobody else, also when two scans start within a second. */
static lct_status make_run_dir(scan *s, lct_error *err) {
  const char *parent = s->o->output != NULL ? s->o->output : s->scenario->output.dir;
  char stamp[32];
  (void)snprintf(stamp, sizeof stamp, "%s", s->created_at);
  LCT_TRY(lct_mkdirs(parent, err));
  for (char *c = stamp; *c != '\0'; c++) {
    if (*c == ':') *c = '-';
  }
  for (int i = 1; i < 1000; i++) {
    char suffix[16] = "";
    if (i > 1) (void)snprintf(suffix, sizeof suffix, "_%d", i);
    int n = snprintf(s->run_dir, sizeof s->run_dir, "%s/%s_%s%s", parent, s->scenario->name, stamp, suffix);
    if (n < 0 || (size_t)n >= sizeof s->run_dir - 256) {
      return lct_fail(err, LCT_E_LIMIT, "the output directory's path is too long: %s", parent);
    }
    if (mkdir(s->run_dir, 0755) == 0) {
      (void)snprintf(s->result->run_dir, sizeof s->result->run_dir, "%s", s->run_dir);
      return LCT_OK;
    }
    if (errno != EEXIST) return lct_fail_errno(err, errno, "cannot create directory %s", s->run_dir);
  }
  return lct_fail(err, LCT_E_LIMIT, "a thousand runs of this second are in %s", parent);
}

static lct_status set_paths(scan *s, lct_error *err) {
  if (s->o->keep == LCT_KEEP_SCORES) return LCT_OK;
  for (int32_t i = 0; i < s->n_references; i++) {
    s->items[i].path = scan_printf(s, err, "%s/references/ref_%s.npz", s->run_dir, s->scenario->references[i].label);
    if (s->items[i].path == NULL) return LCT_E_NOMEM;
  }
  for (size_t p = 0; p < s->n_prompts; p++) {
    const scan_prompt *pr = &s->prompts[p];
    for (size_t k = 0; k <= pr->n_messages; k++) {
      const char *role = k < pr->n_messages ? pr->messages[k].role : "assistant";
      scan_item *item = &s->items[pr->first_item + (int32_t)k];
      item->path = scan_printf(s, err, "%s/%s/conversation_snapshots/snapshot_%02zu_%s.npz", s->run_dir, pr->label, k, role);
      if (item->path == NULL) return LCT_E_NOMEM;
    }
  }
  return LCT_OK;
}

lct_status scan_make_dirs(scan *s, lct_error *err) {
  LCT_TRY(make_run_dir(s, err));
  const char *none[] = {NULL}, *pooled[] = {"conversation_snapshots", NULL};
  const char *tokens[] = {"conversation_snapshots", "tensors", NULL};
  const char **sub = s->o->keep == LCT_KEEP_TOKENS ? tokens : s->o->keep == LCT_KEEP_POOLED ? pooled : none;
  if (s->o->keep != LCT_KEEP_SCORES && s->n_references > 0) {
    char *dir = scan_printf(s, err, "%s/references", s->run_dir);
    if (dir == NULL) return LCT_E_NOMEM;
    LCT_TRY(lct_mkdirs(dir, err));
  }
  for (size_t p = 0; p < s->n_prompts; p++) {
    char *dir = scan_printf(s, err, "%s/%s", s->run_dir, s->prompts[p].label);
    if (dir == NULL) return LCT_E_NOMEM;
    LCT_TRY(lct_mkdirs(dir, err));
    for (int i = 0; sub[i] != NULL; i++) {
      char *path = scan_printf(s, err, "%s/%s", dir, sub[i]);
      if (path == NULL) return LCT_E_NOMEM;
      LCT_TRY(lct_mkdirs(path, err));
    }
  }
  return set_paths(s, err);
}

lct_status scan_write_json(json_t *root, const char *path, lct_error *err) {
  char *text = root == NULL ? NULL : json_dumps(root, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9));
  json_decref(root);
  if (text == NULL) return lct_fail(err, LCT_E_NOMEM, "could not make the JSON of %s", path);
  lct_status status = lct_file_write_atomic(path, text, strlen(text), err);
  free(text);
  return status;
}

static json_t *names(const scan *s, bool references) {
  json_t *a = json_array();
  if (references) {
    for (int32_t i = 0; i < s->n_references; i++) json_array_append_new(a, json_string(s->scenario->references[i].label));
  } else {
    for (size_t i = 0; i < s->n_prompts; i++) json_array_append_new(a, json_string(s->prompts[i].label));
  }
  return a;
}

/* What is only said where it happened. */
static void set_notes(const scan *s, json_t *root) {
  const lct_scan_result *r = s->result;
  if (root == NULL) return;
  if (s->prints.f != NULL) {
    json_object_set_new(root, "fingerprints", json_pack("{s:s, s:s}", "path", s->o->fingerprints, "hash", s->prints.hash));
  }
  if (r->weights_overflow + r->weights_underflow + r->weights_nonfinite > 0) {
    json_object_set_new(root, "weights",
                        json_pack("{s:I, s:I, s:I}", "overflow", (json_int_t)r->weights_overflow, "underflow",
                                  (json_int_t)r->weights_underflow, "nonfinite", (json_int_t)r->weights_nonfinite));
  }
  if (r->batch_rows_shrunk_to > 0) {
    json_object_set_new(root, "out_of_memory",
                        json_pack("{s:i, s:i}", "batch_rows_failed", r->batch_rows_failed, "batch_rows_shrunk_to",
                                  r->batch_rows_shrunk_to));
  }
  if (s->failure != NULL) json_object_set_new(root, "error", json_string(s->failure));
}

lct_status scan_write_state(scan *s, const char *state, lct_error *err) {
  const lct_scan_result *r = s->result;
  json_t *root = json_pack(
      "{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:{s:s, s:s}, s:{s:I, s:I, s:I}, s:{s:f, s:f, s:f, s:f, s:f}, s:o, s:o, s:o, "
      "s:I, s:I, s:I}",
      "format", "llmct-scan", "version", 1, "state", state, "name", s->scenario->name, "created_at", s->created_at, "llmct_version",
      lct_version(), "precision", lct_precision_name(s->subject->device.precision), "scenario_sha256", s->scenario->sha256, "keep",
      lct_keep_name(s->o->keep), "model", lct_subject_model_json(s->subject), "template", "name",
      lct_template_name(s->subject->template.kind), "hash", s->subject->template.hash, "tokens", "computed", (json_int_t)r->tokens_computed,
      "prefix_by_prefix", (json_int_t)r->tokens_prefix_by_prefix, "generated", (json_int_t)r->tokens_generated, "seconds", "load",
      r->seconds.load, "prefill", r->seconds.prefill, "decode", r->seconds.decode, "write", r->seconds.write, "total", r->seconds.total,
      "machine", lct_subject_machine_json(s->subject), "references", names(s, true), "prompts", names(s, false), "saturated",
      (json_int_t)r->saturated, "utf8_replaced", (json_int_t)r->utf8_replaced, "tensor_bytes", (json_int_t)r->tensor_bytes);
  set_notes(s, root);
  char *path = scan_printf(s, err, "%s/scan.json", s->run_dir);
  if (path == NULL) {
    json_decref(root);
    return LCT_E_NOMEM;
  }
  return scan_write_json(root, path, err);
}
