/* The tokenizer against `tokenizers`: goldens of four small tokenizers (tests/oracle/gen_tokenizer.py), from JSON and from GGUF;
 * the real ones over the shared data where they are at hand; and what a broken file is answered with. */
#include "test_support.h"

#include <jansson.h>
#include <time.h>
#include <zlib.h>

#include "base/utf8.h"
#include "model/gguf.h"
#include "text/tokenizer.h"

#define GOLDENS LCT_SOURCE_DIR "/tests/goldens/tokenizer"

static lct_error err;

static lct_tokenizer *open_dir(const char *dir) {
  lct_tokenizer *t = NULL;
  assert_ok(lct_tokenizer_open_dir(dir, &t, &err));
  return t;
}

static lct_tokenizer *open_gguf(const char *path) {
  lct_map map;
  lct_gguf *g = NULL;
  lct_tokenizer *t = NULL;
  assert_ok(lct_map_open(path, &map, &err));
  assert_ok(lct_gguf_parse(map.data, map.size, path, &g, &err));
  assert_ok(lct_tokenizer_from_gguf(g, &t, &err));
  lct_gguf_free(g); /* the tokenizer keeps nothing of it */
  lct_map_close(&map);
  return t;
}

static lct_encoder *encoder_of(const lct_tokenizer *t) {
  lct_encoder *e = NULL;
  assert_ok(lct_encoder_new(t, &e, &err));
  return e;
}

/* ---- the golden cases ---- */

static lct_buf read_gz(const char *path) {
  gzFile f = gzopen(path, "rb");
  lct_buf b = {0};
  char chunk[65536];
  int n;
  if (f == NULL) fail_msg("cannot open %s", path);
  while ((n = gzread(f, chunk, sizeof chunk)) > 0) assert_ok(lct_buf_append(&b, chunk, (size_t)n, &err));
  assert_int_equal(gzclose(f), Z_OK);
  return b;
}

static const char *text_of(json_t *c) { return json_string_value(json_object_get(c, "t")); }

static void check_ids(json_t *want, const lct_tokens *got, json_t *c) {
  bool same = json_array_size(want) == got->len;
  for (size_t i = 0; same && i < got->len; i++) same = json_integer_value(json_array_get(want, i)) == got->data[i].id;
  if (same) return;
  for (size_t i = 0; i < got->len; i++) print_message("%d ", (int)got->data[i].id);
  fail_msg("ids differ on %s", json_dumps(c, 0));
}

/* Offsets equal those of tokenizers, or cover them where NFC has changed the text (there it leaves composed marks out). */
static void check_offsets(json_t *want, const lct_tokens *got, json_t *c) {
  bool covers = json_object_get(c, "c") != NULL;
  int64_t begin = 0;
  for (size_t i = 0; i < got->len; i++) {
    begin += json_integer_value(json_array_get(want, 2 * i));
    int64_t end = begin + json_integer_value(json_array_get(want, 2 * i + 1));
    bool ok = covers ? got->data[i].begin <= begin && got->data[i].end >= end : got->data[i].begin == begin && got->data[i].end == end;
    if (!ok) {
      fail_msg("token %zu: offsets %u..%u, expected %lld..%lld on %s", i, got->data[i].begin, got->data[i].end, (long long)begin,
               (long long)end, json_dumps(c, 0));
    }
  }
}

static void check_decoded(const lct_tokenizer *t, json_t *c) {
  json_t *ids = json_object_get(c, "i"), *d = json_object_get(c, "d"), *x = json_object_get(c, "x");
  if (d == NULL) d = json_object_get(c, "t");
  if (x == NULL) x = d;
  size_t n = json_array_size(ids);
  int32_t *list = calloc(n + 1, sizeof *list);
  assert_non_null(list);
  for (size_t i = 0; i < n; i++) list[i] = (int32_t)json_integer_value(json_array_get(ids, i));
  for (int skip = 0; skip < 2; skip++) {
    lct_buf out = {0};
    json_t *want = skip ? x : d;
    assert_ok(lct_decode(t, list, n, skip != 0, &out, &err));
    if (out.len != json_string_length(want) || memcmp(out.data, json_string_value(want), out.len) != 0) {
      fail_msg("decoded (skip %d) to %s on %s", skip, out.data, json_dumps(c, 0));
    }
    lct_buf_free(&out);
  }
  free(list);
}

