/* A sweep's vectors, scores or tokens in formats that everything reads. */
#include <string.h>

#include "api/export_impl.h"

size_t export_block(const exporter *e, const char *source, int width) {
  bool derived = e->f->derived && (strcmp(source, "hidden_in") == 0 || strcmp(source, "hidden_out") == 0);
  size_t rows = (size_t)(derived ? EXPORT_DERIVED_BYTES : EXPORT_BLOCK_BYTES) / ((size_t)width * sizeof(float)) + 1;
  return rows < (size_t)e->s.n_rows ? rows : (size_t)e->s.n_rows;
}

lct_status export_read(exporter *e, const char *source, const char *position, int layer, int64_t first, size_t n, float *out, lct_error *err) {
  if (e->o->what == LCT_EXPORT_TOKENS) return lct_archive_token_vectors(e->a, source, layer, e->s.first + first, n, out, err);
  return lct_archive_vectors(e->a, source, position, layer, e->s.first + first, n, out, err);
}

lct_status export_read_scores(exporter *e, int64_t first, size_t n, float *all, float *out, lct_error *err) {
  const lct_archive_info *f = e->f;
  size_t last = (size_t)f->references.n * (size_t)f->metrics.n;
  LCT_TRY(lct_archive_scores(e->a, e->s.first + first, n, all, err));
  for (size_t r = 0; r < n; r++) {
    for (int p = 0; p < e->s.n_positions; p++) {
      for (int k = 0; k < e->s.n_sources; k++) {
        for (int l = 0; l < e->s.n_layers; l++) {
          size_t place = ((size_t)e->s.positions[p] * (size_t)f->scored_sources.n + (size_t)e->s.sources[k]) * (size_t)f->n_scored_layers;
          memcpy(out, all + r * (size_t)f->n_scored + (place + (size_t)e->s.layers[l]) * last, last * sizeof *out);
          out += last;
        }
      }
    }
  }
  return LCT_OK;
}

static lct_status run(exporter *e, lct_export_result *result, lct_error *err) {
  const lct_export_options *o = e->o;
  if (o->scores != NULL) LCT_TRY(lct_archive_use_scores(e->a, o->scores, err));
  bool scores = o->what == LCT_EXPORT_SCORES, tokens = o->what == LCT_EXPORT_TOKENS;
  if (scores && e->f->n_scored == 0) return lct_fail(err, LCT_E_USAGE, "%s holds no scores: it was swept without fingerprints", o->dir);
  if (tokens && e->f->n_tokens == 0) return lct_fail(err, LCT_E_USAGE, "%s holds no tokens: it was swept without --keep tokens", o->dir);
  e->from = scores ? (lct_archive_choice){&e->f->scored_sources, &e->f->scored_positions, e->f->scored_layers, e->f->n_scored_layers, e->f->n_rows}
                   : (lct_archive_choice){&e->f->sources, &e->f->positions, e->f->layers, e->f->n_layers, tokens ? e->f->n_tokens : e->f->n_rows};
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
