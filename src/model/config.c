#include "model/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/jsonio.h"

#define MAX_DEPTH 32
#define SHOW 80

/* What a getter needs to know to word a failure. */
typedef struct {
  const json_t *root;
  const char *name; /* of the file */
  lct_error *err;
} reader;

static lct_status bad_value(const reader *r, const char *key, const char *expected, const json_t *v) {
  char show[SHOW];
  return lct_fail(r->err, LCT_E_FORMAT, "%s: %s: expected %s, found %s", r->name, key, expected, lct_json_show(v, show, sizeof show));
}

/* A key that is absent or null: NULL. */
static const json_t *get(const json_t *obj, const char *key) {
  const json_t *v = json_object_get(obj, key);
  return json_is_null(v) ? NULL : v;
}

static lct_status get_size(const reader *r, const char *key, bool required, int fallback, int *out) {
  const json_t *v = get(r->root, key);
  if (v == NULL && !required) {
    *out = fallback;
    return LCT_OK;
  }
  if (!json_is_integer(v) || json_integer_value(v) <= 0 || json_integer_value(v) > INT32_MAX) {
    return bad_value(r, key, "a positive integer", v);
  }
  *out = (int)json_integer_value(v);
  return LCT_OK;
}

static lct_status get_bool(const reader *r, const char *key, bool fallback, bool *out) {
  const json_t *v = get(r->root, key);
  *out = fallback;
  if (v == NULL) return LCT_OK;
  if (!json_is_boolean(v)) return bad_value(r, key, "true or false", v);
  *out = json_is_true(v);
  return LCT_OK;
}

static lct_status get_number(const reader *r, const json_t *obj, const char *key, const char *shown_key, double fallback, double *out) {
  const json_t *v = get(obj, key);
  *out = fallback;
  if (v == NULL && !isnan(fallback)) return LCT_OK;
  if (!json_is_number(v) || !(json_number_value(v) > 0)) return bad_value(r, shown_key, "a positive number", v);
  *out = json_number_value(v);
  return LCT_OK;
}

static bool arch_from(const char *class_name, const char *model_type, lct_arch *out) {
  static const struct {
    const char *class_name, *model_type;
    lct_arch arch;
  } known[] = {{"Qwen2ForCausalLM", "qwen2", LCT_ARCH_QWEN2},
               {"Qwen3ForCausalLM", "qwen3", LCT_ARCH_QWEN3},
               {"LlamaForCausalLM", "llama", LCT_ARCH_LLAMA}};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    if (class_name != NULL ? strcmp(class_name, known[i].class_name) == 0 : strcmp(model_type, known[i].model_type) == 0) {
      *out = known[i].arch;
      return true;
    }
  }
  return false;
}

static lct_status read_arch(const reader *r, lct_config *c) {
  const json_t *list = get(r->root, "architectures"), *type = get(r->root, "model_type");
  if (list == NULL && type == NULL)
    return lct_fail(r->err, LCT_E_FORMAT, "%s: neither architectures nor model_type: not a model's config", r->name);
  const char *class_name = NULL;
  if (list != NULL) {
    class_name = json_string_value(json_array_get(list, 0));
    if (json_array_size(list) != 1 || class_name == NULL) return bad_value(r, "architectures", "a list of one name", list);
  } else if (!json_is_string(type)) {
    return bad_value(r, "model_type", "a string", type);
  }
  const char *model_type = json_string_value(type);
  if (!arch_from(class_name, model_type, &c->arch)) {
    return lct_fail(r->err, LCT_E_UNSUPPORTED,
                    "%s: architecture %.100s is not supported: expected Qwen2ForCausalLM, Qwen3ForCausalLM or LlamaForCausalLM", r->name,
                    class_name != NULL ? class_name : model_type);
  }
  return LCT_OK;
}

