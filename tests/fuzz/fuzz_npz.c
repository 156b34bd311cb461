#include "fuzz_support.h"
#include "store/npz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  lct_error err = {0};
  lct_npz_reader *r = NULL;
  lct_status s = lct_npz_open_memory(data, n, "fuzz", &r, &err);
  if (s != LCT_OK) {
    fuzz_check_error(s, &err);
    return 0;
  }
  for (size_t i = 0; i < lct_npz_n_entries(r); i++) {
    const lct_npz_entry *e = lct_npz_entry_at(r, i);
    FUZZ_CHECK(lct_npz_find(r, e->name) == (int64_t)i);
    size_t count = (size_t)lct_npz_n_elements(e);
    FUZZ_CHECK(count / 1032 <= n); /* no more than the file can hold */
    float *out = malloc(count * sizeof *out + 1);
    FUZZ_CHECK(out != NULL);
    s = lct_npz_read_f32(r, i, out, &err);
    if (s != LCT_OK) fuzz_check_error(s, &err);
    free(out);
  }
  lct_npz_close(r);
  return 0;
}
