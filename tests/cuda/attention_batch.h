/* Batches for the tests of attention over whole batches: plans, decode batches, and the part of a backend that attention needs. */
#ifndef LCT_ATTENTION_BATCH_H
#define LCT_ATTENTION_BATCH_H

#include "cuda_test.h"
#include "internal.h"

static lct_error err;

/* Slot of position pos of the path of segment s, by its definition. */
static inline int32_t slot_of(const lct_segment *s, int32_t pos) {
  if (pos >= s->pos0) return s->kv0 + pos - s->pos0;
  for (int32_t r = 0; r < s->n_ranges; r++) {
    if (pos < s->ranges[r].n) return s->ranges[r].first + pos;
    pos -= s->ranges[r].n;
  }
  return -1;
}

/* (n_rows): the segment of each row */
static inline int32_t *segment_of_rows(const lct_batch *b) {
  int32_t *of = malloc((size_t)(b->n_rows + 1) * sizeof *of);
  assert_non_null(of);
  for (int32_t i = 0; i < b->n_segments; i++) {
    for (int32_t k = 0; k < b->segments[i].n_rows; k++) of[b->segments[i].row0 + k] = i;
  }
  return of;
}

/* The part of a backend that the lists need. */
static inline lct_backend *open_backend(lct_dtype t) {
  lct_backend *be = calloc(1, sizeof *be);
  assert_non_null(be);
  be->t = t;
  CUDA_OK(cudaStreamCreateWithFlags(&be->stream, cudaStreamNonBlocking));
  return be;
}

static inline void close_backend(lct_backend *be) {
  CUDA_OK(cudaStreamSynchronize(be->stream));
  lct_cuda_work_free(&be->work);
  assert_null(be->work.lists.p);
  CUDA_OK(cudaStreamDestroy(be->stream));
  free(be);
}

/* n sequences, many of them beginning like one before. */
static inline lct_plan *random_plan(uint32_t seed, int n, int most, int max_rows) {
  lct_plan *plan = NULL;
  int32_t *ids = malloc((size_t)(n * most) * sizeof *ids), *length = calloc((size_t)n, sizeof *length), seq = 0;
  assert_non_null(ids);
  assert_non_null(length);
  assert_ok(lct_plan_new(&plan, &err));
  for (int i = 0; i < n; i++) {
    uint32_t at = (uint32_t)i * 1000;
    int shared = 0;
    if (i > 0 && test_hash(seed, at) % 4 != 0) {
      int from = (int)(test_hash(seed, at + 1) % (uint32_t)i);
      shared = (int)(test_hash(seed, at + 2) % (uint32_t)(length[from] + 1));
      memcpy(ids + i * most, ids + from * most, (size_t)shared * sizeof *ids);
    }
    length[i] = shared + (int)(test_hash(seed, at + 3) % (uint32_t)(most - shared + 1));
    if (length[i] == 0) length[i] = 1;
    for (int k = shared; k < length[i]; k++) ids[i * most + k] = (int32_t)(test_hash(seed, at + 10 + (uint32_t)k) % 3);
    assert_ok(lct_plan_add(plan, ids + i * most, (size_t)length[i], &seq, &err));
  }
  assert_ok(lct_plan_build(plan, max_rows, &err));
  free(ids);
  free(length);
  return plan;
}

/* A conversation: a trunk of n tokens with a stub of three tokens behind every `step` of them. */
static inline void add_conversation(lct_plan *plan, int32_t first, int n, int step) {
  int32_t *ids = malloc((size_t)(n + 3) * sizeof *ids), seq = 0;
  assert_non_null(ids);
  for (int end = step; end <= n; end += step) {
    for (int i = 0; i < end; i++) ids[i] = first + i;
    for (int i = 0; i < 3; i++) ids[end + i] = 9000 + i;
    assert_ok(lct_plan_add(plan, ids, (size_t)end + 3, &seq, &err));
  }
  free(ids);
}

/* Every sequence of a plan one token further; behind its prompt `made` tokens that were generated before. */
static inline void decode_batch(const lct_plan *plan, int n, int32_t kv_base, int made, lct_batch *b) {
  lct_segment *segments = calloc((size_t)n, sizeof *segments);
  int32_t *positions = calloc((size_t)n, sizeof *positions);
  assert_non_null(segments);
  assert_non_null(positions);
  for (int i = 0; i < n; i++) {
    int32_t n_ranges = 0;
    const lct_kv_range *path = lct_plan_seq_ranges(plan, i, &n_ranges);
    lct_kv_range *ranges = calloc((size_t)n_ranges + 1, sizeof *ranges);
    assert_non_null(ranges);
    memcpy(ranges, path, (size_t)n_ranges * sizeof *ranges);
    if (made > 0) ranges[n_ranges++] = (lct_kv_range){kv_base + i * (made + 1), made};
    positions[i] = lct_plan_seq_len(plan, i) + made;
    segments[i] = (lct_segment){.row0 = i,
                                .n_rows = 1,
                                .pos0 = positions[i],
                                .kv0 = kv_base + i * (made + 1) + made,
                                .n_ranges = n_ranges,
                                .ranges = ranges};
  }
  *b = (lct_batch){.n_rows = n,
                   .n_segments = n,
                   .n_slots = kv_base + n * (made + 1),
                   .decode = true,
                   .tokens = positions,
                   .positions = positions,
                   .segments = segments};
}

static inline void free_decode_batch(lct_batch *b) {
  for (int32_t i = 0; i < b->n_segments; i++) free((void *)(uintptr_t)b->segments[i].ranges);
  free((void *)(uintptr_t)b->segments);
  free((void *)(uintptr_t)b->positions);
}

#endif
