/* y = x W^T + b over packed weights: oneDNN's brgemm where a row has the same bits in any company, our own kernels elsewhere. */
#include <stdlib.h>
#include <string.h>

#include "cpu/amx.h"
#include "cpu/internal.h"

const int lct_gemm_ladder[LCT_N_LADDER] = {256, 192, 128, 96, 64, 32, 16, 8, 4, 2, 1};

#define PANEL 64    /* columns of a packed block of our own f32 kernel */
#define PAD_ROWS 16 /* at most so many rows are computed for nothing to save a second pass over the weights */
#define OWN_ROWS 96 /* rows of one task of our own GEMM */
#define AMX_TASK (1 << 18) /* elements of x of one task on AMX: they stay in the second level cache */

static lct_status dnnl_failed(dnnl_status_t s, const char *what, int64_t m, int64_t k, int64_t n, lct_error *err) {
  return lct_fail(err, s == dnnl_out_of_memory ? LCT_E_NOMEM : LCT_E_INTERNAL, "oneDNN: %s (%lld x %lld x %lld): status %d", what,
                  (long long)m, (long long)k, (long long)n, (int)s);
}

#define DNNL_TRY(expr, what, m, k, n)                                                 \
  do {                                                                                \
    dnnl_status_t dnnl_try_ = (expr);                                                 \
    if (dnnl_try_ != dnnl_success) return dnnl_failed(dnnl_try_, what, m, k, n, err); \
  } while (0)

static dnnl_data_type_t data_type(const lct_backend *be) { return be->precision == LCT_PRECISION_FAST ? dnnl_bf16 : dnnl_f32; }

/* A matmul's description for m rows; w is the packed weights', or says "any". */
static dnnl_status_t describe(const lct_backend *be, const lct_gemm_shape *s, int64_t m, const dnnl_memory_desc_t *w,
                              dnnl_memory_desc_t *x, dnnl_memory_desc_t *y, dnnl_primitive_desc_t *out) {
  dnnl_dims_t dx = {m, s->k}, dy = {m, s->n}, db = {1, s->n};
  dnnl_memory_desc_t b;
  dnnl_matmul_desc_t d;
  dnnl_status_t st = dnnl_memory_desc_init_by_tag(x, 2, dx, data_type(be), dnnl_ab);
  if (st == dnnl_success) st = dnnl_memory_desc_init_by_tag(y, 2, dy, dnnl_f32, dnnl_ab);
  if (st == dnnl_success) st = dnnl_memory_desc_init_by_tag(&b, 2, db, dnnl_f32, dnnl_ab);
  if (st == dnnl_success) st = dnnl_matmul_desc_init(&d, x, w, &b, y);
  if (st == dnnl_success) st = dnnl_primitive_desc_create(out, &d, NULL, be->engine, NULL);
  return st;
}

static bool is_brgemm(const_dnnl_primitive_desc_t pd) {
  const char *name = NULL;
  return dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name) == dnnl_success && name != NULL &&
         strncmp(name, "brg", 3) == 0;
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
  return nb % LCT_MAX_LANES == 0 && s->kp % kb == 0 && s->np % nb == 0 && b->strides[0] == kb * nb &&
         b->strides[1] == s->kp * nb && dnnl_memory_desc_get_size(w) == (size_t)s->kp * (size_t)s->np * (bf16 ? 2 : 4);
}

