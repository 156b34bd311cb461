/* What the exports of a sweep share. */
#ifndef LCT_API_EXPORT_IMPL_H
#define LCT_API_EXPORT_IMPL_H

#include "archive/select.h"

enum { EXPORT_BLOCK_BYTES = 16 << 20, EXPORT_DERIVED_BYTES = 512 << 20 };

typedef struct {
  const lct_export_options *o;
  lct_archive *a;
  const lct_archive_info *f;
  lct_archive_choice from; /* what the selection chooses from */
  lct_archive_selection s;
  int64_t values; /* written */
} exporter;

static inline const char *export_source(const exporter *e, int i) { return e->from.sources->names[e->s.sources[i]]; }
static inline const char *export_position(const exporter *e, int i) { return e->from.positions->names[e->s.positions[i]]; }
static inline int export_layer(const exporter *e, int i) { return e->from.layers[e->s.layers[i]]; }

/* Rows (tokens) read at a time of a source of that width: few where every block costs the same, many where the residual stream is added
 * up anew for each. */
size_t export_block(const exporter *e, const char *source, int width);
/* Vectors [first, first + n) of the selection. position is unused with tokens. */
lct_status export_read(exporter *e, const char *source, const char *position, int layer, int64_t first, size_t n, float *out,
                       lct_error *err) LCT_CHECKED;
/* Scores of rows [first, first + n) of the selection, the chosen axes alone; all: room for the rows' whole scores. */
lct_status export_read_scores(exporter *e, int64_t first, size_t n, float *all, float *out, lct_error *err) LCT_CHECKED;

lct_status export_tensors(exporter *e, lct_error *err) LCT_CHECKED;
lct_status export_csv(exporter *e, lct_error *err) LCT_CHECKED;

#endif
