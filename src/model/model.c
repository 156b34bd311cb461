#include "model/model.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/config.h"
#include "model/gguf.h"
#include "model/tensors.h"

#define MAX_CONFIG_BYTES ((size_t)16 << 20)
#define MAX_LISTED 8

/* All layers of the families known so far. */
lct_layer_kind lct_config_layer_kind(const lct_config *c, int layer) {
  (void)c;
  (void)layer;
  return LCT_LAYER_ATTENTION;
}

int64_t lct_model_n_params(const lct_model *m) {
  int64_t total = 0;
  for (int i = 0; i < lct_model_n_tensors(m); i++) {
    const lct_tensor *t = lct_model_tensor(m, i);
    if (t != NULL) total += t->rows * t->cols;
  }
  return total;
}

void lct_model_unmap(lct_model *m) {
  if (m == NULL) return;
  lct_gguf_free(m->gguf);
  for (size_t i = 0; i < m->n_maps; i++) lct_map_close(&m->maps[i]);
  free(m->maps);
  free(m->layers);
  free(m->path);
  free(m->format);
  lct_arena_free(&m->arena);
  free(m);
}

static lct_status set_origin(lct_model *m, const char *path, const char *format, lct_error *err) {
  m->path = strdup(path);
  m->format = strdup(format);
  if (m->path == NULL || m->format == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the path of %s", path);
  return LCT_OK;
}

static lct_status load_folder(const char *dir, lct_model *m, lct_error *err) {
  lct_buf path = {0}, text = {0};
  lct_status s = LCT_OK;
  LCT_TRY_GOTO(s, set_origin(m, dir, "safetensors", err), done);
  LCT_TRY_GOTO(s, lct_path_join(&path, dir, "config.json", err), done);
  LCT_TRY_GOTO(s, lct_file_read(path.data, MAX_CONFIG_BYTES, &text, err), done);
  LCT_TRY_GOTO(s, lct_config_parse(text.data, text.len, path.data, &m->config, err), done);
  LCT_TRY_GOTO(s, lct_path_join(&path, dir, "generation_config.json", err), done);
  if (lct_path_exists(path.data)) {
    text.len = 0;
    LCT_TRY_GOTO(s, lct_file_read(path.data, MAX_CONFIG_BYTES, &text, err), done);
    LCT_TRY_GOTO(s, lct_config_add_generation(text.data, text.len, path.data, &m->config, err), done);
  }
  s = lct_safetensors_load(dir, m, err);
done:
  lct_buf_free(&path);
  lct_buf_free(&text);
  return s;
}

static lct_status load_gguf(const char *path, lct_model *m, lct_error *err) {
  FILE *f = fopen(path, "rbe");
  if (f == NULL) return lct_fail_errno(err, errno, "cannot open model %s", path);
  unsigned char magic[4] = {0};
  size_t n = fread(magic, 1, sizeof magic, f);
  (void)fclose(f);
  if (n != sizeof magic || memcmp(magic, "GGUF", 4) != 0) {
    return lct_fail(err, LCT_E_FORMAT,
                    "%s is not a GGUF file: expected \"GGUF\" at byte 0, found %02x %02x %02x %02x (a Hugging Face model is "
                    "given by its folder)",
                    path, magic[0], magic[1], magic[2], magic[3]);
  }
  LCT_TRY(set_origin(m, path, "gguf", err));
  return lct_gguf_load(path, m, err);
}

static int is_gguf(const struct dirent *e) {
  size_t n = strlen(e->d_name);
  return n > 5 && strcmp(e->d_name + n - 5, ".gguf") == 0;
}

/* A folder without config.json: the one .gguf file in it. */
static lct_status load_only_gguf(const char *dir, lct_model *m, lct_error *err) {
  struct dirent **list = NULL;
  int n = scandir(dir, &list, is_gguf, alphasort);
  if (n < 0) return lct_fail_errno(err, errno, "cannot list %s", dir);
  lct_buf text = {0};
  lct_status s = LCT_OK;
  if (n == 1) {
    s = lct_path_join(&text, dir, list[0]->d_name, err);
    if (s == LCT_OK) s = load_gguf(text.data, m, err);
  } else if (n == 0) {
    s = lct_fail(err, LCT_E_FORMAT, "%s is not a model folder: neither config.json nor a .gguf file in it", dir);
  } else {
    for (int i = 0; i < n && i < MAX_LISTED && s == LCT_OK; i++) s = lct_buf_printf(&text, err, "%s%s", i > 0 ? ", " : "", list[i]->d_name);
    if (s == LCT_OK && n > MAX_LISTED) s = lct_buf_puts(&text, ", ...", err);
    if (s == LCT_OK) s = lct_fail(err, LCT_E_FORMAT, "%s holds %d .gguf files: name one of them (%s)", dir, n, text.data);
  }
  for (int i = 0; i < n; i++) free(list[i]);
  free(list);
  lct_buf_free(&text);
  return s;
}

static lct_status load(const char *path, lct_model *m, lct_error *err) {
  if (!lct_path_exists(path)) return lct_fail_errno(err, errno, "cannot open model %s", path);
  if (!lct_path_is_dir(path)) return load_gguf(path, m, err);
  lct_buf config = {0};
  LCT_TRY(lct_path_join(&config, path, "config.json", err));
  bool folder = lct_path_exists(config.data);
  lct_buf_free(&config);
  return folder ? load_folder(path, m, err) : load_only_gguf(path, m, err);
}

lct_status lct_model_map(const char *path, lct_model **out, lct_error *err) {
  *out = NULL;
  lct_model *m = NULL;
  LCT_TRY(lct_calloc(&m, 1, sizeof *m, "the model", err));
  lct_status s = load(path, m, err);
  if (s == LCT_OK) s = lct_model_hash(m, err);
  if (s != LCT_OK) {
    lct_model_unmap(m);
    return s;
  }
  *out = m;
  return LCT_OK;
}
