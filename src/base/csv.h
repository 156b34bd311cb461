/* Fields of CSV. */
#ifndef LCT_BASE_CSV_H
#define LCT_BASE_CSV_H

#include "base/mem.h"

/* Appends a text, in quotes where RFC 4180 wants them. */
lct_status lct_csv_put(lct_buf *out, const char *text, lct_error *err) LCT_CHECKED;

#endif
