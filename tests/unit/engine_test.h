/* What the tests of the engine share: tiny models made by synth in a temporary folder, and all that a forward pass shows. */
#ifndef LCT_ENGINE_TEST_H
#define LCT_ENGINE_TEST_H

#include <math.h>
#include <unistd.h>

#include "threads_support.h"

#include "base/file.h"
#include "capture/pool.h"
#include "engine/pass.h"
#include "model/synth.h"

/* The same tests run over both backends: the CPU's, and with TEST_CUDA the GPU's (or the host shim of it). A backend has two precisions;
 * TEST_TYPE is the oracle's type whose error bounds it: 0 bfloat16, 1 float16. */
#ifdef TEST_CUDA
#define TEST_THREADS 1 /* a GPU's results have no number of threads to depend on */
#define TEST_OPS lct_cuda_ops()
#define TEST_DEVICE "cuda:0"
#define TEST_FIRST LCT_PRECISION_F16
#define TEST_SECOND LCT_PRECISION_BF16
#else
#define TEST_THREADS 2
#define TEST_OPS lct_cpu_ops()
#define TEST_DEVICE "cpu"
#define TEST_FIRST LCT_PRECISION_EXACT
#define TEST_SECOND LCT_PRECISION_FAST
#endif
#define TEST_TYPE(precision) ((precision) == LCT_PRECISION_F16)

#define ALL_SOURCES ((1u << LCT_N_SOURCES) - 1)

typedef struct {
  char dir[64], path[80];
  lct_model *model;
} tiny;

static inline void tiny_remove(tiny *t) {
  char command[128];
  lct_model_unmap(t->model);
  (void)snprintf(command, sizeof command, "rm -rf '%s'", t->dir);
  assert_int_equal(system(command), 0);
}

/* Writes the model; the caller opens it (after having spoilt it, if it likes). */
static inline tiny tiny_write(const char *like, uint64_t seed) {
  tiny t = {.dir = "/tmp/lct-engine-XXXXXX"};
  lct_error err;
  assert_non_null(mkdtemp(t.dir));
  (void)snprintf(t.path, sizeof t.path, "%s/model", t.dir);
  assert_ok(lct_synth(&(lct_synth_options){.like = like, .seed = seed, .dir = t.path}, &err));
  return t;
}

static inline tiny tiny_make(const char *like, uint64_t seed) {
  tiny t = tiny_write(like, seed);
  lct_error err;
  assert_ok(lct_model_map(t.path, &t.model, &err));
  return t;
}

static inline lct_engine *open_engine(const lct_model *m, lct_precision precision, int n_threads) {
  lct_engine *e = NULL;
  lct_error err;
  assert_ok(lct_engine_new(m, TEST_OPS, &(lct_backend_options){.precision = precision, .threads = test_threads(n_threads)}, &e, &err));
  return e;
}

/* Every row a pass showed. */
typedef struct {
  const lct_config *c;
  const lct_batch *batch;
  float **rows; /* [layer * LCT_N_SOURCES + source], globals at layer 0: (n_rows, width) */
  int *n_shown; /* rows shown so far, of the same */
  float **attn; /* [layer * n_segments + segment]: (heads, n_rows of the segment, keys) */
  int *n_attn;
} shown;

static inline int tap_at(lct_source s, int layer) { return (layer < 0 ? 0 : layer) * LCT_N_SOURCES + (int)s; }

static inline lct_status take_rows(void *ctx, lct_source s, int layer, int row0, int n, const float *data, int64_t ld, lct_error *err) {
  (void)err;
  shown *k = ctx;
  int width = lct_source_width(s, k->c), at = tap_at(s, layer);
  assert_int_equal(layer < 0, lct_source_is_global(s));
  assert_int_equal(k->n_shown[at], row0); /* ranges ascend without gaps */
  for (int i = 0; i < n; i++) {
    memcpy(k->rows[at] + (size_t)(row0 + i) * (size_t)width, data + i * ld, (size_t)width * sizeof *data);
  }
  k->n_shown[at] += n;
  return LCT_OK;
}

