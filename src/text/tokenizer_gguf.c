/* A tokenizer from GGUF metadata. GGUF keeps the vocabulary and the merges, and names the pre-tokenizer. */
#include <stdlib.h>
#include <string.h>

#include "model/gguf.h"
#include "text/tokenizer_internal.h"

enum { TYPE_NORMAL = 1, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4 };

static bool str_is(lct_str s, const char *text) { return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0; }

static lct_status add_pretok(lct_tokenizer *t, const lct_gguf *g, lct_error *err) {
  const char *name = lct_gguf_file(g);
  lct_str pre = {"default", 7};
  (void)lct_gguf_str(g, "tokenizer.ggml.pre", &pre);
  bool space = false;
  if (lct_gguf_bool(g, "tokenizer.ggml.add_space_prefix", &space) && space) {
    LCT_TRY(lct_pretok_add(&t->pretok, LCT_PRETOK_SPACE, name, err));
  }
  if (str_is(pre, "qwen2")) {
    t->nfc = true;
    return lct_pretok_add(&t->pretok, LCT_PRETOK_QWEN, name, err);
  }
  if (str_is(pre, "llama-bpe") || str_is(pre, "llama3") || str_is(pre, "llama-v3")) {
    t->bpe.whole_words = true;
    return lct_pretok_add(&t->pretok, LCT_PRETOK_LLAMA3, name, err);
  }
  if (str_is(pre, "smollm")) {
    LCT_TRY(lct_pretok_add(&t->pretok, LCT_PRETOK_DIGIT, name, err));
    return lct_pretok_add(&t->pretok, LCT_PRETOK_GPT2, name, err);
  }
  if (str_is(pre, "default") || str_is(pre, "gpt-2") || str_is(pre, "gpt2")) {
    return lct_pretok_add(&t->pretok, LCT_PRETOK_GPT2, name, err);
  }
  return lct_fail(err, LCT_E_UNSUPPORTED,
                  "%s: tokenizer.ggml.pre is \"%.*s\"; supported are \"qwen2\", \"llama-bpe\", \"smollm\", \"gpt-2\" and \"default\"", name,
                  (int)(pre.len < 60 ? pre.len : 60), pre.data);
}

static lct_status add_tokens(lct_tokenizer *t, const lct_gguf *g, lct_error *err) {
  const char *name = lct_gguf_file(g);
  int64_t n = lct_gguf_array_len(g, "tokenizer.ggml.tokens"), n_types = lct_gguf_array_len(g, "tokenizer.ggml.token_type");
  if (n <= 0 || n > INT32_MAX) return lct_fail(err, LCT_E_FORMAT, "%s: tokenizer.ggml.tokens is missing, empty or too long", name);
  if (n_types >= 0 && n_types != n) {
    return lct_fail(err, LCT_E_FORMAT, "%s: tokenizer.ggml.token_type has %lld entries, tokenizer.ggml.tokens %lld", name,
                    (long long)n_types, (long long)n);
  }
  for (int64_t i = 0; i < n; i++) {
    lct_str s;
    int64_t type = TYPE_NORMAL;
    if (!lct_gguf_array_str(g, "tokenizer.ggml.tokens", i, &s)) {
      return lct_fail(err, LCT_E_FORMAT, "%s: tokenizer.ggml.tokens[%lld] is not a string", name, (long long)i);
    }
    if (n_types >= 0 && !lct_gguf_array_i64(g, "tokenizer.ggml.token_type", i, &type)) {
      return lct_fail(err, LCT_E_FORMAT, "%s: tokenizer.ggml.token_type[%lld] is not an integer", name, (long long)i);
    }
    LCT_TRY(lct_bpe_add_token(&t->bpe, (uint32_t)i, s.data, s.len, true, name, err));
    if ((type != TYPE_CONTROL && type != TYPE_USER_DEFINED) || s.len == 0) continue;
    lct_added_token a = {.content = s.data, .n = s.len, .id = (int32_t)i, .special = type == TYPE_CONTROL};
    LCT_TRY(lct_added_append(&t->added, &a, err));
  }
  return LCT_OK;
}