/* Features that would change the numbers and that nothing here computes. */
static lct_status refuse_unsupported(const reader *r) {
  const json_t *act = get(r->root, "hidden_act");
  char show[SHOW];
  if (act != NULL && (!json_is_string(act) || strcmp(json_string_value(act), "silu") != 0)) {
    return lct_fail(r->err, LCT_E_UNSUPPORTED, "%s: hidden_act %s is not supported: expected \"silu\"", r->name,
                    lct_json_show(act, show, sizeof show));
  }
  static const struct {
    const char *key, *what;
  } off[] = {{"use_sliding_window", "sliding window attention"},
             {"mlp_bias", "a bias in the MLP"},
             {"rope_interleaved", "interleaved RoPE"}};
  for (size_t i = 0; i < sizeof off / sizeof off[0]; i++) {
    bool on = false;
    LCT_TRY(get_bool(r, off[i].key, false, &on));
    if (on) return lct_fail(r->err, LCT_E_UNSUPPORTED, "%s: %s true: %s is not supported", r->name, off[i].key, off[i].what);
  }
  const json_t *types = get(r->root, "layer_types"), *item = NULL;
  size_t i = 0;
  json_array_foreach(types, i, item) {
    if (!json_is_string(item) || strcmp(json_string_value(item), "full_attention") != 0) {
      return lct_fail(r->err, LCT_E_UNSUPPORTED, "%s: layer_types[%zu] %s is not supported: expected \"full_attention\"", r->name, i,
                      lct_json_show(item, show, sizeof show));
    }
  }
  const json_t *quant = get(r->root, "quantization_config");
  if (quant != NULL) {
    return lct_fail(r->err, LCT_E_UNSUPPORTED,
                    "%s: quantization_config (quant_method %s) is not supported: expected plain F32, F16 or BF16 weights", r->name,
                    lct_json_show(json_object_get(quant, "quant_method"), show, sizeof show));
  }
  return LCT_OK;
}

static lct_status read_llama3(const reader *r, const json_t *rope, lct_rope *out) {
  double original = 0;
  out->kind = LCT_ROPE_LLAMA3;
  LCT_TRY(get_number(r, rope, "factor", "RoPE scaling factor", NAN, &out->factor));
  LCT_TRY(get_number(r, rope, "low_freq_factor", "RoPE scaling low_freq_factor", NAN, &out->low_freq_factor));
  LCT_TRY(get_number(r, rope, "high_freq_factor", "RoPE scaling high_freq_factor", NAN, &out->high_freq_factor));
  LCT_TRY(get_number(r, rope, "original_max_position_embeddings", "RoPE scaling original_max_position_embeddings", NAN, &original));
  if (original > INT32_MAX || original != floor(original)) {
    return bad_value(r, "RoPE scaling original_max_position_embeddings", "a positive integer",
                     json_object_get(rope, "original_max_position_embeddings"));
  }
  out->original_max_positions = (int)original;
  return LCT_OK;
}

/* Before transformers 5: rope_theta beside an optional rope_scaling; since then: one rope_parameters. */
static lct_status read_rope(const reader *r, lct_rope *out) {
  LCT_TRY(get_number(r, r->root, "rope_theta", "rope_theta", 10000.0, &out->theta));
  const char *key = "rope_parameters";
  const json_t *rope = get(r->root, key);
  if (rope == NULL) rope = get(r->root, key = "rope_scaling");
  out->kind = LCT_ROPE_PLAIN;
  if (rope == NULL) return LCT_OK;
  if (!json_is_object(rope)) return bad_value(r, key, "an object", rope);
  const char *item_key = NULL;
  json_t *item = NULL;
  json_object_foreach(lct_unconst(rope), item_key, item) {
    if (json_is_object(item)) {
      return lct_fail(r->err, LCT_E_UNSUPPORTED, "%s: %s per layer type (%.60s) is not supported", r->name, key, item_key);
    }
  }
  LCT_TRY(get_number(r, rope, "rope_theta", "rope_theta", out->theta, &out->theta));
  double partial = 1;
  LCT_TRY(get_number(r, rope, "partial_rotary_factor", "partial_rotary_factor", 1.0, &partial));
  if (partial != 1) {
    return lct_fail(r->err, LCT_E_UNSUPPORTED, "%s: partial_rotary_factor %g is not supported: expected 1", r->name, partial);
  }
  const json_t *type = get(rope, "rope_type");
  if (type == NULL) type = get(rope, "type");
  const char *kind = type == NULL ? "default" : json_string_value(type);
  if (kind != NULL && strcmp(kind, "default") == 0) return LCT_OK;
  if (kind != NULL && strcmp(kind, "llama3") == 0) return read_llama3(r, rope, out);
  char show[SHOW];
  return lct_fail(r->err, LCT_E_UNSUPPORTED, "%s: RoPE scaling %s is not supported: expected \"default\" or \"llama3\"", r->name,
                  lct_json_show(type, show, sizeof show));
}

