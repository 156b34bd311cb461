/* Inside an observer. */
#ifndef LCT_API_OBSERVER_IMPL_H
#define LCT_API_OBSERVER_IMPL_H

#include "run/axes.h"
#include "run/pipeline.h"

struct lct_observer {
  const lct_subject *subject;
  lct_axes *axes;
  lct_worker *worker;
  lct_encoder *encoder;
  lct_tokens tokens; /* scratch */
  const volatile int *cancel;
  lct_observer_axes names;            /* the axes, as users see them */
  lct_arena arena;                    /* of the names */
  size_t vector_floats, score_floats; /* of one conversation */
  int last, scored_last;              /* which of the positions, of the scored positions, is "last"; -1: none */
};

/* A conversation's prompt as an item of the unit. */
lct_status observer_item(lct_observer *o, const lct_message *messages, size_t n, lct_unit *u, lct_item *out, lct_error *err) LCT_CHECKED;
/* What z needs of an item. */
lct_score_row observer_score_row(const lct_item *x);
/* Vectors of item `item` at position `at` of a pool: (source, layer, width) in out. Returns how many floats. */
size_t observer_copy(const lct_observer *o, const lct_pool *pool, int at, int32_t item, float *out);

#endif
