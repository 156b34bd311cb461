/* Reading typed values out of a YAML tree by schema (internal to src/scenario). Every failure says where: file, line,
 * column, key path, what was expected and what was found. */
#ifndef LCT_SCENARIO_WALK_H
#define LCT_SCENARIO_WALK_H

#include "scenario/yaml_tree.h"

/* Values a walk may visit: more than any document has, so that only aliases inside aliases reach it. */
enum { LCT_WALK_MAX_VISITS = 2 * LCT_YAML_MAX_NODES, LCT_WALK_MAX_KEYS = 8 };

typedef struct {
  const char *name; /* of the file, for messages */
  lct_arena *arena; /* results live here */
  lct_error *err;
  size_t visits;
} lct_walk;

/* Where in the document: "prompt[0].messages[2].role" is built from these only when there is an error. */
typedef struct lct_walk_path {
  const struct lct_walk_path *up;
  const char *key; /* NULL: a list's item */
  size_t index;
} lct_walk_path;

typedef struct {
  const char *key;
  bool required;
} lct_walk_key;

/* "FILE:LINE:COLUMN: PATH: expected `expected`, found …" */
lct_status lct_walk_expected(lct_walk *w, const lct_yaml_node *node, const lct_walk_path *path, const char *expected);

/* Puts the value of keys[i] into slots[i] (NULL: absent). Merge keys are followed. */
lct_status lct_walk_map(lct_walk *w, const lct_yaml_node *node, const lct_walk_path *path, const lct_walk_key *keys, size_t n_keys,
                        lct_yaml_node **slots) LCT_CHECKED;
/* Checks for a list of at least min_items ("what" names them) and counts the visit of its items. */
lct_status lct_walk_list(lct_walk *w, const lct_yaml_node *node, const lct_walk_path *path, const char *what, size_t min_items) LCT_CHECKED;

/* Scalars, coerced as pydantic does. A NULL node leaves *out as it is: the default. */
lct_status lct_walk_text(lct_walk *w, lct_yaml_node *node, const lct_walk_path *path, bool nul_ok, const char **out,
                         size_t *len) LCT_CHECKED;
lct_status lct_walk_string(lct_walk *w, lct_yaml_node *node, const lct_walk_path *path, char **out) LCT_CHECKED;
/* One of words (NULL-terminated); *index (may be NULL) is its place. */
lct_status lct_walk_choice(lct_walk *w, lct_yaml_node *node, const lct_walk_path *path, const char *const *words, char **out,
                           int *index) LCT_CHECKED;
lct_status lct_walk_bool(lct_walk *w, const lct_yaml_node *node, const lct_walk_path *path, bool *out) LCT_CHECKED;
lct_status lct_walk_int64(lct_walk *w, const lct_yaml_node *node, const lct_walk_path *path, int64_t min, int64_t max,
                          int64_t *out) LCT_CHECKED;
lct_status lct_walk_int(lct_walk *w, const lct_yaml_node *node, const lct_walk_path *path, int min, int *out) LCT_CHECKED;
lct_status lct_walk_double(lct_walk *w, const lct_yaml_node *node, const lct_walk_path *path, double *out) LCT_CHECKED;

#endif
