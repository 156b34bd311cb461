#include "score/metrics.h"

#include <string.h>

#include "base/list.h"

const char *lct_any_metric_name(int metric) {
  switch (metric) {
#define CALIBRATED_NAME(id, name, what) \
  case LCT_METRIC_##id: return name;
    LCT_CALIBRATED(CALIBRATED_NAME)
#undef CALIBRATED_NAME
    default: return lct_metric_name((lct_metric)metric);
  }
}

int lct_any_metric_by_name(const char *name, size_t n) {
  for (int i = 0; i < LCT_N_ALL_METRICS; i++) {
    const char *known = lct_any_metric_name(i);
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