static lct_status add_eos(const reader *r, const json_t *v, lct_config *c) {
  if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX) {
    return bad_value(r, "eos_token_id", "a token id or a list of them", v);
  }
  int32_t id = (int32_t)json_integer_value(v);
  for (int i = 0; i < c->n_eos; i++) {
    if (c->eos[i] == id) return LCT_OK;
  }
  if (c->n_eos == LCT_MAX_EOS) return lct_fail(r->err, LCT_E_LIMIT, "%s: more than %d different eos_token_id", r->name, LCT_MAX_EOS);
  c->eos[c->n_eos++] = id;
  return LCT_OK;
}

static lct_status read_eos(const reader *r, lct_config *c) {
  const json_t *v = get(r->root, "eos_token_id");
  if (v == NULL) return LCT_OK;
  if (!json_is_array(v)) return add_eos(r, v, c);
  for (size_t i = 0; i < json_array_size(v); i++) LCT_TRY(add_eos(r, json_array_get(v, i), c));
  return LCT_OK;
}

static lct_status read_special_ids(const reader *r, lct_config *c) {
  c->bos = -1;
  const json_t *v = get(r->root, "bos_token_id");
  if (v != NULL) {
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX) {
      return bad_value(r, "bos_token_id", "a token id", v);
    }
    c->bos = (int32_t)json_integer_value(v);
  }
  return read_eos(r, c);
}

static lct_status read_sizes(const reader *r, lct_config *c) {
  LCT_TRY(get_size(r, "num_hidden_layers", true, 0, &c->n_layers));
  LCT_TRY(get_size(r, "hidden_size", true, 0, &c->hidden));
  LCT_TRY(get_size(r, "num_attention_heads", true, 0, &c->n_heads));
  LCT_TRY(get_size(r, "num_key_value_heads", false, c->n_heads, &c->n_kv_heads));
  LCT_TRY(get_size(r, "intermediate_size", true, 0, &c->intermediate));
  LCT_TRY(get_size(r, "vocab_size", true, 0, &c->vocab));
  LCT_TRY(get_size(r, "max_position_embeddings", false, c->arch == LCT_ARCH_LLAMA ? 2048 : 32768, &c->max_positions));
  /* transformers' Qwen3Config says 128 when the file says nothing; the others divide. */
  if (get(r->root, "head_dim") == NULL && c->arch != LCT_ARCH_QWEN3 && c->hidden % c->n_heads != 0) {
    return lct_fail(r->err, LCT_E_FORMAT, "%s: hidden_size %d is not a multiple of num_attention_heads %d and there is no head_dim",
                    r->name, c->hidden, c->n_heads);
  }
  int fallback = c->arch == LCT_ARCH_QWEN3 ? 128 : c->hidden / c->n_heads;
  return get_size(r, "head_dim", false, fallback, &c->head_dim);
}

lct_status lct_config_parse(const char *text, size_t n, const char *name, lct_config *out, lct_error *err) {
  *out = (lct_config){0};
  json_t *root = NULL;
  LCT_TRY(lct_json_parse(text, n, MAX_DEPTH, 0, name, &root, err));
  reader r = {root, name, err};
  lct_status s = LCT_OK;
  double eps = 0;
  bool attention_bias = false;
  if (!json_is_object(root)) {
    s = bad_value(&r, "top level", "an object", root);
    goto done;
  }
  LCT_TRY_GOTO(s, read_arch(&r, out), done);
  LCT_TRY_GOTO(s, refuse_unsupported(&r), done);
  LCT_TRY_GOTO(s, read_sizes(&r, out), done);
  LCT_TRY_GOTO(s, get_number(&r, root, "rms_norm_eps", "rms_norm_eps", 1e-6, &eps), done);
  LCT_TRY_GOTO(s, read_rope(&r, &out->rope), done);
  LCT_TRY_GOTO(s, get_bool(&r, "tie_word_embeddings", false, &out->tied_head), done);
  LCT_TRY_GOTO(s, get_bool(&r, "attention_bias", false, &attention_bias), done);
  LCT_TRY_GOTO(s, read_special_ids(&r, out), done);
  out->rms_eps = (float)eps;
  out->qkv_bias = out->arch == LCT_ARCH_QWEN2 || attention_bias; /* Qwen2 has no such key: always a bias on q, k, v, never on o */
  out->o_bias = out->arch != LCT_ARCH_QWEN2 && attention_bias;
  out->qk_norm = out->arch == LCT_ARCH_QWEN3;
  s = lct_config_check(out, name, err);
done:
  json_decref(root);
  return s;
}

