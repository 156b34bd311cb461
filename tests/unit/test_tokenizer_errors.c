/* Broken and unsupported tokenizer files: the exact message, and never a crash. */
#include "test_support.h"

#include "base/file.h"
#include "model/gguf.h"
#include "text/tokenizer.h"

#define GOLDENS LCT_SOURCE_DIR "/tests/goldens/tokenizer"

static lct_error err;

#define VOCAB "{\"a\":0,\"b\":1,\"ab\":2}"
#define MODEL "{\"type\":\"BPE\",\"vocab\":" VOCAB ",\"merges\":[\"a b\"]}"
#define PRE "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define DECODER "{\"type\":\"ByteLevel\"}"
#define WHOLE(model, pre, rest) "{\"model\":" model ",\"pre_tokenizer\":" pre ",\"decoder\":" DECODER rest "}"
#define ADDED(id, content) "{\"id\":" #id ",\"content\":\"" content "\",\"special\":true}"

static lct_status parse(const char *json, size_t n) {
  char *copy = malloc(n > 0 ? n : 1); /* exactly as long, so that the sanitizers see one byte too many */
  assert_non_null(copy);
  memcpy(copy, json, n);
  lct_tokenizer *t = NULL;
  lct_status s = lct_tokenizer_parse(copy, n, NULL, 0, "t.json", &t, &err);
  assert_true((s == LCT_OK) == (t != NULL));
  lct_tokenizer_free(t);
  free(copy);
  return s;
}

#define refused(json, status, message) assert_fails(parse(json, strlen(json)), status, message)

static void test_smallest(void **state) {
  (void)state;
  assert_ok(parse(WHOLE(MODEL, PRE, ""), strlen(WHOLE(MODEL, PRE, ""))));
}

static void test_not_json(void **state) {
  (void)state;
  refused("", LCT_E_FORMAT, "t.json: not JSON: '[' or '{' expected near end of file (line 1, column 0)");
  refused("[]", LCT_E_FORMAT, "t.json: not a JSON object");
  refused("{\"a\":1,\"a\":2}", LCT_E_FORMAT, "t.json: not JSON: duplicate object key near '\"a\"' (line 1, column 10)");
  lct_buf deep = {0};
  for (int i = 0; i < 100000; i++) assert_ok(lct_buf_puts(&deep, "{\"a\":", &err));
  assert_int_equal(parse(deep.data, deep.len), LCT_E_FORMAT);
  assert_non_null(strstr(err.message, "maximum parsing depth reached"));
  lct_buf_free(&deep);
}

static void test_vocabulary(void **state) {
  (void)state;
  refused(WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":2,\"c\":1,\"d\":1},\"merges\":[]}", PRE, ""), LCT_E_FORMAT,
          "t.json: id 1 belongs to two tokens, \"c\" and \"d\"");
  refused(WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":7},\"merges\":[]}", PRE, ""), LCT_E_FORMAT,
          "t.json: model.vocab: token \"b\" has id 7, expected 0 to 1: ids are integers without holes");
  refused(WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}", PRE, ""), LCT_E_FORMAT,
          "t.json: model.vocab: token \"a\" has id -1, expected 0 to 0: ids are integers without holes");
  refused(WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":\"0\"},\"merges\":[]}", PRE, ""), LCT_E_FORMAT,
          "t.json: model.vocab: token \"a\" has id \"0\", expected 0 to 0: ids are integers without holes");
  refused(WHOLE("{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}", PRE, ""), LCT_E_FORMAT, "t.json: the vocabulary is empty");
  refused(WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[[\"a\",\"b\"]]}", PRE, ""), LCT_E_FORMAT,
          "t.json: merge 0 needs the token \"ab\", which the vocabulary does not have");
  refused(WHOLE("{\"type\":\"BPE\",\"vocab\":" VOCAB ",\"merges\":[\"a b\",\"a q\"]}", PRE, ""), LCT_E_FORMAT,
          "t.json: merge 1 needs the token \"q\", which the vocabulary does not have");
  refused(WHOLE("{\"type\":\"BPE\",\"vocab\":" VOCAB ",\"merges\":[\"ab\"]}", PRE, ""), LCT_E_FORMAT,
          "t.json: model.merges[0] is not a pair of tokens");
}

