/* The normal form of a Jinja text. Chat templates of one model family come in many spellings ("{%-" or "{%", message.role or
 * message['role'], one long expression or many small ones) that render alike. They are brought together here without running
 * Jinja: the text is lexed with the rules of transformers' environment (trim_blocks, lstrip_blocks, one trailing newline
 * dropped) into
 *
 *   L bytes \0           literal output, adjacent pieces joined
 *   E tokens ;           output of an expression that is not a literal; sums of strings are split at their "+"
 *   S tokens ;           a statement
 *
 * with tokens  n name \0 (names),  s bytes \0 (strings),  d digits \0,  o operator \0,  and a.b as a['b'] unless it is called.
 * Texts equal in this form do the same; unequal ones are simply not known. Anything unusual ends with "no normal form". */
#include <string.h>

#include "text/template_internal.h"

#define MAX_TEMPLATE_BYTES (1u << 20)
#define SYSTEM_MARK "\x01"

typedef struct {
  const char *s;
  size_t n, at;
  bool ok;          /* false once something has no normal form */
  bool trim_left;   /* the tag before ended in "-": drop whitespace */
  bool after_block; /* the tag before was a statement or comment: drop one newline */
  bool line_start;  /* text that begins here begins a line */
  bool in_literal;  /* the output ends inside an open L */
  lct_buf *out;
  lct_error *err;
} lexer;

typedef struct {
  size_t begin, end; /* bytes of the token in `tokens`, one after the other */
  char kind;         /* 'n' 's' 'd' 'o' */
} token;

#define MAX_TOKENS 256

typedef struct {
  lct_buf tokens;
  token list[MAX_TOKENS];
  size_t n;
} tag;

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c); }

static bool is_token(const tag *t, size_t i, char kind, const char *text) {
  if (i >= t->n || t->list[i].kind != kind) return false;
  const token *k = &t->list[i];
  size_t n = strlen(text);
  return k->end - k->begin == n + 2 && memcmp(t->tokens.data + k->begin + 1, text, n) == 0;
}

static lct_status end_literal(lexer *x) {
  if (!x->in_literal) return LCT_OK;
  x->in_literal = false;
  return lct_buf_append(x->out, "", 1, x->err);
}

static lct_status put_literal(lexer *x, const char *s, size_t n) {
  if (n == 0) return LCT_OK;
  if (!x->in_literal) LCT_TRY(lct_buf_puts(x->out, "L", x->err));
  x->in_literal = true;
  return lct_buf_append(x->out, s, n, x->err);
}

static lct_status add_token(lexer *x, tag *t, char kind, const char *s, size_t n) {
  if (t->n == MAX_TOKENS) {
    x->ok = false;
    return LCT_OK;
  }
  token *k = &t->list[t->n++];
  *k = (token){.begin = t->tokens.len, .kind = kind};
  LCT_TRY(lct_buf_append(&t->tokens, &kind, 1, x->err));
  LCT_TRY(lct_buf_append(&t->tokens, s, n, x->err));
  LCT_TRY(lct_buf_append(&t->tokens, "", 1, x->err));
  k->end = t->tokens.len;
  return LCT_OK;
}

/* A quoted string at x->at. */
static lct_status lex_string(lexer *x, tag *t) {
  lct_buf text = {0};
  lct_status status = lct_buf_puts(&text, "", x->err);
  char quote = x->s[x->at++];
  while (status == LCT_OK && x->at < x->n && x->s[x->at] != quote) {
    char c = x->s[x->at++];
    if (c == '\\') {
      char escaped = x->at < x->n ? x->s[x->at++] : '\0';
      c = escaped == 'n' ? '\n' : escaped == 't' ? '\t' : escaped;
      if (strchr("nt\\'\"", escaped) == NULL || escaped == '\0') x->ok = false;
    }
    status = lct_buf_append(&text, &c, 1, x->err);
  }
  if (x->at >= x->n) x->ok = false;
  x->at++;
  if (status == LCT_OK) status = add_token(x, t, 's', text.data, text.len);
  lct_buf_free(&text);
  return status;
}

static size_t operator_len(const char *s, size_t n) {
  static const char *const two[] = {"==", "!=", "<=", ">=", "//", "**"};
  for (size_t i = 0; n >= 2 && i < sizeof two / sizeof two[0]; i++) {
    if (memcmp(s, two[i], 2) == 0) return 2;
  }
  return s[0] != '\0' && strchr("+-*/%~|()[],.:=<>", s[0]) != NULL ? 1 : 0;
}

/* Length of the tag's end ("%}", "-%}", "+%}" or with "}}") at the lexer's position, 0 if it is not there. */
static size_t tag_end(const lexer *x, char close, char *sign) {
  const char *s = x->s + x->at;
  size_t n = x->n - x->at, skip = n > 0 && (s[0] == '-' || (s[0] == '+' && close == '%')) ? 1 : 0;
  if (n < skip + 2 || s[skip] != close || s[skip + 1] != '}') return 0;
  *sign = skip ? s[0] : ' ';
  return skip + 2;
}

