/* Plain text for terminals: padding by code points, wrapping, and nothing in it that a terminal would obey. */
#ifndef LCT_REPORT_PLAIN_H
#define LCT_REPORT_PLAIN_H

#include "base/mem.h"

/* Text padded with spaces to `width` code points, or cut to it with an ellipsis; control characters become spaces. right: pads on
 * the left. */
lct_status lct_plain_pad(lct_buf *out, const char *text, int width, bool right, lct_error *err) LCT_CHECKED;
/* A number right-aligned; NaN is "-". plus: with its sign. */
lct_status lct_plain_num(lct_buf *out, double v, int width, int digits, bool plus, lct_error *err) LCT_CHECKED;
/* Words wrapped at `width` columns, every line after the first indented; ends the line. */
lct_status lct_plain_wrap(lct_buf *out, const char *text, int width, int indent, lct_error *err) LCT_CHECKED;

#endif
