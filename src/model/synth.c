#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/config.h"
#include "model/synth_internal.h"

#define MAX_CONFIG_BYTES ((size_t)16 << 20)
#define SHARD_BYTES 5000000000

static lct_status read_dtype(const char *name, lct_dtype *t, const char **torch_name, lct_error *err) {
  static const struct {
    const char *name;
    lct_dtype dtype;
  } known[] = {{"bfloat16", LCT_DTYPE_BF16}, {"float16", LCT_DTYPE_F16}, {"float32", LCT_DTYPE_F32}};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    if (name != NULL && strcmp(name, known[i].name) != 0) continue;
    *t = known[i].dtype;
    *torch_name = known[i].name;
    return LCT_OK;
  }
  return lct_fail(err, LCT_E_USAGE, "dtype: expected bfloat16, float16 or float32, found \"%s\"", name);
}

static lct_status unknown_like(const char *like, lct_error *err) {
  lct_buf names = {0};
  lct_status s = LCT_OK;
  for (const char *const *p = lct_synth_names(); *p != NULL && s == LCT_OK; p++) {
    s = lct_buf_printf(&names, err, "%s%s", names.len > 0 ? ", " : "", *p);
  }
  if (s == LCT_OK) s = lct_fail(err, LCT_E_USAGE, "no model shape \"%s\": expected a config.json or one of %s", like, names.data);
  lct_buf_free(&names);
  return s;
}

static lct_status read_like(const char *like, lct_config *c, bool *tiny, lct_error *err) {
  *tiny = false;
  if (lct_synth_preset(like, c, tiny)) return LCT_OK;
  if (!lct_path_exists(like)) return unknown_like(like, err);
  lct_buf text = {0};
  lct_status s = lct_file_read(like, MAX_CONFIG_BYTES, &text, err);
  if (s == LCT_OK) s = lct_config_parse(text.data, text.len, like, c, err);
  lct_buf_free(&text);
  return s;
}

/* The model must have a row for every token. */
static lct_status fit_vocab(lct_config *c, bool may_grow, const lct_synth_vocab *v, const char *like, lct_error *err) {
  if (v->vocab > c->vocab) {
    if (!may_grow) {
      return lct_fail(err, LCT_E_USAGE, "%s: expected a vocabulary of at least the tokenizer's %d tokens, found %d", like, v->vocab,
                      c->vocab);
    }
    c->vocab = v->vocab;
  }
  if (v->n_eos > 0) {
    c->n_eos = v->n_eos;
    memcpy(c->eos, v->eos, sizeof v->eos);
  }
  return LCT_OK;
}

static lct_status write_json(const char *dir, const char *name, const lct_buf *text, lct_error *err) {
  lct_buf path = {0};
  lct_status s = lct_path_join(&path, dir, name, err);
  if (s == LCT_OK) s = lct_file_write_atomic(path.data, text->data, text->len, err);
  lct_buf_free(&path);
  return s;
}

static lct_status write_configs(const lct_config *c, const char *torch_dtype, const char *dir, lct_error *err) {
  lct_buf text = {0};
  lct_config first = *c;
  if (first.n_eos > 1) first.n_eos = 1; /* as Qwen's: one in config.json, all in generation_config.json */
  lct_status s = lct_config_write(&first, torch_dtype, &text, err);
  if (s == LCT_OK) s = write_json(dir, "config.json", &text, err);
  text.len = 0;
  if (s == LCT_OK) s = lct_buf_puts(&text, "{\n  \"do_sample\": false", err);
  for (int i = 0; i < c->n_eos && s == LCT_OK; i++) {
    s = lct_buf_printf(&text, err, "%s%d", i > 0 ? ", " : ",\n  \"eos_token_id\": [", c->eos[i]);
  }
  if (s == LCT_OK) s = lct_buf_puts(&text, c->n_eos > 0 ? "]\n}\n" : "\n}\n", err);
  if (s == LCT_OK) s = write_json(dir, "generation_config.json", &text, err);
  lct_buf_free(&text);
  return s;
}

