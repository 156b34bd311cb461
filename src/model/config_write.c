#include <jansson.h>
#include <stdlib.h>

#include "model/config.h"

static json_t *rope_scaling(const lct_rope *r) {
  if (r->kind != LCT_ROPE_LLAMA3) return json_null();
  return json_pack("{s:f, s:f, s:f, s:i, s:s}", "factor", r->factor, "high_freq_factor", r->high_freq_factor, "low_freq_factor",
                   r->low_freq_factor, "original_max_position_embeddings", r->original_max_positions, "rope_type", "llama3");
}

static json_t *eos_ids(const lct_config *c) {
  if (c->n_eos == 0) return json_null();
  if (c->n_eos == 1) return json_integer(c->eos[0]);
  json_t *list = json_array();
  for (int i = 0; i < c->n_eos; i++) (void)json_array_append_new(list, json_integer(c->eos[i]));
  return list;
}

/* The shortest decimal that is this float: 1e-06, not 9.99999997e-07. */
static double shortest(float f) {
  char text[32];
  for (int digits = 1; digits < 10; digits++) {
    (void)snprintf(text, sizeof text, "%.*g", digits, (double)f);
    if (strtof(text, NULL) == f) break;
  }
  return strtod(text, NULL);
}

/* transformers reads the keys from before its version 5 (rope_theta, torch_dtype) in every version, the new ones only since then.
 */
static json_t *build(const lct_config *c, const char *torch_dtype) {
  static const char *const classes[] = {"Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM"};
  json_t *root = json_pack("{s:[s], s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "architectures", classes[c->arch], "model_type",
                           lct_arch_name(c->arch), "hidden_size", c->hidden, "num_hidden_layers", c->n_layers, "num_attention_heads",
                           c->n_heads, "num_key_value_heads", c->n_kv_heads, "head_dim", c->head_dim, "intermediate_size", c->intermediate,
                           "vocab_size", c->vocab, "max_position_embeddings", c->max_positions);
  json_t *more = json_pack("{s:s, s:f, s:f, s:o, s:b, s:f, s:f, s:s, s:b, s:o, s:o}", "hidden_act", "silu", "rms_norm_eps",
                           shortest(c->rms_eps), "rope_theta", c->rope.theta, "rope_scaling", rope_scaling(&c->rope), "tie_word_embeddings",
                           (int)c->tied_head, "attention_dropout", 0.0, "initializer_range", 0.02, "torch_dtype", torch_dtype, "use_cache",
                           1, "bos_token_id", c->bos < 0 ? json_null() : json_integer(c->bos), "eos_token_id", eos_ids(c));
  /* -1 from any step shows up as a NULL root: jansson's setters fail on NULL. */
  int bad = json_object_update_missing(root, more);
  json_decref(more);
  if (c->arch != LCT_ARCH_QWEN2) bad |= json_object_set_new(root, "attention_bias", json_boolean(c->qkv_bias));
  if (c->arch == LCT_ARCH_LLAMA) bad |= json_object_set_new(root, "mlp_bias", json_false());
  if (c->arch != LCT_ARCH_LLAMA) {
    bad |= json_object_set_new(root, "use_sliding_window", json_false());
    bad |= json_object_set_new(root, "sliding_window", json_null());
    bad |= json_object_set_new(root, "max_window_layers", json_integer(c->n_layers));
  }
  if (bad != 0) {
    json_decref(root);
    return NULL;
  }
  return root;
}

lct_status lct_config_write(const lct_config *cfg, const char *torch_dtype, lct_buf *out, lct_error *err) {
  json_t *root = build(cfg, torch_dtype);
  char *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
  json_decref(root);
  if (text == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for config.json");
  lct_status s = lct_buf_printf(out, err, "%s\n", text);
  free(text);
  return s;
}