static void check_case(const lct_tokenizer *t, lct_encoder *e, json_t *c, bool offsets) {
  const char *text = text_of(c);
  if (text != NULL) {
    size_t n = json_string_length(json_object_get(c, "t"));
    lct_tokens tokens = {0};
    assert_ok(lct_encode(e, text, n, false, &tokens, &err));
    check_ids(json_object_get(c, "i"), &tokens, c);
    if (offsets && json_object_get(c, "o") != NULL) check_offsets(json_object_get(c, "o"), &tokens, c);
    tokens.len = 0;
    assert_ok(lct_encode(e, text, n, true, &tokens, &err));
    json_t *special = json_object_get(c, "s");
    check_ids(special == NULL ? json_object_get(c, "i") : special, &tokens, c);
    lct_tokens_free(&tokens);
  }
  check_decoded(t, c);
}

/* Runs the cases of tokenizer `key`, twice: the second time most words come from the cache. */
static void check_cases(const char *key, const lct_tokenizer *t, bool offsets) {
  lct_buf all = read_gz(GOLDENS "/cases.jsonl.gz");
  lct_encoder *e = encoder_of(t);
  size_t n = 0;
  for (int round = 0; round < 2; round++) {
    char *line = all.data;
    for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
      json_error_t je;
      json_t *c = json_loadb(line, (size_t)(end - line), JSON_ALLOW_NUL, &je);
      assert_non_null(c);
      if (strcmp(json_string_value(json_object_get(c, "k")), key) == 0) {
        check_case(t, e, c, offsets);
        n++;
      }
      json_decref(c);
    }
  }
  assert_true(n > 1000);
  lct_encoder_free(e);
  lct_buf_free(&all);
}

static void check_dir(const char *key) {
  char path[512];
  snprintf(path, sizeof path, GOLDENS "/%s", key);
  lct_tokenizer *t = open_dir(path);
  check_cases(key, t, true);
  lct_tokenizer_free(t);
}

static void test_qwen_goldens(void **state) {
  (void)state;
  check_dir("qwen");
}

static void test_llama3_goldens(void **state) {
  (void)state;
  check_dir("llama");
}

static void test_smollm_goldens(void **state) {
  (void)state;
  check_dir("smol");
}

/* A pattern of its own (PCRE2), a prefix space, trimmed offsets, added tokens that strip, want whole words or are normalised. */
static void test_odd_goldens(void **state) {
  (void)state;
  check_dir("odd");
}

static void test_gguf_goldens(void **state) {
  (void)state;
  static const char *const keys[] = {"qwen", "llama", "smol"};
  for (size_t i = 0; i < 3; i++) {
    char path[512];
    snprintf(path, sizeof path, GOLDENS "/%s.gguf", keys[i]);
    lct_tokenizer *t = open_gguf(path);
    check_cases(keys[i], t, false); /* GGUF does not say whether offsets are trimmed */
    assert_string_equal(lct_tokenizer_chat_template(t), "{{ messages }}");
    assert_int_equal(lct_tokenizer_eos(t), lct_tokenizer_id(t, i == 1 ? "<|eot_id|>" : "<|im_end|>"));
    lct_tokenizer_free(t);
  }
}

/* ---- words of many symbols ---- */

static lct_buf long_text(const char *name, size_t times) {
  static const struct {
    const char *name, *head, *body;
    size_t times;
  } kinds[] = {{"a", "", "a", 20000},
               {"the", "", "the", 30000},
               {"zh", "", "\u6211\u4eec\u6628\u5929", 5000},
               {"mark", "e", "\u0301\u0327", 3000}};
  lct_buf b = {0};
  for (size_t k = 0; k < 4; k++) {
    if (strcmp(kinds[k].name, name) != 0) continue;
    assert_ok(lct_buf_puts(&b, kinds[k].head, &err));
    for (size_t i = 0; i < (times > 0 ? times : kinds[k].times); i++) assert_ok(lct_buf_puts(&b, kinds[k].body, &err));
  }
  return b;
}

