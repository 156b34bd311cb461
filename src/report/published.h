/* The published numbers: where_emotions_lie.published.json in memory. Tables that the file lacks are NULL or empty. */
#ifndef LCT_REPORT_PUBLISHED_H
#define LCT_REPORT_PUBLISHED_H

#include "analysis/json.h"

#define LCT_PUB_N_SOURCES 4 /* the residual sources in their usual order */
#define LCT_PUB_N_INTRA 4   /* mean, std, median, min */
#define LCT_PUB_N_STATS 3   /* cosine, MAE, Jaccard: the first of lct_stat */

typedef struct {
  int turn;
  double *cosine; /* (n_references) */
} lct_pub_turn;

typedef struct {
  int layer;
  double spread, highest_value, lowest_value, mean;
  const char *highest, *lowest;
} lct_pub_layer;

typedef struct {
  const char *model; /* "" when absent */
  int n_layers;      /* 0 when absent */
  char **references;
  size_t n_references;
  lct_pub_turn *turns;
  size_t n_turns;
  double *by_source;                  /* (n_references, source): mean cosine over all messages */
  double *user, *assistant;           /* (n_references, source, LCT_PUB_N_STATS) */
  double *role_user, *role_assistant; /* (source) */
  double *intra;                      /* (source, LCT_PUB_N_INTRA) */
  lct_pub_layer *top;
  size_t n_top;
  lct_arena arena;
} lct_published;

/* Errors name file and key. */
lct_status lct_published_load(const char *path, lct_published **out, lct_error *err) LCT_CHECKED;
void lct_published_free(lct_published *p);

#endif
