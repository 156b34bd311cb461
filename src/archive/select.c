#include "archive/select.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The next part of a list with commas; false at its end. */
static bool next_part(const char **list, const char **part, size_t *n) {
  if (*list == NULL) return false;
  *part = *list;
  *n = strcspn(*list, ",");
  *list = (*list)[*n] == ',' ? *list + *n + 1 : NULL;
  return true;
}

static lct_status new_list(lct_arena *arena, size_t n, int **out, lct_error *err) {
  *out = lct_arena_alloc(arena, (n + 1) * sizeof **out);
  return *out != NULL ? LCT_OK : lct_fail(err, LCT_E_NOMEM, "out of memory for a list");
}

static bool stands(const int *list, int n, int value) {
  for (int i = 0; i < n; i++) {
    if (list[i] == value) return true;
  }
  return false;
}

static lct_status no_such(const char *option, const char *part, size_t n, const lct_names *names, lct_error *err) {
  lct_buf all = {0};
  lct_status s = LCT_OK;
  for (int i = 0; i < names->n && s == LCT_OK; i++) s = lct_buf_printf(&all, err, "%s%s", i > 0 ? ", " : "", names->names[i]);
  if (s == LCT_OK) {
    s = lct_fail(err, LCT_E_USAGE, "%s: expected some of %s, found \"%.*s\"", option, names->n > 0 ? all.data : "none", n < 200 ? (int)n : 200, part);
  }
  lct_buf_free(&all);
  return s;
}

static lct_status pick_names(lct_arena *arena, const char *option, const char *list, const lct_names *names, int **out, int *n_out, lct_error *err) {
  LCT_TRY(new_list(arena, (size_t)names->n, out, err));
  *n_out = 0;
  for (int i = 0; i < names->n && list == NULL; i++) (*out)[(*n_out)++] = i;
  const char *part;
  size_t n;
  while (next_part(&list, &part, &n)) {
    int found = -1;
    for (int i = 0; i < names->n; i++) {
      if (strlen(names->names[i]) == n && memcmp(names->names[i], part, n) == 0) found = i;
    }
    if (found < 0) return no_such(option, part, n, names, err);
    if (stands(*out, *n_out, found)) return lct_fail(err, LCT_E_USAGE, "%s: \"%s\" stands twice", option, names->names[found]);
    (*out)[(*n_out)++] = found;
  }
  return LCT_OK;
}

/* A whole number at *text; moves behind it. */
static bool take_number(const char **text, int64_t *out) {
  char *end = NULL;
  errno = 0;
  *out = strtoll(*text, &end, 10);
  if (end == *text || errno != 0 || !(**text == '-' || (**text >= '0' && **text <= '9'))) return false;
  *text = end;
  return true;
}

static lct_status pick_layers(const lct_archive_choice *from, const char *list, lct_archive_selection *out, lct_error *err) {
  LCT_TRY(new_list(&out->arena, (size_t)from->n_layers, &out->layers, err));
  unsigned char *chosen = lct_arena_alloc(&out->arena, (size_t)from->n_layers + 1);
  if (chosen == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a list");
  if (list == NULL) memset(chosen, 1, (size_t)from->n_layers);
  const char *part;
  size_t n;
  while (next_part(&list, &part, &n)) {
    const char *at = part;
    int64_t low = 0, high = -1, found = 0;
    bool ok = take_number(&at, &low);
    high = low;
    if (ok && *at == '-') {
      at++;
      ok = take_number(&at, &high);
    }
    for (int i = 0; i < from->n_layers && ok; i++) {
      bool in = from->layers[i] >= low && from->layers[i] <= high;
      chosen[i] = chosen[i] || in;
      found += in;
    }
    if (!ok || at != part + n || low < 0 || high < low || found != high - low + 1) {
      return lct_fail(err, LCT_E_USAGE, "--layers: expected layers that were stored, such as %d or 0-11,23, found \"%.*s\"",
                      from->n_layers > 0 ? from->layers[0] : 0, n < 200 ? (int)n : 200, part);
    }
  }
  for (int i = 0; i < from->n_layers; i++) {
    if (chosen[i]) out->layers[out->n_layers++] = i;
  }
  return LCT_OK;
}

/* As Python's slices: negative numbers count from the end, what is beyond it is cut. */
static lct_status pick_rows(int64_t n, const char *text, lct_archive_selection *out, lct_error *err) {
  int64_t from = 0, to = n;
  const char *at = text != NULL ? text : ":";
  bool ok = *at == ':' || take_number(&at, &from);
  ok = ok && *at++ == ':';
  ok = ok && (*at == '\0' || (take_number(&at, &to) && *at == '\0'));
  if (!ok) return lct_fail(err, LCT_E_USAGE, "--rows: expected FROM:TO, either of which may be left out, found \"%.200s\"", text);
  from = from < 0 ? (from + n < 0 ? 0 : from + n) : from < n ? from : n;
  to = to < 0 ? (to + n < 0 ? 0 : to + n) : to < n ? to : n;
  out->first = from;
  out->n_rows = to > from ? to - from : 0;
  return LCT_OK;
}

lct_status lct_archive_select(const lct_archive_choice *from, const char *sources, const char *positions, const char *layers, const char *rows,
                              lct_archive_selection *out, lct_error *err) {
  *out = (lct_archive_selection){0};
  LCT_TRY(pick_names(&out->arena, "--sources", sources, from->sources, &out->sources, &out->n_sources, err));
  LCT_TRY(pick_names(&out->arena, "--positions", positions, from->positions, &out->positions, &out->n_positions, err));
  LCT_TRY(pick_layers(from, layers, out, err));
  return pick_rows(from->n_rows, rows, out, err);
}

void lct_archive_selection_free(lct_archive_selection *s) { lct_arena_free(&s->arena); }
