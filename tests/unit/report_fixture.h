/* For the report's tests: a run directory to damage, and a checker of HTML. Include after cmocka.h. */
#ifndef LCT_TESTS_REPORT_FIXTURE_H
#define LCT_TESTS_REPORT_FIXTURE_H

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

#define GOLDENS LCT_SOURCE_DIR "/tests/goldens/report"

/* ---- a copy of the run that a test may damage ---- */

typedef struct {
  char dir[256];
} run_copy;

static char *slurp(const char *path, size_t *n) {
  lct_buf b = {0};
  lct_error err = {0};
  if (lct_file_read(path, (size_t)1 << 26, &b, &err) != LCT_OK) fail_msg("%s", err.message);
  *n = b.len;
  return b.data;
}

static const char *in_run(const run_copy *r, const char *name) {
  static _Thread_local char path[512];
  (void)snprintf(path, sizeof path, "%s/%s", r->dir, name);
  return path;
}

static void put(const run_copy *r, const char *name, const char *text, size_t n) {
  lct_error err = {0};
  if (lct_file_write_atomic(in_run(r, name), text, n, &err) != LCT_OK) fail_msg("%s", err.message);
}

static run_copy copy_run(void) {
  static const char *const FILES[] = {"scan.json", "prompt_0/scores.json", "prompt_0/steps.json"};
  run_copy r;
  lct_error err = {0};
  (void)snprintf(r.dir, sizeof r.dir, "%s/lct_report_XXXXXX", P_tmpdir);
  assert_non_null(mkdtemp(r.dir));
  assert_int_equal(lct_mkdirs(in_run(&r, "prompt_0"), &err), LCT_OK);
  for (size_t i = 0; i < 3; i++) {
    char from[512];
    size_t n = 0;
    (void)snprintf(from, sizeof from, "%s/run/%s", GOLDENS, FILES[i]);
    char *text = slurp(from, &n);
    put(&r, FILES[i], text, n);
    free(text);
  }
  return r;
}

static void drop_run(const run_copy *r) {
  static const char *const FILES[] = {"prompt_0/scores.json", "prompt_0/steps.json", "report.html", "scan.json"};
  for (size_t i = 0; i < 4; i++) (void)unlink(in_run(r, FILES[i]));
  (void)rmdir(in_run(r, "prompt_0"));
  (void)rmdir(r->dir);
}

/* Replaces the first `from` in a file of the run. */
static void edit(const run_copy *r, const char *name, const char *from, const char *to) {
  size_t n = 0;
  char *text = slurp(in_run(r, name), &n);
  char *hit = strstr(text, from);
  if (hit == NULL) fail_msg("%s has no %s", name, from);
  lct_buf b = {0};
  lct_error err = {0};
  assert_int_equal(lct_buf_append(&b, text, (size_t)(hit - text), &err), LCT_OK);
  assert_int_equal(lct_buf_puts(&b, to, &err), LCT_OK);
  assert_int_equal(lct_buf_puts(&b, hit + strlen(from), &err), LCT_OK);
  put(r, name, b.data, b.len);
  lct_buf_free(&b);
  free(text);
}

/* ---- is it HTML? ---- */

static bool is_void(const char *tag) {
  static const char *const VOID[] = {"meta", "br", "col", "hr", "img", "link", "input"};
  for (size_t i = 0; i < sizeof VOID / sizeof VOID[0]; i++) {
    if (strcmp(tag, VOID[i]) == 0) return true;
  }
  return false;
}

/* Past a tag's attributes: every value quoted, nothing but names, '=' and quoted values. Returns the position of '>'. */
static const char *skip_attributes(const char *p) {
  while (*p != '>' && *p != '\0' && !(p[0] == '/' && p[1] == '>')) {
    if (*p == '"') {
      p = strchr(p + 1, '"');
      if (p == NULL) fail_msg("an attribute value is not closed");
    } else if (*p == '<' || *p == '\'') {
      fail_msg("%c inside a tag: %.60s", *p, p);
    } else if (*p == '=' && p[1] != '"') {
      fail_msg("an attribute value is not quoted: %.60s", p);
    }
    p++;
  }
  return *p == '/' ? p + 1 : p;
}

/* Every tag closed in order; '&' only in entities; no '<' in text. */
static void check_html(const char *page) {
  char stack[64][24];
  size_t depth = 0;
  const char *p = strchr(page, '\n'); /* behind the doctype */
  assert_int_equal(strncmp(page, "<!DOCTYPE html>\n", 16), 0);
  while (p != NULL && *p != '\0') {
    if (*p == '&') {
      size_t n = strcspn(p, "; <\"");
      if (p[n] != ';' || n > 9) fail_msg("a bare ampersand: %.40s", p);
    }
    if (*p != '<') {
      p++;
      continue;
    }
    bool closing = p[1] == '/';
    p += closing ? 2 : 1;
    char tag[24];
    size_t n = 0;
    while ((isalnum((unsigned char)*p)) && n + 1 < sizeof tag) tag[n++] = *p++;
    tag[n] = '\0';
    if (n == 0) fail_msg("a bare <: %.40s", p);
    if (closing) {
      if (depth == 0 || strcmp(stack[depth - 1], tag) != 0) fail_msg("</%s> closes <%s>", tag, depth > 0 ? stack[depth - 1] : "");
      depth--;
      p = strchr(p, '>') + 1;
      continue;
    }
    p = skip_attributes(p);
    bool empty = p[-1] == '/';
    p++;
    if (is_void(tag) || empty) continue;
    assert_true(depth < 64);
    memcpy(stack[depth++], tag, sizeof tag);
    if (strcmp(tag, "style") == 0 || strcmp(tag, "script") == 0) {
      char end[32];
      (void)snprintf(end, sizeof end, "</%s>", tag);
      p = strstr(p, end);
    }
  }
  if (depth != 0) fail_msg("<%s> is never closed", stack[depth - 1]);
}

#endif
