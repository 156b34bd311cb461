#include "fuzz_support.h"
#include "model/tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  lct_error err = {0};
  lct_arena arena = {0};
  lct_st_file file = {0};
  lct_status s = lct_safetensors_parse(data, n, "fuzz", &arena, &file, &err);
  if (s != LCT_OK) {
    fuzz_check_error(s, &err);
  } else {
    for (size_t i = 0; i < file.n_tensors; i++) {
      const lct_st_tensor *t = &file.tensors[i];
      fuzz_use(fuzz_touch(t->data, t->n_bytes) + fuzz_touch(t->name, strlen(t->name)));
      FUZZ_CHECK(t->n_dims >= 0 && t->n_dims <= 8);
    }
  }
  lct_arena_free(&arena);
  return 0;
}
