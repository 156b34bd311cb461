/* Conversations, one JSON object a line, read one at a time: memory is that of the longest line, never the file's.
 *
 *   {"id": "a", "messages": [{"role": "user", "content": "…", "label": "joy", "labels": ["joy", "love"]}, …], "meta": {…}}
 *   {"id": 7, "conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}]}      (ShareGPT)
 *
 * id is a string or an integer; without one the conversation is called "line-N". label, labels and meta are optional, other
 * keys are ignored. Roles are system, user, assistant; in the ShareGPT form also human (user) and gpt, chatgpt (assistant).
 * Files compressed with zstd are read as what they hold (bytes.h). Lines of white space are skipped. Invalid UTF-8 and lone surrogates in escapes become U+FFFD and are counted. */
#ifndef LCT_SCENARIO_CONVERSATIONS_H
#define LCT_SCENARIO_CONVERSATIONS_H

#include "base/mem.h"

#define LCT_CONVERSATION_MAX_BYTES ((size_t)64 << 20) /* of a line */
enum { LCT_CONVERSATION_MAX_VALUES = 2000000 };       /* JSON values in a line */

/* What annotators said of one message. */
typedef struct {
  const char *label;         /* NULL: none; the first of labels when only those were given */
  const char *const *labels; /* (n_labels): just label when only that was given */
  size_t n_labels;
} lct_labels;

struct json_t;
typedef struct {
  char *id;
  lct_message *messages; /* (n_messages), at least one */
  lct_labels *labels;    /* (n_messages) */
  size_t n_messages;
  bool has_id;           /* false: id is "line-N" */
  bool share_gpt;        /* the form with conversations, from and value */
  char *meta;            /* JSON of "meta" without spaces; NULL: none */
  size_t line;           /* in its file, from 1 */
  size_t n_replaced;     /* U+FFFD put in place of what was no character */
  const char **names;    /* what labels point into */
  struct json_t *source; /* owns the texts */
} lct_conversation;

typedef struct lct_conversations lct_conversations;

/* "-" is standard input. */
lct_status lct_conversations_open(const char *path, lct_conversations **out, lct_error *err) LCT_CHECKED;
/* As lct_bytes_stop_when. */
void lct_conversations_stop_when(lct_conversations *r, const int *stop);
/* The next conversation, which the caller frees; *out is NULL at the end.
 * A bad line is LCT_E_FORMAT with "FILE:LINE: messages[2].role: expected …, found …" (JSON syntax: "FILE:LINE:COLUMN: …", where
 * the parser stopped), one beyond the limits LCT_E_LIMIT: the reader then stands behind that line, and the next call goes on.
 * After any other failure (lct_conversations_broken: I/O, a damaged zstd stream, memory) do not go on. */
lct_status lct_conversations_next(lct_conversations *r, lct_conversation **out, lct_error *err) LCT_CHECKED;
/* Lines read so far; the number of the line that the last call was about. */
size_t lct_conversations_line(const lct_conversations *r);
/* Was the last failure one of the file, or of memory, not of a line? */
bool lct_conversations_broken(const lct_conversations *r);
/* The id of the bad line that the last call was about; NULL where it could not be read. */
const char *lct_conversations_bad_id(const lct_conversations *r);
/* Bytes of the lines so far (of a compressed file: about) of the bytes there are, as lct_bytes_progress. */
void lct_conversations_progress(const lct_conversations *r, int64_t *done, int64_t *total);
void lct_conversations_free(lct_conversations *r);

/* One line's text. `name` and `line` are for messages. */
lct_status lct_conversation_parse(const char *text, size_t n, const char *name, size_t line, lct_conversation **out,
                                  lct_error *err) LCT_CHECKED;
/* The same; of a bad line, *bad_id is its id, the caller's (NULL where it could not be read). */
lct_status lct_conversation_parse_id(const char *text, size_t n, const char *name, size_t line, lct_conversation **out, char **bad_id,
                                     lct_error *err) LCT_CHECKED;
void lct_conversation_free(lct_conversation *c);

#endif
