#include "score/metrics.h"

#include <string.h>

#include "base/list.h"

const lct_metric_rule LCT_METRIC_RULES[LCT_N_ALL_METRICS] = {
#define RULE(id, name, map, label, result, needs, formula) \
  [LCT_METRIC_##id] = {name, formula, LCT_MAP_##map, LCT_LABEL_##label, LCT_RESULT_##result, LCT_NEEDS_##needs, -1},
#define CONTRAST(id, name, map, label, result, needs, formula)                                    \
  [LCT_METRIC_CONTRAST_##id] = {"contrast:" name,    "`" name "` minus its mean over the labels", \
                                LCT_MAP_##map,       LCT_LABEL_##label,                           \
                                LCT_RESULT_##result, LCT_NEEDS_##needs,                           \
                                LCT_METRIC_##id},
#define NO_CONTRAST(id, ...)
    LCT_METRIC_TABLE(RULE, RULE) LCT_METRIC_TABLE(CONTRAST, NO_CONTRAST)
#undef RULE
#undef CONTRAST
#undef NO_CONTRAST
};

const char *lct_any_metric_name(int metric) { return metric >= 0 && metric < LCT_N_ALL_METRICS ? LCT_METRIC_RULES[metric].name : "?"; }

int lct_any_metric_by_name(const char *name, size_t n) {
  for (int i = 0; i < LCT_N_ALL_METRICS; i++) {
    const char *known = LCT_METRIC_RULES[i].name;
    if (strlen(known) == n && memcmp(known, name, n) == 0) return i;
  }
  return -1;
}

bool lct_metrics_parse(const char *list, int *out, int *n_out, const char **bad, size_t *n_bad) {
  *n_out = 0;
  while (lct_list_next(&list, bad, n_bad)) {
    int m = lct_any_metric_by_name(*bad, *n_bad);
    if (m < 0) return false;
    out[(*n_out)++] = m;
  }
  return true;
}
