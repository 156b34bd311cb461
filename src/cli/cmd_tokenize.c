#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"

/* All of standard input; NULL when memory is out. */
static char *read_stdin(size_t *n) {
  size_t cap = 1 << 16;
  char *text = malloc(cap);
  *n = 0;
  while (text != NULL) {
    *n += fread(text + *n, 1, cap - *n, stdin);
    if (*n < cap) return text;
    char *more = realloc(text, cap *= 2);
    if (more == NULL) free(text);
    text = more;
  }
  return NULL;
}

int cli_tokenize(int argc, char **argv) {
  bool special = false;
  const arg_option options[] = {{"--special", NULL, ARG_FLAG, &special, NULL, "add the tokens the post-processor adds"}, {0}};
  const arg_spec spec = {
      "tokenize", "MODEL [TEXT] [options]", "Shows the tokens of TEXT, or of standard input: id, byte range, text.", options, 1, 2};
  const char *args[2] = {NULL};
  int n = args_parse(&spec, argc, argv, args);
  if (n < 0) return n == -2 ? EXIT_DONE : EXIT_USAGE;
  size_t len = n > 1 ? strlen(args[1]) : 0;
  char *input = n > 1 ? NULL : read_stdin(&len);
  lct_error err = {0};
  char *text = NULL;
  lct_status status = lct_tokenize(args[0], n > 1 ? args[1] : input != NULL ? input : "", len, special, &text, &err);
  free(input);
  if (status != LCT_OK) return cli_fail(status, &err);
  fputs(text, stdout);
  lct_text_free(text);
  return EXIT_DONE;
}
