/* tokenizer.json and tokenizer_config.json. Whatever tokenizers could do that is not done here is refused by name. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_internal.h"
#include "text/tokenizer_parts.h"

static lct_status load(const char *text, size_t n, size_t flags, const char *name, json_t **out, lct_error *err) {
  json_error_t e;
  *out = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | flags, &e);
  if (*out == NULL) return lct_fail(err, LCT_E_FORMAT, "%s: not JSON: %s (line %d, column %d)", name, e.text, e.line, e.column);
  if (json_is_object(*out)) return LCT_OK;
  json_decref(*out);
  *out = NULL;
  return lct_fail(err, LCT_E_FORMAT, "%s: not a JSON object", name);
}

/* Added tokens' texts that the model's vocabulary lacks: they take ids of their own. */
static size_t count_new_tokens(json_t *vocab, json_t *added) {
  size_t i, n = 0;
  json_t *v;
  json_array_foreach(added, i, v) {
    json_t *content = json_object_get(v, "content");
    if (json_is_string(content) && json_object_getn(vocab, json_string_value(content), json_string_length(content)) == NULL) n++;
  }
  return n;
}

static lct_status add_vocab(lct_tokenizer *t, json_t *vocab, size_t n_ids, const char *name, lct_error *err) {
  for (void *it = json_object_iter(vocab); it != NULL; it = json_object_iter_next(vocab, it)) {
    const char *key = json_object_iter_key(it);
    json_t *v = json_object_iter_value(it);
    if (!json_is_integer(v) || json_integer_value(v) < 0 || (size_t)json_integer_value(v) >= n_ids) {
      char *shown = json_dumps(v, JSON_ENCODE_ANY);
      lct_status s = lct_fail(err, LCT_E_FORMAT,
                              "%s: model.vocab: token \"%.60s\" has id %.40s, expected 0 to %zu: ids are integers without holes", name, key,
                              shown == NULL ? "?" : shown, n_ids - 1);
      free(shown);
      return s;
    }
    LCT_TRY(lct_bpe_add_token(&t->bpe, (uint32_t)json_integer_value(v), key, json_object_iter_key_len(it), true, name, err));
  }
  return LCT_OK;
}

/* A merge is "a b" or ["a", "b"]. */
static lct_status add_merge(lct_tokenizer *t, json_t *m, uint32_t rank, const char *name, lct_error *err) {
  if (json_is_array(m) && json_array_size(m) == 2 && json_is_string(json_array_get(m, 0)) && json_is_string(json_array_get(m, 1))) {
    json_t *a = json_array_get(m, 0), *b = json_array_get(m, 1);
    return lct_bpe_add_merge(&t->bpe, rank, json_string_value(a), json_string_length(a), json_string_value(b), json_string_length(b), name,
                             err);
  }
  if (json_is_string(m)) {
    const char *s = json_string_value(m);
    size_t n = json_string_length(m);
    const char *space = memchr(s, ' ', n);
    if (space != NULL && memchr(space + 1, ' ', n - (size_t)(space + 1 - s)) == NULL) {
      size_t left = (size_t)(space - s);
      return lct_bpe_add_merge(&t->bpe, rank, s, left, space + 1, n - left - 1, name, err);
    }
  }
  return lct_fail(err, LCT_E_FORMAT, "%s: model.merges[%u] is not a pair of tokens", name, (unsigned)rank);
}

static lct_status add_merges(lct_tokenizer *t, json_t *merges, const char *name, lct_error *err) {
  size_t n = json_array_size(merges);
  if (n >= UINT32_MAX) return lct_fail(err, LCT_E_LIMIT, "%s: model.merges has %zu entries", name, n);
  LCT_TRY(lct_bpe_reserve_merges(&t->bpe, n, err));
  for (size_t i = 0; i < n; i++) LCT_TRY(add_merge(t, json_array_get(merges, i), (uint32_t)i, name, err));
  return LCT_OK;
}

static bool is_set(json_t *o, const char *key) {
  json_t *v = json_object_get(o, key);
  return v != NULL && !json_is_null(v);
}

static lct_status check_affix(json_t *model, const char *key, const char *name, lct_error *err) {
  json_t *v = json_object_get(model, key);
  if (v == NULL || json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0)) return LCT_OK;
  return lct_fail(err, LCT_E_UNSUPPORTED, "%s: model.%s is not supported", name, key);
}

