/* The next tokens of generations: asked for with a pass, recorded after it. */
#include <stdlib.h>

#include "run/worker_impl.h"

lct_status run_heads(run_job *j, lct_generation *const *g, int32_t n, const int32_t *rows, lct_heads *out, lct_error *err) {
  const lct_unit *u = j->u;
  *out = (lct_heads){.rows = rows, .n = n, .sampling = u->sampling, .top_k = u->top_k};
  uint32_t *steps = lct_arena_alloc(&j->w->arena, (size_t)n * sizeof *steps);
  out->choices = lct_arena_alloc(&j->w->arena, (size_t)n * sizeof *out->choices);
  if (steps == NULL || out->choices == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for choices");
  out->steps = steps;
  for (int32_t i = 0; i < n; i++) {
    steps[i] = (uint32_t)g[i]->n;
    LCT_TRY(lct_calloc(&out->choices[i].top, (size_t)u->top_k, sizeof *out->choices[i].top, "top-k", err));
  }
  return LCT_OK;
}

void run_heads_take(run_job *j, lct_generation *const *g, lct_heads *heads, bool chosen) {
  for (int32_t i = 0; i < heads->n && heads->choices != NULL; i++) {
    if (!chosen) {
      free(heads->choices[i].top);
      continue;
    }
    g[i]->choices[g[i]->n++] = heads->choices[i];
    j->w->stats.tokens_generated++;
    bool ends = !g[i]->runs_on && lct_subject_is_end(j->w->subject, heads->choices[i].token);
    g[i]->finished = ends || g[i]->n >= g[i]->max_tokens;
  }
}