/* The tokens up to the tag's end, which is swallowed. */
static lct_status lex_tag(lexer *x, char close, tag *t) {
  char sign = ' ';
  while (x->ok) {
    while (x->at < x->n && is_space(x->s[x->at])) x->at++;
    size_t end = tag_end(x, close, &sign), len = 0;
    if (end > 0) {
      x->at += end;
      break;
    }
    if (x->at >= x->n) {
      x->ok = false;
      break;
    }
    const char *s = x->s + x->at;
    if (s[0] == '"' || s[0] == '\'') {
      LCT_TRY(lex_string(x, t));
      continue;
    }
    while (x->at + len < x->n && is_name(s[len])) len++;
    char kind = len == 0 ? 'o' : is_digit(s[0]) ? 'd' : 'n';
    if (len == 0) len = operator_len(s, x->n - x->at);
    if (len == 0) x->ok = false;
    LCT_TRY(add_token(x, t, kind, s, len));
    x->at += len;
  }
  x->trim_left = sign == '-';
  x->after_block = close == '%' && sign == ' ';
  return LCT_OK;
}

/* Appends tokens [from, to), with a.b written as a['b']. */
static lct_status put_tokens(lexer *x, const tag *t, size_t from, size_t to) {
  for (size_t i = from; i < to; i++) {
    const token *k = &t->list[i];
    bool attribute = is_token(t, i, 'o', ".") && i + 1 < to && t->list[i + 1].kind == 'n' && !is_token(t, i + 2, 'o', "(");
    if (attribute) {
      const token *name = &t->list[++i];
      LCT_TRY(lct_buf_append(x->out, "o[\0s", 4, x->err));
      LCT_TRY(lct_buf_append(x->out, t->tokens.data + name->begin + 1, name->end - name->begin - 1, x->err));
      LCT_TRY(lct_buf_append(x->out, "o]", 3, x->err));
    } else {
      LCT_TRY(lct_buf_append(x->out, t->tokens.data + k->begin, k->end - k->begin, x->err));
    }
  }
  return LCT_OK;
}

/* One summand of an output expression. */
static lct_status put_part(lexer *x, const tag *t, size_t from, size_t to) {
  if (to == from + 1 && t->list[from].kind == 's') {
    const token *k = &t->list[from];
    return put_literal(x, t->tokens.data + k->begin + 1, k->end - k->begin - 2);
  }
  LCT_TRY(end_literal(x));
  LCT_TRY(lct_buf_puts(x->out, "E", x->err));
  LCT_TRY(put_tokens(x, t, from, to));
  return lct_buf_puts(x->out, ";", x->err);
}

/* Whether the expression is a plain sum: nothing outside brackets binds less tightly than "+", and no "-" stands beside it. */
static bool is_sum(const tag *t) {
  static const char *const words[] = {"if", "else", "and", "or", "not", "in", "is"};
  static const char *const operators[] = {"==", "!=", "<", ">", "<=", ">=", "-", "*", "/", "%", "//", "**", "=", ",", ":"};
  int depth = 0;
  for (size_t i = 0; i < t->n; i++) {
    if (is_token(t, i, 'o', "(") || is_token(t, i, 'o', "[")) depth++;
    if (is_token(t, i, 'o', ")") || is_token(t, i, 'o', "]")) depth--;
    if (depth > 0) continue;
    for (size_t w = 0; w < sizeof words / sizeof words[0]; w++) {
      if (is_token(t, i, 'n', words[w])) return false;
    }
    for (size_t o = 0; o < sizeof operators / sizeof operators[0]; o++) {
      if (is_token(t, i, 'o', operators[o])) return false;
    }
    if (t->list[i].kind == 'd') return false;
  }
  return depth == 0;
}

static lct_status put_output(lexer *x, const tag *t) {
  if (t->n == 0) x->ok = false;
  if (!is_sum(t)) return put_part(x, t, 0, t->n);
  size_t from = 0;
  int depth = 0;
  for (size_t i = 0; i <= t->n; i++) {
    if (is_token(t, i, 'o', "(") || is_token(t, i, 'o', "[")) depth++;
    if (is_token(t, i, 'o', ")") || is_token(t, i, 'o', "]")) depth--;
    bool cut = i == t->n || (depth == 0 && (is_token(t, i, 'o', "+") || is_token(t, i, 'o', "~")));
    if (!cut) continue;
    if (i == from) x->ok = false;
    if (x->ok) LCT_TRY(put_part(x, t, from, i));
    from = i + 1;
  }
  return LCT_OK;
}

static lct_status put_statement(lexer *x, const tag *t) {
  /* marks for training, with no output of their own */
  if (t->n == 1 && (is_token(t, 0, 'n', "generation") || is_token(t, 0, 'n', "endgeneration"))) return LCT_OK;
  if (t->n == 0 || is_token(t, 0, 'n', "raw")) x->ok = false;
  LCT_TRY(end_literal(x));
  LCT_TRY(lct_buf_puts(x->out, "S", x->err));
  LCT_TRY(put_tokens(x, t, 0, t->n));
  return lct_buf_puts(x->out, ";", x->err);
}

