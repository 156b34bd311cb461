/* Which of cuBLASLt's algorithms a shape gets: the first of the library's own order (never the fastest of a measurement, which could be
 * another one tomorrow) whose results for a row do not depend on where the row lies and on how many others there are.
 *
 * Tile shapes, clusters and swizzles do not change the order in which one result's terms are added; what does is a split of K that depends
 * on the number of tiles (stream K), another kernel below some number of rows, or partial sums that meet in order of arrival. None of it
 * can be seen in an algorithm's description with certainty, so it is tried: rows are multiplied in one large product and again in
 * products of other sizes, from other places, and compared bit for bit. Two orders of adding give some results another last bit: of the
 * thousands compared about one in a hundred with f16, one in a thousand with bf16. */
#include <string.h>

#include "gemm_internal.h"
#include "kernels/gemm_check.h"

#define MAX_CANDIDATES 16
#define PREFILL_HINT 4096  /* rows that a prefill's algorithm is asked for */
#define PREFILL_ROWS 65536 /* rows of one product at most */
#define PREFILL_TILE 512   /* rows of a product where only a fixed number gives the same bits */
#define DECODE_ROWS 16
#define CHECK_ROWS 2048
#define CHECK_BYTES ((size_t)128 << 20)
#define Y_GAP 8 /* rows of the second result are further apart than those of the first */

typedef struct {
  void *x;      /* (rows, in) */
  void *y, *y2; /* (rows, out), and (rows, out + Y_GAP) */
  uint64_t *n_differ;
  int rows;
} check_data;

static size_t check_row_bytes(const lct_gemm_plan *p) { return (size_t)(p->in + 2 * p->out + Y_GAP) * 2; }

/* Rows of a fixed tile: two of them and their results must fit into what a check may use. */
static int fixed_tile(const lct_gemm_plan *p) {
  int tile = PREFILL_TILE;
  while (tile > DECODE_ROWS && 2 * (size_t)tile * check_row_bytes(p) > CHECK_BYTES) tile /= 2;
  return tile;
}

static int check_rows(const lct_gemm_plan *p) {
  if (p->mode.tile < PREFILL_ROWS) return p->mode.tile > DECODE_ROWS ? 2 * p->mode.tile : 4 * DECODE_ROWS;
  size_t rows = CHECK_BYTES / check_row_bytes(p);
  return rows > CHECK_ROWS ? CHECK_ROWS : rows < 2 * DECODE_ROWS ? 2 * DECODE_ROWS : (int)rows;
}

static void check_free(check_data *c) {
  (void)cudaFree(c->x);
  (void)cudaFree(c->y);
  (void)cudaFree(c->y2);
  (void)cudaFree(c->n_differ);
}

static lct_status check_alloc(const lct_gemm *g, const lct_gemm_plan *p, check_data *c, lct_error *err) {
  static const char what[] = "trying a matrix product";
  *c = (check_data){.rows = check_rows(p)};
  size_t rows = (size_t)c->rows;
  lct_status status = lct_cuda_malloc(rows * (size_t)p->in * 2, what, &c->x, err);
  if (status == LCT_OK) status = lct_cuda_malloc(rows * (size_t)p->out * 2, what, &c->y, err);
  if (status == LCT_OK) status = lct_cuda_malloc(rows * (size_t)(p->out + Y_GAP) * 2, what, &c->y2, err);
  if (status == LCT_OK) status = lct_cuda_malloc(sizeof *c->n_differ, what, (void **)&c->n_differ, err);
  if (status == LCT_OK) status = lct_k_gemm_fill(g->t, (int64_t)rows * p->in, c->x, g->stream, err);
  if (status != LCT_OK) check_free(c);
  return status;
}

/* Rows [start, start + count * step) in steps, multiplied in one product and compared with the same rows of c->y. */
static lct_lt_status try_rows(lct_gemm *g, const lct_gemm_plan *p, const void *w, const void *bias, const check_data *c, int start,
                              int count, int step, lct_status *status, lct_error *err) {
  const char *x = (const char *)c->x + (size_t)start * (size_t)p->in * 2, *y = (const char *)c->y + (size_t)start * (size_t)p->out * 2;
  lct_lt_status s = lct_gemm_product(g, p, w, bias, x, step * p->in, count, c->y2, p->out + Y_GAP);
  if (s == LCT_LT_OK) *status = lct_k_gemm_differ(y, step * p->out, c->y2, p->out + Y_GAP, count, p->out, c->n_differ, g->stream, err);
  return s;
}

