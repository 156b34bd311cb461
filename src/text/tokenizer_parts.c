#include "text/tokenizer_parts.h"

#include <string.h>

static bool absent(json_t *part) { return part == NULL || json_is_null(part); }

static const char *type_of(json_t *part) {
  const char *s = json_string_value(json_object_get(part, "type"));
  return s == NULL ? "" : s;
}

static bool is_type(json_t *part, const char *type) { return strcmp(type_of(part), type) == 0; }

static lct_status unsupported(json_t *part, const char *where, const char *name, lct_error *err) {
  return lct_fail(err, LCT_E_UNSUPPORTED, "%s: %s of type \"%.60s\" is not supported", name, where, type_of(part));
}

/* A flag that tokenizers takes for true when it is absent. */
static bool flag_or_true(json_t *part, const char *key) {
  json_t *v = json_object_get(part, key);
  return v == NULL || json_is_true(v);
}

/* Calls `one` for a part, or for each part of a "Sequence" listed under `key`; sequences do not nest. */
typedef lct_status (*part_fn)(lct_tokenizer *t, json_t *part, const char *name, lct_error *err);

static lct_status each(lct_tokenizer *t, json_t *part, const char *where, const char *key, part_fn one, const char *name, lct_error *err) {
  if (absent(part)) return LCT_OK;
  if (!is_type(part, "Sequence")) return one(t, part, name, err);
  json_t *list = json_object_get(part, key), *v;
  if (!json_is_array(list)) return lct_fail(err, LCT_E_FORMAT, "%s: %s.%s is not an array", name, where, key);
  size_t i;
  json_array_foreach(list, i, v) LCT_TRY(one(t, v, name, err));
  return LCT_OK;
}

static lct_status one_normalizer(lct_tokenizer *t, json_t *part, const char *name, lct_error *err) {
  if (!is_type(part, "NFC")) return unsupported(part, "normalizer", name, err);
  t->nfc = true;
  return LCT_OK;
}

lct_status lct_tokenizer_add_normalizer(lct_tokenizer *t, json_t *part, const char *name, lct_error *err) {
  return each(t, part, "normalizer", "normalizers", one_normalizer, name, err);
}

static lct_status add_split(lct_tokenizer *t, json_t *part, const char *name, lct_error *err) {
  json_t *regex = json_object_get(json_object_get(part, "pattern"), "Regex");
  const char *behavior = json_string_value(json_object_get(part, "behavior"));
  if (!json_is_string(regex)) return lct_fail(err, LCT_E_UNSUPPORTED, "%s: pre_tokenizer: a Split without a Regex is not supported", name);
  if (behavior == NULL || strcmp(behavior, "Isolated") != 0 || json_is_true(json_object_get(part, "invert"))) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: pre_tokenizer: a Split must be \"Isolated\" and not inverted, found behavior \"%.40s\"%s",
                    name, behavior == NULL ? "" : behavior, json_is_true(json_object_get(part, "invert")) ? ", inverted" : "");
  }
  return lct_pretok_add_regex(&t->pretok, json_string_value(regex), json_string_length(regex), name, err);
}

static lct_status one_pretok(lct_tokenizer *t, json_t *part, const char *name, lct_error *err) {
  if (t->byte_level) return lct_fail(err, LCT_E_UNSUPPORTED, "%s: pre_tokenizer: nothing may follow ByteLevel", name);
  if (is_type(part, "Split")) return add_split(t, part, name, err);
  if (is_type(part, "Digits")) {
    bool one_by_one = json_is_true(json_object_get(part, "individual_digits"));
    return lct_pretok_add(&t->pretok, one_by_one ? LCT_PRETOK_DIGIT : LCT_PRETOK_DIGITS, name, err);
  }
  if (!is_type(part, "ByteLevel")) return unsupported(part, "pre_tokenizer", name, err);
  t->byte_level = true;
  if (json_is_true(json_object_get(part, "add_prefix_space"))) LCT_TRY(lct_pretok_add(&t->pretok, LCT_PRETOK_SPACE, name, err));
  return flag_or_true(part, "use_regex") ? lct_pretok_add(&t->pretok, LCT_PRETOK_GPT2, name, err) : LCT_OK;
}

