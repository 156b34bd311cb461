#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#include "text/pretok.h"

/* Patterns that have a matcher of their own; anything that differs in a single byte goes through PCRE2. */
static const struct {
  lct_pretok_kind kind;
  const char *pattern;
} known_patterns[] = {
    {LCT_PRETOK_QWEN,
     "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
     "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    {LCT_PRETOK_LLAMA3,
     "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
     "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    {LCT_PRETOK_GPT2, "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
    {LCT_PRETOK_GPT2, "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
};

lct_status lct_pretok_add(lct_pretok *p, lct_pretok_kind kind, const char *name, lct_error *err) {
  if (p->n_steps == LCT_PRETOK_MAX_STEPS) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: more than %d pre-tokenizer steps", name, LCT_PRETOK_MAX_STEPS);
  }
  p->steps[p->n_steps++] = (lct_pretok_step){.kind = kind};
  return LCT_OK;
}

/* The pattern with \s and \S spelled out: PCRE2 counts U+180E as white space, the engine of tokenizers goes by the property. */
static lct_status spell_spaces(const char *pattern, size_t n, lct_buf *out, lct_error *err) {
  for (size_t i = 0; i < n; i++) {
    bool escape = pattern[i] == '\\' && i + 1 < n;
    if (escape && (pattern[i + 1] == 's' || pattern[i + 1] == 'S')) {
      LCT_TRY(lct_buf_puts(out, pattern[i + 1] == 's' ? "\\p{White_Space}" : "\\P{White_Space}", err));
    } else {
      LCT_TRY(lct_buf_append(out, pattern + i, escape ? 2 : 1, err));
    }
    i += escape;
  }
  return LCT_OK;
}

static lct_status compile(const char *pattern, size_t n, const char *name, pcre2_code **out, lct_error *err) {
  int code = 0;
  PCRE2_SIZE at = 0;
  *out = pcre2_compile((PCRE2_SPTR)pattern, n, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
  if (*out == NULL) {
    PCRE2_UCHAR text[160];
    (void)pcre2_get_error_message(code, text, sizeof text);
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: pre_tokenizer: cannot compile the Split pattern \"%.*s\": %s at byte %zu", name,
                    (int)(n < 200 ? n : 200), pattern, (const char *)text, (size_t)at);
  }
  (void)pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE); /* no JIT here: the interpreter gives the same matches */
  return LCT_OK;
}

lct_status lct_pretok_add_regex(lct_pretok *p, const char *pattern, size_t n, const char *name, lct_error *err) {
  for (size_t i = 0; i < sizeof known_patterns / sizeof *known_patterns; i++) {
    const char *known = known_patterns[i].pattern;
    if (strlen(known) == n && memcmp(known, pattern, n) == 0) return lct_pretok_add(p, known_patterns[i].kind, name, err);
  }
  pcre2_code *re = NULL;
  lct_buf spelled = {0};
  lct_status s = spell_spaces(pattern, n, &spelled, err);
  if (s == LCT_OK) s = compile(n > 0 ? spelled.data : "", spelled.len, name, &re, err);
  lct_buf_free(&spelled);
  if (s != LCT_OK) return s;
  s = lct_pretok_add(p, LCT_PRETOK_PCRE, name, err);
  if (s == LCT_OK) {
    p->steps[p->n_steps - 1].code = re;
  } else {
    pcre2_code_free(re);
  }
  return s;
}

void lct_pretok_free(lct_pretok *p) {
  for (size_t i = 0; i < p->n_steps; i++) pcre2_code_free(p->steps[i].code);
  *p = (lct_pretok){0};
}

lct_status lct_pretok_regex_next(const lct_pretok_step *step, void *match_data, const unsigned char *s, size_t n, size_t from, bool *found,
                                 size_t *begin, size_t *end, lct_error *err) {
  *found = false;
  while (from <= n) {
    int rc = pcre2_match(step->code, s, n, from, PCRE2_NO_UTF_CHECK, match_data, NULL);
    if (rc == PCRE2_ERROR_NOMATCH) return LCT_OK;
    if (rc < 0) {
      PCRE2_UCHAR text[160];
      (void)pcre2_get_error_message(rc, text, sizeof text);
      return lct_fail(err, LCT_E_LIMIT, "the pre-tokenizer's Split pattern failed at byte %zu of %zu: %s", from, n, (const char *)text);
    }
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(match_data);
    if (at[0] >= from && at[1] > at[0]) {
      *found = true;
      *begin = at[0];
      *end = at[1];
      return LCT_OK;
    }
    from = (at[0] > from ? at[0] : from) + 1; /* an empty match cuts nothing off */
    while (from < n && (s[from] & 0xC0) == 0x80) from++;
  }
  return LCT_OK;
}

void *lct_pretok_match_data(void) { return pcre2_match_data_create(1, NULL); }

void lct_pretok_match_data_free(void *match_data) { pcre2_match_data_free(match_data); }