/* Does p's algorithm give every row the same bits, in products of all kinds that p's mode allows? */
static lct_status try_algorithm(lct_gemm *g, const lct_gemm_plan *p, const void *w, const void *bias, const check_data *c, bool *good,
                                lct_error *err) {
  static const int counts[] = {CHECK_ROWS, 1, 1000, 1, 77, 16, 1, 333, 2, 1, 13, 128, 1, 7, 1, 4};
  int per_product = p->mode.tile < c->rows ? p->mode.tile : c->rows; /* the reference: as large as the mode allows */
  uint64_t n_differ = 0;
  lct_status status = lct_cuda_status(cudaMemsetAsync(c->n_differ, 0, sizeof n_differ, g->stream), "cudaMemset", err);
  lct_lt_status s = LCT_LT_OK;
  *good = false;
  for (int i = 0; i < c->rows && s == LCT_LT_OK; i += per_product) {
    const char *x = (const char *)c->x + (size_t)i * (size_t)p->in * 2;
    s = lct_gemm_product(g, p, w, bias, x, p->in, per_product, (char *)c->y + (size_t)i * (size_t)p->out * 2, p->out);
  }
  for (size_t i = 0; i < sizeof counts / sizeof *counts && s == LCT_LT_OK && status == LCT_OK; i++) {
    int count = p->mode.exact || counts[i] > per_product ? per_product : counts[i];
    int step = i % 2 == 1 && 2 * count <= c->rows ? 2 : 1;
    int start = (int)i * 211 % (c->rows - (count - 1) * step);
    s = try_rows(g, p, w, bias, c, start, count, step, &status, err);
  }
  if (status != LCT_OK) return status;
  LCT_TRY(lct_cuda_status(cudaMemcpyAsync(&n_differ, c->n_differ, sizeof n_differ, cudaMemcpyDeviceToHost, g->stream), "copy from the GPU",
                          err));
  LCT_TRY(lct_cuda_status(cudaStreamSynchronize(g->stream), "trying a matrix product", err));
  *good = s == LCT_LT_OK && n_differ == 0;
  return LCT_OK;
}

static int config(const lct_gemm *g, const lct_lt_algo *algo, lct_lt_config_attr attr, size_t bytes) {
  union {
    int32_t wide;
    uint16_t narrow;
  } value = {0};
  size_t written = 0;
  if (g->lt.algo_get(algo, attr, &value, bytes, &written) != LCT_LT_OK) return 0;
  return bytes == sizeof value.narrow ? value.narrow : value.wide;
}

static void read_config(const lct_gemm *g, lct_gemm_plan *p) {
  p->id = config(g, &p->algo, LCT_LT_CONFIG_ID, 4);
  p->tile_id = config(g, &p->algo, LCT_LT_CONFIG_TILE, 4);
  p->stages = config(g, &p->algo, LCT_LT_CONFIG_STAGES, 4);
  p->split_k = config(g, &p->algo, LCT_LT_CONFIG_SPLIT_K, 4);
  p->reduction = config(g, &p->algo, LCT_LT_CONFIG_REDUCTION, 4);
  p->cluster = config(g, &p->algo, LCT_LT_CONFIG_CLUSTER, 2);
}

/* Partial sums may be kept in f32 and added afterwards where the number of rows is bounded, and so is the room for them. */
static uint32_t reductions(const lct_gemm_plan *p) {
  return p->mode.tile == PREFILL_ROWS ? LCT_LT_REDUCTION_NONE : LCT_LT_REDUCTION_COMPUTE_TYPE;
}

static int hint(const lct_gemm_plan *p) { return p->mode.tile == PREFILL_ROWS ? PREFILL_HINT : p->mode.tile; }

/* What the description alone says against it; whether the library would run it for the fewest and the most rows. */
static bool is_allowed(lct_gemm *g, const lct_gemm_plan *p) {
  if (p->split_k > 1 && reductions(p) == LCT_LT_REDUCTION_NONE) return false;
  if (p->reduction != LCT_LT_REDUCTION_NONE && (p->reduction & ~reductions(p)) != 0) return false;
  uint64_t counts[2] = {p->mode.exact ? (uint64_t)p->mode.tile : 1, (uint64_t)p->mode.tile};
  for (int i = 0; i < 2; i++) {
    lct_lt_result result;
    memset(&result, 0, sizeof result);
    if (g->lt.layout_set(p->x, LCT_LT_LAYOUT_COLS, &counts[i], sizeof *counts) != LCT_LT_OK ||
        g->lt.layout_set(p->y, LCT_LT_LAYOUT_COLS, &counts[i], sizeof *counts) != LCT_LT_OK ||
        g->lt.algo_check(g->handle, p->desc, p->w, p->x, p->y, p->y, &p->algo, &result) != LCT_LT_OK ||
        result.workspace_bytes > LCT_GEMM_WORKSPACE) {
      return false;
    }
  }
  return true;
}

