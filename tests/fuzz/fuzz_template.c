/* Input: a Jinja text, and behind each NUL byte a message's content. */
#include "fuzz_support.h"
#include "base/utf8.h"
#include "text/template.h"

enum { MAX_MESSAGES = 8 };

static void render_all(const lct_template *t, const lct_message *messages, size_t n) {
  lct_error err = {0};
  for (int prompt = 0; prompt < 2; prompt++) {
    lct_rendered out = {0};
    lct_status s = lct_template_render(t, messages, n, prompt == 1, &out, &err);
    if (s != LCT_OK) fuzz_check_error(s, &err);
    if (s == LCT_OK) {
      FUZZ_CHECK(out.n_spans == n && lct_utf8_valid(out.text.data, out.text.len));
      for (size_t i = 0; i < n; i++) FUZZ_CHECK(out.spans[i].begin <= out.spans[i].end && out.spans[i].end <= out.text.len);
    }
    lct_rendered_free(&out);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static const char *const roles[] = {"system", "user", "assistant"};
  lct_error err = {0};
  lct_buf text = {0};
  FUZZ_CHECK(lct_utf8_replace((const char *)data, n, &text, NULL, &err) == LCT_OK);
  FUZZ_CHECK(lct_buf_append(&text, "", 0, &err) == LCT_OK);
  lct_template t;
  lct_status s = lct_template_recognise(text.data, &t, &err);
  if (s != LCT_OK) fuzz_check_error(s, &err);
  lct_message messages[MAX_MESSAGES];
  size_t count = 0;
  unsigned turn = n > 0 ? data[0] : 0;
  for (const char *p = text.data, *end = text.data + text.len; p < end && count < MAX_MESSAGES;) {
    size_t len = strnlen(p, (size_t)(end - p));
    messages[count] = (lct_message){roles[count == 0 && turn % 2 == 0 ? 0 : 1 + (count + turn / 2) % 2], p, len};
    count++;
    p += len + 1;
  }
  for (int kind = 0; kind < LCT_TEMPLATE_COUNT && count > 0; kind++) {
    FUZZ_CHECK(lct_template_by_name(lct_template_name((lct_template_kind)kind), &t, &err) == LCT_OK);
    render_all(&t, messages, count);
  }
  lct_buf_free(&text);
  return 0;
}
