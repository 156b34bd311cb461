/* Input: tokenizer.json, behind a NUL byte tokenizer_config.json, behind another a text to encode. */
#include "fuzz_tokens.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  const char *part[3] = {(const char *)data, NULL, NULL};
  size_t bytes[3] = {n, 0, 0};
  for (int i = 0; i < 2; i++) {
    const char *nul = bytes[i] > 0 ? memchr(part[i], '\0', bytes[i]) : NULL;
    if (nul == NULL) break;
    part[i + 1] = nul + 1;
    bytes[i + 1] = bytes[i] - (size_t)(nul - part[i]) - 1;
    bytes[i] = (size_t)(nul - part[i]);
  }
  lct_error err = {0};
  lct_tokenizer *t = NULL;
  lct_status s = lct_tokenizer_parse(part[0], bytes[0], part[1], bytes[1], "fuzz", &t, &err);
  if (s != LCT_OK) {
    fuzz_check_error(s, &err);
    return 0;
  }
  static const char text[] = "Hello, we're 12345  \n\n <|e|> \xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80 e\xcc\x81";
  fuzz_round_trip(t, text, sizeof text - 1);
  if (part[2] != NULL) fuzz_round_trip(t, part[2], bytes[2]);
  lct_tokenizer_free(t);
  return 0;
}