/* Candidates for the mode in the library's order; none where it has none. */
static int candidates(lct_gemm *g, const lct_gemm_plan *p, lct_lt_result out[MAX_CANDIDATES]) {
  lct_lt_pref pref = NULL;
  uint64_t rows = (uint64_t)hint(p), workspace = LCT_GEMM_WORKSPACE;
  int64_t ldx = p->in, ldy = p->out;
  uint32_t mask = reductions(p), align = 16; /* any row of any buffer: only 16 bytes are sure */
  int n = 0;
  if (g->lt.pref_create(&pref) != LCT_LT_OK) return 0;
  lct_lt_status s = g->lt.pref_set(pref, LCT_LT_PREF_WORKSPACE, &workspace, sizeof workspace);
  if (s == LCT_LT_OK) s = g->lt.pref_set(pref, LCT_LT_PREF_REDUCTIONS, &mask, sizeof mask);
  for (int attr = LCT_LT_PREF_ALIGN_A; attr <= LCT_LT_PREF_ALIGN_D && s == LCT_LT_OK; attr++) {
    s = g->lt.pref_set(pref, attr, &align, sizeof align);
  }
  if (s == LCT_LT_OK) s = g->lt.layout_set(p->x, LCT_LT_LAYOUT_COLS, &rows, sizeof rows);
  if (s == LCT_LT_OK) s = g->lt.layout_set(p->y, LCT_LT_LAYOUT_COLS, &rows, sizeof rows);
  if (s == LCT_LT_OK) s = g->lt.layout_set(p->x, LCT_LT_LAYOUT_LD, &ldx, sizeof ldx);
  if (s == LCT_LT_OK) s = g->lt.layout_set(p->y, LCT_LT_LAYOUT_LD, &ldy, sizeof ldy);
  if (s == LCT_LT_OK) s = g->lt.heuristic(g->handle, p->desc, p->w, p->x, p->y, p->y, pref, MAX_CANDIDATES, out, &n);
  (void)g->lt.pref_destroy(pref);
  return s == LCT_LT_OK ? n : 0;
}

/* Sets p's algorithm to the first candidate that passes in p->mode. */
static lct_status choose_in_mode(lct_gemm *g, lct_gemm_plan *p, const void *w, const void *bias, bool *found, lct_error *err) {
  lct_lt_result list[MAX_CANDIDATES];
  check_data data;
  memset(list, 0, sizeof list);
  *found = false;
  int n = candidates(g, p, list);
  if (n == 0) return LCT_OK;
  LCT_TRY(check_alloc(g, p, &data, err));
  lct_status status = LCT_OK;
  for (int i = 0; i < n && !*found && status == LCT_OK; i++) {
    if (list[i].state == LCT_LT_OK) {
      p->algo = list[i].algo;
      read_config(g, p);
      if (is_allowed(g, p)) status = try_algorithm(g, p, w, bias, &data, found, err);
    }
    if (!*found) p->refused++;
  }
  check_free(&data);
  return status;
}

lct_status lct_gemm_choose(lct_gemm *g, lct_gemm_plan *p, const void *w, const void *bias, lct_error *err) {
  /* a product of one row each is the last resort: there is nothing that it could depend on */
  const lct_gemm_mode prefill[] = {{PREFILL_ROWS, false}, {fixed_tile(p), true}, {1, true}};
  const lct_gemm_mode decode[] = {{DECODE_ROWS, false}, {DECODE_ROWS, true}, {1, true}};
  const lct_gemm_mode *modes = p->decode ? decode : prefill;
  for (int i = 0; i < 3; i++) {
    bool found = false;
    p->mode = modes[i];
    LCT_TRY(choose_in_mode(g, p, w, bias, &found, err));
    if (found) return LCT_OK;
  }
  return lct_fail(err, LCT_E_UNSUPPORTED,
                  "cuBLASLt (version number %zu) has no algorithm for %s products of %lld values in, %lld out%s that gives the same result "
                  "twice on this GPU: %d refused",
                  g->lt.version(), lct_dtype_name(g->t), (long long)p->in, (long long)p->out, p->bias ? " with bias" : "", p->refused);
}
