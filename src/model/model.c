#include "model/model.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/config.h"
#include "model/dequant.h"
#include "model/gguf.h"
#include "model/tensors.h"

#define MAX_CONFIG_BYTES ((size_t)16 << 20)
#define MAX_LISTED 8

size_t lct_tensor_bytes(const lct_tensor *t) { return (size_t)t->rows * lct_dtype_row_bytes(t->dtype, t->cols); }

/* All layers of the families known so far. */
lct_layer_kind lct_config_layer_kind(const lct_config *c, int layer) {
  (void)c;
  (void)layer;
  return LCT_LAYER_ATTENTION;
}

const char *lct_arch_name(lct_arch a) {
  static const char *const names[] = {"qwen2", "qwen3", "llama"};
  return (unsigned)a < sizeof names / sizeof names[0] ? names[a] : "unknown";
}

/* Where Hugging Face's row lies in a file that interleaves the two halves of each head. */
static int64_t file_row(int64_t row, int head_dim) {
  int64_t head = row / head_dim, within = row % head_dim, half = head_dim / 2;
  return head * head_dim + within % half * 2 + within / half;
}

void lct_tensor_row_f32(const lct_tensor *t, int64_t r, float *out) {
  const unsigned char *data = t->data;
  if (t->perm_head_dim > 0 && t->rows == 1) { /* a bias: its elements are the rows of its matrix */
    size_t size = lct_dtype_row_bytes(t->dtype, 1);
    for (int64_t i = 0; i < t->cols; i++) lct_dequant(t->dtype, data + (size_t)file_row(i, t->perm_head_dim) * size, 1, out + i);
    return;
  }
  int64_t row = t->perm_head_dim > 0 ? file_row(r, t->perm_head_dim) : r;
  lct_dequant(t->dtype, data + (size_t)row * lct_dtype_row_bytes(t->dtype, t->cols), t->cols, out);
}

const char *lct_model_file_of(const lct_model *m, const void *data) {
  const unsigned char *p = data;
  for (size_t i = 0; p != NULL && m->map_paths != NULL && i < m->n_maps; i++) {
    const lct_map *map = &m->maps[i];
    /* one past the end too: an empty tensor may lie there */
    if (map->data != NULL && p >= map->data && p <= map->data + map->size && m->map_paths[i] != NULL) return m->map_paths[i];
  }
  if (p == NULL && m->n_maps == 1 && m->map_paths != NULL) return m->map_paths[0];
  return m->path != NULL ? m->path : "model";
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
    for (int i = 0; i < n && i < MAX_LISTED && s == LCT_OK; i++)
      s = lct_buf_printf(&text, err, "%s%s", i > 0 ? ", " : "", list[i]->d_name);
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
