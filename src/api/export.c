/* A sweep's vectors, scores or tokens in formats that everything reads. */
#include "api/export_impl.h"

static lct_status run(exporter *e, lct_export_result *result, lct_error *err) {
  const lct_export_options *o = e->o;
  const lct_archive_info *f = e->f;
  if (o->scores != NULL) LCT_TRY(lct_archive_use_scores(e->a, o->scores, err));
  bool scores = o->what == LCT_EXPORT_SCORES, tokens = o->what == LCT_EXPORT_TOKENS;
  if (scores && f->scores.n == 0) return lct_fail(err, LCT_E_USAGE, "%s holds no scores: it was swept without fingerprints", o->dir);
  if (tokens && f->n_tokens == 0) return lct_fail(err, LCT_E_USAGE, "%s holds no tokens: it was swept without --keep tokens", o->dir);
  e->from = scores ? (lct_archive_choice){&f->scores.sources, &f->scores.positions, f->scores.layers, f->scores.n_layers, f->n_rows}
                   : (lct_archive_choice){&f->sources, &f->positions, f->layers, f->n_layers, tokens ? f->n_tokens : f->n_rows};
  if (tokens && o->positions != NULL) return lct_fail(err, LCT_E_USAGE, "--positions: a token is no position; --rows chooses tokens");
  LCT_TRY(lct_archive_select(&e->from, o->sources, o->positions, o->layers, o->rows, &e->s, err));
  LCT_TRY(o->format == LCT_EXPORT_CSV ? export_csv(e, err) : export_tensors(e, err));
  *result = (lct_export_result){.rows = e->s.n_rows, .values = e->values};
  return LCT_OK;
}

lct_status lct_export(const lct_export_options *o, lct_export_result *result, lct_error *err) {
  exporter e = {.o = o};
  *result = (lct_export_result){0};
  LCT_TRY(lct_archive_open(o->dir, &e.a, err));
  e.f = lct_archive_get_info(e.a);
  lct_status s = run(&e, result, err);
  lct_archive_selection_free(&e.s);
  lct_archive_free(e.a);
  return s;
}
