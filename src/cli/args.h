/* Command lines: a table of options a command, one place that parses and explains them. */
#ifndef LCT_CLI_ARGS_H
#define LCT_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>

typedef enum { ARG_FLAG, ARG_STRING, ARG_INT, ARG_CHOICE } arg_kind;

typedef struct {
  const char *name;  /* "--model" */
  const char *brief; /* "-m" or NULL */
  arg_kind kind;
  void *value;      /* bool *, const char **, long *, int * (index into choices) */
  const char *what; /* what stands for the value in the help, or "a|b|c" for ARG_CHOICE */
  const char *help;
} arg_option;

typedef struct {
  const char *command, *usage, *about;
  const arg_option *options; /* ends with name NULL */
  int min_args, max_args;    /* positional */
} arg_spec;

/* Parses argv[0..argc): options anywhere, "--" ends them. Positionals go to args (room for max_args). Returns their number, or -1 after
 * printing what is wrong, or -2 after printing the help. */
int args_parse(const arg_spec *spec, int argc, char **argv, const char **args);

#endif
