#include "fuzz_support.h"
#include "scenario/conversations.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  lct_error err = {0};
  lct_conversation *c = NULL;
  lct_status s = lct_conversation_parse((const char *)data, n, "fuzz", 1, &c, &err);
  if (s != LCT_OK) {
    fuzz_check_error(s, &err);
    return 0;
  }
  FUZZ_CHECK(c->n_messages > 0);
  for (size_t i = 0; i < c->n_messages; i++) fuzz_use(fuzz_touch(c->messages[i].content, c->messages[i].content_len));
  lct_conversation_free(c);
  return 0;
}