static void test_added_tokens(void **state) {
  (void)state;
  refused(WHOLE(MODEL, PRE, ",\"added_tokens\":[" ADDED(5, "<x>") "]"), LCT_E_FORMAT,
          "t.json: added_tokens[0] \"<x>\" has id 5, expected 0 to 3: ids have no holes");
  refused(WHOLE(MODEL, PRE, ",\"added_tokens\":[" ADDED(2, "<x>") "]"), LCT_E_FORMAT,
          "t.json: id 2 belongs to two tokens, \"ab\" and \"<x>\"");
  refused(WHOLE(MODEL, PRE, ",\"added_tokens\":[" ADDED(3, "a") "," ADDED(4, "<x>") "]"), LCT_E_FORMAT,
          "t.json: added token \"a\" has two ids, 0 in model.vocab and 3 in added_tokens");
  refused(WHOLE(MODEL, PRE, ",\"added_tokens\":[" ADDED(3, "<x>") "," ADDED(4, "<x>") "]"), LCT_E_FORMAT,
          "t.json: added token \"<x>\" occurs twice");
  refused(WHOLE(MODEL, PRE, ",\"added_tokens\":[" ADDED(3, "") "]"), LCT_E_FORMAT,
          "t.json: added_tokens[0] has no \"content\" or no \"id\"");
  refused(WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":2},\"merges\":[]}", PRE,
                ",\"added_tokens\":[" ADDED(2, "b") "," ADDED(0, "a") "]"),
          LCT_E_FORMAT, "t.json: model.vocab: token \"b\" has id 2, expected 0 to 1: ids are integers without holes");
  refused(WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":2},\"merges\":[]}", PRE, ",\"added_tokens\":[" ADDED(2, "<x>") "]"),
          LCT_E_FORMAT, "t.json: id 2 belongs to two tokens, \"b\" and \"<x>\"");
}

static void test_unsupported_parts(void **state) {
  (void)state;
  refused("{\"model\":{\"type\":\"Unigram\"}}", LCT_E_UNSUPPORTED, "t.json: model.type is \"Unigram\", only \"BPE\" is supported");
  refused("{}", LCT_E_FORMAT, "t.json: \"model\" is missing or not an object");
  refused(WHOLE("{\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":{},\"merges\":[]}", PRE, ""), LCT_E_UNSUPPORTED,
          "t.json: model.dropout is not supported");
  refused(WHOLE("{\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\",\"vocab\":{},\"merges\":[]}", PRE, ""), LCT_E_UNSUPPORTED,
          "t.json: model.end_of_word_suffix is not supported");
  refused(WHOLE("{\"type\":\"BPE\",\"unk_token\":\"a\",\"vocab\":" VOCAB ",\"merges\":[]}", PRE, ""), LCT_E_UNSUPPORTED,
          "t.json: model.unk_token and model.byte_fallback are not supported where the vocabulary lacks bytes");
  refused(WHOLE(MODEL, PRE, ",\"normalizer\":{\"type\":\"Lowercase\"}"), LCT_E_UNSUPPORTED,
          "t.json: normalizer of type \"Lowercase\" is not supported");
  refused(WHOLE(MODEL, "{\"type\":\"Metaspace\"}", ""), LCT_E_UNSUPPORTED, "t.json: pre_tokenizer of type \"Metaspace\" is not supported");
  refused(WHOLE(MODEL, "null", ""), LCT_E_UNSUPPORTED, "t.json: pre_tokenizer without ByteLevel is not supported");
  refused(WHOLE(MODEL, "{\"type\":\"Sequence\",\"pretokenizers\":[" PRE ",{\"type\":\"Digits\"}]}", ""), LCT_E_UNSUPPORTED,
          "t.json: pre_tokenizer: nothing may follow ByteLevel");
  refused(WHOLE(MODEL, "{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},\"behavior\":\"Isolated\"}", ""), LCT_E_UNSUPPORTED,
          "t.json: pre_tokenizer: a Split without a Regex is not supported");
  refused(WHOLE(MODEL, "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Removed\"}", ""), LCT_E_UNSUPPORTED,
          "t.json: pre_tokenizer: a Split must be \"Isolated\" and not inverted, found behavior \"Removed\"");
  refused(WHOLE(MODEL, "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"}", ""), LCT_E_UNSUPPORTED,
          "t.json: pre_tokenizer: cannot compile the Split pattern \"(\": missing closing parenthesis at byte 1");
  refused("{\"model\":" MODEL ",\"pre_tokenizer\":" PRE "}", LCT_E_UNSUPPORTED,
          "t.json: a tokenizer without decoder is not supported, only ByteLevel is");
  refused("{\"model\":" MODEL ",\"pre_tokenizer\":" PRE ",\"decoder\":{\"type\":\"Fuse\"}}", LCT_E_UNSUPPORTED,
          "t.json: decoder of type \"Fuse\" is not supported");
  refused(WHOLE(MODEL, PRE, ",\"post_processor\":{\"type\":\"BertProcessing\"}"), LCT_E_UNSUPPORTED,
          "t.json: post_processor of type \"BertProcessing\" is not supported");
  refused(WHOLE(MODEL, PRE, ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}}]}"),
          LCT_E_FORMAT, "t.json: post_processor: special token \"<s>\" has no ids");
  refused(WHOLE(MODEL, PRE,
                ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"a\"}}],"
                "\"special_tokens\":{\"a\":{\"ids\":[3]}}}"),
          LCT_E_FORMAT, "t.json: post_processor: special token \"a\" has id 3, the vocabulary has 0 to 2");
  refused(WHOLE(MODEL, PRE, ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}"), LCT_E_UNSUPPORTED,
          "t.json: post_processor: the template leaves the text out");
}

