/* The ops table with every op between two events of the backend's stream: what each family of kernels takes on the device. */
#include <string.h>

#include "gpu.h"

#define MAX_OPS 65536
// clang-format off
#define FAMILIES(X)                                                                                                            \
  X(EMBED, "embed") X(QKV, "linear qkv") X(O, "linear o") X(GATE_UP, "linear gate_up") X(DOWN, "linear down") X(HEAD, "linear head") \
  X(NORM, "norm") X(ROPE, "rope") X(ATTENTION, "attention") X(SILU, "silu_mul") X(CHECK, "finite_check") X(CHOOSE, "choose")    \
  X(READ, "read_rows") X(GATHER, "gather_rows") X(POOL, "pool_rows") X(BEGIN, "begin_batch")
// clang-format on
typedef enum {
#define FAMILY_ENUM(id, name) F_##id,
  FAMILIES(FAMILY_ENUM)
#undef FAMILY_ENUM
      N_FAMILIES
} family;
static const char *const family_names[] = {
#define FAMILY_NAME(id, name) name,
    FAMILIES(FAMILY_NAME)
#undef FAMILY_NAME
};

static const lct_ops *inner;
static lct_ops table;
static const lct_config *config;
static struct {
  cudaEvent_t start, end;
  family what;
} ops[MAX_OPS];
static int n_ops, n_events;

static void begin(lct_backend *be, family what) {
  if (n_ops == MAX_OPS) {
    (void)lct_fail(&bench_error, LCT_E_LIMIT, "more than %d ops in a timed run", MAX_OPS);
    bench_die(NULL, &bench_error);
  }
  if (n_ops == n_events) {
    BENCH_CUDA(cudaEventCreate(&ops[n_events].start));
    BENCH_CUDA(cudaEventCreate(&ops[n_events].end));
    n_events++;
  }
  ops[n_ops].what = what;
  BENCH_CUDA(cudaEventRecord(ops[n_ops].start, be->stream));
}

static lct_status done(lct_backend *be, lct_status status) {
  BENCH_CUDA(cudaEventRecord(ops[n_ops++].end, be->stream));
  return status;
}

static lct_status t_begin_batch(lct_backend *be, const lct_batch *b, const lct_attn_shape *s, lct_error *err) {
  begin(be, F_BEGIN);
  return done(be, inner->begin_batch(be, b, s, err));
}

static lct_status t_embed(lct_backend *be, const lct_embedding *e, const int32_t *tokens, int n, float *x, lct_error *err) {
  begin(be, F_EMBED);
  return done(be, inner->embed(be, e, tokens, n, x, err));
}

static family linear_family(int64_t ldx, int64_t ldy) {
  bench_gemm g[BENCH_N_GEMMS];
  static const family of[BENCH_N_GEMMS] = {F_QKV, F_O, F_GATE_UP, F_DOWN};
  bench_gemms(config, g);
  for (int i = 0; i < BENCH_N_GEMMS; i++) {
    if (g[i].in == ldx && g[i].out == ldy) return of[i];
  }
  return F_HEAD;
}

static lct_status t_linear(lct_backend *be, const lct_weight *w, const void *x, int64_t ldx, int n, void *y, int64_t ldy, lct_error *err) {
  begin(be, linear_family(ldx, ldy));
  return done(be, inner->linear(be, w, x, ldx, n, y, ldy, err));
}

static lct_status t_rmsnorm(lct_backend *be, const float *x, const float *w, float eps, int n, int dim, void *h, lct_error *err) {
  begin(be, F_NORM);
  return done(be, inner->rmsnorm(be, x, w, eps, n, dim, h, err));
}

static lct_status t_add_rmsnorm(lct_backend *be, float *x, const void *y, const float *w, float eps, int n, int dim, void *h,
                                lct_error *err) {
  begin(be, F_NORM);
  return done(be, inner->add_rmsnorm(be, x, y, w, eps, n, dim, h, err));
}

static lct_status t_split_rope(lct_backend *be, const void *qkv, const lct_attn_shape *s, const float *q_norm, const float *k_norm,
                               float eps, const float *cos_sin, const int32_t *positions, const int32_t *slots, int n, void *q,
                               lct_kv_layer kv, lct_error *err) {
  begin(be, F_ROPE);
  return done(be, inner->split_rope(be, qkv, s, q_norm, k_norm, eps, cos_sin, positions, slots, n, q, kv, err));
}

