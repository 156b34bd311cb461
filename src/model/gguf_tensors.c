#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/gguf_internal.h"

#define MAX_NAME_BYTES 64
#define DEFAULT_ALIGNMENT 32
/* The shortest tensor info: name length, one byte of name, n_dims, one dimension, type, offset. */
#define MIN_INFO_BYTES 33

static const struct {
  lct_dtype dtype;
  uint32_t ggml;
  int block, bytes;
} tensor_types[] = {
#define TENSOR_TYPE(id, name, ggml, block, bytes) {LCT_DTYPE_##id, ggml, block, bytes},
    LCT_DTYPES(TENSOR_TYPE)
#undef TENSOR_TYPE
};

/* GGML types that files hold and this program does not read, for a message that says what they are. */
static const char *unsupported_name(uint32_t ggml) {
  static const char *const names[] = {
      [9] = "Q8_1",   [10] = "Q2_K",   [11] = "Q3_K",  [15] = "Q8_K",  [16] = "IQ2_XXS", [17] = "IQ2_XS", [18] = "IQ3_XXS",
      [19] = "IQ1_S", [20] = "IQ4_NL", [21] = "IQ3_S", [22] = "IQ2_S", [23] = "IQ4_XS",  [24] = "I8",     [25] = "I16",
      [26] = "I32",   [27] = "I64",    [28] = "F64",   [29] = "IQ1_M", [34] = "TQ1_0",   [35] = "TQ2_0",  [39] = "MXFP4",
  };
  return ggml < sizeof names / sizeof names[0] && names[ggml] != NULL ? names[ggml] : "unknown";
}

static lct_status find_type(const gguf_cursor *c, uint32_t ggml, size_t *out) {
  size_t n = sizeof tensor_types / sizeof tensor_types[0];
  for (size_t i = 0; i < n; i++) {
    if (tensor_types[i].ggml == ggml) {
      *out = i;
      return LCT_OK;
    }
  }
#define TENSOR_TYPE_NAME(id, name, ggml, block, bytes) " " name
  return lct_fail(c->err, LCT_E_UNSUPPORTED, "%s: %s: type %" PRIu32 " (%s) is not supported; supported:" LCT_DTYPES(TENSOR_TYPE_NAME),
                  c->file, c->where, ggml, unsupported_name(ggml));
#undef TENSOR_TYPE_NAME
}

static lct_status parse_dims(gguf_cursor *c, lct_gguf_tensor *t, uint64_t *n_elements) {
  uint32_t n_dims = 0;
  LCT_TRY(lct_gguf_take_u32(c, "number of dimensions", &n_dims));
  if (n_dims < 1 || n_dims > 4) {
    return lct_fail(c->err, LCT_E_FORMAT, "%s: %s: expected 1 to 4 dimensions, found %" PRIu32, c->file, c->where, n_dims);
  }
  t->n_dims = (int)n_dims;
  *n_elements = 1;
  for (uint32_t i = 0; i < 4; i++) {
    uint64_t d = 1;
    if (i < n_dims) LCT_TRY(lct_gguf_take_u64(c, "dimension", &d));
    if (d < 1 || __builtin_mul_overflow(*n_elements, d, n_elements) || *n_elements > INT64_MAX) {
      return lct_fail(c->err, LCT_E_FORMAT, "%s: %s: dimension %" PRIu32 ": expected at least 1 and a product below 2^63, found %" PRIu64,
                      c->file, c->where, i, d);
    }
    t->dims[i] = (int64_t)d;
  }
  return LCT_OK;
}