static lct_status add_model(lct_tokenizer *t, json_t *model, json_t *added, const char *name, lct_error *err) {
  json_t *type = json_object_get(model, "type"), *vocab = json_object_get(model, "vocab"), *merges = json_object_get(model, "merges");
  if (!json_is_object(model)) return lct_fail(err, LCT_E_FORMAT, "%s: \"model\" is missing or not an object", name);
  if (!json_is_string(type) || strcmp(json_string_value(type), "BPE") != 0) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: model.type is \"%.60s\", only \"BPE\" is supported", name,
                    json_is_string(type) ? json_string_value(type) : "missing");
  }
  if (!json_is_object(vocab)) return lct_fail(err, LCT_E_FORMAT, "%s: model.vocab is missing or not an object", name);
  if (!json_is_array(merges)) return lct_fail(err, LCT_E_FORMAT, "%s: model.merges is missing or not an array", name);
  if (is_set(model, "dropout") && json_number_value(json_object_get(model, "dropout")) != 0.0) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: model.dropout is not supported", name);
  }
  LCT_TRY(check_affix(model, "continuing_subword_prefix", name, err));
  LCT_TRY(check_affix(model, "end_of_word_suffix", name, err));
  t->bpe.whole_words = json_is_true(json_object_get(model, "ignore_merges"));
  LCT_TRY(add_vocab(t, vocab, json_object_size(vocab) + count_new_tokens(vocab, added), name, err));
  LCT_TRY(add_merges(t, merges, name, err));
  bool all_bytes = true;
  for (unsigned i = 0; i < 256; i++) {
    unsigned char text[4];
    all_bytes = all_bytes &&
                lct_bpe_find(&t->bpe, (char *)text, lct_utf8_encode(lct_bpe_byte_char((unsigned char)i), text)) != LCT_BPE_NONE;
  }
  /* with every byte in the vocabulary neither is ever used */
  if (!all_bytes && (is_set(model, "unk_token") || json_is_true(json_object_get(model, "byte_fallback")))) {
    return lct_fail(err, LCT_E_UNSUPPORTED,
                    "%s: model.unk_token and model.byte_fallback are not supported where the vocabulary lacks bytes", name);
  }
  return LCT_OK;
}

static bool flag(json_t *o, const char *key) { return json_is_true(json_object_get(o, key)); }

/* An added token beyond the model's vocabulary. A normalized one decodes to its normal form. */
static lct_status add_new_id(lct_tokenizer *t, const lct_added_token *a, const char *name, lct_error *err) {
  if (!a->normalized || !t->nfc) return lct_bpe_add_token(&t->bpe, (uint32_t)a->id, a->content, a->n, false, name, err);
  lct_nfc work = {0};
  lct_status s = lct_nfc_apply(&work, &t->classes, (const unsigned char *)a->content, a->n, err);
  if (s == LCT_OK) s = lct_bpe_add_token(&t->bpe, (uint32_t)a->id, (const char *)work.text, work.len, false, name, err);
  lct_nfc_free(&work);
  return s;
}

static lct_status add_added_token(lct_tokenizer *t, json_t *v, size_t index, size_t n_ids, const char *name, lct_error *err) {
  json_t *content = json_object_get(v, "content"), *id = json_object_get(v, "id");
  if (!json_is_string(content) || json_string_length(content) == 0 || !json_is_integer(id)) {
    return lct_fail(err, LCT_E_FORMAT, "%s: added_tokens[%zu] has no \"content\" or no \"id\"", name, index);
  }
  const char *text = json_string_value(content);
  size_t n = json_string_length(content);
  if (json_integer_value(id) < 0 || (size_t)json_integer_value(id) >= n_ids) {
    return lct_fail(err, LCT_E_FORMAT, "%s: added_tokens[%zu] \"%.60s\" has id %lld, expected 0 to %zu: ids have no holes", name, index,
                    text, (long long)json_integer_value(id), n_ids - 1);
  }
  lct_added_token a = {.content = text,
                       .n = n,
                       .id = (int32_t)json_integer_value(id),
                       .special = flag(v, "special"),
                       .lstrip = flag(v, "lstrip"),
                       .rstrip = flag(v, "rstrip"),
                       .single_word = flag(v, "single_word"),
                       .normalized = flag(v, "normalized")};
  if (lct_added_find(&t->added, text, n) != NULL) {
    return lct_fail(err, LCT_E_FORMAT, "%s: added token \"%.60s\" occurs twice", name, text);
  }
  uint32_t known = lct_bpe_find(&t->bpe, text, n);
  if (known == LCT_BPE_NONE) {
    LCT_TRY(add_new_id(t, &a, name, err));
  } else if (known != (uint32_t)a.id) {
    return lct_fail(err, LCT_E_FORMAT, "%s: added token \"%.60s\" has two ids, %u in model.vocab and %d in added_tokens", name, text,
                    (unsigned)known, (int)a.id);
  }
  return lct_added_append(&t->added, &a, err);
}

