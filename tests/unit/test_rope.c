/* RoPE's frequencies and tables against transformers: goldens by tests/oracle/gen_engine.py. */
#include "test_support.h"

#include <math.h>

#include "base/file.h"
#include "engine/rope.h"

static const char *next(const lct_buf *b, size_t *at, size_t n) {
  assert_true(n <= b->len - *at);
  *at += n;
  return b->data + *at - n;
}

typedef struct {
  double theta, factor, low, high;
  int32_t original, head_dim, n_pos;
} header;

/* An inverse frequency off by its last bit shows in the fifth digit of a tap at a few thousand tokens: they are equal. */
static void check_frequencies(const header *h, const float *got, const float *want) {
  for (int i = 0; i < h->head_dim / 2; i++) {
    if (memcmp(got + i, want + i, sizeof *got) == 0) continue;
    fail_msg("theta %g, head size %d, factor %g: frequency %d is %.9g, expected %.9g", h->theta, h->head_dim, h->factor, i, (double)got[i],
             (double)want[i]);
  }
}

static void check_table(const header *h, const float *inv_freq, const int32_t *positions, const float *cosines, const float *sines) {
  int half = h->head_dim / 2;
  float *table = malloc((size_t)h->head_dim * 2 * sizeof *table);
  assert_non_null(table);
  for (int p = 0; p < h->n_pos; p++) {
    int first = positions[p] > 0 ? positions[p] - 1 : 0; /* as the second row of a table where there is one before it */
    lct_rope_table(inv_freq, h->head_dim, first, 2, table);
    const float *row = table + (size_t)(positions[p] - first) * (size_t)h->head_dim;
    for (int i = 0; i < half; i++) {
      double c = fabs((double)row[2 * i] - (double)cosines[p * half + i]), s = fabs((double)row[2 * i + 1] - (double)sines[p * half + i]);
      if (c <= 0x1p-23 && s <= 0x1p-23) continue; /* two units in the last place of a number near 1 */
      fail_msg("theta %g, head size %d, position %d, frequency %d: off by %g and %g", h->theta, h->head_dim, positions[p], i, c, s);
    }
  }
  free(table);
}

static void test_against_transformers(void **state) {
  (void)state;
  lct_buf file = {0};
  lct_error err;
  size_t at = 4;
  assert_ok(lct_file_read(LCT_SOURCE_DIR "/tests/goldens/parity/rope.bin", 1 << 20, &file, &err));
  int32_t n = *(const int32_t *)(const void *)file.data;
  for (int32_t i = 0; i < n; i++) {
    header h;
    memcpy(&h, next(&file, &at, 44), 44);
    size_t half = (size_t)h.head_dim / 2;
    float want[128], got[128], cosines[16 * 128], sines[16 * 128];
    int32_t positions[16];
    assert_true(half <= 128 && h.n_pos <= 16);
    memcpy(want, next(&file, &at, half * 4), half * 4);
    memcpy(positions, next(&file, &at, (size_t)h.n_pos * 4), (size_t)h.n_pos * 4);
    memcpy(cosines, next(&file, &at, half * (size_t)h.n_pos * 4), half * (size_t)h.n_pos * 4);
    memcpy(sines, next(&file, &at, half * (size_t)h.n_pos * 4), half * (size_t)h.n_pos * 4);
    lct_rope r = {.kind = h.factor > 0 ? LCT_ROPE_LLAMA3 : LCT_ROPE_PLAIN,
                  .theta = h.theta,
                  .factor = h.factor,
                  .low_freq_factor = h.low,
                  .high_freq_factor = h.high,
                  .original_max_positions = h.original};
    lct_rope_inv_freq(&r, h.head_dim, got);
    check_frequencies(&h, got, want);
    check_table(&h, got, positions, cosines, sines);
  }
  assert_int_equal(at, file.len);
  lct_buf_free(&file);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_transformers)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
