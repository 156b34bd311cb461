/* What bench_plan times: a planner whose units are counted and thrown away. One implementation for these sources, and one for those of the
 * commit that they are held against. */
#ifndef LCT_BENCH_PLAN_UNITS_H
#define LCT_BENCH_PLAN_UNITS_H

#include "text/template.h"
#include "text/tokenizer.h"

typedef struct {
  int64_t units, conversations, items, tokens, naive;
  uint64_t lines; /* a hash of the lines of messages.jsonl, which say the length, the message's place and a hash of every prompt */
} plan_counts;

/* Plans the file's conversations, about max_rows tokens a unit. */
lct_status plan_units(lct_tokenizer *tokenizer, const lct_template *chat, const char *path, int32_t max_rows, plan_counts *out,
                      lct_error *err) LCT_CHECKED;

static inline void plan_hash(plan_counts *c, const char *text, size_t n) {
  for (size_t i = 0; i < n; i++) c->lines = (c->lines ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
}

#endif
