/* Where a sweep stands: what the caller and the metrics file are shown. */
#include "sweep/sweep_impl.h"

/* What the worker has done so far. */
static void take_stats(sweep *s) {
  if (s->worker == NULL) return;
  const lct_worker_stats *w = lct_worker_get_stats(s->worker);
  lct_sweep_result *r = s->result;
  r->tokens_computed = w->tokens_computed;
  r->tokens_naive = w->tokens_naive;
  r->tokens_from_prefix = w->tokens_from_prefix;
  r->batches = w->batches;
  r->batch_rows_failed = w->batch_rows_failed;
  r->batch_rows_shrunk_to = w->batch_rows_shrunk_to;
  r->seconds.forward = w->seconds_prefill;
  r->seconds.gemm = w->seconds_gemm;
}

void sweep_show(sweep *s, const char *phase, lct_sweep_state state) {
  lct_sweep_result *r = s->result;
  take_stats(s);
  lct_sweep_progress p = {.phase = phase,
                          .conversations = r->conversations,
                          .rejected = r->rejected,
                          .rows = s->rows,
                          .tokens_computed = r->tokens_computed,
                          .tokens_naive = r->tokens_naive,
                          .bytes_read = s->bytes_read,
                          .bytes_total = s->bytes_total,
                          .seconds = lct_seconds() - s->t_start,
                          .seconds_input = r->seconds.input,
                          .seconds_forward = r->seconds.forward,
                          .seconds_gemm = r->seconds.gemm,
                          .seconds_capture = r->seconds.sink};
  if (s->store.writer != NULL) {
    lct_zarr_write_stats w = lct_zarr_writer_stats(s->store.writer);
    p.raw_bytes = w.raw_bytes;
    p.stored_bytes = w.stored_bytes;
    p.slots_taken = w.slots_taken;
    p.n_slots = w.n_slots;
    p.seconds_wait = r->seconds.input + w.seconds_wait;
    p.seconds_store = w.seconds_compress + w.seconds_write;
  }
  lct_rates_update(&s->rates, &p);
  if (s->o->progress != NULL) s->o->progress(s->o->progress_ctx, &p);
  lct_error ignored; /* the metrics file is no reason to stop a sweep */
  if (s->metrics_file.path != NULL) (void)!lct_metrics_file_update(&s->metrics_file, &p, state, &ignored);
}