static lct_status parse_info(lct_gguf *g, gguf_cursor *c, uint64_t index, lct_gguf_tensor *t) {
  lct_str name = {0};
  uint64_t n_elements = 0, n_bytes = 0;
  uint32_t ggml = 0;
  size_t type = 0;
  (void)snprintf(c->where, sizeof c->where, "tensor %" PRIu64, index);
  LCT_TRY(lct_gguf_take_name(c, "name", MAX_NAME_BYTES, &name));
  lct_gguf_set_where(c, "tensor", name);
  t->name = lct_arena_strndup(&g->arena, name.data, name.len);
  if (t->name == NULL) return lct_fail(c->err, LCT_E_NOMEM, "%s: %s: out of memory", c->file, c->where);
  LCT_TRY(parse_dims(c, t, &n_elements));
  LCT_TRY(lct_gguf_take_u32(c, "type", &ggml));
  LCT_TRY(find_type(c, ggml, &type));
  LCT_TRY(lct_gguf_take_u64(c, "offset", &t->offset));
  t->dtype = tensor_types[type].dtype;
  if (t->dims[0] % tensor_types[type].block != 0) {
    return lct_fail(c->err, LCT_E_FORMAT, "%s: %s: %s needs a first dimension that is a multiple of %d, found %" PRId64, c->file, c->where,
                    lct_dtype_name(t->dtype), tensor_types[type].block, t->dims[0]);
  }
  if (__builtin_mul_overflow(n_elements / (uint64_t)tensor_types[type].block, (uint64_t)tensor_types[type].bytes, &n_bytes) ||
      n_bytes > SIZE_MAX) {
    return lct_fail(c->err, LCT_E_FORMAT, "%s: %s: expected fewer than 2^64 bytes, found %" PRIu64 " elements of %s", c->file, c->where,
                    n_elements, lct_dtype_name(t->dtype));
  }
  t->n_bytes = (size_t)n_bytes;
  return LCT_OK;
}

static int compare_name(const void *a, const void *b) {
  const lct_gguf_tensor *const *x = a, *const *y = b;
  return strcmp((*x)->name, (*y)->name);
}

static int compare_offset(const void *a, const void *b) {
  const lct_gguf_tensor *const *x = a, *const *y = b;
  return ((*x)->offset > (*y)->offset) - ((*x)->offset < (*y)->offset);
}

static void where_tensor(gguf_cursor *c, const lct_gguf_tensor *t) { lct_gguf_set_where(c, "tensor", (lct_str){t->name, strlen(t->name)}); }

static lct_status check_names(lct_gguf *g, gguf_cursor *c) {
  qsort(g->by_name, g->n_tensors, sizeof *g->by_name, compare_name);
  for (size_t i = 1; i < g->n_tensors; i++) {
    if (strcmp(g->by_name[i - 1]->name, g->by_name[i]->name) != 0) continue;
    where_tensor(c, g->by_name[i]);
    return lct_fail(c->err, LCT_E_FORMAT, "%s: %s: expected once, found twice", c->file, c->where);
  }
  return LCT_OK;
}

static lct_status get_alignment(const lct_gguf *g, const gguf_cursor *c, uint64_t *out) {
  int64_t v = DEFAULT_ALIGNMENT;
  *out = DEFAULT_ALIGNMENT;
  if (!lct_gguf_has(g, "general.alignment")) return LCT_OK;
  if (!lct_gguf_i64(g, "general.alignment", &v)) {
    return lct_fail(c->err, LCT_E_FORMAT, "%s: metadata \"general.alignment\": expected an integer, found %s", c->file,
                    lct_gguf_type_of(g, "general.alignment"));
  }
  if (v < 8 || v > 1 << 30 || (v & (v - 1)) != 0) {
    return lct_fail(c->err, LCT_E_FORMAT, "%s: metadata \"general.alignment\": expected a power of two from 8 to 2^30, found %" PRId64,
                    c->file, v);
  }
  *out = (uint64_t)v;
  return LCT_OK;
}

