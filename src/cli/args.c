#include "cli/args.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_help(const arg_spec *s) {
  printf("usage: llmct-gpu %s %s\n\n%s\n", s->command, s->usage, s->about);
  if (s->options->name != NULL) printf("\noptions:\n");
  for (const arg_option *o = s->options; o->name != NULL; o++) {
    char left[96];
    (void)snprintf(left, sizeof left, "%s%s%s%s%s", o->brief != NULL ? o->brief : "", o->brief != NULL ? ", " : "", o->name,
                   o->what != NULL ? " " : "", o->what != NULL ? o->what : "");
    printf("  %-34s %s\n", left, o->help);
  }
}

static int complain(const arg_spec *s, const char *what, const char *about) {
  fprintf(stderr, "llmct-gpu %s: %s%s\ntry: llmct-gpu %s --help\n", s->command, what, about, s->command);
  return -1;
}

static const arg_option *find(const arg_spec *s, const char *text, size_t n) {
  for (const arg_option *o = s->options; o->name != NULL; o++) {
    if (strlen(o->name) == n && memcmp(o->name, text, n) == 0) return o;
    if (o->brief != NULL && strlen(o->brief) == n && memcmp(o->brief, text, n) == 0) return o;
  }
  return NULL;
}

static int choice(const char *choices, const char *value) {
  size_t n = strlen(value);
  for (int i = 0; choices != NULL; i++) {
    size_t len = strcspn(choices, "|");
    if (len == n && memcmp(choices, value, n) == 0) return i;
    choices = choices[len] == '|' ? choices + len + 1 : NULL;
  }
  return -1;
}

static int set(const arg_spec *s, const arg_option *o, const char *value) {
  char what[512];
  if (o->kind == ARG_STRING) {
    *(const char **)o->value = value;
  } else if (o->kind == ARG_INT) {
    char *end = NULL;
    errno = 0;
    long v = strtol(value, &end, 10);
    if (*value == '\0' || *end != '\0' || errno != 0 || v < 0) {
      (void)snprintf(what, sizeof what, "%s wants a whole number, not ", o->name);
      return complain(s, what, value);
    }
    *(long *)o->value = v;
  } else {
    int i = choice(o->what, value);
    if (i < 0) {
      (void)snprintf(what, sizeof what, "%s is one of %s, not ", o->name, o->what);
      return complain(s, what, value);
    }
    *(int *)o->value = i;
  }
  return 0;
}

/* One option at argv[*i]; moves *i over a value that stands apart. */
static int take(const arg_spec *s, int argc, char **argv, int *i) {
  const char *text = argv[*i], *equals = strncmp(text, "--", 2) == 0 ? strchr(text, '=') : NULL;
  size_t n = equals != NULL ? (size_t)(equals - text) : strlen(text);
  const arg_option *o = find(s, text, n);
  if (o == NULL) return complain(s, "unknown option ", text);
  if (o->kind == ARG_FLAG) {
    if (equals != NULL) return complain(s, "takes no value: ", text);
    *(bool *)o->value = true;
    return 0;
  }
  if (equals == NULL && *i + 1 >= argc) return complain(s, "needs a value: ", text);
  return set(s, o, equals != NULL ? equals + 1 : argv[++*i]);
}

int args_parse(const arg_spec *s, int argc, char **argv, const char **args) {
  int n = 0;
  bool options = true;
  for (int i = 0; i < argc; i++) {
    const char *a = argv[i];
    if (options && (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0)) {
      print_help(s);
      return -2;
    }
    if (options && strcmp(a, "--") == 0) {
      options = false;
    } else if (options && a[0] == '-' && a[1] != '\0') {
      if (take(s, argc, argv, &i) != 0) return -1;
    } else {
      if (n >= s->max_args) return complain(s, "one argument too many: ", a);
      args[n++] = a;
    }
  }
  if (n < s->min_args) return complain(s, "missing argument; usage: ", s->usage);
  return n;
}