static void test_missing_file(void **state) {
  (void)state;
  lct_tokenizer *t = NULL;
  assert_fails(lct_tokenizer_open_dir("/no/such/folder", &t, &err), LCT_E_IO,
               "cannot open /no/such/folder/tokenizer.json: No such file or directory");
  const char *ok = WHOLE(MODEL, PRE, "");
  assert_fails(lct_tokenizer_parse(ok, strlen(ok), "{", 1, "t.json", &t, &err), LCT_E_FORMAT,
               "beside t.json: tokenizer_config.json: not JSON: string or '}' expected near end of file (line 1, column 1)");
  assert_null(t);
}

/* What transformers writes for a tokenizer without a length limit: beyond 64 bits. */
static void test_unlimited_length(void **state) {
  (void)state;
  lct_tokenizer *t = NULL;
  const char *json = WHOLE(MODEL, PRE, "");
  const char *config = "{\"model_max_length\": 1000000000000000019884624838656, \"eos_token\": \"a\"}";
  assert_ok(lct_tokenizer_parse(json, strlen(json), config, strlen(config), "t.json", &t, &err));
  assert_int_equal(lct_tokenizer_eos(t), 0);
  lct_tokenizer_free(t);
}

static lct_buf read_golden(const char *name) {
  char path[512];
  lct_buf b = {0};
  snprintf(path, sizeof path, GOLDENS "/%s", name);
  assert_ok(lct_file_read(path, (size_t)1 << 24, &b, &err));
  return b;
}

static void test_truncated_json(void **state) {
  (void)state;
  lct_buf b = read_golden("odd/tokenizer.json");
  for (size_t n = 0; n + 2 < b.len; n += n < 3000 ? 1 : 37) assert_int_equal(parse(b.data, n), LCT_E_FORMAT);
  lct_buf_free(&b);
}

/* Any byte of a GGUF changed: either the parser or the tokenizer refuses, or what comes out can be used. */
static void test_changed_gguf(void **state) {
  (void)state;
  lct_buf b = read_golden("smol.gguf");
  uint64_t random = 12345;
  for (size_t i = 0; i < 3000; i++) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    size_t at = i < 600 ? i : (size_t)(random >> 33) % b.len;
    char kept = b.data[at];
    b.data[at] = (char)(random >> 25);
    lct_gguf *g = NULL;
    lct_tokenizer *t = NULL;
    lct_encoder *e = NULL;
    lct_tokens tokens = {0};
    if (lct_gguf_parse((const unsigned char *)b.data, b.len, "f.gguf", &g, &err) == LCT_OK &&
        lct_tokenizer_from_gguf(g, &t, &err) == LCT_OK) {
      assert_ok(lct_encoder_new(t, &e, &err));
      assert_ok(lct_encode(e, "the <|im_end|> a12\n", 19, true, &tokens, &err));
    }
    lct_tokens_free(&tokens);
    lct_encoder_free(e);
    lct_tokenizer_free(t);
    lct_gguf_free(g);
    b.data[at] = kept;
  }
  lct_buf_free(&b);
}

