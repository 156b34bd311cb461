/* What the parts of the CPU backend share: memory that grows, rows copied, rows spread over threads. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu/internal.h"

lct_status lct_cpu_reserve(lct_scratch *s, size_t bytes, const char *what, lct_error *err) {
  if (s->bytes >= bytes) return LCT_OK;
  void *p = NULL;
  LCT_TRY(lct_cpu_alloc(&p, bytes, what, err));
  free(s->p);
  *s = (lct_scratch){p, bytes};
  return LCT_OK;
}

lct_status lct_cpu_alloc(void *p_to_ptr, size_t bytes, const char *what, lct_error *err) {
  const size_t huge = (size_t)2 << 20;
  if (bytes < 2 * huge || bytes > SIZE_MAX - huge) return lct_alloc_aligned(p_to_ptr, bytes, 1, what, err);
  size_t rounded = (bytes + huge - 1) / huge * huge;
  void *p = aligned_alloc(huge, rounded);
  if (p == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for %s: %zu bytes", what, bytes);
  (void)madvise(p, rounded, MADV_HUGEPAGE); /* a hint: fewer page faults now, fewer TLB misses later */
  memcpy(p_to_ptr, &p, sizeof p);
  return LCT_OK;
}

lct_status lct_cpu_rows(lct_backend *be, int64_t n, int64_t width, lct_threads_body body, void *ctx, lct_error *err) {
  int64_t pieces = 4 * (int64_t)lct_threads_count(be->threads), most = n * width / (LCT_PARALLEL_MIN / 2);
  if (most < pieces) pieces = most;
  return lct_threads_for(be->threads, n, pieces > 1 ? (n - 1) / pieces + 1 : n, body, ctx, err);
}

void lct_cpu_copy_rows(void *dst, int64_t ldd, const void *src, int64_t lds, int n, int64_t width, size_t size) {
  for (int i = 0; i < n; i++) {
    memcpy((char *)dst + (size_t)(i * ldd) * size, (const char *)src + (size_t)(i * lds) * size, (size_t)width * size);
  }
}
