#include "scenario/scenario_json.h"

#include <stdio.h>
#include <stdlib.h>

/* Array of role/content objects. */
static json_t *messages_json(const lct_message *messages, size_t n) {
  json_t *out = json_array();
  for (size_t i = 0; out != NULL && i < n; i++) {
    const lct_message *m = &messages[i];
    json_t *o = json_pack("{s:s, s:s%}", "role", m->role, "content", m->content, m->content_len);
    if (json_array_append_new(out, o) != 0) {
      json_decref(out);
      out = NULL;
    }
  }
  return out;
}

static json_t *prompts_json(const lct_scenario *s, size_t first, size_t n) {
  json_t *out = json_array();
  for (size_t i = first; out != NULL && i < first + n; i++) {
    const lct_prompt *p = &s->prompts[i];
    json_t *o = json_pack("{s:o, s:b}", "messages", messages_json(p->messages, p->n_messages), "run_at_each_message",
                          (int)p->run_at_each_message);
    if (json_array_append_new(out, o) != 0) {
      json_decref(out);
      out = NULL;
    }
  }
  return out;
}

static json_t *references_json(const lct_scenario *s) {
  json_t *out = json_array();
  for (size_t i = 0; out != NULL && i < s->n_references; i++) {
    const lct_reference *r = &s->references[i];
    json_t *o = json_pack("{s:s, s:o}", "label", r->label, "messages", messages_json(r->messages, r->n_messages));
    if (json_array_append_new(out, o) != 0) {
      json_decref(out);
      out = NULL;
    }
  }
  return out;
}

static json_t *layers_json(const lct_scenario *s) {
  if (s->capture.layers == NULL) return json_string("all");
  json_t *out = json_array();
  for (size_t i = 0; out != NULL && i < s->capture.n_layers; i++) {
    if (json_array_append_new(out, json_integer(s->capture.layers[i])) != 0) {
      json_decref(out);
      out = NULL;
    }
  }
  return out;
}

static json_t *generation_json(const lct_scenario *s) {
  json_t *top_k = s->generation.has_top_k ? json_integer(s->generation.top_k) : json_null();
  json_t *top_p = s->generation.has_top_p ? json_real(s->generation.top_p) : json_null();
  return json_pack("{s:i, s:b, s:f, s:o, s:o, s:I}", "max_new_tokens", s->generation.max_new_tokens, "do_sample",
                   (int)s->generation.do_sample, "temperature", s->generation.temperature, "top_k", top_k, "top_p", top_p, "seed",
                   (json_int_t)s->generation.seed);
}

static json_t *capture_json(const lct_scenario *s) {
  return json_pack("{s:b, s:b, s:b, s:b, s:b, s:i, s:o, s:s}", "hidden_states", (int)s->capture.hidden_states, "attention_weights",
                   (int)s->capture.attention_weights, "qkv", (int)s->capture.qkv, "mlp", (int)s->capture.mlp, "logits",
                   (int)s->capture.logits, "top_k_probs", s->capture.top_k_probs, "layers", layers_json(s), "store_dtype",
                   lct_store_dtype_name(s->capture.store_dtype));
}

json_t *lct_scenario_json(const lct_scenario *s, size_t prompt_index) {
  bool one = prompt_index != LCT_SCENARIO_ALL_PROMPTS;
  if (one && prompt_index >= s->n_prompts) return NULL;
  json_t *model = json_pack("{s:s, s:s?, s:s, s:s, s:b}", "id", s->model.id, "gguf_file", s->model.gguf_file, "dtype", s->model.dtype,
                            "device", s->model.device, "trust_remote_code", (int)s->model.trust_remote_code);
  json_t *output = json_pack("{s:s, s:s}", "dir", s->output.dir, "format", s->output.format);
  return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "name", s->name, "model", model, "prompt",
                   prompts_json(s, one ? prompt_index : 0, one ? 1 : s->n_prompts), "generation", generation_json(s), "capture",
                   capture_json(s), "output", output, "reference_states", references_json(s));
}

/* Digits that bring both real numbers back exactly; fewer of them where that is enough (0.9, not 0.90000000000000002). */
static size_t real_digits(const lct_scenario *s) {
  for (int digits = 15; digits < 17; digits++) {
    char a[40], b[40];
    (void)snprintf(a, sizeof a, "%.*g", digits, s->generation.temperature);
    (void)snprintf(b, sizeof b, "%.*g", digits, s->generation.top_p);
    if (strtod(a, NULL) == s->generation.temperature && strtod(b, NULL) == s->generation.top_p) return (size_t)digits;
  }
  return 17;
}

static int append_json(const char *bytes, size_t n, void *out) { return lct_buf_append(out, bytes, n, NULL) == LCT_OK ? 0 : -1; }

lct_status lct_scenario_to_json(const lct_scenario *s, lct_buf *out, lct_error *err) {
  json_t *root = lct_scenario_json(s, LCT_SCENARIO_ALL_PROMPTS);
  size_t before = out->len;
  int failed = root == NULL || json_dump_callback(root, append_json, out, JSON_INDENT(2) | JSON_REAL_PRECISION(real_digits(s))) != 0;
  json_decref(root);
  if (!failed) return LCT_OK;
  out->len = before;
  return lct_fail(err, LCT_E_NOMEM, "out of memory for the scenario's JSON");
}
