#include "score/metrics.h"

#include <string.h>

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
