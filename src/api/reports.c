/* Reports for the public API. */
#include "report/report.h"

#include "base/mem.h"

lct_status lct_report(const char *run_dir, char **path, lct_error *err) { return lct_report_html(run_dir, path, err); }

/* The buffer's text becomes the caller's. */
static lct_status hand_over(lct_status status, lct_buf *b, char **text) {
  *text = NULL;
  if (status == LCT_OK) *text = b->data;
  else lct_buf_free(b);
  return status;
}

lct_status lct_report_table(const char *run_dir, int width, char **text, lct_error *err) {
  lct_buf b = {0};
  return hand_over(lct_report_text(run_dir, width, &b, err), &b, text);
}

lct_status lct_report_compare(const char *run_dir, const char *published, char **text, lct_error *err) {
  lct_buf b = {0};
  return hand_over(lct_report_published(run_dir, published, &b, err), &b, text);
}
