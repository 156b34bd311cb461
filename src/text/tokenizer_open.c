/* Tokenizers of folders and of models. */
#include "text/tokenizer_internal.h"

#define MAX_FILE ((size_t)1 << 30)

/* Reads dir/name if it is there; *found tells. */
static lct_status read_optional(const char *dir, const char *name, lct_buf *out, bool *found, lct_error *err) {
  lct_buf path = {0};
  lct_status s = lct_path_join(&path, dir, name, err);
  *found = s == LCT_OK && lct_path_exists(path.data);
  if (*found) s = lct_file_read(path.data, MAX_FILE, out, err);
  lct_buf_free(&path);
  return s;
}

lct_status lct_tokenizer_open_dir(const char *dir, lct_tokenizer **out, lct_error *err) {
  lct_buf path = {0}, json = {0}, config = {0}, jinja = {0};
  lct_tokenizer *t = NULL;
  bool has_config = false, has_jinja = false;
  lct_status s;
  LCT_TRY_GOTO(s, lct_path_join(&path, dir, "tokenizer.json", err), done);
  LCT_TRY_GOTO(s, lct_file_read(path.data, MAX_FILE, &json, err), done);
  LCT_TRY_GOTO(s, read_optional(dir, "tokenizer_config.json", &config, &has_config, err), done);
  LCT_TRY_GOTO(s, read_optional(dir, "chat_template.jinja", &jinja, &has_jinja, err), done);
  LCT_TRY_GOTO(s, lct_tokenizer_parse(json.data, json.len, has_config ? config.data : NULL, config.len, path.data, &t, err), done);
  if (has_jinja) LCT_TRY_GOTO(s, lct_tokenizer_set_template(t, jinja.data, jinja.len, err), done);
  *out = t;
  t = NULL;
done:
  lct_tokenizer_free(t);
  lct_buf_free(&path);
  lct_buf_free(&json);
  lct_buf_free(&config);
  lct_buf_free(&jinja);
  return s;
}

lct_status lct_tokenizer_for_model(const lct_model *m, lct_tokenizer **out, lct_error *err) {
  return m->gguf != NULL ? lct_tokenizer_from_gguf(m->gguf, out, err) : lct_tokenizer_open_dir(m->path, out, err);
}
