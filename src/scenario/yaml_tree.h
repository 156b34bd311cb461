/* A YAML document as a tree of nodes that know their line and column (internal to src/scenario).
 *
 * Built from libyaml's events with every limit checked while reading, so that hostile input costs bounded memory and
 * time. Scalars are typed as PyYAML's safe_load types them (YAML 1.1). An alias is the node it refers to; a cycle is an error. */
#ifndef LCT_SCENARIO_YAML_TREE_H
#define LCT_SCENARIO_YAML_TREE_H

#include "base/mem.h"

enum {
  LCT_YAML_MAX_DEPTH = 64,
  LCT_YAML_MAX_NODES = 2000000,
  LCT_YAML_MAX_ANCHORS = 1000,
  LCT_YAML_MAX_ALIASES = 100000,
  LCT_YAML_MAX_DIRECTIVES = 100,
  LCT_YAML_QUOTE_BYTES = 72
};

typedef enum {
  LCT_YAML_NULL,
  LCT_YAML_BOOL,
  LCT_YAML_INT,
  LCT_YAML_FLOAT,
  LCT_YAML_STR,
  LCT_YAML_TIMESTAMP, /* typed, never accepted by a scenario's key */
  LCT_YAML_MERGE,     /* the key << */
  LCT_YAML_SEQ,
  LCT_YAML_MAP
} lct_yaml_type;

typedef struct lct_yaml_node lct_yaml_node;
struct lct_yaml_node {
  lct_yaml_type type;
  size_t line, column; /* from 1; columns count code points */
  const char *text;    /* scalars: as written after unquoting, NUL-terminated; may hold NUL */
  size_t len;
  union {
    bool b;
    int64_t i;
    double f;
  } value;
  lct_yaml_node **items; /* sequences: the items; maps: key, value, key, value … */
  size_t n_items;        /* maps: twice the number of pairs */
  char *shared;          /* a reader's copy of text, made once however many aliases lead here */
};

/* text must be valid UTF-8. *root is NULL when the text holds no document. Nodes live in arena. */
lct_status lct_yaml_parse(const char *text, size_t n, const char *name, lct_arena *arena, lct_yaml_node **root, lct_error *err) LCT_CHECKED;

/* Types a scalar from text, its tag ("" for none) and whether it was written plain (in no quotes).
 * False: *why says what is wrong. */
bool lct_yaml_resolve(lct_yaml_node *node, const char *tag, bool plain, const char **why);

/* s for a message: in quotes, control characters as \\xNN, cut after about 50 bytes between two code points. */
void lct_yaml_quote(const char *s, size_t n, char out[LCT_YAML_QUOTE_BYTES]);

/* Text to number as pydantic's lax mode reads strings: "5", " +5.0 ", "1_000"; "1e3", ".5", "inf". */
bool lct_yaml_str_to_int(const char *s, size_t n, int64_t *out);
bool lct_yaml_str_to_float(const char *s, size_t n, double *out);

#endif
