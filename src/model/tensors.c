/* What can be asked of a tensor, and of the files that tensors lie in. */
#include "model/tensors.h"

#include "model/dequant.h"

size_t lct_tensor_bytes(const lct_tensor *t) { return (size_t)t->rows * lct_dtype_row_bytes(t->dtype, t->cols); }

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
