#include "scenario/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scenario/yaml_tree.h"
#include "scenario/ids.h"
#include "text/unicode.h"

struct lct_input {
  char **paths; /* (n_paths) */
  size_t n_paths, at;
  lct_conversations *reader; /* of paths[at]; NULL between files */
  int64_t done, total;       /* bytes of the files before paths[at]; of all, 0: not known */
  lct_ids ids;
  const int *stop; /* NULL: nobody interrupts */
};

/* Bytes of a file that can be opened; -1: not known. A pipe's writer would see it opened and closed, so it is left alone. */
static lct_status look_at(const char *path, int64_t *bytes, lct_error *err) {
  bool standard_input = strcmp(path, "-") == 0;
  struct stat st;
  *bytes = -1;
  if ((standard_input ? fstat(STDIN_FILENO, &st) : stat(path, &st)) != 0) return lct_fail_errno(err, errno, "cannot open %s", path);
  if (S_ISDIR(st.st_mode)) return lct_fail_errno(err, EISDIR, "cannot read %s", path);
  if (!S_ISREG(st.st_mode)) {
    return standard_input || access(path, R_OK) == 0 ? LCT_OK : lct_fail_errno(err, errno, "cannot open %s", path);
  }
  *bytes = st.st_size;
  if (standard_input) {
    off_t at = lseek(STDIN_FILENO, 0, SEEK_CUR);
    if (at > 0 && at <= st.st_size) *bytes -= at;
    return LCT_OK;
  }
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return lct_fail_errno(err, errno, "cannot open %s", path);
  (void)close(fd);
  return LCT_OK;
}