lct_status lct_config_add_generation(const char *text, size_t n, const char *name, lct_config *cfg, lct_error *err) {
  json_t *root = NULL;
  LCT_TRY(lct_json_parse(text, n, MAX_DEPTH, 0, name, &root, err));
  reader r = {root, name, err};
  lct_status s = json_is_object(root) ? read_eos(&r, cfg) : bad_value(&r, "top level", "an object", root);
  json_decref(root);
  return s;
}

/* Far above any model of these families, far below what overflows. */
static lct_status check_range(const char *name, const char *what, int v, int max, lct_error *err) {
  if (v >= 1 && v <= max) return LCT_OK;
  return lct_fail(err, LCT_E_FORMAT, "%s: %s: expected 1 to %d, found %d", name, what, max, v);
}

static lct_status check_rope(const lct_rope *r, const char *name, lct_error *err) {
  if (!isfinite(r->theta) || r->theta <= 0) {
    return lct_fail(err, LCT_E_FORMAT, "%s: RoPE theta: expected a positive number, found %g", name, r->theta);
  }
  if (r->kind != LCT_ROPE_LLAMA3) return LCT_OK;
  if (!isfinite(r->factor) || r->factor < 1 || !isfinite(r->low_freq_factor) || r->low_freq_factor <= 0 || !isfinite(r->high_freq_factor) ||
      r->high_freq_factor <= r->low_freq_factor || r->original_max_positions < 1) {
    return lct_fail(err, LCT_E_FORMAT,
                    "%s: RoPE scaling llama3: expected factor >= 1 and 0 < low_freq_factor < high_freq_factor, found factor %g, "
                    "low_freq_factor %g, high_freq_factor %g, original_max_position_embeddings %d",
                    name, r->factor, r->low_freq_factor, r->high_freq_factor, r->original_max_positions);
  }
  return LCT_OK;
}

lct_status lct_config_check(const lct_config *c, const char *name, lct_error *err) {
  LCT_TRY(check_range(name, "number of layers", c->n_layers, 1024, err));
  LCT_TRY(check_range(name, "hidden size", c->hidden, 1 << 17, err));
  LCT_TRY(check_range(name, "attention heads", c->n_heads, 1024, err));
  LCT_TRY(check_range(name, "key/value heads", c->n_kv_heads, 1024, err));
  LCT_TRY(check_range(name, "head size", c->head_dim, 1024, err));
  LCT_TRY(check_range(name, "intermediate size", c->intermediate, 1 << 20, err));
  LCT_TRY(check_range(name, "vocabulary size", c->vocab, 1 << 24, err));
  LCT_TRY(check_range(name, "context length", c->max_positions, 1 << 28, err));
  if (c->n_heads % c->n_kv_heads != 0) {
    return lct_fail(err, LCT_E_FORMAT, "%s: %d attention heads are not a multiple of %d key/value heads", name, c->n_heads, c->n_kv_heads);
  }
  if (c->head_dim % 2 != 0) return lct_fail(err, LCT_E_FORMAT, "%s: head size: expected an even number, found %d", name, c->head_dim);
  if (!(c->rms_eps > 0) || !(c->rms_eps < 1)) {
    return lct_fail(err, LCT_E_FORMAT, "%s: RMS norm epsilon: expected between 0 and 1, found %g", name, (double)c->rms_eps);
  }
  return check_rope(&c->rope, name, err);
}