static void test_long_words(void **state) {
  (void)state;
  lct_tokenizer *t = open_dir(GOLDENS "/qwen");
  lct_encoder *e = encoder_of(t);
  json_error_t je;
  json_t *cases = json_load_file(GOLDENS "/long_words.json", 0, &je), *c;
  size_t k;
  assert_int_equal(json_array_size(cases), 4);
  json_array_foreach(cases, k, c) {
    lct_buf text = long_text(json_string_value(json_object_get(c, "name")), 0);
    lct_tokens tokens = {0};
    assert_ok(lct_encode(e, text.data, text.len, false, &tokens, &err));
    assert_int_equal(tokens.len, json_integer_value(json_object_get(c, "ids")));
    int32_t *ids = calloc(tokens.len, sizeof *ids);
    assert_non_null(ids);
    for (size_t i = 0; i < tokens.len; i++) ids[i] = tokens.data[i].id;
    char hash[65];
    lct_sha256_hex(ids, tokens.len * sizeof *ids, hash);
    assert_string_equal(hash, json_string_value(json_object_get(c, "sha256")));
    free(ids);
    lct_tokens_free(&tokens);
    lct_buf_free(&text);
  }
  json_decref(cases);
  lct_encoder_free(e);
  lct_tokenizer_free(t);
}

/* A megabyte of one letter, of marks, of spaces: quadratic work would take minutes. */
static void test_long_words_are_not_quadratic(void **state) {
  (void)state;
  static const char *const units[] = {"a", " ", "\u0301", "\n ", "<", "'"};
  lct_tokenizer *t = open_dir(GOLDENS "/qwen");
  lct_encoder *e = encoder_of(t);
  clock_t start = clock();
  for (size_t k = 0; k < sizeof units / sizeof *units; k++) {
    lct_buf text = {0};
    lct_tokens tokens = {0};
    while (text.len < 1000000) assert_ok(lct_buf_puts(&text, units[k], &err));
    assert_ok(lct_encode(e, text.data, text.len, false, &tokens, &err));
    assert_true(tokens.len > 0);
    lct_tokens_free(&tokens);
    lct_buf_free(&text);
  }
  double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
  if (seconds > 60) fail_msg("six texts of a megabyte took %.1f s", seconds);
  lct_encoder_free(e);
  lct_tokenizer_free(t);
}

/* ---- small promises ---- */

static void test_accessors(void **state) {
  (void)state;
  lct_tokenizer *t = open_dir(GOLDENS "/qwen");
  int32_t end = lct_tokenizer_id(t, "<|im_end|>");
  assert_int_equal(lct_tokenizer_vocab(t), 570);
  assert_int_equal(end, 562);
  assert_int_equal(lct_tokenizer_eos(t), end);
  assert_int_equal(lct_tokenizer_bos(t), -1);
  assert_int_equal(lct_tokenizer_pad(t), lct_tokenizer_id(t, "<|endoftext|>"));
  assert_string_equal(lct_tokenizer_chat_template(t), "{{ messages }}");
  assert_true(lct_tokenizer_is_special(t, end));
  assert_false(lct_tokenizer_is_special(t, lct_tokenizer_id(t, "<think>")));
  assert_false(lct_tokenizer_is_special(t, -1));
  assert_false(lct_tokenizer_is_special(t, 100000));
  assert_int_equal(lct_tokenizer_id(t, "no such token"), -1);
  assert_true(lct_tokenizer_id(t, "\u0120the") >= 0);
  lct_tokenizer_free(t);
}

static void test_encode_appends_and_refuses(void **state) {
  (void)state;
  lct_tokenizer *t = open_dir(GOLDENS "/qwen");
  lct_encoder *e = encoder_of(t);
  lct_tokens tokens = {0};
  assert_ok(lct_encode(e, "a", 1, false, &tokens, &err));
  assert_ok(lct_encode(e, "", 0, false, &tokens, &err));
  assert_ok(lct_encode(e, "<|im_end|>", 10, false, &tokens, &err));
  assert_int_equal(tokens.len, 2);
  assert_int_equal(tokens.data[1].id, 562);
  assert_int_equal(tokens.data[1].end, 10);
  assert_fails(lct_encode(e, "a\xff", 2, false, &tokens, &err), LCT_E_FORMAT, "text to tokenise is not valid UTF-8");
  assert_int_equal(tokens.len, 2);
  lct_tokens_free(&tokens);
  lct_encoder_free(e);
  lct_tokenizer_free(t);
}

