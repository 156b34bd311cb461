#include "fuzz_tokens.h"
#include "model/gguf.h"

static void read_arrays(const lct_gguf *g, const char *key) {
  int64_t n = lct_gguf_array_len(g, key);
  lct_str text;
  int64_t i64;
  double f64;
  for (int64_t i = -1; i <= n; i++) { /* one beyond, on both sides */
    bool inside = i >= 0 && i < n;
    bool s = lct_gguf_array_str(g, key, i, &text);
    bool a = lct_gguf_array_i64(g, key, i, &i64), b = lct_gguf_array_f64(g, key, i, &f64);
    FUZZ_CHECK(inside || (!s && !a && !b));
    if (s) fuzz_use(fuzz_touch(text.data, text.len));
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static const char *const keys[] = {"general.architecture",
                                     "general.alignment",
                                     "llama.block_count",
                                     "qwen2.rope.freq_base",
                                     "tokenizer.ggml.tokens",
                                     "tokenizer.ggml.merges",
                                     "tokenizer.ggml.token_type",
                                     "tokenizer.ggml.add_bos_token",
                                     "tokenizer.chat_template",
                                     "a",
                                     ""};
  lct_error err = {0};
  lct_gguf *g = NULL;
  lct_status s = lct_gguf_parse(data, n, "fuzz", &g, &err);
  if (s != LCT_OK) {
    fuzz_check_error(s, &err);
    return 0;
  }
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    lct_str text;
    int64_t i64;
    double f64;
    bool flag;
    if (lct_gguf_str(g, keys[i], &text)) fuzz_use(fuzz_touch(text.data, text.len));
    (void)lct_gguf_i64(g, keys[i], &i64);
    (void)lct_gguf_f64(g, keys[i], &f64);
    (void)lct_gguf_bool(g, keys[i], &flag);
    read_arrays(g, keys[i]);
  }
  lct_tokenizer *t = NULL;
  s = lct_tokenizer_from_gguf(g, &t, &err);
  if (s != LCT_OK) {
    fuzz_check_error(s, &err);
  } else {
    fuzz_round_trip(t, "Hello, 12 <|e|>\n", 16);
  }
  lct_tokenizer_free(t);
  lct_gguf_free(g);
  return 0;
}
