#include "plan_units.h"

#include "sweep/sweep_impl.h"

static lct_status drain(sweep_planner *p, plan_counts *out, lct_error *err) {
  for (;;) {
    lct_unit *u = NULL;
    LCT_TRY(sweep_planner_next(p, NULL, &u, err));
    if (u == NULL) return LCT_OK;
    const sweep_batch *b = u->client;
    out->units++;
    out->conversations += b->conversations;
    out->items += u->n_items;
    out->naive += u->naive;
    if (u->plan != NULL) out->tokens += lct_plan_n_tokens(u->plan);
    plan_hash(out, b->messages.data, b->messages.len);
    lct_unit_free(u);
  }
}

lct_status plan_units(lct_tokenizer *tokenizer, const lct_template *chat, const char *path, int32_t max_rows, plan_counts *out,
                      lct_error *err) {
  static const lct_position positions[] = {{.name = "last", .at = LCT_AT_LAST},
                                           {.name = "content_last", .at = LCT_AT_CONTENT_LAST},
                                           {.name = "content_mean", .at = LCT_AT_CONTENT_MEAN}};
  lct_subject subject = {.tokenizer = tokenizer, .template = *chat};
  lct_input *in = NULL;
  sweep_planner *p = NULL;
  const sweep_plan_options o = {.positions = positions,
                                .n_positions = 3,
                                .subject = &subject,
                                .max_rows = max_rows,
                                .max_tokens = 131072,
                                .too_long = LCT_LONG_SKIP};
  LCT_TRY(lct_threads_new(1, &subject.threads, err));
  lct_status s = lct_input_open(&path, 1, &in, err);
  if (s == LCT_OK) s = sweep_planner_start(&o, in, &p, err);
  if (s == LCT_OK) s = drain(p, out, err);
  sweep_planner_free(p);
  lct_input_free(in);
  lct_threads_free(subject.threads);
  return s;
}
