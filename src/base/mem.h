/* Memory: checked sizes, 64-byte alignment for numeric buffers, a growable byte buffer, an arena. */
#ifndef LCT_BASE_MEM_H
#define LCT_BASE_MEM_H

#include "base/status.h"

#define LCT_ALIGN 64

/* A pointer for functions of other libraries that change nothing behind it and do not say so. */
static inline void *lct_unconst(const void *p) { return (void *)(uintptr_t)p; }

/* Zeroed array of n elements; n*size is checked. n == 0 gives a valid non-NULL pointer. Free with free(). */
lct_status lct_calloc(void *out_ptr, size_t n, size_t size, const char *what, lct_error *err) LCT_CHECKED;
/* As lct_calloc without zeroing and aligned to LCT_ALIGN, rounded up to it. Free with free(). */
lct_status lct_alloc_aligned(void *out_ptr, size_t n, size_t size, const char *what, lct_error *err) LCT_CHECKED;
/* As lct_alloc_aligned; from 2 MiB on in large pages where the system has them: for buffers that are walked in long strides. */
lct_status lct_alloc_large(void *out_ptr, size_t n, size_t size, const char *what, lct_error *err) LCT_CHECKED;
/* Grows *ptr (element size `size`) so that *cap >= need, doubling. */
lct_status lct_grow(void *ptr_to_ptr, size_t *cap, size_t need, size_t size, const char *what, lct_error *err) LCT_CHECKED;
/* a*b and a+b; false on overflow. */
bool lct_mul_ok(size_t a, size_t b, size_t *out);
bool lct_add_ok(size_t a, size_t b, size_t *out);

/* Growable bytes; data is always NUL-terminated behind len once anything was appended. Zero-initialise. */
typedef struct {
  char *data;
  size_t len, cap;
} lct_buf;

lct_status lct_buf_append(lct_buf *b, const void *bytes, size_t n, lct_error *err) LCT_CHECKED;
lct_status lct_buf_puts(lct_buf *b, const char *s, lct_error *err) LCT_CHECKED;
lct_status lct_buf_printf(lct_buf *b, lct_error *err, const char *fmt, ...) LCT_PRINTF(3, 4) LCT_CHECKED;
void lct_buf_free(lct_buf *b);

/* Arena: many small allocations with one life. Zero-initialise. */
typedef struct lct_arena_block lct_arena_block;
typedef struct {
  lct_arena_block *head;
} lct_arena;

/* n bytes, zeroed, aligned to 16; NULL when memory is out. */
void *lct_arena_alloc(lct_arena *a, size_t n);
/* NUL-terminated copy of n bytes (which may contain NUL). */
char *lct_arena_strndup(lct_arena *a, const char *s, size_t n);
void lct_arena_free(lct_arena *a);

#endif
