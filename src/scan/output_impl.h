/* Between the files that write a run directory. */
#ifndef LCT_SCAN_OUTPUT_IMPL_H
#define LCT_SCAN_OUTPUT_IMPL_H

#include <jansson.h>

#include "scan/scan_impl.h"

/* Writes root (reference taken; NULL fails) to path, whole or not at all. */
lct_status scan_write_json(json_t *root, const char *path, lct_error *err) LCT_CHECKED;
const char *scan_keep_name(lct_keep k);
/* Tokens decoded one by one, as Activation Lab lists them. */
json_t *scan_tokens_text(const scan *s, const int32_t *ids, size_t n);

/* Scores of a prompt's snapshots, as scores.json and scores.csv have them. What is not the table's own is borrowed or the scan's arena's. */
typedef struct {
  scan *s;
  const scan_prompt *p;
  int *snapshots, n_snapshots; /* numbers of the items that were run */
  int *layers, n_layers;       /* captured */
  const char **poolings, **sources, **references, **metrics;
  int n_poolings, n_sources, n_references, n_metrics;
  int digits;    /* that a score is written with */
  float *scores; /* (snapshot, pooling, source, layer, reference, metric) the table's own */
} scan_table;

/* Snapshots and layers of a prompt, and room for so many names. */
lct_status scan_table_init(scan_table *t, scan *s, const scan_prompt *p, int n_poolings, int n_sources, int n_references, int n_metrics,
                           lct_error *err) LCT_CHECKED;
void scan_table_free(scan_table *t);
/* Where the (reference, metric) of a cell begin among the scores. */
size_t scan_table_at(const scan_table *t, int snapshot, int pooling, int source, int layer);
/* PROMPT/NAME.json, with intra_run where that is not NULL (reference taken), and PROMPT/NAME.csv. */
lct_status scan_table_json(const scan_table *t, const char *name, json_t *intra_run, lct_error *err) LCT_CHECKED;
lct_status scan_table_csv(const scan_table *t, const char *name, lct_error *err) LCT_CHECKED;

#endif