static lct_status add_merges(lct_tokenizer *t, const lct_gguf *g, lct_error *err) {
  const char *name = lct_gguf_file(g);
  int64_t n = lct_gguf_array_len(g, "tokenizer.ggml.merges");
  if (n < 0 || n > INT32_MAX) return lct_fail(err, LCT_E_FORMAT, "%s: tokenizer.ggml.merges is missing or too long", name);
  LCT_TRY(lct_bpe_reserve_merges(&t->bpe, (size_t)n, err));
  for (int64_t i = 0; i < n; i++) {
    lct_str s;
    bool ok = lct_gguf_array_str(g, "tokenizer.ggml.merges", i, &s);
    const char *space = ok && s.len > 0 ? memchr(s.data, ' ', s.len) : NULL;
    if (space == NULL) return lct_fail(err, LCT_E_FORMAT, "%s: tokenizer.ggml.merges[%lld] is not a pair of tokens", name, (long long)i);
    size_t left = (size_t)(space - s.data);
    LCT_TRY(lct_bpe_add_merge(&t->bpe, (uint32_t)i, s.data, left, space + 1, s.len - left - 1, name, err));
  }
  return LCT_OK;
}

/* A token id of the metadata, -1 if absent. */
static lct_status get_id(const lct_tokenizer *t, const lct_gguf *g, const char *key, int32_t *out, lct_error *err) {
  int64_t id = -1;
  *out = -1;
  if (!lct_gguf_i64(g, key, &id)) return LCT_OK;
  if (id < 0 || (size_t)id >= t->bpe.n_tokens) {
    return lct_fail(err, LCT_E_FORMAT, "%s: %s is %lld, the vocabulary has 0 to %zu", lct_gguf_file(g), key, (long long)id,
                    t->bpe.n_tokens - 1);
  }
  *out = (int32_t)id;
  return LCT_OK;
}

static lct_status push_one(int32_t **ids, size_t *n, size_t *cap, int32_t id, lct_error *err) {
  LCT_TRY(lct_grow(ids, cap, 1, sizeof **ids, "template tokens", err));
  (*ids)[0] = id;
  *n = 1;
  return LCT_OK;
}

static lct_status add_special(lct_tokenizer *t, const lct_gguf *g, lct_error *err) {
  LCT_TRY(get_id(t, g, "tokenizer.ggml.bos_token_id", &t->bos, err));
  LCT_TRY(get_id(t, g, "tokenizer.ggml.eos_token_id", &t->eos, err));
  LCT_TRY(get_id(t, g, "tokenizer.ggml.padding_token_id", &t->pad, err));
  bool add_bos = t->bpe.whole_words, add_eos = false; /* Llama 3 begins every text with BOS unless the file says otherwise */
  (void)lct_gguf_bool(g, "tokenizer.ggml.add_bos_token", &add_bos);
  (void)lct_gguf_bool(g, "tokenizer.ggml.add_eos_token", &add_eos);
  if (add_bos && t->bos >= 0) LCT_TRY(push_one(&t->prefix, &t->n_prefix, &t->prefix_cap, t->bos, err));
  if (add_eos && t->eos >= 0) LCT_TRY(push_one(&t->suffix, &t->n_suffix, &t->suffix_cap, t->eos, err));
  lct_str template;
  return lct_gguf_str(g, "tokenizer.chat_template", &template) ? lct_tokenizer_set_template(t, template.data, template.len, err) : LCT_OK;
}

static lct_status add_everything(lct_tokenizer *t, const lct_gguf *g, lct_error *err) {
  const char *name = lct_gguf_file(g);
  lct_str model = {"", 0};
  (void)lct_gguf_str(g, "tokenizer.ggml.model", &model);
  if (!str_is(model, "gpt2")) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: tokenizer.ggml.model is \"%.*s\", only \"gpt2\" (byte-level BPE) is supported", name,
                    (int)(model.len < 60 ? model.len : 60), model.data);
  }
  LCT_TRY(add_pretok(t, g, err));
  LCT_TRY(add_tokens(t, g, err));
  LCT_TRY(add_merges(t, g, err));
  LCT_TRY(add_special(t, g, err));
  return lct_tokenizer_finish(t, name, err);
}

lct_status lct_tokenizer_from_gguf(const lct_gguf *g, lct_tokenizer **out, lct_error *err) {
  lct_tokenizer *t = NULL;
  LCT_TRY(lct_tokenizer_new(&t, err));
  lct_status s = add_everything(t, g, err);
  if (s != LCT_OK) {
    lct_tokenizer_free(t);
    return s;
  }
  *out = t;
  return LCT_OK;
}