/* Asks oneDNN how it wants weights of this shape; s->dnnl stays false when the answer is none we can rely on. */
static void choose_layout(lct_backend *be, lct_gemm_shape *s) {
  s->dnnl = false;
  s->bf16 = be->amx;
  s->nb = be->amx ? LCT_AMX_COLS : PANEL;
  s->kp = be->amx ? (s->k + LCT_AMX_K - 1) / LCT_AMX_K * LCT_AMX_K : s->k;
  s->np = (s->n + s->nb - 1) / s->nb * s->nb;
  if (!be->use_dnnl) return;
  dnnl_dims_t dw = {s->k, s->n};
  dnnl_memory_desc_t any, x, y;
  dnnl_primitive_desc_t pd = NULL;
  if (dnnl_memory_desc_init_by_tag(&any, 2, dw, data_type(be), dnnl_format_tag_any) != dnnl_success) return;
  if (describe(be, s, lct_gemm_ladder[0], &any, &x, &y, &pd) != dnnl_success) return;
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

static lct_status make_prim(lct_backend *be, const lct_gemm_shape *s, int64_t m, lct_gemm_prim *out, lct_error *err) {
  dnnl_memory_desc_t x, y;
  dnnl_primitive_desc_t pd = NULL;
  DNNL_TRY(describe(be, s, m, &s->w_desc, &x, &y, &pd), "matmul description", m, s->k, s->n);
  bool good = is_brgemm(pd);
  dnnl_status_t st = good ? dnnl_primitive_create(&out->prim, pd) : dnnl_unimplemented;
  (void)dnnl_primitive_desc_destroy(pd);
  DNNL_TRY(st, "matmul", m, s->k, s->n);
  DNNL_TRY(dnnl_memory_create(&out->x, &x, be->engine, DNNL_MEMORY_NONE), "input memory", m, s->k, s->n);
  DNNL_TRY(dnnl_memory_create(&out->y, &y, be->engine, DNNL_MEMORY_NONE), "output memory", m, s->k, s->n);
  return LCT_OK;
}

static void free_prim(lct_gemm_prim *p) {
  if (p->prim != NULL) (void)dnnl_primitive_destroy(p->prim);
  if (p->x != NULL) (void)dnnl_memory_destroy(p->x);
  if (p->y != NULL) (void)dnnl_memory_destroy(p->y);
  *p = (lct_gemm_prim){0};
}

lct_status lct_gemm_shape_get(lct_backend *be, int64_t k, int64_t n, lct_gemm_shape **out, lct_error *err) {
  for (lct_gemm_shape *s = be->shapes; s != NULL; s = s->next) {
    if (s->k == k && s->n == n) {
      *out = s;
      return LCT_OK;
    }
  }
  lct_gemm_shape *s = NULL;
  LCT_TRY(lct_calloc(&s, 1, sizeof *s, "GEMM shape", err));
  s->k = k;
  s->n = n;
  choose_layout(be, s);
  s->next = be->shapes;
  be->shapes = s;
  *out = s;
  return LCT_OK;
}

lct_status lct_gemm_bind(lct_backend *be, lct_weight *w, lct_error *err) {
  if (!w->shape->dnnl) return LCT_OK;
  dnnl_dims_t db = {1, w->out};
  dnnl_memory_desc_t b;
  DNNL_TRY(dnnl_memory_desc_init_by_tag(&b, 2, db, dnnl_f32, dnnl_ab), "bias", 1, w->in, w->out);
  DNNL_TRY(dnnl_memory_create(&w->bias_mem, &b, be->engine, w->bias), "bias memory", 1, w->in, w->out);
  DNNL_TRY(dnnl_memory_create(&w->w_mem, &w->shape->w_desc, be->engine, DNNL_MEMORY_NONE), "weight memory", 1, w->in, w->out);
  return LCT_OK;
}

/* One call of the primitive for ladder step `step`; x and y dense. */
static lct_status run_step(lct_backend *be, const lct_weight *w, const void *packed, int step, const void *x, float *y,
                           lct_error *err) {
  lct_gemm_shape *s = w->shape;
  lct_gemm_prim *p = &s->prims[step];
  int m = lct_gemm_ladder[step];
  if (p->prim == NULL) {
    lct_status made = make_prim(be, s, m, p, err);
    if (made != LCT_OK) {
      free_prim(p);
      return made;
    }
  }
  DNNL_TRY(dnnl_memory_set_data_handle(p->x, (void *)x), "input", m, s->k, s->n); /* read only */
  DNNL_TRY(dnnl_memory_set_data_handle(p->y, y), "output", m, s->k, s->n);
  dnnl_exec_arg_t args[] = {
      {DNNL_ARG_SRC, p->x}, {DNNL_ARG_WEIGHTS, w->w_mem}, {DNNL_ARG_BIAS, w->bias_mem}, {DNNL_ARG_DST, p->y}};
  void *at = NULL;
  DNNL_TRY(dnnl_memory_get_data_handle(w->w_mem, &at), "weights", m, s->k, s->n);
  if (at != packed) DNNL_TRY(dnnl_memory_set_data_handle(w->w_mem, (void *)packed), "weights", m, s->k, s->n);
  DNNL_TRY(dnnl_primitive_execute(p->prim, be->stream, 4, args), "matmul", m, s->k, s->n);
  DNNL_TRY(dnnl_stream_wait(be->stream), "matmul", m, s->k, s->n);
  return LCT_OK;
}

/* The ladder step for n remaining rows: the next one up when that wastes little, else the next one down. */
static int choose_step(int n) {
  int step = 0;
  while (lct_gemm_ladder[step] > n) step++;
  bool pad = step > 0 && lct_gemm_ladder[step] != n && lct_gemm_ladder[step - 1] - n <= PAD_ROWS;
  return pad ? step - 1 : step;
}

static void copy_rows(void *dst, int64_t ldd, const void *src, int64_t lds, int n, int64_t width, size_t size) {
  for (int i = 0; i < n; i++) {
    memcpy((char *)dst + (size_t)(i * ldd) * size, (const char *)src + (size_t)(i * lds) * size, (size_t)width * size);
  }
}

static lct_status run_dnnl(lct_backend *be, const lct_weight *w, const void *packed, const void *x, int64_t ldx, int n, float *y,
                           int64_t ldy, lct_error *err) {
  size_t xs = be->precision == LCT_PRECISION_FAST ? 2 : 4;
  size_t x_bytes = (size_t)lct_gemm_ladder[0] * (size_t)w->in * xs, y_bytes = (size_t)lct_gemm_ladder[0] * (size_t)w->out * 4;
  x_bytes = (x_bytes + LCT_ALIGN - 1) / LCT_ALIGN * LCT_ALIGN;
  for (int done = 0; done < n;) {
    int step = choose_step(n - done), m = lct_gemm_ladder[step], rows = m < n - done ? m : n - done;
    const void *xi = (const char *)x + (size_t)(done * ldx) * xs;
    float *yi = y + done * ldy;
    bool pad_x = rows < m || (ldx != w->in && m > 1), pad_y = rows < m || (ldy != w->out && m > 1);
    if (pad_x || pad_y) {
      LCT_TRY(lct_cpu_scratch(&be->pad, &be->pad_bytes, x_bytes + y_bytes, "padded GEMM tile", err));
    }
    if (pad_x) {
      copy_rows(be->pad, w->in, xi, ldx, rows, w->in, xs);
      memset(be->pad + (size_t)rows * (size_t)w->in * xs, 0, (size_t)(m - rows) * (size_t)w->in * xs);
    }
    float *to = pad_y ? (float *)(void *)(be->pad + x_bytes) : yi;
    LCT_TRY(run_step(be, w, packed, step, pad_x ? be->pad : xi, to, err));
    if (pad_y) copy_rows(yi, ldy, to, w->out, rows, w->out, 4);
    done += rows;
  }
  return LCT_OK;
}

static lct_status run_own(lct_backend *be, const lct_weight *w, const float *panels, const void *x, int64_t ldx, int n, float *y,
                          int64_t ldy, lct_error *err) {
  const float *xf = x;
  if (be->precision == LCT_PRECISION_FAST) {
    LCT_TRY(lct_cpu_scratch(&be->pad, &be->pad_bytes, (size_t)n * (size_t)w->in * 4, "GEMM input as f32", err));
    float *wide = (float *)(void *)be->pad;
#pragma omp parallel for num_threads(be->n_threads) schedule(static) if (n * w->in >= LCT_PARALLEL_MIN)
    for (int i = 0; i < n; i++) be->kernels->bf16_to_f32((const uint16_t *)x + i * ldx, w->in, wide + i * w->in);
    xf = wide;
    ldx = w->in;
  }
  int n_panels = (int)(w->shape->np / PANEL), n_blocks = (n + OWN_ROWS - 1) / OWN_ROWS;
#pragma omp parallel for num_threads(be->n_threads) schedule(dynamic) collapse(2) if (n * w->in * w->out >= 64 * LCT_PARALLEL_MIN)
  for (int b = 0; b < n_blocks; b++) {
    for (int p = 0; p < n_panels; p++) {
      int rows = n - b * OWN_ROWS < OWN_ROWS ? n - b * OWN_ROWS : OWN_ROWS;
      int64_t cols = w->out - (int64_t)p * PANEL;
      be->kernels->gemm_panel(xf + (int64_t)b * OWN_ROWS * ldx, ldx, rows, (int)w->in, panels + (int64_t)p * PANEL * w->in,
                              w->bias + (int64_t)p * PANEL, cols < PANEL ? (int)cols : PANEL,
                              y + (int64_t)b * OWN_ROWS * ldy + (int64_t)p * PANEL, ldy);
    }
  }
  return LCT_OK;
}

/* Rows as AMX reads them: as they are, or with zeros up to kp. */
static lct_status amx_rows(lct_backend *be, const lct_gemm_shape *s, const uint16_t **x, int64_t *ldx, int n, lct_error *err) {
  if (s->k == s->kp) return LCT_OK;
  LCT_TRY(lct_cpu_scratch(&be->pad, &be->pad_bytes, (size_t)n * (size_t)s->kp * 2, "padded GEMM input", err));
  uint16_t *rows = (uint16_t *)(void *)be->pad;
  copy_rows(rows, s->kp, *x, *ldx, n, s->k, 2);
  for (int i = 0; i < n; i++) memset(rows + i * s->kp + s->k, 0, (size_t)(s->kp - s->k) * 2);
  *x = rows;
  *ldx = s->kp;
  return LCT_OK;
}

static lct_status run_amx(lct_backend *be, const lct_weight *w, const uint16_t *panels, const uint16_t *x, int64_t ldx, int n, float *y,
                          int64_t ldy, lct_error *err) {
  const lct_gemm_shape *s = w->shape;
  LCT_TRY(amx_rows(be, s, &x, &ldx, n, err));
  int rows = AMX_TASK / (int)s->kp / LCT_AMX_ROWS * LCT_AMX_ROWS, n_panels = (int)(s->np / LCT_AMX_COLS);
  if (rows < LCT_AMX_ROWS) rows = LCT_AMX_ROWS;
  int n_blocks = (n + rows - 1) / rows;
#pragma omp parallel num_threads(be->n_threads) if ((int64_t)n * w->in * w->out >= 256 * LCT_PARALLEL_MIN)
  {
#pragma omp for schedule(dynamic, 2) collapse(2) nowait
    for (int b = 0; b < n_blocks; b++) {
      for (int p = 0; p < n_panels; p++) {
        int64_t row = (int64_t)b * rows, col = (int64_t)p * LCT_AMX_COLS, cols = w->out - col;
        lct_amx_panel(x + row * ldx, ldx, n - (int)row < rows ? n - (int)row : rows, (int)s->kp, panels + col * s->kp, w->bias + col,
                      cols < LCT_AMX_COLS ? (int)cols : LCT_AMX_COLS, y + row * ldy + col, ldy);
      }
    }
    lct_amx_release();
  }
  return LCT_OK;
}

lct_status lct_cpu_gemm_run(lct_backend *be, const lct_weight *w, const void *packed, const void *x, int64_t ldx, int n, float *y,
                        int64_t ldy, lct_error *err) {
  if (be->amx) return run_amx(be, w, packed, x, ldx, n, y, ldy, err);
  if (!w->shape->dnnl) return run_own(be, w, packed, x, ldx, n, y, ldy, err);
  int callers = omp_get_max_threads(); /* oneDNN takes the number of threads from OpenMP's setting for this thread */
  omp_set_num_threads(be->n_threads);
  lct_status status = run_dnnl(be, w, packed, x, ldx, n, y, ldy, err);
  omp_set_num_threads(callers);
  return status;
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
  lct_weight w = {.in = K, .out = N, .bias = got + M * N};
  memset(w.bias, 0, N * sizeof(float));
  lct_status status = lct_gemm_shape_get(be, K, N, &w.shape, err);
  if (status == LCT_OK) status = lct_gemm_bind(be, &w, err);
  *same = status == LCT_OK && w.shape->dnnl;
  if (*same) status = lct_cpu_gemm_run(be, &w, buffer, x, K, M, want, N, err);
  for (int step = 5; status == LCT_OK && *same && step < LCT_N_LADDER; step++) {
    int m = lct_gemm_ladder[step], row = m < M - 5 ? 5 : M - m;
    status = lct_cpu_gemm_run(be, &w, buffer, (const char *)x + (size_t)row * K * size, K, m, got, N, err);
    *same = memcmp(got, want + row * N, (size_t)m * N * sizeof(float)) == 0;
  }
  if (w.w_mem != NULL) (void)dnnl_memory_destroy(w.w_mem);
  if (w.bias_mem != NULL) (void)dnnl_memory_destroy(w.bias_mem);
  free(buffer);
  return status;
}

static void free_shapes(lct_backend *be) {
  while (be->shapes != NULL) {
    lct_gemm_shape *s = be->shapes;
    be->shapes = s->next;
    for (int i = 0; i < LCT_N_LADDER; i++) free_prim(&s->prims[i]);
    free(s);
  }
}

lct_status lct_cpu_gemm_open(lct_backend *be, lct_error *err) {
  /* oneDNN's other products cut their sums by the number of rows and threads: without AVX-512, and on AMX, ours are used */
  if (strcmp(be->kernels->isa, "avx512") != 0 || be->amx) return LCT_OK;
  (void)dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx512_core_bf16); /* refused where the process used oneDNN before; then the check below decides */
  DNNL_TRY(dnnl_engine_create(&be->engine, dnnl_cpu, 0), "engine", 0, 0, 0);
  DNNL_TRY(dnnl_stream_create(&be->stream, be->engine, dnnl_stream_default_flags), "stream", 0, 0, 0);
  be->use_dnnl = true;
  LCT_TRY(check_invariance(be, &be->use_dnnl, err));
  free_shapes(be);
  return LCT_OK;
}

void lct_cpu_gemm_close(lct_backend *be) {
  free_shapes(be);
  if (be->stream != NULL) (void)dnnl_stream_destroy(be->stream);
  if (be->engine != NULL) (void)dnnl_engine_destroy(be->engine);
}
