/* Pre-tokenizers and NFC on their own, against `tokenizers` (tests/oracle/gen_tokenizer.py): a small vocabulary would hide much.
 * And the same pieces from PCRE2 for the hand-written matchers, where it knows the characters. */
#include "test_support.h"

#include <jansson.h>
#include <zlib.h>

#include "text/pretok.h"

#define PARTS LCT_SOURCE_DIR "/tests/goldens/tokenizer/parts.jsonl.gz"

static lct_error err;

static const struct {
  const char *key;
  lct_pretok_kind kind;
} kinds[] = {{"qwen", LCT_PRETOK_QWEN},
             {"llama3", LCT_PRETOK_LLAMA3},
             {"gpt2", LCT_PRETOK_GPT2},
             {"digits", LCT_PRETOK_DIGITS},
             {"digit", LCT_PRETOK_DIGIT}};

/* Calls check for every case of kind `key`. */
typedef void (*case_fn)(const lct_uclasses *u, json_t *c, const char *key);

static void each_case(const char *key, case_fn check) {
  lct_uclasses u;
  assert_ok(lct_uclasses_build(&u, &err));
  gzFile f = gzopen(PARTS, "rb");
  assert_non_null(f);
  static char line[65536];
  size_t n = 0;
  while (gzgets(f, line, sizeof line) != NULL) {
    json_error_t je;
    json_t *c = json_loads(line, JSON_ALLOW_NUL, &je);
    assert_non_null(c);
    if (strcmp(json_string_value(json_object_get(c, "k")), key) == 0) {
      check(&u, c, key);
      n++;
    }
    json_decref(c);
  }
  assert_int_equal(gzclose(f), Z_OK);
  assert_int_equal(n, 600);
  lct_uclasses_free(&u);
}

static void check_pieces(const lct_uclasses *u, json_t *c, const char *key) {
  json_t *text = json_object_get(c, "t"), *want = json_object_get(c, "p");
  lct_pretok_kind kind = LCT_PRETOK_PCRE;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (strcmp(kinds[i].key, key) == 0) kind = kinds[i].kind;
  }
  const unsigned char *s = (const unsigned char *)json_string_value(text);
  size_t n = json_string_length(text), p = 0, i = 0;
  while (p < n) {
    size_t end = lct_pretok_next(kind, u, s, p, n);
    if ((json_int_t)(end - p) != json_integer_value(json_array_get(want, i))) {
      fail_msg("piece %zu (byte %zu) has %zu bytes on %s", i, p, end - p, json_dumps(c, 0));
    }
    p = end;
    i++;
  }
  assert_int_equal(i, json_array_size(want));
}

static void test_pieces(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) each_case(kinds[i].key, check_pieces);
}

static void check_nfc(const lct_uclasses *u, json_t *c, const char *key) {
  (void)key;
  json_t *text = json_object_get(c, "t"), *want = json_object_get(c, "n");
  const unsigned char *s = (const unsigned char *)json_string_value(text);
  size_t n = json_string_length(text);
  lct_nfc nfc = {0};
  assert_ok(lct_nfc_apply(&nfc, u, s, n, &err));
  if (nfc.len != json_string_length(want) || memcmp(nfc.text, json_string_value(want), nfc.len) != 0) {
    fail_msg("NFC is %.*s on %s", (int)nfc.len, (char *)nfc.text, json_dumps(c, 0));
  }
  if (lct_nfc_is_stable(u, s, n)) assert_true(nfc.len == n && memcmp(nfc.text, s, n) == 0);
  uint32_t covered = 0; /* the map leaves no byte of the source out and never runs backwards */
  for (size_t i = 0; i < nfc.len; i++) {
    assert_true(nfc.begin[i] <= covered && nfc.end[i] >= covered && nfc.end[i] > nfc.begin[i]);
    covered = nfc.end[i];
  }
  assert_int_equal(covered, n);
  lct_nfc_free(&nfc);
}

static void test_nfc(void **state) {
  (void)state;
  each_case("nfc", check_nfc);
}

/* The known patterns, one harmless byte changed so that they are compiled. */
static const struct {
  lct_pretok_kind kind;
  const char *pattern;
} patterns[] = {
    {LCT_PRETOK_QWEN,
     "(?:)(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    {LCT_PRETOK_LLAMA3,
     "(?:)(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|"
     "\\s+"},
    {LCT_PRETOK_GPT2, "(?:)'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
};

/* Random text over the characters on which the patterns turn. */
static size_t random_text(uint64_t *seed, unsigned char *out) {
  static const char *const parts[] = {"a",      "B",      "s",      "S",      "ll", "LL", "re", "'",       " ",      "  ",
                                      "\n",     "\r",     "\t",     "1",      "23", "!",  ".",  "\u00e9",  "\u4e00", "\u0301",
                                      "\u00a0", "\u017f", "\u0663", "\u2028", "d",  "m",  "ve", "\xc2\x85"};
  size_t n = 0, k = (size_t)(*seed >> 60) + 1;
  for (size_t i = 0; i < k; i++) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    const char *part = parts[(*seed >> 33) % (sizeof parts / sizeof *parts)];
    memcpy(out + n, part, strlen(part));
    n += strlen(part);
  }
  return n;
}

static void test_matchers_equal_pcre2(void **state) {
  (void)state;
  lct_uclasses u;
  assert_ok(lct_uclasses_build(&u, &err));
  void *match_data = lct_pretok_match_data();
  uint64_t seed = 1;
  for (size_t k = 0; k < sizeof patterns / sizeof *patterns; k++) {
    lct_pretok p = {0};
    assert_ok(lct_pretok_add_regex(&p, patterns[k].pattern, strlen(patterns[k].pattern), "t.json", &err));
    assert_int_equal(p.steps[0].kind, LCT_PRETOK_PCRE);
    for (int i = 0; i < 50000; i++) {
      unsigned char s[64];
      size_t n = random_text(&seed, s), at = 0;
      while (at < n) {
        bool found;
        size_t begin = 0, end = 0;
        assert_ok(lct_pretok_regex_next(&p.steps[0], match_data, s, n, at, &found, &begin, &end, &err));
        assert_true(found && begin == at);
        if (lct_pretok_next(patterns[k].kind, &u, s, at, n) != end) fail_msg("differ at byte %zu of \"%.*s\"", at, (int)n, (char *)s);
        at = end;
      }
    }
    lct_pretok_free(&p);
  }
  lct_pretok_match_data_free(match_data);
  lct_uclasses_free(&u);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_pieces),
      cmocka_unit_test(test_nfc),
      cmocka_unit_test(test_matchers_equal_pcre2),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
