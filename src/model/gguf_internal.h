/* Shared by gguf.c (header, metadata), gguf_tensors.c (tensor table) and gguf_load.c. */
#ifndef LCT_MODEL_GGUF_INTERNAL_H
#define LCT_MODEL_GGUF_INTERNAL_H

#include "model/gguf.h"

/* The value types of the file format, by id. */
typedef enum {
  GV_U8,
  GV_I8,
  GV_U16,
  GV_I16,
  GV_U32,
  GV_I32,
  GV_F32,
  GV_BOOL,
  GV_STRING,
  GV_ARRAY,
  GV_U64,
  GV_I64,
  GV_F64,
  GV_COUNT
} gguf_value_type;

typedef struct {
  lct_str key;
  gguf_value_type type, elem; /* elem: of an array */
  uint64_t n;                 /* elements of an array, bytes of a string */
  const unsigned char *data;  /* value, or first element */
  uint64_t *str_offsets;      /* string array: where each element's length stands, from data */
} gguf_kv;

struct lct_gguf {
  char *file;
  gguf_kv *kv; /* sorted by key */
  size_t n_kv, cap_kv;
  lct_gguf_tensor *tensors; /* in the file's order */
  size_t n_tensors, cap_tensors;
  const lct_gguf_tensor **by_name; /* sorted */
  lct_arena arena;                 /* file, tensor names, string offsets */
};

/* Where the parser stands, and what it is reading, for messages. */
typedef struct {
  const unsigned char *data;
  size_t n, pos;
  const char *file;
  char where[160];
  lct_error *err;
} gguf_cursor;

/* Takes `need` bytes, or fails naming where and `what`. */
lct_status lct_gguf_take(gguf_cursor *c, uint64_t need, const char *what, const unsigned char **out) LCT_CHECKED;
lct_status lct_gguf_take_u32(gguf_cursor *c, const char *what, uint32_t *out) LCT_CHECKED;
lct_status lct_gguf_take_u64(gguf_cursor *c, const char *what, uint64_t *out) LCT_CHECKED;
/* A name: a string of 1..max bytes of printable ASCII. */
lct_status lct_gguf_take_name(gguf_cursor *c, const char *what, size_t max, lct_str *out) LCT_CHECKED;
/* For messages: s, cut to fit and ending in "..." then, bytes beyond printable ASCII as '?'. Returns out. */
#define LCT_GGUF_PRINTABLE 81
const char *lct_gguf_printable(lct_str s, char out[LCT_GGUF_PRINTABLE]);
/* c->where = `kind "name"`. */
void lct_gguf_set_where(gguf_cursor *c, const char *kind, lct_str name);

/* Reads the tensor infos at c, then checks names, alignment and offsets, and sets the data pointers. */
lct_status lct_gguf_parse_tensors(lct_gguf *g, gguf_cursor *c, uint64_t n_tensors) LCT_CHECKED;

/* Per-frequency divisors of a rope_freqs.weight tensor (n = head_dim / 2) into the llama3 scaling that made them;
 * false when none known here does. All ones leave the plain kind. */
bool lct_gguf_rope_recognise(const float *divisors, int n, lct_rope *rope);

#endif
