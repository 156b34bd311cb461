#include "capture/position.h"

#include <stdio.h>
#include <string.h>

#include "base/list.h"

static const struct {
  const char *name;
  lct_at at;
} PLAIN[] = {{"last", LCT_AT_LAST}, {"content_last", LCT_AT_CONTENT_LAST}, {"content_mean", LCT_AT_CONTENT_MEAN}};

static bool parse_role(const char *name, lct_role *out) {
  *out = lct_role_of(name);
  return *out != LCT_ROLE_ASSISTANT || strcmp(name, "assistant") == 0;
}

static bool parse(const char *text, size_t n, lct_position *p) {
  if (n >= sizeof p->name) return false;
  (void)snprintf(p->name, sizeof p->name, "%.*s", (int)n, text);
  for (size_t i = 0; i < sizeof PLAIN / sizeof *PLAIN; i++) {
    if (strcmp(p->name, PLAIN[i].name) != 0) continue;
    p->at = PLAIN[i].at;
    return true;
  }
  if (strncmp(p->name, "message:", 8) == 0) {
    p->at = LCT_AT_ROLE;
    return parse_role(p->name + 8, &p->role);
  }
  if (strncmp(p->name, "range:", 6) != 0) return false;
  p->at = LCT_AT_RANGE;
  const char *colon = strchr(p->name + 6, ':');
  if (colon == NULL) return false;
  return lct_list_bound(p->name + 6, colon, 0, &p->from) && lct_list_bound(colon + 1, p->name + strlen(p->name), INT64_MAX, &p->to);
}

lct_status lct_positions_parse(const char *option, const char *list, lct_arena *arena, lct_position **out, int *n_out, lct_error *err) {
  const char *part;
  size_t n = 0;
  *n_out = 0;
  *out = lct_arena_alloc(arena, (size_t)lct_list_count(list) * sizeof **out);
  if (*out == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for positions");
  while (lct_list_next(&list, &part, &n)) {
    lct_position *p = &(*out)[*n_out];
    if (!parse(part, n, p)) {
      return lct_fail(err, LCT_E_USAGE,
                      "%s: expected last, content_last, content_mean, message:ROLE (system, user, assistant) or range:FROM:TO, "
                      "found \"%.*s\"",
                      option, (int)n, part);
    }
    for (int i = 0; i < *n_out; i++) {
      if (strcmp((*out)[i].name, p->name) == 0) return lct_fail(err, LCT_E_USAGE, "%s: \"%s\" stands twice", option, p->name);
    }
    ++*n_out;
  }
  return LCT_OK;
}

static lct_token_range slice(const lct_position *p, int32_t n) {
  int64_t from = p->from, to = p->to;
  lct_list_slice(n, &from, &to);
  return (lct_token_range){(int32_t)from, (int32_t)to};
}

int lct_position_tokens(const lct_position *p, const lct_prompt_shape *x, lct_token_range *out) {
  const lct_token_range *own = &x->content[x->message];
  int n = 0;
  switch (p->at) {
  case LCT_AT_LAST: out[0] = (lct_token_range){x->n_tokens - 1, x->n_tokens}; return 1;
  case LCT_AT_CONTENT_LAST: out[0] = (lct_token_range){own->to - 1, own->to}; return own->from < own->to;
  case LCT_AT_CONTENT_MEAN: out[0] = *own; return own->from < own->to;
  case LCT_AT_RANGE: out[0] = slice(p, x->n_tokens); return out[0].from < out[0].to;
  case LCT_AT_ROLE:
    for (int32_t m = 0; m <= x->message; m++) {
      if (x->roles[m] == p->role && x->content[m].from < x->content[m].to) out[n++] = x->content[m];
    }
    return n;
  }
  return 0;
}

int32_t lct_positions_first(const lct_position *p, int n, const lct_prompt_shape *x, lct_token_range *scratch) {
  int32_t first = x->n_tokens - 1;
  for (int i = 0; i < n; i++) {
    if (lct_position_tokens(&p[i], x, scratch) > 0 && scratch[0].from < first) first = scratch[0].from;
  }
  return first;
}

/* The slot of one position of a path. */
static int32_t slot_at(const lct_kv_range *path, int32_t n_path, int32_t position) {
  for (int32_t i = 0; i < n_path; i++) {
    if (position < path[i].n) return path[i].first + position;
    position -= path[i].n;
  }
  return -1;
}

static bool is_mean(lct_at at) { return at != LCT_AT_LAST && at != LCT_AT_CONTENT_LAST; }

lct_status lct_positions_place(const lct_position *p, int n, const lct_prompt_shape *x, const lct_kv_range *path, int32_t n_path,
                               lct_arena *arena, lct_place *out, lct_error *err) {
  lct_token_range *tokens = lct_arena_alloc(arena, ((size_t)x->message + 1) * sizeof *tokens);
  if (tokens == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the rows of a message");
  for (int i = 0; i < n; i++) {
    int n_tokens = lct_position_tokens(&p[i], x, tokens);
    out[i] = (lct_place){.slot = -1};
    if (n_tokens == 0) continue;
    if (!is_mean(p[i].at)) {
      out[i].slot = slot_at(path, n_path, tokens[0].from);
      continue;
    }
    lct_kv_range *mean = lct_arena_alloc(arena, (size_t)n_tokens * (size_t)n_path * sizeof *mean);
    if (mean == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the rows of a message");
    for (int k = 0; k < n_tokens; k++) {
      out[i].n_mean += lct_ranges_slice(path, n_path, tokens[k].from, tokens[k].to, mean + out[i].n_mean);
    }
    out[i].mean = mean;
  }
  return LCT_OK;
}
