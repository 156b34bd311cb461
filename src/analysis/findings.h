/* Inside src/analysis: fills a->findings once the averages are there. */
#ifndef LCT_ANALYSIS_FINDINGS_H
#define LCT_ANALYSIS_FINDINGS_H

#include "analysis/analysis.h"

lct_status lct_findings_fill(lct_analysis *a, lct_error *err) LCT_CHECKED;

#endif
