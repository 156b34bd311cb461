/* y = x W^T + b over packed weights: oneDNN's brgemm where a row has the same bits in any company, our own kernels elsewhere. */
#include <stdlib.h>
#include <string.h>

#include "cpu/amx.h"
#include "cpu/internal.h"

#define PANEL 64           /* columns of a packed block of our own f32 kernel */
#define OWN_ROWS 96        /* rows of one task of our own GEMM */
#define AMX_TASK (1 << 18) /* elements of x of one task on AMX: they stay in the second level cache */

/* Ours, or oneDNN's where we can rely on it. */
static void choose_layout(const lct_backend *be, lct_gemm_shape *s) {
  s->dnnl = false;
  s->bf16 = be->amx;
  s->nb = be->amx ? LCT_AMX_COLS : PANEL;
  s->kp = be->amx ? (s->k + LCT_AMX_K - 1) / LCT_AMX_K * LCT_AMX_K : s->k;
  s->np = (s->n + s->nb - 1) / s->nb * s->nb;
  if (be->use_dnnl) lct_cpu_dnnl_layout(be, s);
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

/* y = x panels^T + bias, a block of rows by a panel of columns each: block * n_panels + panel. */
typedef struct {
  const lct_backend *be;
  const lct_weight *w;
  const void *x, *panels;
  int64_t ldx, ldy;
  int n, block_rows, n_panels;
  float *y;
} product;

static lct_status own_panels(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread, (void)err;
  const product *g = ctx;
  for (int64_t i = from; i < to; i++) {
    int64_t row = i / g->n_panels * g->block_rows, col = i % g->n_panels * PANEL, cols = g->w->out - col;
    g->be->kernels->gemm_panel((const float *)g->x + row * g->ldx, g->ldx, g->n - row < g->block_rows ? (int)(g->n - row) : g->block_rows,
                               (int)g->w->in, (const float *)g->panels + col * g->w->in, g->w->bias + col, cols < PANEL ? (int)cols : PANEL,
                               g->y + row * g->ldy + col, g->ldy);
  }
  return LCT_OK;
}

static lct_status widen(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread, (void)err;
  const product *g = ctx;
  float *wide = g->be->pad.p;
  for (int64_t i = from; i < to; i++) g->be->kernels->bf16_to_f32((const uint16_t *)g->x + i * g->ldx, g->w->in, wide + i * g->w->in);
  return LCT_OK;
}

static lct_status run_own(lct_backend *be, product *g, lct_error *err) {
  if (be->precision == LCT_PRECISION_FAST) {
    LCT_TRY(lct_cpu_reserve(&be->pad, (size_t)g->n * (size_t)g->w->in * 4, "GEMM input as f32", err));
    LCT_TRY(lct_cpu_rows(be, g->n, g->w->in, widen, g, err));
    g->x = be->pad.p;
    g->ldx = g->w->in;
  }
  g->block_rows = OWN_ROWS;
  g->n_panels = (int)(g->w->shape->np / PANEL);
  int64_t n_blocks = (g->n + OWN_ROWS - 1) / OWN_ROWS;
  lct_threads *threads = g->n * g->w->in * g->w->out >= 64 * LCT_PARALLEL_MIN ? be->threads : NULL;
  return lct_threads_for(threads, n_blocks * g->n_panels, 1, own_panels, g, err);
}

/* Rows as AMX reads them: as they are, or with zeros up to kp. */
static lct_status amx_rows(lct_backend *be, const lct_gemm_shape *s, const uint16_t **x, int64_t *ldx, int n, lct_error *err) {
  if (s->k == s->kp) return LCT_OK;
  LCT_TRY(lct_cpu_reserve(&be->pad, (size_t)n * (size_t)s->kp * 2, "padded GEMM input", err));
  uint16_t *rows = be->pad.p;
  lct_cpu_copy_rows(rows, s->kp, *x, *ldx, n, s->k, 2);
  for (int i = 0; i < n; i++) memset(rows + i * s->kp + s->k, 0, (size_t)(s->kp - s->k) * 2);
  *x = rows;
  *ldx = s->kp;
  return LCT_OK;
}

static lct_status amx_panels(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread, (void)err;
  const product *g = ctx;
  const lct_gemm_shape *s = g->w->shape;
  for (int64_t i = from; i < to; i++) {
    int64_t row = i / g->n_panels * g->block_rows, col = i % g->n_panels * LCT_AMX_COLS, cols = g->w->out - col;
    lct_amx_panel((const uint16_t *)g->x + row * g->ldx, g->ldx, g->n - row < g->block_rows ? (int)(g->n - row) : g->block_rows, (int)s->kp,
                  (const uint16_t *)g->panels + col * s->kp, g->w->bias + col, cols < LCT_AMX_COLS ? (int)cols : LCT_AMX_COLS,
                  g->y + row * g->ldy + col, g->ldy);
  }
  lct_amx_release();
  return LCT_OK;
}

static lct_status run_amx(lct_backend *be, product *g, lct_error *err) {
  const lct_gemm_shape *s = g->w->shape;
  const uint16_t *x = g->x;
  LCT_TRY(amx_rows(be, s, &x, &g->ldx, g->n, err));
  g->x = x;
  g->block_rows = AMX_TASK / (int)s->kp / LCT_AMX_ROWS * LCT_AMX_ROWS;
  if (g->block_rows < LCT_AMX_ROWS) g->block_rows = LCT_AMX_ROWS;
  g->n_panels = (int)(s->np / LCT_AMX_COLS);
  int64_t n_blocks = (g->n + g->block_rows - 1) / g->block_rows;
  lct_threads *threads = g->n * g->w->in * g->w->out >= 256 * LCT_PARALLEL_MIN ? be->threads : NULL;
  return lct_threads_for(threads, n_blocks * g->n_panels, 2, amx_panels, g, err);
}

lct_status lct_cpu_gemm_run(lct_backend *be, const lct_weight *w, const void *packed, const void *x, int64_t ldx, int n, float *y,
                            int64_t ldy, lct_error *err) {
  if (w->shape->dnnl) return lct_cpu_dnnl_run(be, w, packed, x, ldx, n, y, ldy, err);
  product g = {.be = be, .w = w, .x = x, .panels = packed, .ldx = ldx, .ldy = ldy, .n = n, .y = y};
  return be->amx ? run_amx(be, &g, err) : run_own(be, &g, err);
}

static void free_shapes(lct_backend *be) {
  while (be->shapes != NULL) {
    lct_gemm_shape *s = be->shapes;
    be->shapes = s->next;
    lct_cpu_dnnl_free_prims(s);
    free(s);
  }
}

lct_status lct_cpu_gemm_open(lct_backend *be, lct_error *err) {
  /* oneDNN's other products cut their sums by the number of rows and threads: without AVX-512, and on AMX, ours are used */
  if (strcmp(be->kernels->isa, "avx512") != 0 || be->amx) return LCT_OK;
  LCT_TRY(lct_cpu_dnnl_open(be, err));
  free_shapes(be);
  return LCT_OK;
}

void lct_cpu_gemm_close(lct_backend *be) {
  free_shapes(be);
  lct_cpu_dnnl_close(be);
}
