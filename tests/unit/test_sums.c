/* The sums under all scores and the choice of the largest: every instruction set gives the same bits. Takes the sources in, to reach each. */
#include "test_support.h"

#include "score/sums.c"
#include "score/top.c"

enum { MOST = 1100, N_ROWS = 11 };

static float *values(uint32_t seed, size_t n) {
  float *v = malloc(n * sizeof *v);
  assert_non_null(v);
  for (size_t i = 0; i < n; i++) {
    seed = seed * 1664525u + 1013904223u;
    v[i] = ldexpf((float)(int32_t)seed, (int)(seed >> 5 & 7) - 31); /* a few powers of two apart, so that the order of adding shows */
  }
  return v;
}

static int available(const kernels *out[3]) {
  int n = 0;
  out[n++] = &base;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) out[n++] = &avx2;
  if (__builtin_cpu_supports("avx512f")) out[n++] = &avx512;
#endif
  if (n < 3) print_message("[ note ] %d of 3 instruction sets are here\n", n);
  return n;
}

static void test_same_bits(void **state) {
  (void)state;
  static const int lengths[] = {1, 7, 15, 16, 17, 31, 64, 255, 256, 257, 300, 576, 1024, 1088, MOST};
  const kernels *sets[3];
  int n_sets = available(sets);
  float *v = values(1, MOST), *rows = values(2, (size_t)N_ROWS * MOST);
  for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
    int n = lengths[k];
    for (int i = 0; i < n_sets; i++) {
      lct_pair_sums want[N_ROWS], got[N_ROWS];
      double want_dots[N_ROWS], got_dots[N_ROWS], want_square = sets[0]->square(v, n), got_square = sets[i]->square(v, n);
      assert_memory_equal(&want_square, &got_square, sizeof want_square);
      for (size_t m = 1; m <= N_ROWS; m++) { /* and however many are done at once */
        for (size_t r = 0; r < m; r++) {
          sets[0]->pairs(v, rows + r * (size_t)n, 1, n, &want[r]);
          sets[0]->dots(v, rows + r * (size_t)n, (size_t)n, 1, n, &want_dots[r]);
        }
        sets[i]->pairs(v, rows, m, n, got);
        sets[i]->dots(v, rows, (size_t)n, m, n, got_dots);
        assert_memory_equal(want, got, m * sizeof *want);
        assert_memory_equal(want_dots, got_dots, m * sizeof *want_dots);
      }
    }
  }
  free(v);
  free(rows);
}

static int compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? 1 : x > y ? -1 : 0;
}

/* Against sorting them all. */
static void test_largest(void **state) {
  (void)state;
  static const int lengths[] = {1, 31, 32, 33, 64, 100, 576, MOST, 40000};
  typedef void (*select)(const float *v, int n, int k, uint64_t *best);
  select sets[3] = {select_base};
  int n_sets = 1;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) sets[n_sets++] = select_avx2;
  if (__builtin_cpu_supports("avx512f")) sets[n_sets++] = select_avx512;
#endif
  for (int c = 0; c < (int)(sizeof lengths / sizeof *lengths) * 3; c++) {
    int n = lengths[c / 3], k = (n + 31) / 32;
    float *v = values((uint32_t)c, (size_t)n);
    for (int i = 0; c % 3 == 1 && i < n; i += 3) v[i] = i % 2 ? -1 : 1; /* ties */
    for (int i = 0; c % 3 == 2 && i < n; i += 40) v[i] = i % 80 ? INFINITY : i % 160 ? NAN : -NAN;
    uint64_t *all = malloc((size_t)n * sizeof *all), *best = malloc((size_t)k * sizeof *best);
    assert_non_null(all);
    assert_non_null(best);
    for (int i = 0; i < n; i++) all[i] = (uint64_t)ordered(raw_bits(v + i)) << 32 | (uint32_t)i;
    qsort(all, (size_t)n, sizeof *all, compare);
    for (int s = 0; s < n_sets; s++) {
      for (int want = 1; want <= k; want += want < 8 ? 1 : 97) {
        sets[s](v, n, want, best);
        qsort(best, (size_t)want, sizeof *best, compare);
        assert_memory_equal(best, all, (size_t)want * sizeof *best);
      }
    }
    free(all);
    free(best);
    free(v);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bits), cmocka_unit_test(test_largest)};
  return cmocka_run_group_tests_name("sums", tests, NULL, NULL);
}
