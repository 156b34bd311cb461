#include "base/list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { MAX_SHOWN = 200 }; /* bytes of a part that stand in a message */

bool lct_list_next(const char **list, const char **part, size_t *n) {
  if (*list == NULL) return false;
  *part = *list;
  *n = strcspn(*list, ",");
  *list = (*list)[*n] == ',' ? *list + *n + 1 : NULL;
  return true;
}

int lct_list_count(const char *list) {
  int n = 1;
  for (; *list != '\0'; list++) n += *list == ',';
  return n;
}

bool lct_list_bound(const char *text, const char *end, int64_t absent, int64_t *out) {
  if (text == end) {
    *out = absent;
    return true;
  }
  char *stop = NULL;
  errno = 0;
  *out = strtoll(text, &stop, 10);
  return errno == 0 && stop == end && *out > INT64_MIN && *out < INT64_MAX;
}

void lct_list_slice(int64_t n, int64_t *from, int64_t *to) {
  int64_t *const ends[] = {from, to};
  for (int i = 0; i < 2; i++) {
    int64_t at = *ends[i] < 0 ? *ends[i] + n : *ends[i];
    *ends[i] = at < 0 ? 0 : at < n ? at : n;
  }
  if (*to < *from) *to = *from;
}

/* "5" or "0-11" in part[0..n). */
static bool read_range(const char *part, size_t n, int64_t *low, int64_t *high) {
  const char *end = part + n, *dash = memchr(part, '-', n);
  if (!lct_list_bound(part, dash != NULL ? dash : end, -1, low)) return false;
  *high = *low;
  if (dash != NULL && !lct_list_bound(dash + 1, end, -1, high)) return false;
  return *low >= 0 && *high >= *low;
}

bool lct_list_numbers(const char *list, const int *known, int n, unsigned char *chosen, const char **bad, size_t *n_bad) {
  memset(chosen, list == NULL, (size_t)n);
  while (lct_list_next(&list, bad, n_bad)) {
    int64_t low, high, found = 0;
    if (!read_range(*bad, *n_bad, &low, &high)) return false;
    for (int i = 0; i < n; i++) {
      int number = known != NULL ? known[i] : i;
      if (number < low || number > high) continue;
      chosen[i] = 1;
      found++;
    }
    if (found != high - low + 1) return false;
  }
  return true;
}

static int find(const lct_list_known *k, const char *text, size_t n) {
  for (int i = 0; i < k->n; i++) {
    if (strlen(k->names[i]) == n && memcmp(k->names[i], text, n) == 0) return i;
  }
  return -1;
}

lct_status lct_list_unknown(const lct_list_known *k, const char *part, size_t n, lct_error *err) {
  lct_buf all = {0};
  lct_status s = LCT_OK;
  for (int i = 0; i < k->n && s == LCT_OK; i++) s = lct_buf_printf(&all, err, "%s%s", i > 0 ? ", " : "", k->names[i]);
  if (s == LCT_OK) {
    s = lct_fail(err, LCT_E_USAGE, "%s: expected %s %s, found \"%.*s\"", k->option, k->expected, k->n > 0 ? all.data : "none",
                 n < MAX_SHOWN ? (int)n : MAX_SHOWN, part);
  }
  lct_buf_free(&all);
  return s;
}

lct_status lct_list_names(const lct_list_known *k, const char *list, int *out, int *n_out, lct_error *err) {
  const char *part;
  size_t n;
  *n_out = 0;
  for (int i = 0; i < k->n && list == NULL; i++) out[(*n_out)++] = i;
  while (lct_list_next(&list, &part, &n)) {
    int found = find(k, part, n);
    if (found < 0) return lct_list_unknown(k, part, n, err);
    for (int i = 0; i < *n_out; i++) {
      if (out[i] == found) return lct_fail(err, LCT_E_USAGE, "%s: \"%s\" stands twice", k->option, k->names[found]);
    }
    out[(*n_out)++] = found;
  }
  return LCT_OK;
}
