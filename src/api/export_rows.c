/* Rows of a sweep as an export wants them. */
#include <string.h>

#include "api/export_impl.h"

size_t export_block(const exporter *e, const char *source, int width) {
  bool derived = e->f->derived && (strcmp(source, "hidden_in") == 0 || strcmp(source, "hidden_out") == 0);
  size_t rows = (size_t)(derived ? EXPORT_DERIVED_BYTES : EXPORT_BLOCK_BYTES) / ((size_t)width * sizeof(float)) + 1;
  return rows < (size_t)e->s.n_rows ? rows : (size_t)e->s.n_rows;
}

lct_status export_read(exporter *e, const char *source, const char *position, int layer, int64_t first, size_t n, float *out,
                       lct_error *err) {
  if (e->o->what == LCT_EXPORT_TOKENS) return lct_archive_token_vectors(e->a, source, layer, e->s.first + first, n, out, err);
  return lct_archive_vectors(e->a, source, position, layer, e->s.first + first, n, out, err);
}

lct_status export_read_scores(exporter *e, int64_t first, size_t n, float *all, float *out, lct_error *err) {
  const lct_archive_info *f = e->f;
  size_t last = (size_t)f->scores.references.n * (size_t)f->scores.metrics.n;
  LCT_TRY(lct_archive_scores(e->a, e->s.first + first, n, all, err));
  for (size_t r = 0; r < n; r++) {
    for (int p = 0; p < e->s.n_positions; p++) {
      for (int k = 0; k < e->s.n_sources; k++) {
        for (int l = 0; l < e->s.n_layers; l++) {
          size_t place = ((size_t)e->s.positions[p] * (size_t)f->scores.sources.n + (size_t)e->s.sources[k]) * (size_t)f->scores.n_layers;
          memcpy(out, all + r * (size_t)f->scores.n + (place + (size_t)e->s.layers[l]) * last, last * sizeof *out);
          out += last;
        }
      }
    }
  }
  return LCT_OK;
}
