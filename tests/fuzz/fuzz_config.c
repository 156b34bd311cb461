/* Input: config.json, and behind a NUL byte generation_config.json. */
#include "fuzz_support.h"
#include "model/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  lct_error err = {0};
  lct_config config = {0};
  const uint8_t *nul = n > 0 ? memchr(data, 0, n) : NULL;
  size_t first = nul != NULL ? (size_t)(nul - data) : n;
  lct_status s = lct_config_parse((const char *)data, first, "fuzz", &config, &err);
  if (s != LCT_OK) {
    fuzz_check_error(s, &err);
    return 0;
  }
  /* What passed the checks must be safe to compute with. */
  FUZZ_CHECK(config.n_layers > 0 && config.n_heads > 0 && config.n_kv_heads > 0 && config.n_heads % config.n_kv_heads == 0);
  FUZZ_CHECK(config.n_eos >= 0 && config.n_eos <= LCT_MAX_EOS);
  if (nul != NULL) {
    s = lct_config_add_generation((const char *)nul + 1, n - first - 1, "fuzz", &config, &err);
    if (s != LCT_OK) fuzz_check_error(s, &err);
    FUZZ_CHECK(config.n_eos >= 0 && config.n_eos <= LCT_MAX_EOS);
  }
  lct_buf text = {0};
  lct_config again = {0};
  FUZZ_CHECK(lct_config_write(&config, "bfloat16", &text, &err) == LCT_OK);
  FUZZ_CHECK(lct_config_parse(text.data, text.len, "again", &again, &err) == LCT_OK);
  lct_buf_free(&text);
  return 0;
}
