/* Input: a byte that picks one of the test tokenizers, and a text. */
#include "fuzz_tokens.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static const char *const folders[] = {"qwen", "smol", "llama", "odd"};
  static lct_tokenizer *opened[4]; /* once: this target is about the texts */
  static lct_encoder *encoders[4];
  lct_error err = {0};
  if (n == 0) return 0;
  size_t which = data[0] % 4;
  if (opened[which] == NULL) {
    char path[512];
    (void)snprintf(path, sizeof path, "%s/tests/goldens/tokenizer/%s", LCT_SOURCE_DIR, folders[which]);
    FUZZ_CHECK(lct_tokenizer_open_dir(path, &opened[which], &err) == LCT_OK);
    FUZZ_CHECK(lct_encoder_new(opened[which], &encoders[which], &err) == LCT_OK);
  }
  fuzz_encode(opened[which], encoders[which], (const char *)data + 1, n - 1);
  return 0;
}
