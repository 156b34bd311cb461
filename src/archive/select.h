/* What of a sweep is meant: lists of sources, positions and layers, and a range of rows, as a user writes them. */
#ifndef LCT_ARCHIVE_SELECT_H
#define LCT_ARCHIVE_SELECT_H

#include "archive/archive.h"

/* Indexes into the archive's lists, in the order they were asked for (layers ascending). */
typedef struct {
  int *sources, *positions, *layers;
  int n_sources, n_positions, n_layers;
  int64_t first; /* rows [first, first + n_rows) */
  int64_t n_rows;
  lct_arena arena;
} lct_archive_selection;

/* The lists there are to choose from; n rows. */
typedef struct {
  const lct_names *sources, *positions;
  const int *layers;
  int n_layers;
  int64_t n_rows;
} lct_archive_choice;

/* Texts may be NULL: all. LCT_E_USAGE says what there is. `out` is to be freed in any case. */
lct_status lct_archive_select(const lct_archive_choice *from, const char *sources, const char *positions, const char *layers,
                              const char *rows, lct_archive_selection *out, lct_error *err) LCT_CHECKED;
void lct_archive_selection_free(lct_archive_selection *s);

#endif
