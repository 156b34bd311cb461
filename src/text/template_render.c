/* The renderers. Each says in C what the Jinja text of its kind says; tests/oracle/check_template.py holds them against it. */
#include <string.h>

#include "text/template_internal.h"

#define FALLBACK_DATE "26 Jul 2024"

typedef struct {
  const char *s;
  size_t n;
} slice;

static slice slice_of(const lct_message *m) { return (slice){m->content_len ? m->content : "", m->content_len}; }

static bool starts_with(slice a, const char *prefix) {
  size_t n = strlen(prefix);
  return a.n >= n && memcmp(a.s, prefix, n) == 0;
}

static bool ends_with(slice a, const char *suffix) {
  size_t n = strlen(suffix);
  return a.n >= n && memcmp(a.s + a.n - n, suffix, n) == 0;
}

static slice skip_newlines(slice a) {
  while (a.n > 0 && a.s[0] == '\n') a.s++, a.n--;
  return a;
}

static slice drop_newlines(slice a) {
  while (a.n > 0 && a.s[a.n - 1] == '\n') a.n--;
  return a;
}

/* Position of the first (or last) mark in a, a.n if there is none. */
static size_t find_first(slice a, const char *mark) {
  const char *p = a.n ? memmem(a.s, a.n, mark, strlen(mark)) : NULL;
  return p ? (size_t)(p - a.s) : a.n;
}

static size_t find_last(slice a, const char *mark) {
  size_t n = strlen(mark);
  for (size_t i = a.n >= n ? a.n - n + 1 : 0; i-- > 0;) {
    if (memcmp(a.s + i, mark, n) == 0) return i;
  }
  return a.n;
}

/* Byte length of the whitespace character at s[0..n) as Python's str.isspace() has it, 0 for any other. */
static size_t space_len(const unsigned char *s, size_t n) {
  if (n >= 1 && ((s[0] >= 0x09 && s[0] <= 0x0D) || (s[0] >= 0x1C && s[0] <= 0x20))) return 1;
  if (n >= 2 && s[0] == 0xC2 && (s[1] == 0x85 || s[1] == 0xA0)) return 2;
  if (n < 3) return 0;
  unsigned c = (unsigned)s[0] << 16 | (unsigned)s[1] << 8 | s[2];
  if (c >= 0xE28080 && c <= 0xE2808A) return 3;                   /* U+2000 .. U+200A */
  if (c == 0xE19A80 || c == 0xE280A8 || c == 0xE280A9) return 3;  /* U+1680, U+2028, U+2029 */
  return c == 0xE280AF || c == 0xE2819F || c == 0xE38080 ? 3 : 0; /* U+202F, U+205F, U+3000 */
}

static slice trim(slice a) {
  for (size_t len; (len = space_len((const unsigned char *)a.s, a.n)) > 0;) a.s += len, a.n -= len;
  for (bool found = true; found;) {
    found = false;
    for (size_t len = 1; len <= 3 && len <= a.n && !found; len++) {
      if (space_len((const unsigned char *)a.s + a.n - len, len) == len) {
        a.n -= len;
        found = true;
      }
    }
  }
  return a;
}

/* Appends content and notes where it stands. */
static lct_status put_content(lct_rendered *out, size_t index, slice content, lct_error *err) {
  out->spans[index].begin = out->text.len;
  LCT_TRY(lct_buf_append(&out->text, content.s, content.n, err));
  out->spans[index].end = out->text.len;
  return LCT_OK;
}

static lct_status put_chatml(lct_rendered *out, const lct_message *m, size_t i, slice content, lct_error *err) {
  LCT_TRY(lct_buf_puts(&out->text, "<|im_start|>", err));
  LCT_TRY(lct_buf_puts(&out->text, m[i].role, err));
  LCT_TRY(lct_buf_puts(&out->text, "\n", err));
  LCT_TRY(put_content(out, i, content, err));
  return lct_buf_puts(&out->text, "<|im_end|>\n", err);
}

/* A run of tool messages is one user turn. */
static lct_status put_tool(lct_rendered *out, const lct_message *m, size_t n, size_t i, lct_error *err) {
  if (i == 0 || strcmp(m[i - 1].role, "tool") != 0) LCT_TRY(lct_buf_puts(&out->text, "<|im_start|>user", err));
  LCT_TRY(lct_buf_puts(&out->text, "\n<tool_response>\n", err));
  LCT_TRY(put_content(out, i, slice_of(&m[i]), err));
  LCT_TRY(lct_buf_puts(&out->text, "\n</tool_response>", err));
  if (i + 1 == n || strcmp(m[i + 1].role, "tool") != 0) LCT_TRY(lct_buf_puts(&out->text, "<|im_end|>\n", err));
  return LCT_OK;
}

