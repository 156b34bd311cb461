/* What the programs share: conversations from a file of lines "role TAB text", an empty line behind each conversation. */
#ifndef LCT_API_TALKS_H
#define LCT_API_TALKS_H

#include <llmct/llmct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TALKS = 256, MAX_MESSAGES = 8 };

typedef struct {
  lct_message messages[MAX_MESSAGES];
  size_t n;
} talk;

static inline void stop(const char *what, const lct_error *err) {
  fprintf(stderr, "%s: %s\n", what, err != NULL ? err->message : "not what it must be");
  exit(1);
}

/* text holds the file and is the talks'. */
static inline size_t read_talks(const char *path, char text[1 << 16], talk talks[MAX_TALKS]) {
  FILE *f = fopen(path, "rb");
  if (f == NULL) stop(path, NULL);
  size_t n = 0, len = fread(text, 1, (1 << 16) - 1, f);
  text[len] = '\0';
  (void)fclose(f);
  for (char *line = text, *next; *line != '\0' && n < MAX_TALKS; line = next) {
    char *end = strchr(line, '\n'), *tab = strchr(line, '\t');
    if (end == NULL) stop(path, NULL);
    next = end + 1;
    if (end == line) {
      n++;
      continue;
    }
    *tab = *end = '\0';
    talks[n].messages[talks[n].n++] = (lct_message){.role = line, .content = tab + 1, .content_len = strlen(tab + 1)};
  }
  return n;
}

#endif
