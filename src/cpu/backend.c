/* Opening and closing, the choice of instruction set, and the table itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/amx.h"
#include "cpu/internal.h"

static const lct_kernels *best_kernels(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return &lct_kernels_avx512;
  }
  if (avx2) return &lct_kernels_avx2;
#endif
  return &lct_kernels_base;
}

/* *amx: whether matrix products of bf16 are AMX's, beside the kernels of AVX-512. */
static lct_status choose_kernels(const lct_kernels **out, bool *amx, lct_error *err) {
  *out = best_kernels();
  bool has_amx = strcmp((*out)->isa, "avx512") == 0 && lct_amx_available();
  const char *want = getenv("LCT_CPU_ISA");
  *amx = has_amx && (want == NULL || want[0] == '\0' || strcmp(want, "amx") == 0);
  if (*amx || want == NULL || want[0] == '\0' || strcmp(want, (*out)->isa) == 0) return LCT_OK;
  if (strcmp(want, "base") == 0) {
    *out = &lct_kernels_base;
    return LCT_OK;
  }
#if defined(__x86_64__)
  if (strcmp(want, "avx2") == 0 && *out == &lct_kernels_avx512) {
    *out = &lct_kernels_avx2;
    return LCT_OK;
  }
#endif
  return lct_fail(err, LCT_E_USAGE, "LCT_CPU_ISA=%s: expected base, avx2, avx512 or amx, at most what this machine has (%s)", want,
                  has_amx ? "amx" : (*out)->isa);
}

lct_status lct_cpu_describe(lct_buf *out, lct_error *err) {
  const lct_kernels *k = NULL;
  bool amx = false;
  LCT_TRY(choose_kernels(&k, &amx, err));
  const dnnl_version_t *v = dnnl_version();
  return lct_buf_printf(out, err, "%s kernels%s, oneDNN %d.%d.%d", k->isa, amx ? ", AMX for bf16" : "", v->major, v->minor, v->patch);
}

/* 60 % of what the system says is available; SIZE_MAX when it does not say. */
static size_t default_budget(void) {
  FILE *f = fopen("/proc/meminfo", "r");
  if (f == NULL) return SIZE_MAX;
  char line[128];
  unsigned long long kib = 0;
  while (fgets(line, sizeof line, f) != NULL && sscanf(line, "MemAvailable: %llu kB", &kib) != 1) {
  }
  (void)fclose(f);
  return kib == 0 ? SIZE_MAX : (size_t)(kib * 1024 / 10 * 6);
}

static void backend_close(lct_backend *be) {
  if (be == NULL) return;
  lct_cpu_gemm_close(be);
  free(be->pad.p);
  free(be->rows.p);
  free(be->stream_packed.p);
  free(be->attn.p);
  free(be->items.p);
  free(be);
}

static lct_status backend_open(const lct_backend_options *o, lct_backend **out, lct_error *err) {
  *out = NULL;
  const lct_kernels *kernels = NULL;
  bool amx = false;
  LCT_TRY(choose_kernels(&kernels, &amx, err));
  lct_backend *be = NULL;
  LCT_TRY(lct_calloc(&be, 1, sizeof *be, "CPU backend", err));
  be->kernels = kernels;
  be->bad_index = -1;
  be->precision = o->precision;
  be->amx = amx && o->precision == LCT_PRECISION_FAST;
  be->threads = o->threads;
  be->weight_budget = o->weight_budget_bytes == 0 ? default_budget() : o->weight_budget_bytes;
  lct_status status = lct_cpu_gemm_open(be, err);
  if (status != LCT_OK) {
    backend_close(be);
    return status;
  }
  *out = be;
  return LCT_OK;
}

static lct_status begin_batch(lct_backend *be, const lct_batch *batch, const lct_attn_shape *s, lct_error *err) {
  (void)s;
  (void)err;
  be->decode = batch->decode;
  return LCT_OK;
}

/* Weights are used as the file has them, or rounded to bf16, which has float32's range. */
static lct_status conversion(lct_backend *be, lct_conversion *out, lct_error *err) {
  (void)be;
  (void)err;
  *out = (lct_conversion){0};
  return LCT_OK;
}

static lct_status choose(lct_backend *be, const void *logits, int64_t ld, int n, int vocab, const lct_sampling *s, const uint32_t *steps,
                         int top_k, lct_choice *choices, lct_error *err) {
  (void)be;
  for (int i = 0; i < n; i++) {
    const float *row = (const float *)logits + i * ld;
    LCT_TRY(lct_logits_describe(row, vocab, top_k, choices[i].top, &choices[i].stats, err));
    LCT_TRY(lct_sample(s, row, vocab, 0, steps[i], &choices[i].token, err));
  }
  return LCT_OK;
}

static lct_dtype in_dtype(const lct_backend *be) { return be->precision == LCT_PRECISION_FAST ? LCT_DTYPE_BF16 : LCT_DTYPE_F32; }

static lct_dtype out_dtype(const lct_backend *be) {
  (void)be;
  return LCT_DTYPE_F32;
}

static size_t kv_row_bytes(const lct_backend *be, const lct_attn_shape *s) {
  (void)be;
  return (size_t)s->n_kv_heads * (size_t)s->head_dim * sizeof(float);
}

static lct_status host_alloc(lct_backend *be, size_t bytes, void **out, lct_error *err) {
  (void)be;
  return lct_cpu_alloc(out, bytes, "CPU buffer", err);
}

static void host_free(lct_backend *be, void *p) {
  (void)be;
  free(p);
}

static lct_status host_copy(lct_backend *be, void *dst, const void *src, size_t bytes, lct_error *err) {
  (void)be;
  (void)err;
  if (bytes > 0) memcpy(dst, src, bytes);
  return LCT_OK;
}

static lct_status embedding_new(lct_backend *be, const lct_tensor *t, lct_embedding **out, lct_error *err) {
  (void)be;
  LCT_TRY(lct_calloc(out, 1, sizeof **out, "embedding", err));
  (*out)->t = *t;
  return LCT_OK;
}

static void embedding_free(lct_backend *be, lct_embedding *e) {
  (void)be;
  free(e);
}

const lct_ops *lct_cpu_ops(void) {
  static const lct_ops ops = {
      .name = "cpu",
      .host_memory = true,
      .open = backend_open,
      .close = backend_close,
      .in_dtype = in_dtype,
      .out_dtype = out_dtype,
      .kv_row_bytes = kv_row_bytes,
      .mlp_rows = 512, /* they fit the last-level cache */
      .begin_batch = begin_batch,
      .memory = {.alloc = host_alloc,
                 .free = host_free,
                 .upload = host_copy,
                 .download = host_copy,
                 .alloc_host = host_alloc,
                 .free_host = host_free},
      .weights = {.new = lct_cpu_weight_new,
                  .free = lct_cpu_weight_free,
                  .embedding_new = embedding_new,
                  .embedding_free = embedding_free,
                  .conversion = conversion},
      .embed = lct_cpu_embed,
      .linear = lct_cpu_linear,
      .rmsnorm = lct_cpu_rmsnorm,
      .add_rmsnorm = lct_cpu_add_rmsnorm,
      .split_rope = lct_cpu_split_rope,
      .attention = lct_cpu_attention,
      .attn_weights = lct_cpu_attn_weights,
      .silu_mul = lct_cpu_silu_mul,
      .silu = lct_cpu_silu,
      .rows = {.read = lct_cpu_read_rows, .gather = lct_cpu_gather_rows},
      .finite_check = lct_cpu_finite_check,
      .finite_read = lct_cpu_finite_read,
      .choose = choose,
  };
  return &ops;
}