static lct_status look_at_all(lct_input *in, const char *const *paths, lct_error *err) {
  bool known = true;
  size_t n_standard = 0;
  for (size_t i = 0; i < in->n_paths; i++) {
    int64_t bytes = 0;
    in->paths[i] = strdup(paths[i]);
    if (in->paths[i] == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a file's name");
    n_standard += strcmp(paths[i], "-") == 0;
    if (n_standard > 1) return lct_fail(err, LCT_E_USAGE, "standard input (-) is given twice");
    LCT_TRY(look_at(paths[i], &bytes, err));
    known = known && bytes >= 0;
    in->total += bytes;
  }
  if (!known) in->total = 0;
  return LCT_OK;
}

lct_status lct_input_open(const char *const *paths, size_t n, lct_input **out, lct_error *err) {
  lct_input *in = NULL;
  *out = NULL;
  if (n == 0) return lct_fail(err, LCT_E_USAGE, "no conversations are given: expected at least one file, or - for standard input");
  LCT_TRY(lct_calloc(&in, 1, sizeof *in, "the input", err));
  lct_status s = lct_calloc(&in->paths, n, sizeof *in->paths, "the input's names", err);
  in->n_paths = s == LCT_OK ? n : 0;
  if (s == LCT_OK) s = look_at_all(in, paths, err);
  if (s == LCT_OK) *out = in;
  else lct_input_free(in);
  return s;
}

void lct_input_stop_when(lct_input *in, const int *stop) { in->stop = stop; }

static void close_file(lct_input *in) {
  int64_t done = 0, total = 0;
  lct_conversations_progress(in->reader, &done, &total);
  lct_conversations_free(in->reader);
  in->reader = NULL;
  in->done += done;
  in->at++;
}

/* White_Space of Unicode. */
static bool is_space(uint32_t c) {
  return c == ' ' || (c >= 9 && c <= 13) || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
         c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* The text is valid UTF-8: the reader made it so. */
static bool is_empty(const lct_message *m) {
  const unsigned char *s = (const unsigned char *)m->content;
  for (size_t i = 0, len = 1; i < m->content_len; i += len) {
    len = 1;
    if (!is_space(s[i] < 0x80 ? s[i] : lct_utf8_decode(s + i, &len))) return false;
  }
  return true;
}

/* As much of a text as fits, cut between two characters. */
static void copy_text(char *out, size_t size, const char *text) {
  size_t n = strlen(text);
  if (n >= size) {
    n = size - 1;
    while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80) n--;
  }
  memcpy(out, text, n);
  out[n] = '\0';
}

static void reject(lct_input_item *out, const char *id, const char *reason) {
  out->kind = LCT_INPUT_REJECTED;
  copy_text(out->id, sizeof out->id, id);
  copy_text(out->reason, sizeof out->reason, reason);
}

/* The reader's message without the place, which the item has. "FILE:LINE: what" or "FILE:LINE:COLUMN: what". */
static void reject_line(lct_input_item *out, const char *id, const char *message) {
  const char *name = strcmp(out->file, "-") == 0 ? "standard input" : out->file;
  char line[32], reason[sizeof out->reason];
  size_t n = strlen(name), n_line = (size_t)snprintf(line, sizeof line, ":%zu:", out->line);
  if (strncmp(message, name, n) == 0 && strncmp(message + n, line, n_line) == 0) {
    const char *rest = message + n + n_line;
    if (*rest == ' ') (void)snprintf(reason, sizeof reason, "%s", rest + 1);
    else (void)snprintf(reason, sizeof reason, "column %s", rest);
    message = reason;
  }
  reject(out, id, message);
}

/* Names a conversation that has no name of its own. */
static lct_status name_it(const lct_input *in, lct_conversation *c, lct_error *err) {
  lct_buf b = {0};
  if (c->has_id || in->n_paths == 1) return LCT_OK;
  const char *file = strcmp(in->paths[in->at], "-") == 0 ? "stdin" : in->paths[in->at];
  LCT_TRY(lct_buf_printf(&b, err, "%s:%s", file, c->id));
  free(c->id);
  c->id = b.data;
  return LCT_OK;
}

/* Takes c: it becomes the item's, or what the item is rejected for. */
static lct_status judge(lct_input *in, lct_conversation *c, lct_input_item *out, lct_error *err) {
  lct_id_place place = {.file = in->at, .line = c->line}, first;
  char quoted[LCT_YAML_QUOTE_BYTES], reason[sizeof out->reason];
  bool added = false;
  lct_status s = name_it(in, c, err);
  if (s == LCT_OK) s = lct_ids_add(&in->ids, c->id, strlen(c->id), place, &added, &first, err);
  if (s != LCT_OK) {
    lct_conversation_free(c);
    return s;
  }
  if (!added) {
    lct_yaml_quote(c->id, strlen(c->id), quoted);
    (void)snprintf(reason, sizeof reason, "id %s stands already at %s:%zu", quoted, in->paths[first.file], first.line);
    reject(out, c->id, reason);
    lct_conversation_free(c);
    return LCT_OK;
  }
  for (size_t i = 0; i < c->n_messages; i++) {
    if (!is_empty(&c->messages[i])) continue;
    (void)snprintf(reason, sizeof reason, c->share_gpt ? "conversations[%zu].value: empty" : "messages[%zu].content: empty", i);
    reject(out, c->id, reason);
    lct_conversation_free(c);
    return LCT_OK;
  }
  out->kind = LCT_INPUT_CONVERSATION;
  out->conversation = c;
  return LCT_OK;
}

lct_status lct_input_next(lct_input *in, lct_input_item *out, lct_error *err) {
  *out = (lct_input_item){.kind = LCT_INPUT_END};
  while (in->at < in->n_paths) {
    lct_conversation *c = NULL;
    lct_error bad = {0};
    if (in->reader == NULL) LCT_TRY(lct_conversations_open(in->paths[in->at], &in->reader, err));
    lct_conversations_stop_when(in->reader, in->stop);
    lct_status s = lct_conversations_next(in->reader, &c, &bad);
    out->file = in->paths[in->at];
    out->line = lct_conversations_line(in->reader);
    if (s != LCT_OK && lct_conversations_broken(in->reader)) return lct_fail(err, s, "%s", bad.message);
    if (s != LCT_OK) {
      const char *id = lct_conversations_bad_id(in->reader);
      reject_line(out, id != NULL ? id : "", bad.message);
      return LCT_OK;
    }
    if (c != NULL) return judge(in, c, out, err);
    close_file(in);
  }
  *out = (lct_input_item){.kind = LCT_INPUT_END};
  return LCT_OK;
}

void lct_input_progress(const lct_input *in, int64_t *done, int64_t *total) {
  int64_t here = 0, all = 0;
  if (in->reader != NULL) lct_conversations_progress(in->reader, &here, &all);
  *done = in->done + here;
  *total = in->total;
}

void lct_input_free(lct_input *in) {
  if (in == NULL) return;
  for (size_t i = 0; i < in->n_paths; i++) free(in->paths[i]);
  free(in->paths);
  lct_conversations_free(in->reader);
  lct_ids_free(&in->ids);
  free(in);
}