static inline lct_status take_attn(void *ctx, int layer, int segment, int row0, int n, int n_keys, const float *data, lct_error *err) {
  (void)err;
  shown *k = ctx;
  const lct_segment *s = &k->batch->segments[segment];
  int at = layer * k->batch->n_segments + segment, from = row0 - s->row0;
  assert_int_equal(n_keys, s->pos0 + s->n_rows);
  assert_int_equal(k->n_attn[at], from);
  for (int h = 0; h < k->c->n_heads; h++) {
    memcpy(k->attn[at] + ((size_t)h * (size_t)s->n_rows + (size_t)from) * (size_t)n_keys, data + (size_t)h * (size_t)n * (size_t)n_keys,
           (size_t)n * (size_t)n_keys * sizeof *data);
  }
  k->n_attn[at] += n;
  return LCT_OK;
}

static inline void *checked_calloc(size_t n, size_t size) {
  void *p = calloc(n ? n : 1, size);
  assert_non_null(p);
  return p;
}

static inline shown shown_new(const lct_config *c, const lct_batch *b) {
  size_t taps = (size_t)c->n_layers * LCT_N_SOURCES, blocks = (size_t)c->n_layers * (size_t)b->n_segments;
  shown k = {.c = c, .batch = b};
  k.rows = checked_calloc(taps, sizeof *k.rows);
  k.n_shown = checked_calloc(taps, sizeof *k.n_shown);
  k.attn = checked_calloc(blocks, sizeof *k.attn);
  k.n_attn = checked_calloc(blocks, sizeof *k.n_attn);
  for (size_t i = 0; i < taps; i++) {
    k.rows[i] = checked_calloc((size_t)b->n_rows * (size_t)lct_source_width((lct_source)(i % LCT_N_SOURCES), c), sizeof(float));
  }
  for (size_t i = 0; i < blocks; i++) {
    const lct_segment *s = &b->segments[i % (size_t)b->n_segments];
    k.attn[i] = checked_calloc((size_t)c->n_heads * (size_t)s->n_rows * (size_t)(s->pos0 + s->n_rows), sizeof(float));
  }
  return k;
}

static inline void shown_free(shown *k) {
  for (int i = 0; i < k->c->n_layers * LCT_N_SOURCES; i++) free(k->rows[i]);
  for (int i = 0; i < k->c->n_layers * k->batch->n_segments; i++) free(k->attn[i]);
  free(k->rows);
  free(k->n_shown);
  free(k->attn);
  free(k->n_attn);
}

static inline lct_taker shown_taker(shown *k, uint32_t sources) {
  return (lct_taker){.ctx = k, .sources = sources, .rows = take_rows, .attention = take_attn};
}

/* A pass with one taker. */
static inline lct_status run_shown(lct_engine *e, const lct_batch *b, lct_kv *kv, const lct_taker *t, lct_error *err) {
  lct_pass pass = {.batch = b, .kv = kv};
  LCT_TRY(lct_pass_add(&pass, t, err));
  return lct_pass_run(e, &pass, err);
}

/* Runs the batch and keeps all there is; all of it was shown. */
static inline shown run_all(lct_engine *e, const lct_batch *b, lct_kv *kv) {
  lct_error err;
  shown k = shown_new(lct_engine_config(e), b);
  lct_taker t = shown_taker(&k, ALL_SOURCES);
  assert_ok(run_shown(e, b, kv, &t, &err));
  for (int l = 0; l < k.c->n_layers; l++) {
    for (int s = 0; s < LCT_N_SOURCES; s++) {
      bool expected = s != LCT_SOURCE_ATTN_WEIGHTS && (l == 0 || !lct_source_is_global((lct_source)s));
      assert_int_equal(k.n_shown[tap_at((lct_source)s, l)], expected ? b->n_rows : 0);
    }
    for (int i = 0; i < b->n_segments; i++) assert_int_equal(k.n_attn[l * b->n_segments + i], b->segments[i].n_rows);
  }
  return k;
}

