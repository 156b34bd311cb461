/* A whole file of conversations, plain or zstd, through the sweep's input. */
#include "fuzz_support.h"
#include "scenario/input.h"

#include <sys/mman.h>
#include <unistd.h>

static lct_status read_all(const char *path, lct_error *err) {
  const char *const paths[] = {path};
  lct_input *in = NULL;
  lct_input_item item;
  int64_t read_bytes = 0, total = 0;
  LCT_TRY(lct_input_open(paths, 1, &in, err));
  lct_status s = lct_input_next(in, &item, err);
  for (size_t line = 0; s == LCT_OK && item.kind != LCT_INPUT_END; s = lct_input_next(in, &item, err)) {
    FUZZ_CHECK(item.line > line);
    line = item.line;
    FUZZ_CHECK((item.kind == LCT_INPUT_REJECTED) == (item.conversation == NULL));
    if (item.kind == LCT_INPUT_REJECTED) {
      FUZZ_CHECK(item.reason[0] != '\0');
      continue;
    }
    lct_conversation *c = item.conversation;
    FUZZ_CHECK(c->n_messages > 0);
    for (size_t i = 0; i < c->n_messages; i++) fuzz_use(fuzz_touch(c->messages[i].content, c->messages[i].content_len));
    lct_conversation_free(c);
  }
  lct_input_progress(in, &read_bytes, &total);
  FUZZ_CHECK(read_bytes <= total);
  lct_input_free(in);
  return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  char path[64];
  lct_error err = {0};
  int fd = memfd_create("input", MFD_CLOEXEC);
  FUZZ_CHECK(fd >= 0 && write(fd, data, n) == (ssize_t)n);
  (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  lct_status s = read_all(path, &err);
  if (s != LCT_OK) fuzz_check_error(s, &err);
  (void)close(fd);
  return 0;
}
