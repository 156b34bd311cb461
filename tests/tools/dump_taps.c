/* Everything a forward pass shows, for tests/oracle/check_parity.py.
 *
 *   dump_taps MODEL [--fast]            token ids (i32) from stdin; to stdout records of
 *                                       char source[16]; i32 layer, row0, n, width, heads; f32 values (heads, n, width)
 *   dump_taps MODEL [--fast] --greedy N token ids from stdin; to stdout the N ids (i32) that greedy decoding adds
 *
 * width is the source's width, of attn_weights the number of keys; heads is 1 but for attn_weights. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/sampler.h"

#define MAX_IDS (1 << 20)

static lct_status put(const void *data, size_t n, lct_error *err) {
  return fwrite(data, 1, n, stdout) == n ? LCT_OK : lct_fail(err, LCT_E_IO, "cannot write to stdout");
}

static lct_status put_header(lct_source s, int layer, int row0, int n, int width, int heads, lct_error *err) {
  char name[16] = "";
  const int32_t numbers[] = {layer, row0, n, width, heads};
  (void)snprintf(name, sizeof name, "%s", lct_source_name(s));
  LCT_TRY(put(name, sizeof name, err));
  return put(numbers, sizeof numbers, err);
}

static lct_status on_rows(void *ctx, lct_source s, int layer, int row0, int n, const float *data, int64_t ld, lct_error *err) {
  int width = lct_source_width(s, lct_engine_config(ctx));
  LCT_TRY(put_header(s, layer, row0, n, width, 1, err));
  for (int i = 0; i < n; i++) LCT_TRY(put(data + i * ld, (size_t)width * sizeof *data, err));
  return LCT_OK;
}

static lct_status on_attn(void *ctx, int layer, int segment, int row0, int n, int n_keys, const float *data, lct_error *err) {
  (void)segment;
  int heads = lct_engine_config(ctx)->n_heads;
  LCT_TRY(put_header(LCT_SOURCE_ATTN_WEIGHTS, layer, row0, n, n_keys, heads, err));
  return put(data, (size_t)heads * (size_t)n * (size_t)n_keys * sizeof *data, err);
}

static lct_status dump(lct_engine *e, const lct_batch *b, lct_error *err) {
  lct_tap tap = {.ctx = e, .wanted = (1u << LCT_N_SOURCES) - 1, .rows = on_rows, .attn = on_attn};
  return lct_engine_forward(e, b, NULL, &tap, NULL, 0, NULL, NULL, err);
}

static lct_status decode(lct_engine *e, const lct_batch *prompt, int n_new, lct_kv *kv, float *logits, lct_error *err) {
  const int vocab = lct_engine_config(e)->vocab;
  const lct_sampling greedy = {0};
  int32_t last = prompt->n_rows - 1, zero = 0, token = 0;
  LCT_TRY(lct_engine_forward(e, prompt, kv, NULL, &last, 1, logits, NULL, err));
  for (int i = 0; i < n_new; i++) {
    LCT_TRY(lct_sample(&greedy, logits, vocab, 0, (uint32_t)i, &token, err));
    LCT_TRY(put(&token, sizeof token, err));
    int32_t position = prompt->n_rows + i;
    lct_kv_range before = {0, position};
    lct_segment seg = {.n_rows = 1, .pos0 = position, .kv0 = position, .n_ranges = 1, .ranges = &before};
    lct_batch step = {.n_rows = 1,
                      .n_segments = 1,
                      .n_slots = position + 1,
                      .decode = true,
                      .tokens = &token,
                      .positions = &position,
                      .segments = &seg};
    if (i + 1 < n_new) LCT_TRY(lct_engine_forward(e, &step, kv, NULL, &zero, 1, logits, NULL, err));
  }
  return LCT_OK;
}

static lct_status generate(lct_engine *e, const lct_batch *prompt, int n_new, lct_error *err) {
  lct_kv *kv = NULL;
  float *logits = NULL;
  lct_status status = lct_kv_new(e, prompt->n_rows + n_new, &kv, err);
  if (status == LCT_OK) status = lct_alloc_aligned(&logits, (size_t)lct_engine_config(e)->vocab, sizeof *logits, "logits", err);
  if (status == LCT_OK) status = decode(e, prompt, n_new, kv, logits, err);
  free(logits);
  lct_kv_free(e, kv);
  return status;
}

static lct_status run(const char *path, lct_precision precision, int n_new, const int32_t *ids, size_t n, lct_error *err) {
  lct_model *m = NULL;
  lct_engine *e = NULL;
  lct_plan *p = NULL;
  int32_t seq = 0;
  lct_status status = lct_model_open(path, &m, err);
  if (status == LCT_OK) status = lct_engine_new(m, lct_cpu_ops(), &(lct_backend_options){.precision = precision}, &e, err);
  if (status == LCT_OK) status = lct_plan_new(&p, err);
  if (status == LCT_OK) status = lct_plan_add(p, ids, n, &seq, err);
  if (status == LCT_OK) status = lct_plan_build(p, MAX_IDS, err);
  if (status == LCT_OK) status = n_new > 0 ? generate(e, lct_plan_batch(p, 0), n_new, err) : dump(e, lct_plan_batch(p, 0), err);
  lct_plan_free(p);
  lct_engine_free(e);
  lct_model_free(m);
  return status;
}

int main(int argc, char **argv) {
  lct_precision precision = LCT_PRECISION_EXACT;
  int n_new = 0;
  for (int i = 2; i < argc; i++) {
    if (strcmp(argv[i], "--fast") == 0) precision = LCT_PRECISION_FAST;
    else if (strcmp(argv[i], "--greedy") == 0 && i + 1 < argc) n_new = atoi(argv[++i]);
    else argc = 0;
  }
  if (argc < 2) {
    fprintf(stderr, "usage: dump_taps MODEL [--fast] [--greedy N] < ids\n");
    return 2;
  }
  int32_t *ids = malloc(MAX_IDS * sizeof *ids);
  size_t n = ids != NULL ? fread(ids, sizeof *ids, MAX_IDS, stdin) : 0;
  lct_error err = {0};
  lct_status status = run(argv[1], precision, n_new, ids, n, &err);
  free(ids);
  if (status != LCT_OK) fprintf(stderr, "dump_taps: %s\n", err.message);
  return status == LCT_OK && fflush(stdout) == 0 ? 0 : 1;
}
