#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"

/* "ID:MESSAGE"; an id may have colons itself. */
static bool split(char *text, int *message) {
  char *colon = strrchr(text, ':'), *end = NULL;
  if (colon == NULL || colon[1] < '0' || colon[1] > '9') return false;
  long v = strtol(colon + 1, &end, 10);
  if (*end != '\0' || v > 1000000000) return false;
  *colon = '\0';
  *message = (int)v;
  return true;
}

int cli_cat(int argc, char **argv) {
  lct_cat_options o = {0};
  long layer = -1, token = -1;
  const arg_option options[] = {{"--source", "-s", ARG_STRING, &o.source, "NAME", "such as hidden_out; not needed where there is one"},
                                {"--layer", "-l", ARG_INT, &layer, "N", "not needed where there is one"},
                                {"--position", "-p", ARG_STRING, &o.position, "NAME", "such as content_mean (default: the sweep's first)"},
                                {"--token", NULL, ARG_INT, &token, "N", "a stored token of the conversation instead, counted from 0"},
                                {"--npy", NULL, ARG_STRING, &o.npy, "FILE", "write it there instead of printing it"},
                                {0}};
  const arg_spec spec = {"cat", "SWEEP_DIR CONVERSATION:MESSAGE [options]", "Prints one vector of a sweep, a value a line.", options, 2, 2};
  const char *args[2] = {NULL};
  int n = args_parse(&spec, argc, argv, args);
  if (n < 0) return n == -2 ? EXIT_DONE : EXIT_USAGE;
  char *id = strdup(args[1]), *text = NULL;
  if (id == NULL || !split(id, &o.message)) {
    fprintf(stderr, "llmct-gpu cat: expected CONVERSATION:MESSAGE with the message's number, not %s\ntry: llmct-gpu cat --help\n", args[1]);
    free(id);
    return EXIT_USAGE;
  }
  o.dir = args[0];
  o.id = id;
  o.layer = (int)layer;
  o.token = token;
  lct_error err = {0};
  lct_status status = lct_cat(&o, &text, &err);
  free(id);
  if (status != LCT_OK) return cli_fail(status, &err);
  if (o.npy == NULL) fputs(text, stdout);
  lct_text_free(text);
  return EXIT_DONE;
}
