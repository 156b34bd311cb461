/* Another model's tokenizer for a synthetic one. */
#include <stdlib.h>
#include <string.h>

#include "model/jsonio.h"
#include "model/synth_internal.h"

#define MAX_FILE_BYTES ((size_t)128 << 20)
#define MAX_DEPTH 64

static lct_status copy_file(const char *from, const char *to, const char *name, bool required, lct_error *err) {
  lct_buf path = {0}, data = {0};
  lct_status s = LCT_OK;
  LCT_TRY_GOTO(s, lct_path_join(&path, from, name, err), done);
  if (!required && !lct_path_exists(path.data)) goto done;
  LCT_TRY_GOTO(s, lct_file_read(path.data, MAX_FILE_BYTES, &data, err), done);
  LCT_TRY_GOTO(s, lct_path_join(&path, to, name, err), done);
  s = lct_file_write_atomic(path.data, data.data, data.len, err);
done:
  lct_buf_free(&path);
  lct_buf_free(&data);
  return s;
}

/* *out NULL when the file is absent. tokenizer_config.json holds model_max_length 1e30 as an integer where there is no limit. */
static lct_status load_json(const char *dir, const char *name, size_t flags, json_t **out, lct_error *err) {
  lct_buf path = {0}, data = {0};
  lct_status s = LCT_OK;
  *out = NULL;
  LCT_TRY_GOTO(s, lct_path_join(&path, dir, name, err), done);
  if (!lct_path_exists(path.data)) goto done;
  LCT_TRY_GOTO(s, lct_file_read(path.data, MAX_FILE_BYTES, &data, err), done);
  s = lct_json_parse(data.data, data.len, MAX_DEPTH, flags, path.data, out, err);
done:
  lct_buf_free(&path);
  lct_buf_free(&data);
  return s;
}

/* Highest id + 1, and the id of the token whose text is eos (-1: none). */
static int scan_ids(const json_t *root, const char *eos, int32_t *eos_id) {
  json_int_t top = -1;
  const char *key = NULL;
  json_t *v = NULL;
  size_t i = 0;
  *eos_id = -1;
  json_object_foreach(json_object_get(json_object_get(root, "model"), "vocab"), key, v) {
    if (json_integer_value(v) > top) top = json_integer_value(v);
    if (eos != NULL && strcmp(key, eos) == 0) *eos_id = (int32_t)json_integer_value(v);
  }
  json_array_foreach(json_object_get(root, "added_tokens"), i, v) {
    json_int_t id = json_integer_value(json_object_get(v, "id"));
    const char *text = json_string_value(json_object_get(v, "content"));
    if (id > top) top = id;
    if (eos != NULL && text != NULL && strcmp(text, eos) == 0) *eos_id = (int32_t)id;
  }
  return top < 0 || top >= INT32_MAX ? 0 : (int)top + 1;
}

static lct_status read_vocab(const char *dir, lct_synth_vocab *out, lct_error *err) {
  json_t *root = NULL, *config = NULL;
  lct_status s = load_json(dir, "tokenizer.json", 0, &root, err);
  if (s == LCT_OK) s = load_json(dir, "tokenizer_config.json", JSON_DECODE_INT_AS_REAL, &config, err);
  if (s == LCT_OK) {
    const json_t *token = json_object_get(config, "eos_token");
    const char *eos = json_string_value(json_is_object(token) ? json_object_get(token, "content") : token);
    int32_t id = -1;
    out->vocab = scan_ids(root, eos, &id);
    if (out->vocab == 0) s = lct_fail(err, LCT_E_FORMAT, "%s/tokenizer.json: expected a vocabulary with ids, found none", dir);
    if (id >= 0) {
      out->n_eos = 1;
      out->eos[0] = id;
    }
  }
  json_decref(root);
  json_decref(config);
  return s;
}

lct_status lct_synth_copy_tokenizer(const char *from, const char *dir, lct_synth_vocab *out, lct_error *err) {
  static const char *const names[] = {"tokenizer.json",          "tokenizer_config.json", "vocab.json",         "merges.txt",
                                      "special_tokens_map.json", "added_tokens.json",     "chat_template.jinja"};
  *out = (lct_synth_vocab){0};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) LCT_TRY(copy_file(from, dir, names[i], i == 0, err));
  return read_vocab(from, out, err);
}