/* ---- GGUF metadata, written by hand ---- */

static void put(lct_buf *b, const void *p, size_t n) { assert_ok(lct_buf_append(b, p, n, &err)); }
static void put_u32(lct_buf *b, uint32_t v) { put(b, &v, 4); }
static void put_u64(lct_buf *b, uint64_t v) { put(b, &v, 8); }
static void put_text(lct_buf *b, const char *s) {
  put_u64(b, strlen(s));
  put(b, s, strlen(s));
}
static void put_string(lct_buf *b, const char *key, const char *value) {
  put_text(b, key);
  put_u32(b, 8);
  put_text(b, value);
}
static void put_strings(lct_buf *b, const char *key, const char *const *values, size_t n) {
  put_text(b, key);
  put_u32(b, 9);
  put_u32(b, 8);
  put_u64(b, n);
  for (size_t i = 0; i < n; i++) put_text(b, values[i]);
}

static void refuse_gguf(const char *model, const char *pre, const char *const *tokens, size_t n, const char *merge, lct_status status,
                        const char *message) {
  lct_buf b = {0};
  put(&b, "GGUF", 4);
  put_u32(&b, 3);
  put_u64(&b, 0);
  put_u64(&b, 5);
  put_string(&b, "tokenizer.ggml.model", model);
  put_string(&b, "tokenizer.ggml.pre", pre);
  put_strings(&b, "tokenizer.ggml.tokens", tokens, n);
  put_strings(&b, "tokenizer.ggml.merges", &merge, 1);
  put_text(&b, "tokenizer.ggml.bos_token_id");
  put_u32(&b, 4);
  put_u32(&b, 9);
  lct_gguf *g = NULL;
  lct_tokenizer *t = NULL;
  assert_ok(lct_gguf_parse((const unsigned char *)b.data, b.len, "f.gguf", &g, &err));
  assert_fails(lct_tokenizer_from_gguf(g, &t, &err), status, message);
  lct_gguf_free(g);
  lct_buf_free(&b);
}

static void test_gguf_refused(void **state) {
  (void)state;
  static const char *const good[] = {"a", "b", "ab"}, *const twice[] = {"a", "b", "a"}, *const bytes[] = {"a", "\xff"};
  refuse_gguf("llama", "default", good, 3, "a b", LCT_E_UNSUPPORTED,
              "f.gguf: tokenizer.ggml.model is \"llama\", only \"gpt2\" (byte-level BPE) is supported");
  refuse_gguf("gpt2", "tekken", good, 3, "a b", LCT_E_UNSUPPORTED,
              "f.gguf: tokenizer.ggml.pre is \"tekken\"; supported are \"qwen2\", \"llama-bpe\", \"smollm\", \"gpt-2\" and \"default\"");
  refuse_gguf("gpt2", "default", good, 0, "a b", LCT_E_FORMAT, "f.gguf: tokenizer.ggml.tokens is missing, empty or too long");
  refuse_gguf("gpt2", "default", twice, 3, "a b", LCT_E_FORMAT, "f.gguf: token \"a\" has two ids, 0 and 2");
  refuse_gguf("gpt2", "default", bytes, 2, "a b", LCT_E_FORMAT, "f.gguf: token 1 is not valid UTF-8");
  refuse_gguf("gpt2", "default", good, 3, "ab", LCT_E_FORMAT, "f.gguf: tokenizer.ggml.merges[0] is not a pair of tokens");
  refuse_gguf("gpt2", "default", good, 3, "b a", LCT_E_FORMAT,
              "f.gguf: merge 0 needs the token \"ba\", which the vocabulary does not have");
  refuse_gguf("gpt2", "default", good, 3, "a b", LCT_E_FORMAT, "f.gguf: tokenizer.ggml.bos_token_id is 9, the vocabulary has 0 to 2");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_smallest),         cmocka_unit_test(test_not_json),          cmocka_unit_test(test_vocabulary),
      cmocka_unit_test(test_added_tokens),     cmocka_unit_test(test_unsupported_parts), cmocka_unit_test(test_missing_file),
      cmocka_unit_test(test_truncated_json),   cmocka_unit_test(test_changed_gguf),      cmocka_unit_test(test_gguf_refused),
      cmocka_unit_test(test_unlimited_length),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
