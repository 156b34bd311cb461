#include "scenario/yaml_tree.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* A collection whose end has not been read yet. */
typedef struct {
  lct_yaml_node *node;
  lct_yaml_node **items;
  size_t n, cap;
  size_t anchor; /* index + 1 in builder.anchors; 0: none */
} open_node;

typedef struct {
  char *name;
  lct_yaml_node *node;
  bool complete;
} anchor;

typedef struct {
  const char *name, *text;
  size_t n_text;
  lct_arena *arena;
  lct_error *err;
  yaml_parser_t parser;
  open_node open[LCT_YAML_MAX_DEPTH];
  size_t depth;
  anchor *anchors;
  size_t n_anchors, cap_anchors, n_nodes, n_aliases;
  lct_yaml_node *root;
} builder;

static lct_status no_memory(builder *b) { return lct_fail(b->err, LCT_E_NOMEM, "%s: out of memory for YAML", b->name); }

static lct_status fail_at(builder *b, lct_status code, yaml_mark_t at, const char *what) {
  return lct_fail(b->err, code, "%s:%zu:%zu: %s", b->name, at.line + 1, at.column + 1, what);
}

/* libyaml gives a byte offset alone for a character that YAML forbids. */
static lct_status fail_reader(builder *b) {
  size_t line = 1, column = 1, end = b->parser.problem_offset < b->n_text ? b->parser.problem_offset : b->n_text;
  for (size_t i = 0; i < end; i++) {
    unsigned char c = (unsigned char)b->text[i];
    if (c == '\n') {
      line++;
      column = 1;
    } else if ((c & 0xc0) != 0x80) {
      column++;
    }
  }
  return lct_fail(b->err, LCT_E_FORMAT, "%s:%zu:%zu: YAML: %s (character 0x%02X)", b->name, line, column,
                  b->parser.problem ? b->parser.problem : "unreadable character", (unsigned)b->parser.problem_value);
}

static lct_status fail_parser(builder *b) {
  const yaml_parser_t *p = &b->parser;
  if (p->error == YAML_MEMORY_ERROR) return no_memory(b);
  if (p->error == YAML_READER_ERROR) return fail_reader(b);
  const char *problem = p->problem ? p->problem : "cannot be parsed";
  if (p->context == NULL) {
    return lct_fail(b->err, LCT_E_FORMAT, "%s:%zu:%zu: YAML: %s", b->name, p->problem_mark.line + 1, p->problem_mark.column + 1, problem);
  }
  return lct_fail(b->err, LCT_E_FORMAT, "%s:%zu:%zu: YAML: %s, %s that began at line %zu, column %zu", b->name, p->problem_mark.line + 1,
                  p->problem_mark.column + 1, problem, p->context, p->context_mark.line + 1, p->context_mark.column + 1);
}

static anchor *find_anchor(builder *b, const char *name) {
  for (size_t i = 0; i < b->n_anchors; i++) {
    if (strcmp(b->anchors[i].name, name) == 0) return &b->anchors[i];
  }
  return NULL;
}

static lct_status add_anchor(builder *b, const char *name, lct_yaml_node *node, yaml_mark_t at) {
  if (name == NULL) return LCT_OK;
  if (find_anchor(b, name) != NULL) return fail_at(b, LCT_E_FORMAT, at, "this anchor's name was used before");
  if (b->n_anchors == LCT_YAML_MAX_ANCHORS) return fail_at(b, LCT_E_LIMIT, at, "more than 1000 anchors");
  LCT_TRY(lct_grow(&b->anchors, &b->cap_anchors, b->n_anchors + 1, sizeof *b->anchors, "YAML anchors", b->err));
  char *copy = lct_arena_strndup(b->arena, name, strlen(name));
  if (copy == NULL) return no_memory(b);
  b->anchors[b->n_anchors++] = (anchor){.name = copy, .node = node, .complete = node->type < LCT_YAML_SEQ};
  return LCT_OK;
}

