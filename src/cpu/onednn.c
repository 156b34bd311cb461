/* oneDNN's brgemm, one thread a call: a product is cut into pieces of rows and columns, and each is a call of its own on a thread of ours.
 *
 * How many threads oneDNN starts is OpenMP's setting of the thread that calls it. It is 1 while we call, so no team is ever started, and as it
 * was afterwards. A piece's bits are those of the whole: an element is one sum in an order that depends on k alone (lct_cpu_dnnl_open looks,
 * the unit tests look closer). */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/internal.h"

#define N_LADDER 11
/* Numbers of rows a primitive is made for; a call's rows are cut into these, the last cut padded. */
static const int ladder[N_LADDER] = {256, 192, 128, 96, 64, 32, 16, 8, 4, 2, 1};

#define ROWS_ALONE 128              /* least rows of a piece that has all columns: fewer read the weights too often */
#define PAD_ROWS 16                 /* at most so many rows are computed for nothing to save a second pass over the weights */
#define OUT_BYTES ((size_t)1 << 20) /* of a piece whose columns are some: it is computed apart, and copied out of the cache */

/* One matmul of m rows by some columns. */
struct lct_dnnl_prim {
  lct_dnnl_prim *next;
  int m;
  int64_t cols;
  dnnl_primitive_t prim;
  dnnl_memory_desc_t x, w, b, y, scratch;
};

/* Rows [row, row + rows) by columns [col, col + cols) of a product, as a matmul of m rows. */
typedef struct {
  const lct_dnnl_prim *prim;
  int row, rows;
  int64_t col, cols;
} piece;

static lct_status dnnl_failed(dnnl_status_t s, const char *what, int64_t m, int64_t k, int64_t n, lct_error *err) {
  return lct_fail(err, s == dnnl_out_of_memory ? LCT_E_NOMEM : LCT_E_INTERNAL, "oneDNN: %s (%lld x %lld x %lld): status %d", what,
                  (long long)m, (long long)k, (long long)n, (int)s);
}

#define DNNL_TRY(expr, what, m, k, n)                                                 \
  do {                                                                                \
    dnnl_status_t dnnl_try_ = (expr);                                                 \
    if (dnnl_try_ != dnnl_success) return dnnl_failed(dnnl_try_, what, m, k, n, err); \
  } while (0)

/* Makes oneDNN run in the calling thread alone. Returns what omp_set_num_threads gets afterwards. */
static int one_thread(void) {
  int callers = omp_get_max_threads();
  omp_set_num_threads(1);
  return callers;
}

static dnnl_data_type_t data_type(const lct_backend *be) { return be->precision == LCT_PRECISION_FAST ? dnnl_bf16 : dnnl_f32; }

/* p->m rows by p->cols columns; p->w is the packed weights', or says "any". The thread that runs it brings the scratch. */
static dnnl_status_t describe(const lct_backend *be, int64_t k, lct_dnnl_prim *p, dnnl_primitive_desc_t *out) {
  dnnl_dims_t dx = {p->m, k}, dy = {p->m, p->cols}, db = {1, p->cols};
  dnnl_matmul_desc_t d;
  dnnl_primitive_attr_t attr = NULL;
  dnnl_status_t st = dnnl_memory_desc_init_by_tag(&p->x, 2, dx, data_type(be), dnnl_ab);
  if (st == dnnl_success) st = dnnl_memory_desc_init_by_tag(&p->y, 2, dy, dnnl_f32, dnnl_ab);
  if (st == dnnl_success) st = dnnl_memory_desc_init_by_tag(&p->b, 2, db, dnnl_f32, dnnl_ab);
  if (st == dnnl_success) st = dnnl_matmul_desc_init(&d, &p->x, &p->w, &p->b, &p->y);
  if (st == dnnl_success) st = dnnl_primitive_attr_create(&attr);
  if (st == dnnl_success) st = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
  int callers = one_thread();
  if (st == dnnl_success) st = dnnl_primitive_desc_create(out, &d, attr, be->engine, NULL);
  omp_set_num_threads(callers);
  if (attr != NULL) (void)dnnl_primitive_attr_destroy(attr);
  return st;
}