static lct_status skip_comment(lexer *x) {
  const char *end = memmem(x->s + x->at, x->n - x->at, "#}", 2);
  if (end == NULL) {
    x->ok = false;
    return LCT_OK;
  }
  size_t at = (size_t)(end - x->s);
  char sign = at > x->at ? x->s[at - 1] : ' ';
  x->trim_left = sign == '-';
  x->after_block = sign != '-' && sign != '+';
  x->at = at + 2;
  return LCT_OK;
}

/* Text up to the next tag, after what the tags on both sides take away from it. */
static lct_status put_text(lexer *x, size_t end) {
  size_t from = x->at, to = end;
  char kind = end < x->n ? x->s[end + 1] : ' ', sign = end + 2 < x->n ? x->s[end + 2] : ' ';
  while (x->trim_left && from < to && is_space(x->s[from])) from++;
  if (x->after_block && from < to && x->s[from] == '\n') from++;
  bool line_start = from > 0 ? (from > x->at ? x->s[from - 1] == '\n' : x->line_start) : true;
  if (end < x->n && sign == '-') {
    while (to > from && is_space(x->s[to - 1])) to--;
  } else if (end < x->n && kind != '{' && sign != '+') {
    size_t line = to;
    while (line > from && is_space(x->s[line - 1]) && x->s[line - 1] != '\n') line--;
    if (line == from ? line_start : x->s[line - 1] == '\n') to = line;
  }
  x->line_start = false;
  return put_literal(x, x->s + from, to - from);
}

static lct_status lex(lexer *x) {
  tag t = {0};
  lct_status status = LCT_OK;
  while (x->ok && status == LCT_OK) {
    size_t end = x->at;
    while (end < x->n && !(x->s[end] == '{' && end + 1 < x->n && strchr("{%#", x->s[end + 1]) != NULL)) end++;
    LCT_TRY_GOTO(status, put_text(x, end), done);
    if (end == x->n) break;
    char kind = x->s[end + 1];
    x->at = end + 2;
    if (x->at < x->n && (x->s[x->at] == '-' || (x->s[x->at] == '+' && kind != '{'))) x->at++;
    if (kind == '#') {
      LCT_TRY_GOTO(status, skip_comment(x), done);
      continue;
    }
    t.n = 0;
    t.tokens.len = 0;
    LCT_TRY_GOTO(status, lex_tag(x, kind == '{' ? '}' : '%', &t), done);
    if (x->ok) status = kind == '{' ? put_output(x, &t) : put_statement(x, &t);
  }
  if (status == LCT_OK) status = end_literal(x);
done:
  lct_buf_free(&t.tokens);
  return status;
}

lct_status lct_template_normal_form(const char *jinja, size_t n, lct_buf *out, bool *ok, lct_error *err) {
  if (n > 0 && jinja[n - 1] == '\n') n--; /* keep_trailing_newline is off */
  lexer x = {.s = jinja, .n = n, .ok = n <= MAX_TEMPLATE_BYTES, .line_start = true, .out = out, .err = err};
  /* carriage returns would need Jinja's newline rules; the two marks stand for something here */
  if (memchr(jinja, '\r', n) != NULL || memchr(jinja, '\0', n) != NULL || memchr(jinja, SYSTEM_MARK[0], n) != NULL) x.ok = false;
  lct_status status = x.ok ? lex(&x) : LCT_OK;
  *ok = x.ok && status == LCT_OK && out->len > 0;
  return status;
}

static void replace_all(lct_buf *b, const char *old, size_t n_old, const char *mark) {
  size_t to = 0, n_mark = strlen(mark);
  for (size_t from = 0; from < b->len;) {
    if (b->len - from >= n_old && memcmp(b->data + from, old, n_old) == 0) {
      memcpy(b->data + to, mark, n_mark); /* the mark is never longer than what it replaces */
      to += n_mark;
      from += n_old;
    } else {
      b->data[to++] = b->data[from++];
    }
  }
  b->len = to;
  b->data[to] = '\0';
}

bool lct_template_mask_system(lct_buf *normal, char *system, size_t size) {
  static const char open[] = "<|im_start|>system\n", close[] = "<|im_end|>\n";
  system[0] = '\0';
  const char *at = normal->data, *end = normal->data + normal->len;
  while ((at = memmem(at, (size_t)(end - at), open, sizeof open - 1)) != NULL) {
    at += sizeof open - 1;
    size_t n = strlen(at); /* the literal's rest */
    const char *stop = memmem(at, n, close, sizeof close - 1);
    if (stop == NULL || stop == at) continue;
    n = (size_t)(stop - at);
    if (n >= size) return false;
    memcpy(system, at, n);
    system[n] = '\0';
    replace_all(normal, system, n, SYSTEM_MARK);
    return true;
  }
  return true;
}