/* ---- the real tokenizers, where they are ---- */

static const char *shared_dir(void) {
  const char *s = getenv("LCT_SHARED");
  return s != NULL ? s : LCT_SOURCE_DIR "/../shared";
}

/* Ids of every message of a file, each text followed by -1, as check_tokenizer.py --write-hashes does it. */
static void check_file(lct_encoder *e, const char *path, json_t *want) {
  lct_buf all = {0}, stream = {0};
  assert_ok(lct_file_read(path, (size_t)1 << 28, &all, &err));
  int64_t n_texts = 0;
  char *line = all.data;
  for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
    json_error_t je;
    json_t *c = json_loadb(line, (size_t)(end - line), JSON_ALLOW_NUL, &je), *m;
    size_t i;
    json_array_foreach(json_object_get(c, "messages"), i, m) {
      json_t *text = json_object_get(m, "content");
      lct_tokens tokens = {0};
      int32_t stop = -1;
      assert_ok(lct_encode(e, json_string_value(text), json_string_length(text), false, &tokens, &err));
      for (size_t k = 0; k < tokens.len; k++) assert_ok(lct_buf_append(&stream, &tokens.data[k].id, sizeof stop, &err));
      assert_ok(lct_buf_append(&stream, &stop, sizeof stop, &err));
      lct_tokens_free(&tokens);
      n_texts++;
    }
    json_decref(c);
  }
  char hash[65];
  lct_sha256_hex(stream.data, stream.len, hash);
  assert_int_equal(n_texts, json_integer_value(json_object_get(want, "texts")));
  assert_int_equal((int64_t)(stream.len / 4) - n_texts, json_integer_value(json_object_get(want, "tokens")));
  assert_string_equal(hash, json_string_value(json_object_get(want, "sha256")));
  lct_buf_free(&all);
  lct_buf_free(&stream);
}

static void check_real(const char *key, const char *variable) {
  const char *path = getenv(variable);
  char file[1024];
  snprintf(file, sizeof file, "%s/data", shared_dir());
  if (path == NULL || !lct_path_is_dir(file)) {
    print_message("skipped: %s\n", path == NULL ? variable : file);
    print_message("  (the environment variable is not set, or the shared data is not there)\n");
    skip();
  }
  json_error_t je;
  json_t *golden = json_load_file(GOLDENS "/real.json", 0, &je), *want;
  assert_non_null(json_object_get(golden, key));
  lct_tokenizer *t = lct_path_is_dir(path) ? open_dir(path) : open_gguf(path);
  lct_encoder *e = encoder_of(t);
  const char *name;
  json_object_foreach(json_object_get(golden, key), name, want) {
    snprintf(file, sizeof file, "%s/data/%s", shared_dir(), name);
    check_file(e, file, want);
  }
  json_decref(golden);
  lct_encoder_free(e);
  lct_tokenizer_free(t);
}

static void test_real_qwen25(void **state) {
  (void)state;
  check_real("qwen25", "LCT_TOKENIZER_QWEN25");
}

static void test_real_qwen3(void **state) {
  (void)state;
  check_real("qwen3", "LCT_TOKENIZER_QWEN3");
}

static void test_real_smollm2(void **state) {
  (void)state;
  check_real("smollm2", "LCT_SMOLLM2_GGUF");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_qwen_goldens),
      cmocka_unit_test(test_llama3_goldens),
      cmocka_unit_test(test_smollm_goldens),
      cmocka_unit_test(test_odd_goldens),
      cmocka_unit_test(test_gguf_goldens),
      cmocka_unit_test(test_long_words),
      cmocka_unit_test(test_long_words_are_not_quadratic),
      cmocka_unit_test(test_accessors),
      cmocka_unit_test(test_encode_appends_and_refuses),
      cmocka_unit_test(test_real_qwen25),
      cmocka_unit_test(test_real_qwen3),
      cmocka_unit_test(test_real_smollm2),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