/* On AMX (2.6) brgemm cuts its sums by the number of rows: it does not count. */
static bool is_brgemm(const_dnnl_primitive_desc_t pd) {
  const char *name = NULL;
  return dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name) == dnnl_success && name != NULL &&
         strncmp(name, "brg", 3) == 0 && strstr(name, "amx") == NULL;
}

/* Is w blocked as weights.c packs it: blocks of (kp, nb), for bf16 (kp/2, nb, 2), one after the other along n? */
static bool layout_known(const lct_backend *be, const dnnl_memory_desc_t *w, lct_gemm_shape *s) {
  bool bf16 = be->precision == LCT_PRECISION_FAST;
  const dnnl_blocking_desc_t *b = &w->format_desc.blocking;
  if (w->format_kind != dnnl_blocked || b->inner_nblks != (bf16 ? 3 : 2) || w->offset0 != 0) return false;
  if (b->inner_idxs[0] != 0 || b->inner_idxs[1] != 1 || (bf16 && (b->inner_idxs[2] != 0 || b->inner_blks[2] != 2))) return false;
  int64_t kb = b->inner_blks[0] * (bf16 ? 2 : 1), nb = b->inner_blks[1];
  s->kp = w->padded_dims[0];
  s->np = w->padded_dims[1];
  s->nb = (int)nb;
  return nb % LCT_MAX_LANES == 0 && s->kp % kb == 0 && s->np % nb == 0 && b->strides[0] == kb * nb && b->strides[1] == s->kp * nb &&
         dnnl_memory_desc_get_size(w) == (size_t)s->kp * (size_t)s->np * (bf16 ? 2 : 4);
}

void lct_cpu_dnnl_layout(const lct_backend *be, lct_gemm_shape *s) {
  dnnl_dims_t dw = {s->k, s->n};
  dnnl_primitive_desc_t pd = NULL;
  lct_dnnl_prim any = {.m = ladder[0], .cols = s->n};
  if (dnnl_memory_desc_init_by_tag(&any.w, 2, dw, data_type(be), dnnl_format_tag_any) != dnnl_success) return;
  if (describe(be, s->k, &any, &pd) != dnnl_success) return;
  const dnnl_memory_desc_t *w = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
  lct_gemm_shape asked = *s;
  if (is_brgemm(pd) && w != NULL && layout_known(be, w, &asked)) {
    asked.dnnl = true;
    asked.bf16 = be->precision == LCT_PRECISION_FAST;
    asked.w_desc = *w;
    *s = asked;
  }
  (void)dnnl_primitive_desc_destroy(pd);
}

static lct_status make_prim(lct_backend *be, const lct_gemm_shape *s, lct_dnnl_prim *p, lct_error *err) {
  dnnl_primitive_desc_t pd = NULL;
  p->w = s->w_desc; /* blocks of columns lie one after the other */
  p->w.dims[1] = p->cols;
  p->w.padded_dims[1] = (p->cols + s->nb - 1) / s->nb * s->nb;
  DNNL_TRY(describe(be, s->k, p, &pd), "matmul description", p->m, s->k, p->cols);
  const dnnl_memory_desc_t *scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
  if (scratch != NULL) p->scratch = *scratch;
  size_t bytes = dnnl_memory_desc_get_size(&p->scratch);
  if (bytes > be->dnnl_scratch) be->dnnl_scratch = bytes;
  int callers = one_thread();
  dnnl_status_t st = is_brgemm(pd) ? dnnl_primitive_create(&p->prim, pd) : dnnl_unimplemented;
  omp_set_num_threads(callers);
  (void)dnnl_primitive_desc_destroy(pd);
  DNNL_TRY(st, "matmul", p->m, s->k, p->cols);
  return LCT_OK;
}

static lct_status get_prim(lct_backend *be, lct_gemm_shape *s, int m, int64_t cols, const lct_dnnl_prim **out, lct_error *err) {
  for (const lct_dnnl_prim *p = s->prims; p != NULL; p = p->next) {
    if (p->m == m && p->cols == cols) {
      *out = p;
      return LCT_OK;
    }
  }
  lct_dnnl_prim *p = NULL;
  LCT_TRY(lct_calloc(&p, 1, sizeof *p, "a matmul", err));
  p->m = m;
  p->cols = cols;
  lct_status status = make_prim(be, s, p, err);
  if (status != LCT_OK) {
    free(p);
    return status;
  }
  p->next = s->prims;
  s->prims = p;
  *out = p;
  return LCT_OK;
}

