/* The next token of each row of logits: chosen on the GPU; what comes back is some tens of bytes a row and the most probable tokens. */
#include <string.h>

#include "internal.h"

static void take(const lct_k_choice *c, const lct_top *top, int top_k, lct_choice *out) {
  out->token = c->token;
  if (top_k > 0) memcpy(out->top, top, (size_t)top_k * sizeof *top);
  lct_logits_finish(c->argmax, (double)c->max, c->sum, c->weighted, top_k, out->top, &out->stats);
}

/* n rows whose results and random bits fit be->pinned */
static lct_status choose_piece(lct_backend *be, const void *logits, int64_t ld, int n, int vocab, const lct_k_draw *d, uint64_t seed,
                               const uint32_t *steps, int top_k, lct_choice *choices, lct_error *err) {
  size_t n_choices = (size_t)n * sizeof(lct_k_choice), bytes = n_choices + (size_t)n * (size_t)top_k * sizeof(lct_top);
  LCT_TRY(lct_cuda_reserve(be, &be->stage, bytes, "chosen tokens", err));
  if (d->draw) {
    uint64_t *u53 = be->pinned;
    for (int i = 0; i < n; i++) u53[i] = lct_sampling_u53(seed, 0, steps[i]);
    LCT_TRY(lct_cuda_reserve(be, &be->ids, (size_t)n * sizeof *u53, "random bits", err));
    LCT_TRY(lct_cuda_check(be, cudaMemcpyAsync(be->ids.p, u53, (size_t)n * sizeof *u53, cudaMemcpyHostToDevice, be->stream),
                           "random bits to the GPU", err));
  }
  lct_top *d_top = (lct_top *)(void *)((char *)be->stage.p + n_choices);
  LCT_TRY(lct_cuda_launched(be, lct_k_choose(be->t, logits, ld, n, vocab, d, be->ids.p, top_k, be->stage.p, d_top, be->stream, err),
                            "choose", err));
  LCT_TRY(lct_cuda_check(be, cudaMemcpyAsync(be->pinned, be->stage.p, bytes, cudaMemcpyDeviceToHost, be->stream),
                         "chosen tokens from the GPU", err));
  LCT_TRY(lct_cuda_check(be, cudaStreamSynchronize(be->stream), "choose", err));
  const lct_k_choice *chosen = be->pinned;
  const lct_top *top = (const lct_top *)(const void *)(chosen + n);
  for (int i = 0; i < n; i++) take(&chosen[i], top + (size_t)i * (size_t)top_k, top_k, &choices[i]);
  return LCT_OK;
}

lct_status lct_cuda_choose(lct_backend *be, const void *logits, int64_t ld, int n, int vocab, const lct_sampling *s, const uint32_t *steps,
                           int top_k, lct_choice *choices, lct_error *err) {
  LCT_TRY(lct_cuda_alive(be, err));
  if (top_k < 0 || top_k > LCT_CHOOSE_MAX_TOP) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "the %d most probable tokens of a step: on a GPU at most %d", top_k, LCT_CHOOSE_MAX_TOP);
  }
  lct_k_draw d = {.scale = lct_sampling_scale(s->temperature), .p53 = lct_sampling_p53(s->top_p), .top_k = s->top_k, .draw = s->do_sample};
  int step = (int)(be->pinned_bytes / (sizeof(lct_k_choice) + (size_t)top_k * sizeof(lct_top)));
  for (int i = 0; i < n; i += step) {
    const char *rows = (const char *)logits + (size_t)i * (size_t)ld * 2;
    int piece = n - i < step ? n - i : step;
    LCT_TRY(choose_piece(be, rows, ld, piece, vocab, &d, s->seed, steps + i, top_k, choices + i, err));
  }
  return LCT_OK;
}
