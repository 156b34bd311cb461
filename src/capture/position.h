/* Positions: where in a prompt a vector is taken. One parser of what users write, one choice of rows. */
#ifndef LCT_CAPTURE_POSITION_H
#define LCT_CAPTURE_POSITION_H

#include "base/mem.h"
#include "plan/plan.h"
#include "text/prompt.h"

typedef enum {
  LCT_AT_LAST,         /* "last": the prompt's last token */
  LCT_AT_CONTENT_LAST, /* "content_last": the last token of the message's own text */
  LCT_AT_CONTENT_MEAN, /* "content_mean": the mean over the message's own text */
  LCT_AT_ROLE,         /* "message:ROLE": the mean over all text of that role so far */
  LCT_AT_RANGE         /* "range:FROM:TO": the mean over positions of the prompt, as Python's slices */
} lct_at;

typedef struct {
  char name[64];
  lct_at at;
  lct_role role;    /* LCT_AT_ROLE */
  int64_t from, to; /* LCT_AT_RANGE; to INT64_MAX: the end */
} lct_position;

/* The default, in the order of lct_at. */
#define LCT_DEFAULT_POSITIONS "last,content_last,content_mean"
enum { LCT_N_DEFAULT_POSITIONS = LCT_AT_CONTENT_MEAN + 1 };

/* A list with commas; option ("--positions") stands in messages. *out is the arena's. LCT_E_USAGE for what is no position or stands twice. */
lct_status lct_positions_parse(const char *option, const char *list, lct_arena *arena, lct_position **out, int *n,
                               lct_error *err) LCT_CHECKED;

/* A prompt whose positions are asked for: n_tokens, and the messages it renders. */
typedef struct {
  int32_t n_tokens;
  const lct_token_range *content; /* (message + 1) where each message's own text lies */
  const lct_role *roles;          /* (message + 1) */
  int32_t message;                /* the last */
} lct_prompt_shape;

/* Tokens of the prompt that a position is about: ranges in ascending order, in out (message + 1 of them at most); returns their number, 0: the
 * position has none here. Of LCT_AT_LAST and LCT_AT_CONTENT_LAST it is one token. */
int lct_position_tokens(const lct_position *p, const lct_prompt_shape *x, lct_token_range *out);
/* The first token that any of the positions is about; scratch (message + 1). */
int32_t lct_positions_first(const lct_position *p, int n, const lct_prompt_shape *x, lct_token_range *scratch);

/* Where a vector comes from: KV slots of a plan. */
typedef struct {
  int32_t slot;             /* >= 0: the row whose keys lie there; -1: the mean */
  const lct_kv_range *mean; /* (n_mean) ascending position */
  int32_t n_mean;           /* 0: there is no such vector, it is NaN */
} lct_place;

/* The places of n positions of a prompt that lies in path (n_path ranges that cover it), in out (n); lists are the arena's. */
lct_status lct_positions_place(const lct_position *p, int n, const lct_prompt_shape *x, const lct_kv_range *path, int32_t n_path,
                               lct_arena *arena, lct_place *out, lct_error *err) LCT_CHECKED;

#endif