void lct_cpu_dnnl_free_prims(lct_gemm_shape *s) {
  while (s->prims != NULL) {
    lct_dnnl_prim *p = s->prims;
    s->prims = p->next;
    (void)dnnl_primitive_destroy(p->prim);
    free(p);
  }
}

/* The ladder step for n remaining rows, at least `first`: the next one up when that wastes little, else the next one down. */
static int choose_step(int n, int first) {
  int step = first;
  while (ladder[step] > n) step++;
  bool pad = step > first && ladder[step] != n && ladder[step - 1] - n <= PAD_ROWS;
  return pad ? step - 1 : step;
}

/* Packed blocks of a piece's columns where the threads share its rows: they end at about the same time, and what is computed apart fits. */
static int64_t blocks_a_piece(int64_t n_blocks, int n_threads, int m, int nb) {
  int64_t most = m == 1 ? n_blocks : (int64_t)(OUT_BYTES / sizeof(float)) / ((int64_t)m * nb), best = 0, best_time = INT64_MAX;
  for (int rounds = 1; rounds <= 4; rounds++) {
    int64_t blocks = (n_blocks - 1) / (rounds * n_threads) + 1;
    if (blocks > most) blocks = most > 0 ? most : 1;
    int64_t n_pieces = (n_blocks - 1) / blocks + 1, time = (n_pieces - 1) / n_threads * blocks + blocks;
    if (time > best_time) continue;
    best = blocks;
    best_time = time;
  }
  return best;
}

/* Where the ladder begins for n rows; *whole: rows that are cut into pieces with all columns, as many for every thread. Such a piece writes its
 * rows of y itself, so y must be dense: no room between rows. */
static int first_step(int64_t n_blocks, int n, bool dense, int n_threads, int *whole) {
  int step = 0;
  while (ladder[step] > ROWS_ALONE && n / ladder[step] < n_threads) step++;
  *whole = !dense ? 0 : n_threads == 1 ? n : n / ladder[step] / n_threads * n_threads * ladder[step];
  if (*whole > 0 && n_threads > 1) return step;
  step = 0;
  while (n_threads > 1 && ladder[step] > PAD_ROWS && ((n - 1) / ladder[step] + 1) * n_blocks < 2 * n_threads) step++;
  return step;
}

static lct_status add_pieces(lct_backend *be, lct_gemm_shape *s, int row, int rows, int m, int64_t blocks, int64_t *n_pieces,
                             lct_error *err) {
  for (int64_t col = 0; col < s->n; col += blocks * s->nb) {
    LCT_TRY(lct_grow(&be->pieces, &be->cap_pieces, (size_t)*n_pieces + 1, sizeof(piece), "pieces of a product", err));
    piece *p = (piece *)be->pieces + (*n_pieces)++;
    *p = (piece){.row = row, .rows = rows, .col = col, .cols = s->n - col < blocks * s->nb ? s->n - col : blocks * s->nb};
    LCT_TRY(get_prim(be, s, m, p->cols, &p->prim, err));
  }
  return LCT_OK;
}

/* Cuts the product of n rows into be->pieces (n_pieces). *full: rows before the one that needs padding; *padded: rows with padding. */
static lct_status cut(lct_backend *be, lct_gemm_shape *s, int n, bool dense, int64_t *n_pieces, int *full, int *padded, lct_error *err) {
  int64_t n_blocks = s->np / s->nb;
  int whole = 0, n_threads = lct_threads_count(be->threads), first = first_step(n_blocks, n, dense, n_threads, &whole), m = 0;
  *n_pieces = 0;
  *full = 0;
  for (int row = 0; row < n; row += m) {
    m = ladder[choose_step(n - row, first)];
    bool pads = m > n - row;
    if (!pads) *full = row + m;
    int64_t blocks = row < whole && !pads ? n_blocks : blocks_a_piece(n_blocks, n_threads, m, s->nb);
    LCT_TRY(add_pieces(be, s, row, pads ? n - row : m, m, blocks, n_pieces, err));
    *padded = row + m;
  }
  return LCT_OK;
}