static lct_status write_all(const lct_synth_options *o, const char *dir, lct_error *err) {
  lct_config c = {0};
  lct_dtype t = LCT_DTYPE_BF16;
  lct_synth_vocab vocab = {0};
  const char *torch_dtype = NULL;
  bool tiny = false;
  LCT_TRY(read_dtype(o->dtype, &t, &torch_dtype, err));
  LCT_TRY(read_like(o->like, &c, &tiny, err));
  if (o->tokenizer != NULL) LCT_TRY(lct_synth_copy_tokenizer(o->tokenizer, dir, &vocab, err));
  else LCT_TRY(lct_synth_write_tokenizer(dir, &vocab, err));
  if (o->tokenizer == NULL) c.bos = -1;
  LCT_TRY(fit_vocab(&c, tiny, &vocab, o->like, err));
  LCT_TRY(write_configs(&c, torch_dtype, dir, err));
  lct_threads *threads = NULL;
  LCT_TRY(lct_threads_new(0, &threads, err));
  lct_status s = lct_synth_write_weights(&c, o->seed, t, dir, SHARD_BYTES, threads, err);
  lct_threads_free(threads);
  return s;
}

static int not_dots(const struct dirent *e) { return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0; }

/* Ours alone, of files alone. */
static void remove_partial(const char *dir) {
  struct dirent **list = NULL;
  int n = scandir(dir, &list, not_dots, NULL);
  for (int i = 0; i < n; i++) {
    lct_buf path = {0};
    if (lct_path_join(&path, dir, list[i]->d_name, NULL) == LCT_OK) (void)unlink(path.data);
    lct_buf_free(&path);
    free(list[i]);
  }
  free(list);
  (void)rmdir(dir);
}

static lct_status check_target(const char *dir, lct_error *err) {
  if (!lct_path_exists(dir)) return LCT_OK;
  struct dirent **list = NULL;
  int n = scandir(dir, &list, not_dots, NULL);
  if (n < 0) return lct_fail_errno(err, errno, "cannot use %s as a folder", dir);
  for (int i = 0; i < n; i++) free(list[i]);
  free(list);
  return n == 0 ? LCT_OK : lct_fail(err, LCT_E_USAGE, "%s already exists and is not empty: expected a new folder", dir);
}

/* The folder that holds dir (without a trailing slash), made if need be. */
static lct_status make_parent(const char *dir, lct_error *err) {
  const char *slash = strrchr(dir, '/');
  if (slash == NULL || slash == dir) return LCT_OK;
  lct_buf parent = {0};
  lct_status s = lct_buf_append(&parent, dir, (size_t)(slash - dir), err);
  if (s == LCT_OK) s = lct_mkdirs(parent.data, err);
  lct_buf_free(&parent);
  return s;
}

lct_status lct_synth(const lct_synth_options *o, lct_error *err) {
  lct_buf dir = {0}, partial = {0};
  lct_status s = LCT_OK;
  LCT_TRY_GOTO(s, lct_buf_puts(&dir, o->dir, err), done);
  while (dir.len > 1 && dir.data[dir.len - 1] == '/') dir.data[--dir.len] = '\0';
  if (dir.len == 0) {
    s = lct_fail(err, LCT_E_USAGE, "the folder's name is empty");
    goto done;
  }
  LCT_TRY_GOTO(s, check_target(dir.data, err), done);
  LCT_TRY_GOTO(s, make_parent(dir.data, err), done);
  LCT_TRY_GOTO(s, lct_buf_printf(&partial, err, "%s.partial.%ld", dir.data, (long)getpid()), done);
  if (mkdir(partial.data, 0777) != 0) {
    s = lct_fail_errno(err, errno, "cannot create directory %s", partial.data);
    goto done;
  }
  s = write_all(o, partial.data, err);
  if (s == LCT_OK && rename(partial.data, dir.data) != 0) s = lct_fail_errno(err, errno, "cannot rename to %s", dir.data);
  if (s != LCT_OK) remove_partial(partial.data);
done:
  lct_buf_free(&dir);
  lct_buf_free(&partial);
  return s;
}
