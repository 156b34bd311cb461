/* scenario.json, run.json, steps.json and the indexes, with Activation Lab's keys: its loader and viewer read them. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/file.h"
#include "base/utf8.h"
#include "scan/output_impl.h"

static json_t *token_text(const scan *s, int32_t id) {
  lct_buf b = {0};
  lct_error ignored;
  json_t *text = lct_decode(s->subject->tokenizer, &id, 1, false, &b, &ignored) == LCT_OK && b.data != NULL ? json_stringn(b.data, b.len)
                                                                                                            : json_string("");
  lct_buf_free(&b);
  return text;
}

json_t *scan_tokens_text(const scan *s, const int32_t *ids, size_t n) {
  json_t *a = json_array();
  for (size_t i = 0; i < n; i++) json_array_append_new(a, token_text(s, ids[i]));
  return a;
}

/* Token ids and their texts of an item, under the two keys given. */
static void set_tokens(const scan *s, json_t *object, const lct_item *x, const char *ids_key, const char *texts_key) {
  json_t *numbers = json_array();
  int32_t *ids = calloc((size_t)x->n_tokens + 1, sizeof *ids);
  if (ids != NULL) lct_item_ids(x, 0, x->n_tokens, ids);
  for (int32_t i = 0; ids != NULL && i < x->n_tokens; i++) json_array_append_new(numbers, json_integer(ids[i]));
  json_object_set_new(object, ids_key, numbers);
  json_object_set_new(object, texts_key, ids != NULL ? scan_tokens_text(s, ids, (size_t)x->n_tokens) : NULL);
  free(ids);
}

static json_t *index_json(const char *text) {
  json_t *index = text != NULL ? json_loads(text, JSON_ALLOW_NUL, NULL) : NULL;
  return index != NULL ? index : json_object();
}

static json_t *id_or_null(int32_t id) { return id >= 0 ? json_integer(id) : json_null(); }

/* The scenario with this prompt alone, as Activation Lab's sub-scenario. */
static json_t *sub_scenario(const json_t *scenario, const scan_prompt *p) {
  json_t *messages = json_array();
  for (size_t i = 0; i < p->n_messages; i++) {
    json_array_append_new(messages, json_pack("{s:s, s:s%}", "role", p->messages[i].role, "content", p->messages[i].content,
                                              p->messages[i].content_len));
  }
  json_t *sub = json_copy((json_t *)scenario);
  json_object_set_new(sub, "prompt", json_pack("[{s:o, s:b}]", "messages", messages, "run_at_each_message", 0));
  return sub;
}

static lct_status write_run(scan *s, const json_t *scenario, const scan_prompt *p, lct_error *err) {
  const lct_config *c = &s->subject->cfg;
  const lct_tokenizer *tok = s->subject->tokenizer;
  struct utsname host;
  (void)uname(&host);
  char platform[512];
  (void)snprintf(platform, sizeof platform, "%s-%s-%s", host.sysname, host.release, host.machine);
  const char *id = s->subject->id;
  json_t *arch = json_pack("{s:i, s:i, s:i, s:i, s:i, s:s, s:s, s:s, s:s, s:s}", "num_layers", c->n_layers, "hidden_size", c->hidden,
                           "num_attention_heads", c->n_heads, "num_key_value_heads", c->n_kv_heads, "vocab_size", c->vocab,
                           "layer_module_path", "model.layers", "embed_module_path", "model.embed_tokens", "lm_head_module_path", "lm_head",
                           "attn_sublayer", "self_attn", "mlp_sublayer", "mlp");
  json_t *tokenizer = json_pack("{s:s, s:i, s:o, s:o, s:o, s:b}", "id", id, "vocab_size", lct_tokenizer_vocab(tok), "bos_token_id",
                                id_or_null(lct_tokenizer_bos(tok)), "eos_token_id", id_or_null(lct_tokenizer_eos(tok)), "pad_token_id",
                                id_or_null(lct_tokenizer_pad(tok)), "chat_template", 1);
  json_t *env = json_pack("{s:s, s:s, s:s, s:s, s:s}", "llmct", lct_version(), "platform", platform, "device", s->subject->device.label,
                          "device_name", s->subject->device.name, "precision", lct_precision_name(s->subject->device.precision));
  json_t *root = json_pack("{s:o, s:{s:s, s:o}, s:o, s:o, s:s}", "scenario", sub_scenario(scenario, p), "model", "id", id, "arch", arch,
                           "tokenizer", tokenizer, "env", env, "created_at", s->created_at);
  set_tokens(s, root, &s->unit->items[scan_prompt_item(p)], "prompt_token_ids", "prompt_tokens");
  char *path = scan_printf(s, err, "%s/%s/run.json", s->run_dir, p->label);
  if (path == NULL) {
    json_decref(root);
    return LCT_E_NOMEM;
  }
  return scan_write_json(root, path, err);
}

