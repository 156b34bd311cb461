/* Renders conversations from stdin for tests/oracle/check_template.py.
 *
 *   render_stream TEMPLATE [--no-think] [--date TEXT]
 *   render_stream --recognise
 *
 * TEMPLATE is a name, or @FILE for a file with a Jinja text. Each line of stdin is a list of messages {"role", "content"}; it is
 * answered by a line {"with": TEXT, "without": TEXT, "spans": [[BEGIN, END], ...]}, with and without generation prompt (the
 * spans are the same), or {"error": MESSAGE}. With --recognise stdin is one Jinja text, answered by its kind and the hash of its
 * masked normal form. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "text/template_internal.h"

#define MAX_MESSAGES 4096
#define MAX_INPUT_BYTES (64u << 20)

static json_t *answer(const lct_template *t, const lct_message *m, size_t n) {
  lct_error err;
  lct_rendered with, without;
  if (lct_template_render(t, m, n, true, &with, &err) != LCT_OK) return json_pack("{s:s}", "error", err.message);
  if (lct_template_render(t, m, n, false, &without, &err) != LCT_OK) {
    lct_rendered_free(&with);
    return json_pack("{s:s}", "error", err.message);
  }
  json_t *spans = json_array();
  for (size_t i = 0; i < n; i++) {
    bool same = with.spans[i].begin == without.spans[i].begin && with.spans[i].end == without.spans[i].end;
    json_t *span = json_pack("[I,I]", (json_int_t)with.spans[i].begin, (json_int_t)with.spans[i].end);
    json_array_append_new(spans, same ? span : json_null());
    if (!same) json_decref(span);
  }
  json_t *out = json_pack("{s:s%,s:s%,s:o}", "with", with.text.data, with.text.len, "without", without.text.data, without.text.len, "spans",
                          spans);
  lct_rendered_free(&with);
  lct_rendered_free(&without);
  return out;
}

static int render_line(const lct_template *t, const char *line, size_t len) {
  json_error_t jerr;
  json_t *in = json_loadb(line, len, JSON_ALLOW_NUL, &jerr), *item;
  static lct_message m[MAX_MESSAGES];
  size_t i, n = json_array_size(in);
  if (in == NULL || n > MAX_MESSAGES) {
    fprintf(stderr, "bad line: %s\n", in ? "too many messages" : jerr.text);
    return 1;
  }
  json_array_foreach(in, i, item) {
    json_t *content = json_object_get(item, "content");
    const char *role = json_string_value(json_object_get(item, "role"));
    m[i] = (lct_message){role, json_string_value(content), json_string_length(content)};
  }
  json_t *out = answer(t, m, n);
  int bad = out == NULL || json_dumpf(out, stdout, JSON_COMPACT | JSON_ENSURE_ASCII) != 0;
  putchar('\n');
  json_decref(out);
  json_decref(in);
  return bad;
}

static int recognise(void) {
  lct_error err;
  lct_buf text = {0}, normal = {0};
  lct_template t;
  bool ok = false;
  if (lct_file_read("/dev/stdin", MAX_INPUT_BYTES, &text, &err) != LCT_OK) return 1;
  if (lct_template_normal_form(text.data ? text.data : "", text.len, &normal, &ok, &err) != LCT_OK) return 1;
  char hash[65] = "none", system[sizeof t.default_system] = "";
  if (ok && lct_template_mask_system(&normal, system, sizeof system)) lct_sha256_hex(normal.data, normal.len, hash);
  bool found = lct_template_recognise(text.data ? text.data : "", &t, &err) == LCT_OK;
  json_t *out = json_pack("{s:s,s:s,s:s?,s:b}", "normal", hash, "system", system, "kind", found ? lct_template_name(t.kind) : NULL,
                          "always_prompt", found && t.always_prompt);
  (void)json_dumpf(out, stdout, JSON_COMPACT);
  putchar('\n');
  json_decref(out);
  lct_buf_free(&text);
  lct_buf_free(&normal);
  return 0;
}

static lct_status choose(const char *name, lct_template *t, lct_error *err) {
  if (name[0] != '@') return lct_template_by_name(name, t, err);
  lct_buf text = {0};
  lct_status status = lct_file_read(name + 1, MAX_INPUT_BYTES, &text, err);
  if (status == LCT_OK) status = lct_template_recognise(text.data ? text.data : "", t, err);
  lct_buf_free(&text);
  return status;
}

int main(int argc, char **argv) {
  lct_error err;
  lct_template t;
  if (argc < 2) {
    fprintf(stderr, "usage: render_stream TEMPLATE|@FILE [--no-think] [--date TEXT], or render_stream --recognise\n");
    return 2;
  }
  if (strcmp(argv[1], "--recognise") == 0) return recognise();
  if (choose(argv[1], &t, &err) != LCT_OK) {
    fprintf(stderr, "%s\n", err.message);
    return 1;
  }
  for (int i = 2; i < argc; i++) {
    if (strcmp(argv[i], "--no-think") == 0) t.enable_thinking = false;
    if (strcmp(argv[i], "--date") == 0 && i + 1 < argc) t.date_string = argv[++i];
  }
  char *line = NULL;
  size_t cap = 0;
  ssize_t len;
  int bad = 0;
  while (!bad && (len = getline(&line, &cap, stdin)) > 0) bad = render_line(&t, line, (size_t)len);
  free(line);
  return bad;
}
