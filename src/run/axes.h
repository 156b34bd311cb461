/* The axes of what is captured and scored: positions, layers, sources and the streams that hold them, metrics and references. */
#ifndef LCT_RUN_AXES_H
#define LCT_RUN_AXES_H

#include "base/threads.h"
#include "capture/pool.h"
#include "capture/position.h"
#include "score/fingerprint.h"

/* What users write; NULL: the default. */
typedef struct {
  const char *positions; /* last,content_last,content_mean */
  const char *sources;   /* hidden_out */
  const char *layers;    /* all */
  const char *metrics;   /* cosine,mae,jaccard; needs fingerprints */
  bool derive_residual;  /* streams: embeddings, attn_out and mlp_down_out are what is stored */
} lct_axes_options;

/* Vectors that are pooled together: one source at the layers, or the residual stream, whose plane p is what enters layer p. */
typedef struct {
  char name[32];
  lct_stream s;
  lct_plane *planes;
  bool stored; /* false: it follows from others, and is only scored */
} lct_axis_stream;

/* A source as it is named: where its layers' vectors are. */
typedef struct {
  lct_source source;
  int stream;
  int *planes; /* (n_layers) */
} lct_axis_source;

typedef struct {
  lct_arena arena;
  lct_position *positions;
  int n_positions;
  int *layers, n_layers;
  lct_axis_source *sources;
  int n_sources;
  lct_axis_stream *streams;
  lct_stream *pooled; /* (n_streams) as a pool wants them */
  int n_streams;
  unsigned char *tap_layers; /* (model's layers) that streams ask for */
  /* scores; n_metrics 0: none */
  int *metrics, n_metrics;
  const lct_fingerprints *fingerprints;                                         /* borrowed */
  int *scored_positions, n_scored_positions, *scored_sources, n_scored_sources; /* indexes: those that the fingerprints have */
  lct_scorer *scorer;
} lct_axes;

/* f: NULL, nothing is scored. name: of the fingerprints' file, for messages. Messages name options as the command line writes them. */
lct_status lct_axes_new(const lct_axes_options *o, const lct_config *c, const lct_fingerprints *f, const char *name, lct_axes **out,
                        lct_error *err) LCT_CHECKED;
void lct_axes_free(lct_axes *a);

/* Floats of one item's scores: (scored position, scored source, layer, reference, metric). 0: nothing is scored. */
size_t lct_axes_score_floats(const lct_axes *a);
/* Scores of items [0, n) of the pool: out (n, score floats). rows (n): what z needs. */
lct_status lct_axes_score(const lct_axes *a, const lct_pool *pool, int32_t n, const lct_score_row *rows, lct_threads *threads, float *out,
                          lct_error *err) LCT_CHECKED;
/* Those of item 0 of a pool, whose position `at` is scored as scored position `position`: out (scored source, layer, reference, metric). */
lct_status lct_axes_score_position(const lct_axes *a, int position, const lct_pool *pool, int at, const lct_score_row *row,
                                   lct_threads *threads, float *out, lct_error *err) LCT_CHECKED;

#endif