static lct_status t_attention(lct_backend *be, const void *q, const lct_attn_shape *s, const lct_batch *b, lct_kv_layer kv, void *out,
                              lct_error *err) {
  begin(be, F_ATTENTION);
  return done(be, inner->attention(be, q, s, b, kv, out, err));
}

static lct_status t_silu_mul(lct_backend *be, const void *gu, int n, int dim, void *act, lct_error *err) {
  begin(be, F_SILU);
  return done(be, inner->silu_mul(be, gu, n, dim, act, err));
}

static lct_status t_read_rows(lct_backend *be, const void *src, lct_dtype dtype, int64_t ld, const int32_t *rows, int n, int dim,
                              float *dst, lct_error *err) {
  begin(be, F_READ);
  return done(be, inner->rows.read(be, src, dtype, ld, rows, n, dim, dst, err));
}

static lct_status t_gather_rows(lct_backend *be, const float *src, const int32_t *rows, int n, int dim, float *dst, lct_error *err) {
  begin(be, F_GATHER);
  return done(be, inner->rows.gather(be, src, rows, n, dim, dst, err));
}

static lct_status t_pool_rows(lct_backend *be, const void *src, lct_dtype dtype, int64_t ld, int dim, const lct_pooled *list,
                              const lct_row_range *ranges, int n, float *dst, lct_error *err) {
  begin(be, F_POOL);
  return done(be, inner->rows.pool(be, src, dtype, ld, dim, list, ranges, n, dst, err));
}

static lct_status t_finite_check(lct_backend *be, const float *x, int n, int dim, int tag, lct_error *err) {
  begin(be, F_CHECK);
  return done(be, inner->finite_check(be, x, n, dim, tag, err));
}

static lct_status t_choose(lct_backend *be, const void *logits, int64_t ld, int n, int vocab, const lct_sampling *s, const uint32_t *steps,
                           int top_k, lct_choice *choices, lct_error *err) {
  begin(be, F_CHOOSE);
  return done(be, inner->choose(be, logits, ld, n, vocab, s, steps, top_k, choices, err));
}

const lct_ops *bench_timed_ops(const lct_ops *of, const lct_config *c) {
  inner = of;
  config = c;
  table = *of;
  table.begin_batch = t_begin_batch;
  table.embed = t_embed;
  table.linear = t_linear;
  table.rmsnorm = t_rmsnorm;
  table.add_rmsnorm = t_add_rmsnorm;
  table.split_rope = t_split_rope;
  table.attention = t_attention;
  table.silu_mul = t_silu_mul;
  table.rows.read = t_read_rows;
  table.rows.gather = t_gather_rows;
  table.rows.pool = t_pool_rows;
  table.finite_check = t_finite_check;
  table.choose = t_choose;
  return &table;
}

void bench_timed_start(void) { n_ops = 0; }

void bench_timed_report(const char *head, double wall) {
  double ms[N_FAMILIES] = {0}, sum = 0;
  int calls[N_FAMILIES] = {0};
  BENCH_CUDA(cudaDeviceSynchronize());
  for (int i = 0; i < n_ops; i++) {
    float t = 0;
    BENCH_CUDA(cudaEventElapsedTime(&t, ops[i].start, ops[i].end));
    ms[ops[i].what] += (double)t;
    sum += (double)t;
    calls[ops[i].what]++;
  }
  for (int f = 0; f < N_FAMILIES; f++) {
    if (calls[f] == 0) continue;
    printf("{\"what\": \"gpu.family\", %s, \"family\": \"%s\", \"calls\": %d, \"milliseconds\": %.4f, \"share\": %.4f}\n", head,
           family_names[f], calls[f], ms[f], ms[f] / (wall * 1e3));
  }
  printf("{\"what\": \"gpu.family\", %s, \"family\": \"outside the ops\", \"calls\": 0, \"milliseconds\": %.4f, \"share\": %.4f}\n", head,
         wall * 1e3 - sum, 1 - sum / (wall * 1e3));
}