static lct_status new_node(builder *b, lct_yaml_type type, yaml_mark_t at, lct_yaml_node **out) {
  if (b->n_nodes++ >= LCT_YAML_MAX_NODES) return fail_at(b, LCT_E_LIMIT, at, "more than 2000000 values");
  lct_yaml_node *node = lct_arena_alloc(b->arena, sizeof *node);
  if (node == NULL) return no_memory(b);
  node->type = type;
  node->line = at.line + 1;
  node->column = at.column + 1;
  *out = node;
  return LCT_OK;
}

static lct_status attach(builder *b, lct_yaml_node *node) {
  if (b->depth == 0) {
    b->root = node;
    return LCT_OK;
  }
  open_node *parent = &b->open[b->depth - 1];
  LCT_TRY(lct_grow(&parent->items, &parent->cap, parent->n + 1, sizeof *parent->items, "YAML values", b->err));
  parent->items[parent->n++] = node;
  return LCT_OK;
}

static lct_status on_scalar(builder *b, const yaml_event_t *e) {
  lct_yaml_node *node = NULL;
  LCT_TRY(new_node(b, LCT_YAML_STR, e->start_mark, &node));
  node->len = e->data.scalar.length;
  node->text = lct_arena_strndup(b->arena, (const char *)e->data.scalar.value, node->len);
  if (node->text == NULL) return no_memory(b);
  const char *tag = e->data.scalar.tag ? (const char *)e->data.scalar.tag : "";
  const char *why = NULL;
  if (!lct_yaml_resolve(node, tag, e->data.scalar.plain_implicit != 0, &why)) {
    char found[LCT_YAML_QUOTE_BYTES];
    lct_yaml_quote(node->text, node->len, found);
    return lct_fail(b->err, LCT_E_FORMAT, "%s:%zu:%zu: %s %s%s%.80s", b->name, node->line, node->column, why, found,
                    *tag ? " with tag " : "", tag);
  }
  LCT_TRY(add_anchor(b, (const char *)e->data.scalar.anchor, node, e->start_mark));
  return attach(b, node);
}

static lct_status on_open(builder *b, lct_yaml_type type, const yaml_char_t *tag, const yaml_char_t *anchor_name, yaml_mark_t at) {
  const char *expected = type == LCT_YAML_SEQ ? YAML_SEQ_TAG : YAML_MAP_TAG;
  if (tag != NULL && strcmp((const char *)tag, "!") != 0 && strcmp((const char *)tag, expected) != 0) {
    return lct_fail(b->err, LCT_E_FORMAT, "%s:%zu:%zu: unsupported tag %.80s", b->name, at.line + 1, at.column + 1, tag);
  }
  if (b->depth == LCT_YAML_MAX_DEPTH) return fail_at(b, LCT_E_LIMIT, at, "nested deeper than 64 levels");
  lct_yaml_node *node = NULL;
  LCT_TRY(new_node(b, type, at, &node));
  LCT_TRY(add_anchor(b, (const char *)anchor_name, node, at));
  LCT_TRY(attach(b, node));
  b->open[b->depth++] = (open_node){.node = node, .anchor = anchor_name != NULL ? b->n_anchors : 0};
  return LCT_OK;
}

static lct_status on_close(builder *b) {
  if (b->depth == 0) return lct_fail(b->err, LCT_E_INTERNAL, "%s: libyaml closed what was not open", b->name);
  open_node *o = &b->open[--b->depth];
  size_t bytes = 0;
  if (!lct_mul_ok(o->n, sizeof *o->items, &bytes)) return no_memory(b);
  o->node->items = lct_arena_alloc(b->arena, bytes);
  if (o->node->items == NULL) return no_memory(b);
  if (bytes > 0) memcpy(o->node->items, o->items, bytes);
  o->node->n_items = o->n;
  free(o->items);
  o->items = NULL;
  if (o->anchor > 0) b->anchors[o->anchor - 1].complete = true;
  return LCT_OK;
}

