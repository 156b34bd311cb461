#include "fuzz_support.h"
#include "scenario/scenario.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  lct_error err = {0};
  lct_scenario *scenario = NULL;
  lct_status s = lct_scenario_parse((const char *)data, n, "fuzz", &scenario, &err);
  if (s != LCT_OK) {
    fuzz_check_error(s, &err);
    return 0;
  }
  for (size_t i = 0; i < scenario->n_prompts; i++) {
    for (size_t j = 0; j < scenario->prompts[i].n_messages; j++) {
      const lct_message *m = &scenario->prompts[i].messages[j];
      fuzz_use(fuzz_touch(m->content, m->content_len) + fuzz_touch(m->role, strlen(m->role)));
    }
  }
  lct_scenario_free(scenario);
  return 0;
}