static json_t *step_json(const scan *s, const scan_prompt *p, int i) {
  const lct_choice *st = &scan_generation(s, p)->choices[i];
  const lct_item *prompt = &s->unit->items[scan_prompt_item(p)];
  const char *index = p->indexes[i];
  json_t *top = json_array();
  for (int t = 0; t < s->unit->top_k; t++) {
    json_array_append_new(top, json_pack("{s:i, s:o, s:f}", "id", st->top[t].id, "token", token_text(s, st->top[t].id), "logprob",
                                         (double)st->top[t].logprob));
  }
  char file[64];
  (void)snprintf(file, sizeof file, "tensors/step_%03d.npz", i);
  /* where no tensors are kept the file is "", not null: Activation Lab joins it to a path */
  json_t *step = json_pack("{s:i, s:s, s:i, s:o, s:i, s:f, s:o, s:I, s:{s:f, s:f, s:f}, s:s, s:o}", "step", i, "kind",
                           i == 0 ? "prefill" : "decode", "generated_token_id", st->token, "generated_token", token_text(s, st->token),
                           "logit_argmax_id", st->stats.argmax, "logit_argmax_logprob", (double)st->stats.argmax_logprob, "top_k", top,
                           "seq_len", (json_int_t)prompt->n_tokens + (i > 0 ? i + 1 : 0), "logit_stats", "entropy", st->stats.entropy,
                           "effective_vocab", st->stats.effective_vocab, "top1_prob", st->stats.top1_prob, "tensors_file",
                           index != NULL ? file : "", "tensor_index", index_json(index));
  if (i == 0) {
    set_tokens(s, step, prompt, "input_token_ids", "input_tokens");
  } else {
    json_object_set_new(step, "input_token_ids", json_pack("[i]", st[-1].token));
    json_object_set_new(step, "input_tokens", scan_tokens_text(s, &st[-1].token, 1));
  }
  return step;
}

static lct_status write_steps(scan *s, const scan_prompt *p, lct_error *err) {
  json_t *steps = json_array();
  for (int i = 0; i < scan_generation(s, p)->n; i++) json_array_append_new(steps, step_json(s, p, i));
  json_t *root = json_pack("{s:o, s:s%}", "steps", steps, "generated_text", p->reply.data != NULL ? p->reply.data : "", p->reply.len);
  char *path = scan_printf(s, err, "%s/%s/steps.json", s->run_dir, p->label);
  if (path == NULL) {
    json_decref(root);
    return LCT_E_NOMEM;
  }
  return scan_write_json(root, path, err);
}

static lct_status write_snapshot_index(scan *s, const scan_prompt *p, lct_error *err) {
  json_t *snapshots = json_array();
  for (size_t k = 0; k <= p->n_messages; k++) {
    const scan_item *item = &s->items[p->first_item + (int32_t)k];
    const lct_item *x = &s->unit->items[p->first_item + (int32_t)k];
    if (!x->done || item->path == NULL) continue;
    json_t *e = json_pack("{s:i, s:s, s:s%, s:i, s:s, s:o, s:b}", "index", (int)k, "role", item->role, "content_preview", item->preview,
                          lct_utf8_prefix(item->preview, item->preview_len, 80), "seq_len", x->n_tokens, "tensors_file",
                          strrchr(item->path, '/') + 1, "tensor_index", index_json(item->index), "generated", item->generated);
    set_tokens(s, e, x, "input_token_ids", "input_tokens");
    json_array_append_new(snapshots, e);
  }
  char *path = scan_printf(s, err, "%s/%s/conversation_snapshots/index.json", s->run_dir, p->label);
  if (path == NULL) {
    json_decref(snapshots);
    return LCT_E_NOMEM;
  }
  return scan_write_json(json_pack("{s:o}", "snapshots", snapshots), path, err);
}

static lct_status write_reference_index(scan *s, lct_error *err) {
  json_t *labels = json_array();
  for (int32_t i = 0; i < s->n_references; i++) {
    if (s->unit->items[i].done) json_array_append_new(labels, json_string(s->scenario->references[i].label));
  }
  char *path = scan_printf(s, err, "%s/references/index.json", s->run_dir);
  if (path == NULL) {
    json_decref(labels);
    return LCT_E_NOMEM;
  }
  return scan_write_json(json_pack("{s:o}", "labels", labels), path, err);
}

lct_status scan_write_manifests(scan *s, lct_error *err) {
  lct_buf text = {0};
  lct_status status = lct_scenario_to_json(s->scenario, &text, err);
  json_t *scenario = status == LCT_OK ? json_loadb(text.data, text.len, JSON_ALLOW_NUL, NULL) : NULL;
  lct_buf_free(&text);
  LCT_TRY(status);
  if (scenario == NULL) return lct_fail(err, LCT_E_INTERNAL, "the scenario's JSON cannot be read back");
  char *path = scan_printf(s, err, "%s/scenario.json", s->run_dir);
  status = path == NULL ? LCT_E_NOMEM : scan_write_json(json_incref(scenario), path, err);
  bool files = s->o->keep != LCT_KEEP_SCORES;
  if (status == LCT_OK && files && s->n_references > 0) status = write_reference_index(s, err);
  for (size_t i = 0; i < s->n_prompts && status == LCT_OK; i++) {
    status = write_run(s, scenario, &s->prompts[i], err);
    if (status == LCT_OK) status = write_steps(s, &s->prompts[i], err);
    if (status == LCT_OK && files) status = write_snapshot_index(s, &s->prompts[i], err);
  }
  json_decref(scenario);
  return status;
}
