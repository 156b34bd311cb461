#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LARGE_PAGE = 1 << 21 };

bool lct_mul_ok(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
bool lct_add_ok(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }

static lct_status no_memory(size_t n, size_t size, const char *what, lct_error *err) {
  return lct_fail(err, LCT_E_NOMEM, "out of memory for %s: %zu x %zu bytes", what, n, size);
}

lct_status lct_calloc(void *out_ptr, size_t n, size_t size, const char *what, lct_error *err) {
  void *p = calloc(n ? n : 1, size ? size : 1);
  if (p == NULL) return no_memory(n, size, what, err);
  memcpy(out_ptr, &p, sizeof p);
  return LCT_OK;
}

lct_status lct_alloc_aligned(void *out_ptr, size_t n, size_t size, const char *what, lct_error *err) {
  size_t bytes = 0;
  if (!lct_mul_ok(n ? n : 1, size ? size : 1, &bytes) || !lct_add_ok(bytes, LCT_ALIGN - 1, &bytes)) {
    return no_memory(n, size, what, err);
  }
  void *p = aligned_alloc(LCT_ALIGN, bytes / LCT_ALIGN * LCT_ALIGN);
  if (p == NULL) return no_memory(n, size, what, err);
  memcpy(out_ptr, &p, sizeof p);
  return LCT_OK;
}

lct_status lct_alloc_large(void *out_ptr, size_t n, size_t size, const char *what, lct_error *err) {
  size_t bytes = 0;
  if (!lct_mul_ok(n, size, &bytes) || bytes < LARGE_PAGE) return lct_alloc_aligned(out_ptr, n, size, what, err);
  if (!lct_add_ok(bytes, LARGE_PAGE - 1, &bytes)) return no_memory(n, size, what, err);
  bytes = bytes / LARGE_PAGE * LARGE_PAGE;
  void *p = aligned_alloc(LARGE_PAGE, bytes);
  if (p == NULL) return no_memory(n, size, what, err);
  (void)madvise(p, bytes, MADV_HUGEPAGE); /* a wish: without large pages it is only slower */
  memcpy(out_ptr, &p, sizeof p);
  return LCT_OK;
}

lct_status lct_grow(void *ptr_to_ptr, size_t *cap, size_t need, size_t size, const char *what, lct_error *err) {
  if (need <= *cap) return LCT_OK;
  size_t n = *cap < 16 ? 16 : *cap;
  while (n < need) {
    if (!lct_mul_ok(n, 2, &n)) return no_memory(need, size, what, err);
  }
  size_t bytes = 0;
  if (!lct_mul_ok(n, size, &bytes)) return no_memory(need, size, what, err);
  void *p = NULL;
  memcpy(&p, ptr_to_ptr, sizeof p);
  void *q = realloc(p, bytes);
  if (q == NULL) return no_memory(need, size, what, err);
  memcpy(ptr_to_ptr, &q, sizeof q);
  *cap = n;
  return LCT_OK;
}

lct_status lct_buf_append(lct_buf *b, const void *bytes, size_t n, lct_error *err) {
  size_t need = 0;
  if (!lct_add_ok(b->len, n, &need) || !lct_add_ok(need, 1, &need)) return no_memory(b->len, 1, "text", err);
  LCT_TRY(lct_grow(&b->data, &b->cap, need, 1, "text", err));
  if (n > 0) memcpy(b->data + b->len, bytes, n);
  b->len += n;
  b->data[b->len] = '\0';
  return LCT_OK;
}

lct_status lct_buf_puts(lct_buf *b, const char *s, lct_error *err) { return lct_buf_append(b, s, strlen(s), err); }

lct_status lct_buf_printf(lct_buf *b, lct_error *err, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  if (n < 0) return lct_fail(err, LCT_E_INTERNAL, "could not format text");
  size_t need = 0;
  if (!lct_add_ok(b->len, (size_t)n + 1, &need)) return no_memory(b->len, 1, "text", err);
  LCT_TRY(lct_grow(&b->data, &b->cap, need, 1, "text", err));
  va_start(ap, fmt);
  (void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
  va_end(ap);
  b->len += (size_t)n;
  return LCT_OK;
}

void lct_buf_free(lct_buf *b) {
  if (b == NULL) return;
  free(b->data);
  *b = (lct_buf){0};
}

struct lct_arena_block {
  lct_arena_block *next;
  size_t used, cap;
  _Alignas(16) unsigned char bytes[];
};

void *lct_arena_alloc(lct_arena *a, size_t n) {
  if (n > SIZE_MAX - 64 - sizeof(lct_arena_block)) return NULL;
  n = (n + 15) / 16 * 16;
  if (a->head == NULL || a->head->cap - a->head->used < n) {
    size_t cap = n > 65536 ? n : 65536;
    lct_arena_block *block = calloc(1, sizeof *block + cap);
    if (block == NULL) return NULL;
    block->cap = cap;
    block->next = a->head;
    a->head = block;
  }
  void *p = a->head->bytes + a->head->used;
  a->head->used += n;
  return p;
}

char *lct_arena_strndup(lct_arena *a, const char *s, size_t n) {
  if (n == SIZE_MAX) return NULL;
  char *p = lct_arena_alloc(a, n + 1);
  if (p != NULL && n > 0) memcpy(p, s, n);
  return p;
}

void lct_arena_free(lct_arena *a) {
  if (a == NULL) return;
  while (a->head != NULL) {
    lct_arena_block *next = a->head->next;
    free(a->head);
    a->head = next;
  }
}
