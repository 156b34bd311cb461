/* For bench_plan over the sources of commit 6cb0b46, where a conversation was tokenised prefix by prefix. bench/plan_bench.py builds it. */
#include "plan_units.h"
#include "sweep/sweep_impl.h"

lct_status plan_units(lct_tokenizer *tokenizer, const lct_template *chat, const char *path, int32_t max_rows, plan_counts *out,
                      lct_error *err) {
  lct_sweep_options o = {.keep = LCT_KEEP_POOLED};
  sweep_position positions[] = {{"last", SWEEP_AT_LAST, 0, 0, 0},
                                {"content_last", SWEEP_AT_CONTENT_LAST, 0, 0, 0},
                                {"content_mean", SWEEP_AT_CONTENT_MEAN, 0, 0, 0}};
  sweep s = {.o = &o,
             .positions = positions,
             .n_positions = 3,
             .max_rows = max_rows,
             .kv_slots = max_rows + max_rows / 2,
             .max_tokens = 131072,
             .tokenizer = tokenizer,
             .template = *chat};
  lct_input *in = NULL;
  LCT_TRY(lct_input_open(&path, 1, &in, err));
  lct_status status = sweep_planner_start(&s, in, err);
  for (sweep_unit *u = NULL; status == LCT_OK; sweep_unit_free(u)) {
    status = sweep_planner_next(&s, &u, err);
    if (status != LCT_OK || u == NULL) break;
    out->units++;
    out->conversations += u->conversations;
    out->items += (int64_t)u->n_items;
    out->naive += u->naive;
    if (u->plan != NULL) out->tokens += lct_plan_n_tokens(u->plan);
    plan_hash(out, u->messages.data, u->messages.len);
  }
  sweep_planner_stop(&s);
  lct_input_free(in);
  return status;
}