/* Index of the last user message that is not a tool's answer in disguise; the last message when there is none. */
static size_t last_query(const lct_message *m, size_t n) {
  for (size_t i = n; i-- > 0;) {
    slice c = slice_of(&m[i]);
    if (strcmp(m[i].role, "user") == 0 && !(starts_with(c, "<tool_response>") && ends_with(c, "</tool_response>"))) return i;
  }
  return n - 1;
}

/* What stands between the last "<think>" and the first "</think>", and what follows the last "</think>". */
static void split_thinking(slice content, slice *reasoning, slice *answer) {
  *reasoning = (slice){"", 0};
  *answer = content;
  size_t last = find_last(content, "</think>");
  if (last == content.n) return;
  size_t skip = last + strlen("</think>");
  *answer = skip_newlines((slice){content.s + skip, content.n - skip});
  slice head = drop_newlines((slice){content.s, find_first(content, "</think>")});
  size_t open = find_last(head, "<think>");
  if (open < head.n) {
    size_t past = open + strlen("<think>");
    head = (slice){head.s + past, head.n - past};
  }
  *reasoning = drop_newlines(skip_newlines(head));
}

/* Reasoning is kept after the last query only; the last message always gets a block, if an empty one. */
static lct_status put_thinking(lct_rendered *out, const lct_message *m, size_t n, size_t i, size_t query, lct_error *err) {
  slice reasoning, answer;
  split_thinking(slice_of(&m[i]), &reasoning, &answer);
  if (i <= query || (i + 1 < n && reasoning.n == 0)) return put_chatml(out, m, i, answer, err);
  LCT_TRY(lct_buf_puts(&out->text, "<|im_start|>assistant\n<think>\n", err));
  LCT_TRY(lct_buf_append(&out->text, reasoning.s, reasoning.n, err));
  LCT_TRY(lct_buf_puts(&out->text, "\n</think>\n\n", err));
  LCT_TRY(put_content(out, i, skip_newlines(answer), err));
  return lct_buf_puts(&out->text, "<|im_end|>\n", err);
}

static bool is_qwen3(lct_template_kind k) { return k == LCT_TEMPLATE_QWEN3 || k == LCT_TEMPLATE_QWEN3_THINKING; }

/* Qwen2.5 and later know their roles: a message of another role is left out without a word. */
static bool knows_roles(lct_template_kind k) { return k == LCT_TEMPLATE_QWEN25 || k == LCT_TEMPLATE_QWEN3_INSTRUCT || is_qwen3(k); }

static lct_status put_message(const lct_template *t, lct_rendered *out, const lct_message *m, size_t n, size_t i, size_t query,
                              lct_error *err) {
  const char *role = m[i].role;
  if (!knows_roles(t->kind) || strcmp(role, "user") == 0 || strcmp(role, "system") == 0) {
    return put_chatml(out, m, i, slice_of(&m[i]), err);
  }
  if (strcmp(role, "assistant") == 0) {
    return is_qwen3(t->kind) ? put_thinking(out, m, n, i, query, err) : put_chatml(out, m, i, slice_of(&m[i]), err);
  }
  if (strcmp(role, "tool") == 0) return put_tool(out, m, n, i, err);
  out->spans[i] = (lct_span){out->text.len, out->text.len};
  return LCT_OK;
}

size_t lct_template_settled(const lct_template *t, const lct_message *m, size_t n) {
  if (n == 0) return 0;
  size_t settled = n - 1; /* a tool's answer asks whether another follows; what is not the last message knows its neighbours */
  if (!is_qwen3(t->kind)) return settled;
  size_t query = last_query(m, n); /* reasoning behind it is dropped when there is a later one */
  return query + 1 < settled ? query + 1 : settled;
}