typedef struct {
  const lct_backend *be;
  const lct_weight *w;
  const char *packed, *x, *copied; /* copied: rows of x from n_there on, dense, with zeros behind the last */
  int n_there;
  float *y;
  int64_t ldy;
  unsigned char *own; /* a thread's: columns computed apart, oneDNN's scratch */
  size_t stride;
} product;

/* y (m, cols) of one piece; dense. */
static lct_status call(const product *g, const piece *c, int thread, float *y, unsigned char *scratch, lct_error *err) {
  const lct_dnnl_prim *p = c->prim;
  const lct_gemm_shape *s = g->w->shape;
  size_t size = s->bf16 ? 2 : 4, row_bytes = (size_t)s->k * size;
  const void *x = c->row < g->n_there ? g->x + (size_t)c->row * row_bytes : g->copied + (size_t)(c->row - g->n_there) * row_bytes;
  struct {
    int arg;
    const dnnl_memory_desc_t *desc;
    const void *data; /* oneDNN only reads what is read, but its pointers do not say so */
  } want[] = {{DNNL_ARG_SRC, &p->x, x},
              {DNNL_ARG_WEIGHTS, &p->w, g->packed + (size_t)(c->col * s->kp) * size},
              {DNNL_ARG_BIAS, &p->b, g->w->bias + c->col},
              {DNNL_ARG_DST, &p->y, y},
              {DNNL_ARG_SCRATCHPAD, &p->scratch, scratch}};
  enum { N = sizeof want / sizeof *want };
  dnnl_exec_arg_t args[N];
  dnnl_status_t st = dnnl_success;
  int made = 0;
  for (; made < N && st == dnnl_success; made += st == dnnl_success) {
    void *data = NULL;
    memcpy(&data, &want[made].data, sizeof data);
    args[made].arg = want[made].arg;
    st = dnnl_memory_create(&args[made].memory, want[made].desc, g->be->engine, data);
  }
  if (st == dnnl_success) st = dnnl_primitive_execute(p->prim, g->be->streams[thread], N, args);
  if (st == dnnl_success) st = dnnl_stream_wait(g->be->streams[thread]);
  for (int i = 0; i < made; i++) (void)dnnl_memory_destroy(args[i].memory);
  DNNL_TRY(st, "matmul", p->m, s->k, c->cols);
  return LCT_OK;
}

static lct_status run_pieces(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  const product *g = ctx;
  unsigned char *own = g->own + (size_t)thread * g->stride;
  float *apart = (float *)(void *)own;
  int callers = one_thread();
  lct_status status = LCT_OK;
  for (int64_t i = from; i < to && status == LCT_OK; i++) {
    const piece *c = (const piece *)g->be->pieces + i;
    float *y = g->y + c->row * g->ldy + c->col;
    bool direct = c->rows == c->prim->m && (c->rows == 1 || g->ldy == c->cols);
    status = call(g, c, thread, direct ? y : apart, own + OUT_BYTES, err);
    if (!direct && status == LCT_OK) lct_cpu_copy_rows(y, g->ldy, apart, c->cols, c->rows, c->cols, sizeof *y);
  }
  omp_set_num_threads(callers);
  return status;
}

