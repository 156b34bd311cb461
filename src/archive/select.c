#include "archive/select.h"

#include <string.h>

#include "base/list.h"

static lct_status new_list(lct_arena *arena, size_t n, int **out, lct_error *err) {
  *out = lct_arena_alloc(arena, (n + 1) * sizeof **out);
  return *out != NULL ? LCT_OK : lct_fail(err, LCT_E_NOMEM, "out of memory for a list");
}

static lct_status pick_names(lct_arena *arena, const char *option, const char *list, const lct_names *names, int **out, int *n_out,
                             lct_error *err) {
  const lct_list_known known = {.option = option, .expected = "some of", .names = names->names, .n = names->n};
  LCT_TRY(new_list(arena, (size_t)names->n, out, err));
  return lct_list_names(&known, list, *out, n_out, err);
}

static lct_status pick_layers(const lct_archive_choice *from, const char *list, lct_archive_selection *out, lct_error *err) {
  const char *bad = NULL;
  size_t n = 0;
  LCT_TRY(new_list(&out->arena, (size_t)from->n_layers, &out->layers, err));
  unsigned char *chosen = lct_arena_alloc(&out->arena, (size_t)from->n_layers + 1);
  if (chosen == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a list");
  if (!lct_list_numbers(list, from->layers, from->n_layers, chosen, &bad, &n)) {
    return lct_fail(err, LCT_E_USAGE, "--layers: expected layers that were stored, such as %d or 0-11,23, found \"%.*s\"",
                    from->n_layers > 0 ? from->layers[0] : 0, n < 200 ? (int)n : 200, bad);
  }
  for (int i = 0; i < from->n_layers; i++) {
    if (chosen[i]) out->layers[out->n_layers++] = i;
  }
  return LCT_OK;
}

static lct_status pick_rows(int64_t n, const char *text, lct_archive_selection *out, lct_error *err) {
  int64_t from = 0, to = n;
  const char *colon = text != NULL ? strchr(text, ':') : NULL;
  bool ok = text == NULL ||
            (colon != NULL && lct_list_bound(text, colon, 0, &from) && lct_list_bound(colon + 1, text + strlen(text), INT64_MAX, &to));
  if (!ok) return lct_fail(err, LCT_E_USAGE, "--rows: expected FROM:TO, either of which may be left out, found \"%.200s\"", text);
  lct_list_slice(n, &from, &to);
  out->first = from;
  out->n_rows = to - from;
  return LCT_OK;
}

lct_status lct_archive_select(const lct_archive_choice *from, const char *sources, const char *positions, const char *layers,
                              const char *rows, lct_archive_selection *out, lct_error *err) {
  *out = (lct_archive_selection){0};
  LCT_TRY(pick_names(&out->arena, "--sources", sources, from->sources, &out->sources, &out->n_sources, err));
  LCT_TRY(pick_names(&out->arena, "--positions", positions, from->positions, &out->positions, &out->n_positions, err));
  LCT_TRY(pick_layers(from, layers, out, err));
  return pick_rows(from->n_rows, rows, out, err);
}

void lct_archive_selection_free(lct_archive_selection *s) { lct_arena_free(&s->arena); }
