#include "base/list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool lct_list_next(const char **list, const char **part, size_t *n) {
  if (*list == NULL) return false;
  *part = *list;
  *n = strcspn(*list, ",");
  *list = (*list)[*n] == ',' ? *list + *n + 1 : NULL;
  return true;
}

int lct_list_count(const char *list) {
  int n = 1;
  for (; *list != '\0'; list++) n += *list == ',';
  return n;
}

bool lct_list_bound(const char *text, const char *end, int64_t absent, int64_t *out) {
  if (text == end) {
    *out = absent;
    return true;
  }
  char *stop = NULL;
  errno = 0;
  long v = strtol(text, &stop, 10);
  *out = v;
  return errno == 0 && stop == end && v > INT32_MIN && v < INT32_MAX;
}
