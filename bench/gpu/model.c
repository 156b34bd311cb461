/* A model of full shape from a name alone. */
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "gpu.h"
#include "model/synth_internal.h"

#define BLOCK 16777213 /* elements that are drawn; the rest repeats them, not in step with any row */

static lct_tensor matrix(const bench_model *m, const char *name, int64_t rows, int64_t cols) {
  return (lct_tensor){.name = name, .dtype = LCT_DTYPE_BF16, .rows = rows, .cols = cols, .data = m->weights};
}

static lct_tensor vector(const bench_model *m, const char *name, int64_t n) {
  return (lct_tensor){.name = name, .dtype = LCT_DTYPE_F32, .rows = 1, .cols = n, .data = m->ones};
}

/* Uniform with the variance 1/hidden: the residual stream stays far from the ends of f16. */
static void draw(uint16_t *w, size_t n, int hidden) {
  size_t drawn = n < BLOCK ? n : BLOCK;
  uint32_t seed = 1;
  for (size_t i = 0; i < drawn; i++) {
    seed = seed * 1664525u + 1013904223u;
    w[i] = lct_f32_to_bf16(((float)(seed >> 8) * 0x1p-23f - 1.0f) * sqrtf(3.0f / (float)hidden));
  }
  for (size_t i = drawn; i < n; i += drawn) memcpy(w + i, w, (n - i < drawn ? n - i : drawn) * sizeof *w);
}

static lct_layer layer(const bench_model *m, const lct_config *c) {
  int64_t q = (int64_t)c->n_heads * c->head_dim, kv = (int64_t)c->n_kv_heads * c->head_dim;
  lct_layer l = {.attn_norm = vector(m, "attn_norm", c->hidden),
                 .mlp_norm = vector(m, "mlp_norm", c->hidden),
                 .q = matrix(m, "q", q, c->hidden),
                 .k = matrix(m, "k", kv, c->hidden),
                 .v = matrix(m, "v", kv, c->hidden),
                 .o = matrix(m, "o", c->hidden, q),
                 .gate = matrix(m, "gate", c->intermediate, c->hidden),
                 .up = matrix(m, "up", c->intermediate, c->hidden),
                 .down = matrix(m, "down", c->hidden, c->intermediate)};
  if (c->qkv_bias) {
    l.q_bias = vector(m, "q_bias", q);
    l.k_bias = vector(m, "k_bias", kv);
    l.v_bias = vector(m, "v_bias", kv);
  }
  if (c->qk_norm) {
    l.q_norm = vector(m, "q_norm", c->head_dim);
    l.k_norm = vector(m, "k_norm", c->head_dim);
  }
  return l;
}

void bench_model_make(const char *like, int n_layers, bench_model *out) {
  *out = (bench_model){0};
  bool tiny = false;
  lct_config c;
  if (!lct_synth_preset(like, &c, &tiny)) {
    (void)lct_fail(&bench_error, LCT_E_USAGE, "no model is known as %s", like);
    bench_die(NULL, &bench_error);
  }
  if (n_layers > 0 && n_layers < c.n_layers) c.n_layers = n_layers;
  size_t widest = (size_t)(c.vocab > c.intermediate ? c.vocab : c.intermediate), q = (size_t)(c.n_heads * c.head_dim);
  size_t n = widest * (size_t)c.hidden, n_ones = q > (size_t)c.hidden ? q : (size_t)c.hidden;
  if (q * (size_t)c.hidden > n) n = q * (size_t)c.hidden;
  BENCH_TRY(lct_alloc_aligned(&out->weights, n, sizeof *out->weights, "weights", &bench_error));
  BENCH_TRY(lct_alloc_aligned(&out->ones, n_ones, sizeof *out->ones, "norms", &bench_error));
  draw(out->weights, n, c.hidden);
  for (size_t i = 0; i < n_ones; i++) out->ones[i] = 1.0f;
  lct_model *m = &out->model;
  m->config = c;
  m->embed = matrix(out, "embed", c.vocab, c.hidden);
  m->head = m->embed;
  m->final_norm = vector(out, "final_norm", c.hidden);
  BENCH_TRY(lct_calloc(&m->layers, (size_t)c.n_layers, sizeof *m->layers, "layers", &bench_error));
  for (int i = 0; i < c.n_layers; i++) m->layers[i] = layer(out, &c);
}

void bench_model_free(bench_model *m) {
  free(m->weights);
  free(m->ones);
  free(m->model.layers);
  *m = (bench_model){0};
}

void bench_gemms(const lct_config *c, bench_gemm out[BENCH_N_GEMMS]) {
  int64_t q = (int64_t)c->n_heads * c->head_dim, kv = (int64_t)c->n_kv_heads * c->head_dim;
  out[0] = (bench_gemm){c->hidden, q + 2 * kv, "qkv"};
  out[1] = (bench_gemm){q, c->hidden, "o"};
  out[2] = (bench_gemm){c->hidden, 2 * (int64_t)c->intermediate, "gate_up"};
  out[3] = (bench_gemm){c->intermediate, c->hidden, "down"};
}

static double layer_weights(const lct_config *c) {
  bench_gemm g[BENCH_N_GEMMS];
  bench_gemms(c, g);
  double n = 0;
  for (int i = 0; i < BENCH_N_GEMMS; i++) n += (double)g[i].in * (double)g[i].out;
  return n;
}

double bench_flops(const lct_config *c, int n_prompts, int n_tokens) {
  double pairs = 0.5 * n_tokens * (n_tokens + 1.0), heads = (double)c->n_heads * c->head_dim;
  double a_prompt = c->n_layers * (2 * layer_weights(c) * n_tokens + 4 * heads * pairs) + 2.0 * c->vocab * c->hidden;
  return a_prompt * n_prompts;
}

double bench_weight_bytes(const lct_config *c) { return 2 * (c->n_layers * layer_weights(c) + (double)c->vocab * c->hidden); }