static lct_status add_added_tokens(lct_tokenizer *t, json_t *added, size_t n_ids, const char *name, lct_error *err) {
  if (added != NULL && !json_is_null(added) && !json_is_array(added)) {
    return lct_fail(err, LCT_E_FORMAT, "%s: added_tokens is not an array", name);
  }
  size_t i;
  json_t *v;
  json_array_foreach(added, i, v) LCT_TRY(add_added_token(t, v, i, n_ids, name, err));
  return LCT_OK;
}

/* The text of a token in tokenizer_config.json: a string or an object with "content". */
static int32_t config_token(const lct_tokenizer *t, json_t *config, const char *key) {
  json_t *v = json_object_get(config, key);
  if (json_is_object(v)) v = json_object_get(v, "content");
  return json_is_string(v) ? lct_tokenizer_id(t, json_string_value(v)) : -1;
}

static lct_status add_config(lct_tokenizer *t, const char *text, size_t n, const char *name, lct_error *err) {
  json_t *config = NULL;
  /* transformers writes model_max_length 1000000000000000019884624838656 where there is no limit; no integer of this file is used */
  lct_status s = load(text, n, JSON_DECODE_INT_AS_REAL, "tokenizer_config.json", &config, err);
  if (s != LCT_OK) return lct_fail_context(err, s, "beside %s", name);
  t->bos = config_token(t, config, "bos_token");
  t->eos = config_token(t, config, "eos_token");
  t->pad = config_token(t, config, "pad_token");
  json_t *template = json_object_get(config, "chat_template"), *v;
  if (json_is_array(template)) { /* several, by name */
    json_t *list = template;
    size_t i;
    template = NULL;
    json_array_foreach(list, i, v) {
      const char *key = json_string_value(json_object_get(v, "name"));
      if (key != NULL && strcmp(key, "default") == 0) template = json_object_get(v, "template");
    }
  }
  if (json_is_string(template)) {
    s = lct_tokenizer_set_template(t, json_string_value(template), json_string_length(template), err);
  }
  json_decref(config);
  return s;
}

static lct_status add_everything(lct_tokenizer *t, json_t *root, const char *name, lct_error *err) {
  json_t *added = json_object_get(root, "added_tokens"), *model = json_object_get(root, "model");
  LCT_TRY(lct_tokenizer_add_normalizer(t, json_object_get(root, "normalizer"), name, err));
  LCT_TRY(add_model(t, model, added, name, err));
  json_t *vocab = json_object_get(model, "vocab");
  LCT_TRY(add_added_tokens(t, added, json_object_size(vocab) + count_new_tokens(vocab, added), name, err));
  LCT_TRY(lct_tokenizer_add_pretok(t, json_object_get(root, "pre_tokenizer"), name, err));
  LCT_TRY(lct_tokenizer_add_post(t, json_object_get(root, "post_processor"), name, err));
  LCT_TRY(lct_tokenizer_check_decoder(json_object_get(root, "decoder"), name, err));
  return lct_tokenizer_finish(t, name, err);
}

lct_status lct_tokenizer_parse(const char *json, size_t n, const char *config, size_t config_n, const char *name, lct_tokenizer **out,
                               lct_error *err) {
  json_t *root = NULL;
  LCT_TRY(load(json, n, 0, name, &root, err));
  lct_tokenizer *t = NULL;
  lct_status s = lct_tokenizer_new(&t, err);
  if (s == LCT_OK) s = add_everything(t, root, name, err);
  json_decref(root);
  if (s == LCT_OK && config != NULL) s = add_config(t, config, config_n, name, err);
  if (s == LCT_OK) {
    *out = t;
  } else {
    lct_tokenizer_free(t);
  }
  return s;
}