static lct_status on_alias(builder *b, const yaml_event_t *e) {
  if (b->n_aliases++ >= LCT_YAML_MAX_ALIASES) return fail_at(b, LCT_E_LIMIT, e->start_mark, "more than 100000 aliases");
  const anchor *a = find_anchor(b, (const char *)e->data.alias.anchor);
  if (a == NULL) {
    return lct_fail(b->err, LCT_E_FORMAT, "%s:%zu:%zu: alias *%.60s: there is no anchor of that name above", b->name,
                    e->start_mark.line + 1, e->start_mark.column + 1, e->data.alias.anchor);
  }
  if (!a->complete) {
    return lct_fail(b->err, LCT_E_FORMAT, "%s:%zu:%zu: alias *%.60s refers to the value it is part of (line %zu): a cycle", b->name,
                    e->start_mark.line + 1, e->start_mark.column + 1, e->data.alias.anchor, a->node->line);
  }
  return attach(b, a->node);
}

static lct_status on_event(builder *b, const yaml_event_t *e, size_t *n_documents) {
  switch (e->type) {
  case YAML_DOCUMENT_START_EVENT:
    if ((*n_documents)++ > 0) {
      return fail_at(b, LCT_E_FORMAT, e->start_mark, "expected one YAML document, found the start of a second");
    }
    return LCT_OK;
  case YAML_SCALAR_EVENT: return on_scalar(b, e);
  case YAML_ALIAS_EVENT: return on_alias(b, e);
  case YAML_SEQUENCE_START_EVENT: return on_open(b, LCT_YAML_SEQ, e->data.sequence_start.tag, e->data.sequence_start.anchor, e->start_mark);
  case YAML_MAPPING_START_EVENT: return on_open(b, LCT_YAML_MAP, e->data.mapping_start.tag, e->data.mapping_start.anchor, e->start_mark);
  case YAML_SEQUENCE_END_EVENT:
  case YAML_MAPPING_END_EVENT: return on_close(b);
  default: return LCT_OK;
  }
}

/* libyaml compares every %TAG with all before it: keep their number small. Directives stand before the document only. */
static lct_status check_directives(const char *text, size_t n, const char *name, lct_error *err) {
  size_t n_directives = 0;
  for (size_t i = 0, line = 1; i < n; line++) {
    const char *end = memchr(text + i, '\n', n - i);
    size_t next = end ? (size_t)(end - text) + 1 : n;
    if (memchr("%#\r\n \t", text[i], 6) == NULL) return LCT_OK;
    if (text[i] == '%' && ++n_directives > LCT_YAML_MAX_DIRECTIVES) {
      return lct_fail(err, LCT_E_LIMIT, "%s:%zu:1: more than %d directives", name, line, LCT_YAML_MAX_DIRECTIVES);
    }
    i = next;
  }
  return LCT_OK;
}

lct_status lct_yaml_parse(const char *text, size_t n, const char *name, lct_arena *arena, lct_yaml_node **root, lct_error *err) {
  builder *b = NULL;
  *root = NULL;
  LCT_TRY(check_directives(text, n, name, err));
  LCT_TRY(lct_calloc(&b, 1, sizeof *b, "the YAML reader", err));
  *b = (builder){.name = name, .text = text, .n_text = n, .arena = arena, .err = err};
  if (yaml_parser_initialize(&b->parser) == 0) {
    lct_status failed = no_memory(b);
    free(b);
    return failed;
  }
  yaml_parser_set_encoding(&b->parser, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&b->parser, (const unsigned char *)text, n);
  lct_status s = LCT_OK;
  size_t n_documents = 0;
  for (bool done = false; s == LCT_OK && !done;) {
    yaml_event_t event;
    if (yaml_parser_parse(&b->parser, &event) == 0) {
      s = fail_parser(b);
      break;
    }
    done = event.type == YAML_STREAM_END_EVENT;
    s = on_event(b, &event, &n_documents);
    yaml_event_delete(&event);
  }
  yaml_parser_delete(&b->parser);
  if (s == LCT_OK) *root = b->root;
  for (size_t i = 0; i < b->depth; i++) free(b->open[i].items);
  free(b->anchors);
  free(b);
  return s;
}
