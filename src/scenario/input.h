/* The conversations of a sweep: several files, zstd-compressed ones, standard input, one after the other; never held whole. */
#ifndef LCT_SCENARIO_INPUT_H
#define LCT_SCENARIO_INPUT_H

#include "scenario/conversations.h"

typedef struct lct_input lct_input;

typedef enum { LCT_INPUT_END, LCT_INPUT_CONVERSATION, LCT_INPUT_REJECTED } lct_input_kind;

typedef struct {
  lct_input_kind kind;
  lct_conversation *conversation; /* CONVERSATION: the caller's */
  const char *file;               /* as given; borrowed */
  size_t line;
  char id[256];      /* REJECTED: where it is known, else "" */
  char reason[1024]; /* REJECTED: one line, e.g. "id \"a\" stands already at FILE:3", "messages[2].content: empty",
                                     "column 7: JSON: …" */
} lct_input_item;

/* paths (copied): "-" is standard input, once; zstd is decompressed (by the name .zst or by the magic number). Files that cannot be opened
 * are LCT_E_IO at once; pipes are opened only when it is their turn. */
lct_status lct_input_open(const char *const *paths, size_t n, lct_input **out, lct_error *err) LCT_CHECKED;
/* From now on waiting for input ends with LCT_E_CANCELLED soon after *stop, read atomically, is not 0. */
void lct_input_stop_when(lct_input *in, const int *stop);
/* The next conversation, in order. Bad lines, duplicate ids (over all files) and messages of white space alone are REJECTED and the next
 * call goes on; only what cannot be gone on from (I/O, a damaged zstd stream, memory) is a failure. With several files a conversation
 * without an id is called "FILE:line-N" ("stdin:line-N"), else "line-N" as in conversations.h. An id counts from its first conversation
 * on, also where that was rejected for an empty message. Memory: the longest line, and a table of ids of 32 to 64 bytes a
 * conversation (ids.h; half as much again while it doubles). */
lct_status lct_input_next(lct_input *in, lct_input_item *out, lct_error *err) LCT_CHECKED;
/* Bytes of the lines so far (compressed, where so: about) of bytes there are; total is 0 where a file's size is not known.
 * From the thread that reads. */
void lct_input_progress(const lct_input *in, int64_t *done, int64_t *total);
void lct_input_free(lct_input *in);

#endif