lct_status lct_tokenizer_add_pretok(lct_tokenizer *t, json_t *part, const char *name, lct_error *err) {
  LCT_TRY(each(t, part, "pre_tokenizer", "pretokenizers", one_pretok, name, err));
  return t->byte_level ? LCT_OK : lct_fail(err, LCT_E_UNSUPPORTED, "%s: pre_tokenizer without ByteLevel is not supported", name);
}

static lct_status push_id(int32_t **ids, size_t *n, size_t *cap, int32_t id, lct_error *err) {
  LCT_TRY(lct_grow(ids, cap, *n + 1, sizeof **ids, "template tokens", err));
  (*ids)[(*n)++] = id;
  return LCT_OK;
}

/* The ids of one special token of a template, before or behind the text. */
static lct_status add_template_token(lct_tokenizer *t, json_t *part, json_t *token, bool behind, const char *name, lct_error *err) {
  const char *key = json_string_value(json_object_get(token, "id"));
  json_t *ids = key == NULL ? NULL : json_object_get(json_object_get(json_object_get(part, "special_tokens"), key), "ids"), *v;
  if (!json_is_array(ids)) {
    return lct_fail(err, LCT_E_FORMAT, "%s: post_processor: special token \"%.60s\" has no ids", name, key == NULL ? "" : key);
  }
  size_t i;
  json_array_foreach(ids, i, v) {
    json_int_t id = json_integer_value(v);
    if (!json_is_integer(v) || id < 0 || (size_t)id >= t->bpe.n_tokens) {
      return lct_fail(err, LCT_E_FORMAT, "%s: post_processor: special token \"%.60s\" has id %lld, the vocabulary has 0 to %zu", name, key,
                      (long long)id, t->bpe.n_tokens - 1);
    }
    LCT_TRY(behind ? push_id(&t->suffix, &t->n_suffix, &t->suffix_cap, (int32_t)id, err)
                   : push_id(&t->prefix, &t->n_prefix, &t->prefix_cap, (int32_t)id, err));
  }
  return LCT_OK;
}

static lct_status add_template(lct_tokenizer *t, json_t *part, const char *name, lct_error *err) {
  json_t *single = json_object_get(part, "single"), *v;
  if (t->templated) return lct_fail(err, LCT_E_UNSUPPORTED, "%s: post_processor: more than one TemplateProcessing", name);
  if (!json_is_array(single)) return lct_fail(err, LCT_E_UNSUPPORTED, "%s: post_processor: the template's \"single\" is not a list", name);
  t->templated = true;
  bool behind = false;
  size_t i;
  json_array_foreach(single, i, v) {
    json_t *token = json_object_get(v, "SpecialToken");
    if (token != NULL) {
      LCT_TRY(add_template_token(t, part, token, behind, name, err));
    } else if (json_object_get(v, "Sequence") != NULL && !behind) {
      behind = true;
    } else {
      return lct_fail(err, LCT_E_UNSUPPORTED, "%s: post_processor: item %zu of the template is not supported", name, i);
    }
  }
  return behind ? LCT_OK : lct_fail(err, LCT_E_UNSUPPORTED, "%s: post_processor: the template leaves the text out", name);
}

static lct_status one_post(lct_tokenizer *t, json_t *part, const char *name, lct_error *err) {
  if (is_type(part, "TemplateProcessing")) return add_template(t, part, name, err);
  if (!is_type(part, "ByteLevel")) return unsupported(part, "post_processor", name, err);
  if (!flag_or_true(part, "trim_offsets")) return LCT_OK;
  t->trim_offsets = true;
  t->trim_keeps_first = flag_or_true(part, "add_prefix_space");
  return LCT_OK;
}

lct_status lct_tokenizer_add_post(lct_tokenizer *t, json_t *part, const char *name, lct_error *err) {
  return each(t, part, "post_processor", "processors", one_post, name, err);
}

static lct_status one_decoder(lct_tokenizer *t, json_t *part, const char *name, lct_error *err) {
  (void)t;
  return is_type(part, "ByteLevel") ? LCT_OK : unsupported(part, "decoder", name, err);
}

lct_status lct_tokenizer_check_decoder(json_t *part, const char *name, lct_error *err) {
  if (absent(part)) return lct_fail(err, LCT_E_UNSUPPORTED, "%s: a tokenizer without decoder is not supported, only ByteLevel is", name);
  return each(NULL, part, "decoder", "decoders", one_decoder, name, err);
}
