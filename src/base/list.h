/* Lists as users write them: parts with commas between them, numbers, ranges, slices, names. */
#ifndef LCT_BASE_LIST_H
#define LCT_BASE_LIST_H

#include "base/status.h"

/* The next part of a list with commas, n bytes at *part; false at its end, and for NULL. */
bool lct_list_next(const char **list, const char **part, size_t *n);
int lct_list_count(const char *list); /* its parts */

/* The whole number text[0..end), as of Python's slices; nothing at all: `absent`. false: it is none, or beyond int64. */
bool lct_list_bound(const char *text, const char *end, int64_t absent, int64_t *out);
/* [*from, *to) of n things as Python's slices mean it: what is negative counts from the end, what is beyond it is cut. *from <= *to after. */
void lct_list_slice(int64_t n, int64_t *from, int64_t *to);

/* Numbers and ranges of them, "0-11,23": those that are chosen get a 1 in chosen (n), one a number of `known` (n); known NULL: 0 .. n-1.
 * list NULL: all. false: the part bad[0..n_bad) is none, or has a number that is not known. */
bool lct_list_numbers(const char *list, const int *known, int n, unsigned char *chosen, const char **bad, size_t *n_bad);

/* What a list may choose from. */
typedef struct {
  const char *option;   /* "--sources" */
  const char *expected; /* "some of", "a list of": stands before the names in messages */
  const char *const *names;
  int n;
} lct_list_known;
/* LCT_E_USAGE: "OPTION: expected some of NAMES, found PART". */
lct_status lct_list_unknown(const lct_list_known *k, const char *part, size_t n, lct_error *err);
/* Indexes of the names that a list chooses, in its order, in out (k->n); NULL: all. LCT_E_USAGE for what is no name or stands twice. */
lct_status lct_list_names(const lct_list_known *k, const char *list, int *out, int *n_out, lct_error *err) LCT_CHECKED;

#endif
