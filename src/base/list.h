/* Lists as users write them: parts with commas between them, numbers, slices. */
#ifndef LCT_BASE_LIST_H
#define LCT_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The next part of a list with commas, n bytes at *part; false at its end, and for NULL. */
bool lct_list_next(const char **list, const char **part, size_t *n);
int lct_list_count(const char *list); /* its parts */
/* The whole number text[0..end), as of Python's slices; nothing at all: `absent`. false: it is none, or beyond int32. */
bool lct_list_bound(const char *text, const char *end, int64_t absent, int64_t *out);

#endif