/* One row of a tap; of attn_weights one head of it, *width: its keys up to the row's own position. */
static inline const float *shown_row(const shown *k, lct_source s, int layer, int row, int head, int *width) {
  if (s != LCT_SOURCE_ATTN_WEIGHTS) {
    *width = lct_source_width(s, k->c);
    return k->rows[tap_at(s, layer)] + (size_t)row * (size_t)*width;
  }
  int i = 0;
  while (row >= k->batch->segments[i].row0 + k->batch->segments[i].n_rows) i++;
  const lct_segment *seg = &k->batch->segments[i];
  size_t keys = (size_t)(seg->pos0 + seg->n_rows);
  *width = k->batch->positions[row] + 1;
  return k->attn[layer * k->batch->n_segments + i] + ((size_t)head * (size_t)seg->n_rows + (size_t)(row - seg->row0)) * keys;
}

/* How many blocks of shown_row a row of this source has. */
static inline int shown_heads(const shown *k, lct_source s) { return s == LCT_SOURCE_ATTN_WEIGHTS ? k->c->n_heads : 1; }

/* The rows of a sequence of a plan, in order of position; the caller's. */
static inline lct_row_range *seq_rows(const lct_plan *p, int seq, int32_t *n) {
  const lct_kv_range *slots = lct_plan_seq_ranges(p, seq, n);
  lct_row_range *rows = checked_calloc((size_t)*n, sizeof *rows);
  const lct_cut_batch whole = {.prefix = 0};
  *n = lct_cut_rows(&whole, slots, *n, rows);
  return rows;
}

/* Entries of the default positions of a prompt that is one message with its text at `content`, lying in path. */
static inline void message_entries(const lct_kv_range *path, int32_t n_path, lct_token_range content, lct_arena *arena,
                                   lct_pool_entry entries[LCT_N_DEFAULT_POSITIONS]) {
  static const lct_role user = LCT_ROLE_USER;
  lct_error err;
  lct_position *positions = NULL;
  lct_place places[LCT_N_DEFAULT_POSITIONS];
  const lct_cut_batch whole = {.prefix = 0};
  int n = 0;
  lct_prompt_shape shape = {.content = &content, .roles = &user};
  for (int32_t i = 0; i < n_path; i++) shape.n_tokens += path[i].n;
  assert_ok(lct_positions_parse("--positions", LCT_DEFAULT_POSITIONS, arena, &positions, &n, &err));
  assert_ok(lct_positions_place(positions, n, &shape, path, n_path, arena, places, &err));
  assert_ok(lct_pool_entries(places, n, &whole, arena, entries, &err));
}

/* A plan of the given sequences in one batch. */
static inline lct_plan *plan_of(const int32_t *const *ids, const int32_t *n, int n_seqs, int max_rows) {
  lct_plan *p = NULL;
  lct_error err;
  assert_ok(lct_plan_new(&p, &err));
  for (int i = 0; i < n_seqs; i++) {
    int32_t seq = -1;
    assert_ok(lct_plan_add(p, ids[i], (size_t)n[i], &seq, &err));
    assert_int_equal(seq, i);
  }
  assert_ok(lct_plan_build(p, max_rows, &err));
  return p;
}

/* The signs of gen_parity.py's projections. */
static inline double test_sign(uint32_t i, uint32_t k) {
  uint32_t u = i * 2 + k;
  u = (u ^ (u >> 16)) * 0x7FEB352Du;
  u = (u ^ (u >> 15)) * 0x846CA68Bu;
  return (u ^ (u >> 16)) & 1u ? -1.0 : 1.0;
}

#endif