lct_status lct_cpu_dnnl_run(lct_backend *be, const lct_weight *w, const void *packed, const void *x, int64_t ldx, int n, float *y,
                            int64_t ldy, lct_error *err) {
  int64_t n_pieces = 0;
  int full = 0, padded = 0, n_threads = lct_threads_count(be->threads);
  LCT_TRY(cut(be, w->shape, n, ldy == w->out, &n_pieces, &full, &padded, err));
  size_t size = w->shape->bf16 ? 2 : 4, row_bytes = (size_t)w->in * size;
  product g = {.be = be, .w = w, .packed = packed, .x = x, .n_there = ldx == w->in || n == 1 ? full : 0, .y = y, .ldy = ldy};
  size_t copied = ((size_t)(padded - g.n_there) * row_bytes + LCT_ALIGN - 1) / LCT_ALIGN * LCT_ALIGN;
  g.stride = OUT_BYTES + (be->dnnl_scratch + LCT_ALIGN - 1) / LCT_ALIGN * LCT_ALIGN;
  LCT_TRY(lct_cpu_reserve(&be->pad, copied + (size_t)n_threads * g.stride, "pieces of a product", err));
  g.copied = be->pad.p;
  g.own = (unsigned char *)be->pad.p + copied;
  lct_cpu_copy_rows(be->pad.p, w->in, g.x + (size_t)g.n_there * (size_t)ldx * size, ldx, n - g.n_there, w->in, size);
  memset((char *)be->pad.p + (size_t)(n - g.n_there) * row_bytes, 0, (size_t)(padded - n) * row_bytes);
  lct_threads *threads = (int64_t)n * w->in * w->out >= 8 * LCT_PARALLEL_MIN ? be->threads : NULL;
  return lct_threads_for(threads, n_pieces, 1, run_pieces, &g, err);
}

/* Does brgemm on this machine give a row the same bits in batches of every size? Looks at one shape with several blocks of k. */
static lct_status check_invariance(lct_backend *be, bool *same, lct_error *err) {
  enum { K = 1056, N = 128, M = 64 };
  size_t size = be->precision == LCT_PRECISION_FAST ? 2 : 4;
  float *buffer = NULL;
  LCT_TRY(lct_alloc_aligned(&buffer, (size_t)K * N + (size_t)M * K + 2 * (size_t)M * N + N, 4, "GEMM self-check", err));
  float *x = buffer + K * N, *want = x + M * K, *got = want + M * N;
  uint32_t seed = 1;
  for (int i = 0; i < K * N + M * K; i++) { /* weights and x: from 2^-7 to 2, read as f32 or as two bf16; far enough apart to round */
    seed = seed * 1664525u + 1013904223u;
    uint32_t bits = (seed & 0x807f807fu) | 0x3c003c00u | (seed >> 5 & 0x03800380u);
    memcpy(buffer + i, &bits, 4);
  }
  lct_gemm_shape shape = {.k = K, .n = N};
  lct_weight w = {.in = K, .out = N, .bias = got + M * N, .shape = &shape};
  memset(w.bias, 0, N * sizeof(float));
  lct_status status = LCT_OK;
  lct_cpu_dnnl_layout(be, &shape);
  *same = shape.dnnl;
  if (*same) status = lct_cpu_dnnl_run(be, &w, buffer, x, K, M, want, N, err);
  for (int step = 5; status == LCT_OK && *same && step < N_LADDER; step++) {
    int m = ladder[step], row = m < M - 5 ? 5 : M - m;
    status = lct_cpu_dnnl_run(be, &w, buffer, (const char *)x + (size_t)row * K * size, K, m, got, N, err);
    *same = memcmp(got, want + row * N, (size_t)m * N * sizeof(float)) == 0;
  }
  lct_cpu_dnnl_free_prims(&shape);
  free(buffer);
  return status;
}

lct_status lct_cpu_dnnl_open(lct_backend *be, lct_error *err) {
  int n_threads = lct_threads_count(be->threads);
  DNNL_TRY(dnnl_engine_create(&be->engine, dnnl_cpu, 0), "engine", 0, 0, 0);
  LCT_TRY(lct_calloc(&be->streams, (size_t)n_threads, sizeof *be->streams, "streams", err));
  for (int i = 0; i < n_threads; i++)
    DNNL_TRY(dnnl_stream_create(&be->streams[i], be->engine, dnnl_stream_default_flags), "stream", 0, 0, 0);
  be->use_dnnl = true;
  return check_invariance(be, &be->use_dnnl, err);
}

void lct_cpu_dnnl_close(lct_backend *be) {
  for (int i = 0; be->streams != NULL && i < lct_threads_count(be->threads) && be->streams[i] != NULL; i++) {
    (void)dnnl_stream_destroy(be->streams[i]);
  }
  free(be->streams);
  free(be->pieces);
  if (be->engine != NULL) (void)dnnl_engine_destroy(be->engine);
}
