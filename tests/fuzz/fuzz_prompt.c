/* Input: a byte for the tokenizer, one for the template, then messages: a byte for the role, and a text up to a NUL byte. A conversation's
 * prefixes tokenised on from one another must be those tokenised whole. */
#include "../unit/prompt_once.h"
#include "base/utf8.h"
#include "fuzz_support.h"

enum { MOST = 24 };

static size_t read_messages(const char *p, const char *end, lct_message *m) {
  static const char *const roles[] = {"user", "assistant", "system", "tool", "ipython", "narrator", "user", "assistant"};
  size_t n = 0;
  for (; p < end && n < MOST; n++) {
    const char *role = roles[(unsigned char)*p % 8];
    p++;
    size_t len = strnlen(p, (size_t)(end - p));
    m[n] = (lct_message){role, p, len};
    p += len < (size_t)(end - p) ? len + 1 : len;
  }
  return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static const char *const folders[] = {"qwen", "smol", "llama", "odd"};
  static lct_tokenizer *opened[4];
  static prompt_once *states[4];
  lct_error err = {0};
  if (n < 3 || n > 4096) return 0; /* whole, a conversation costs its length times its messages */
  size_t which = data[0] % 4, made = 0;
  if (opened[which] == NULL) {
    char path[512];
    (void)snprintf(path, sizeof path, "%s/tests/goldens/tokenizer/%s", LCT_SOURCE_DIR, folders[which]);
    FUZZ_CHECK(lct_tokenizer_open_dir(path, &opened[which], &err) == LCT_OK);
    FUZZ_CHECK((states[which] = calloc(1, sizeof **states)) != NULL);
    FUZZ_CHECK(lct_encoder_new(opened[which], &states[which]->encoder, &err) == LCT_OK);
  }
  lct_template t;
  FUZZ_CHECK(lct_template_by_name(lct_template_name((lct_template_kind)(data[1] % LCT_TEMPLATE_COUNT)), &t, &err) == LCT_OK);
  t.enable_thinking = data[1] < 128;
  lct_buf text = {0};
  lct_message messages[MOST];
  FUZZ_CHECK(lct_utf8_replace((const char *)data + 2, n - 2, &text, NULL, &err) == LCT_OK);
  size_t count = read_messages(text.data, text.data + text.len, messages);
  if (!prompt_once_check(states[which], &t, messages, count, &made)) {
    (void)fprintf(stderr, "%s\n", states[which]->why);
    abort();
  }
  lct_buf_free(&text);
  return 0;
}