lct_status lct_template_render_chatml(const lct_template *t, const lct_message *m, size_t n, size_t first, bool add_generation_prompt,
                                      lct_rendered *out, lct_error *err) {
  out->text.len = first > 0 ? out->starts[first] : 0;
  if (first == 0 && t->default_system[0] != '\0' && strcmp(m[0].role, "system") != 0) {
    LCT_TRY(lct_buf_puts(&out->text, "<|im_start|>system\n", err));
    LCT_TRY(lct_buf_puts(&out->text, t->default_system, err));
    LCT_TRY(lct_buf_puts(&out->text, "<|im_end|>\n", err));
  }
  size_t query = is_qwen3(t->kind) ? last_query(m, n) : 0;
  for (size_t i = first; i < n; i++) {
    out->starts[i] = out->text.len;
    LCT_TRY(put_message(t, out, m, n, i, query, err));
  }
  if (!add_generation_prompt) return LCT_OK;
  LCT_TRY(lct_buf_puts(&out->text, "<|im_start|>assistant\n", err));
  if (t->kind == LCT_TEMPLATE_QWEN3_THINKING) return lct_buf_puts(&out->text, "<think>\n", err);
  if (t->kind == LCT_TEMPLATE_QWEN3 && !t->enable_thinking) return lct_buf_puts(&out->text, "<think>\n\n</think>\n\n", err);
  return LCT_OK;
}

static lct_status put_header(lct_rendered *out, const char *role, lct_error *err) {
  LCT_TRY(lct_buf_puts(&out->text, "<|start_header_id|>", err));
  LCT_TRY(lct_buf_puts(&out->text, role, err));
  return lct_buf_puts(&out->text, "<|end_header_id|>\n\n", err);
}

/* A string as json.dumps(..., ensure_ascii=False) writes it; the span is what stands between the quotes. */
static lct_status put_json_string(lct_rendered *out, size_t index, slice content, lct_error *err) {
  static const char special[] = "\"\\\n\r\t\b\f", letter[] = "\"\\nrtbf";
  LCT_TRY(lct_buf_puts(&out->text, "\"", err));
  out->spans[index].begin = out->text.len;
  for (size_t i = 0; i < content.n; i++) {
    unsigned char c = (unsigned char)content.s[i];
    const char *found = memchr(special, c, sizeof special - 1);
    if (found != NULL) {
      const char escape[2] = {'\\', letter[found - special]};
      LCT_TRY(lct_buf_append(&out->text, escape, 2, err));
    } else if (c < 0x20) {
      LCT_TRY(lct_buf_printf(&out->text, err, "\\u%04x", c));
    } else {
      LCT_TRY(lct_buf_append(&out->text, content.s + i, 1, err));
    }
  }
  out->spans[index].end = out->text.len;
  return lct_buf_puts(&out->text, "\"", err);
}

static lct_status put_llama_message(const lct_template *t, lct_rendered *out, const lct_message *m, size_t i, lct_error *err) {
  bool tool = strcmp(m[i].role, "tool") == 0 || strcmp(m[i].role, "ipython") == 0;
  if (t->kind == LCT_TEMPLATE_LLAMA31 && tool) {
    LCT_TRY(put_header(out, "ipython", err));
    LCT_TRY(put_json_string(out, i, slice_of(&m[i]), err));
  } else {
    LCT_TRY(put_header(out, m[i].role, err));
    LCT_TRY(put_content(out, i, trim(slice_of(&m[i])), err));
  }
  return lct_buf_puts(&out->text, "<|eot_id|>", err);
}

/* What stands before the messages; Llama 3.1 puts a system message in there: *i is the next one. */
static lct_status put_llama_head(const lct_template *t, lct_rendered *out, const lct_message *m, size_t *i, lct_error *err) {
  out->starts[0] = 0;
  if (t->bos_token != NULL) LCT_TRY(lct_buf_puts(&out->text, t->bos_token, err));
  if (t->kind != LCT_TEMPLATE_LLAMA31) return LCT_OK;
  LCT_TRY(put_header(out, "system", err));
  LCT_TRY(lct_buf_puts(&out->text, "Cutting Knowledge Date: December 2023\nToday Date: ", err));
  LCT_TRY(lct_buf_puts(&out->text, t->date_string ? t->date_string : FALLBACK_DATE, err));
  LCT_TRY(lct_buf_puts(&out->text, "\n\n", err));
  if (strcmp(m[0].role, "system") == 0) LCT_TRY(put_content(out, (*i)++, trim(slice_of(&m[0])), err));
  return lct_buf_puts(&out->text, "<|eot_id|>", err);
}

lct_status lct_template_render_llama(const lct_template *t, const lct_message *m, size_t n, size_t first, bool add_generation_prompt,
                                     lct_rendered *out, lct_error *err) {
  size_t i = first;
  out->text.len = first > 0 ? out->starts[first] : 0;
  if (first == 0) LCT_TRY(put_llama_head(t, out, m, &i, err));
  for (; i < n; i++) {
    out->starts[i] = out->text.len;
    LCT_TRY(put_llama_message(t, out, m, i, err));
  }
  if (add_generation_prompt || t->always_prompt) LCT_TRY(put_header(out, "assistant", err));
  return LCT_OK;
}