/* Every tensor aligned and inside the file; sets data. */
static lct_status place_tensors(lct_gguf *g, gguf_cursor *c, uint64_t alignment) {
  uint64_t start = ((uint64_t)c->pos + alignment - 1) / alignment * alignment;
  if (start > c->n) {
    return lct_fail(c->err, LCT_E_FORMAT, "%s: tensor data: expected to start at byte %" PRIu64 ", found the file's end at %zu", c->file,
                    start, c->n);
  }
  uint64_t room = c->n - start;
  for (size_t i = 0; i < g->n_tensors; i++) {
    lct_gguf_tensor *t = &g->tensors[i];
    where_tensor(c, t);
    if (t->offset % alignment != 0) {
      return lct_fail(c->err, LCT_E_FORMAT, "%s: %s: offset: expected a multiple of %" PRIu64 ", found %" PRIu64, c->file, c->where,
                      alignment, t->offset);
    }
    if (t->offset > room || t->n_bytes > room - t->offset) {
      return lct_fail(c->err, LCT_E_FORMAT,
                      "%s: %s: expected %zu bytes at offset %" PRIu64 " of the tensor data, found %" PRIu64
                      " bytes of tensor data in all: truncated file",
                      c->file, c->where, t->n_bytes, t->offset, room);
    }
    t->data = c->data + start + t->offset;
  }
  return LCT_OK;
}

static lct_status check_overlap(lct_gguf *g, gguf_cursor *c) {
  qsort(g->by_name, g->n_tensors, sizeof *g->by_name, compare_offset);
  for (size_t i = 1; i < g->n_tensors; i++) {
    const lct_gguf_tensor *a = g->by_name[i - 1], *b = g->by_name[i];
    if (b->offset >= a->offset + a->n_bytes) continue;
    where_tensor(c, b);
    return lct_fail(c->err, LCT_E_FORMAT, "%s: %s: offset %" PRIu64 " lies inside tensor \"%s\" (%" PRIu64 " to %" PRIu64 ")", c->file,
                    c->where, b->offset, a->name, a->offset, a->offset + a->n_bytes);
  }
  return LCT_OK;
}

lct_status lct_gguf_parse_tensors(lct_gguf *g, gguf_cursor *c, uint64_t n_tensors) {
  size_t left = c->n - c->pos;
  uint64_t alignment = 0;
  if (n_tensors > left / MIN_INFO_BYTES) {
    return lct_fail(c->err, LCT_E_FORMAT,
                    "%s: header: tensor count: found %" PRIu64 ", expected at most %zu in the %zu bytes after the metadata", c->file,
                    n_tensors, left / MIN_INFO_BYTES, left);
  }
  for (uint64_t i = 0; i < n_tensors; i++) {
    lct_gguf_tensor t = {0};
    LCT_TRY(parse_info(g, c, i, &t));
    LCT_TRY(lct_grow(&g->tensors, &g->cap_tensors, g->n_tensors + 1, sizeof *g->tensors, "GGUF tensor table", c->err));
    g->tensors[g->n_tensors++] = t;
  }
  LCT_TRY(get_alignment(g, c, &alignment));
  if (n_tensors == 0) return LCT_OK;
  LCT_TRY(lct_calloc(&g->by_name, g->n_tensors, sizeof *g->by_name, "GGUF tensor table", c->err));
  for (size_t i = 0; i < g->n_tensors; i++) g->by_name[i] = &g->tensors[i];
  LCT_TRY(place_tensors(g, c, alignment));
  LCT_TRY(check_overlap(g, c));
  return check_names(g, c); /* last: leaves by_name sorted by name */
}

size_t lct_gguf_n_tensors(const lct_gguf *g) { return g->n_tensors; }

const lct_gguf_tensor *lct_gguf_tensor_at(const lct_gguf *g, size_t i) { return i < g->n_tensors ? &g->tensors[i] : NULL; }

const lct_gguf_tensor *lct_gguf_tensor_find(const lct_gguf *g, const char *name) {
  if (g->n_tensors == 0) return NULL;
  lct_gguf_tensor wanted = {.name = name};
  const lct_gguf_tensor *key = &wanted;
  const lct_gguf_tensor **hit = bsearch(&key, g->by_name, g->n_tensors, sizeof *g->by_name, compare_name);
  return hit != NULL ? *hit : NULL;
}
