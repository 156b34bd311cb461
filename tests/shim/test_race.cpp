/* The search for races: kernels that share memory rightly pass, in any schedule, and each way of doing it wrongly is found, in any. */
#include "shim_test.h"

enum { RIGHT, NO_SYNC, NO_WARP_SYNC, SHUFFLE_ONLY, WRITE_AFTER_READ, SAME_ELEMENT };

/* Each thread leaves a value for another of its block (ACROSS) or warp. */
template <int BUG, bool ACROSS>
LCT_KERNEL(64, 1)
k_exchange(float *out) {
  LCT_SHARED(float, s);
  int t = (int)threadIdx.x, other = ACROSS ? t ^ 63 : t ^ 31;
  s[BUG == SAME_ELEMENT ? t / 2 : t] = (float)t;
  if (ACROSS && BUG != NO_SYNC) lct_sync();
  if (ACROSS && BUG == NO_SYNC) lct_warp_sync(); /* not enough */
  if (!ACROSS && BUG == SHUFFLE_ONLY) (void)lct_shfl((float)t, 0);
  if (!ACROSS && BUG != NO_WARP_SYNC && BUG != SHUFFLE_ONLY) lct_warp_sync();
  float v = s[other];
  if (ACROSS && BUG != WRITE_AFTER_READ) lct_sync();
  if (!ACROSS && BUG != WRITE_AFTER_READ) lct_warp_sync();
  s[t] = v + 1;
  out[blockIdx.x * 64 + threadIdx.x] = s[t];
}

template <int BUG, bool ACROSS>
static void run_exchange(void) {
  device<float> out(3 * 64);
  LCT_LAUNCH((k_exchange<BUG, ACROSS>), 3, 64, 256, nullptr, out.p);
  (void)out.get();
}

/* Blocks that write one element, or read what another writes. */
enum { OWN, ALL_WRITE, NEIGHBOUR };
template <int BUG>
LCT_KERNEL(32, 1)
k_blocks(const float *in, float *out) {
  uint32_t i = blockIdx.x * 32 + threadIdx.x, j = BUG == ALL_WRITE ? threadIdx.x : i;
  out[j] = BUG == NEIGHBOUR && blockIdx.x > 0 ? out[i - 32] : in[threadIdx.x]; /* in is read by all: no race */
}

template <int BUG>
static void run_blocks(void) {
  device<float> in(32), out(3 * 32);
  LCT_LAUNCH(k_blocks<BUG>, 3, 32, 0, nullptr, in.p, out.p);
  (void)out.get();
  LCT_LAUNCH(k_blocks<BUG>, 3, 32, 0, nullptr, in.p, out.p); /* the next launch comes after */
  (void)out.get();
}

/* Copies that overwrite what others still read, or are read before a barrier; ldmatrix reads. */
enum { COPY_EARLY = 1, COPY_NO_BARRIER, LDMATRIX };
template <int BUG>
LCT_KERNEL(64, 1)
k_copies(const uint4 *in, uint32_t *out) {
  LCT_SHARED(uint4, s);
  int t = (int)threadIdx.x;
  uint32_t sum = 0, r[4];
  for (int i = 0; i < 3; i++) {
    lct_cp_async16(&s[t], &in[t], true);
    lct_cp_async_commit();
    lct_cp_async_wait<0>();
    if (BUG != COPY_NO_BARRIER) lct_sync();
    if (BUG == LDMATRIX) {
      lct_ldmatrix_x4(r, &s[t ^ 32]);
      sum += r[0];
    } else {
      sum += s[t ^ 63].x;
    }
    if (BUG != COPY_EARLY && BUG != LDMATRIX) lct_sync();
  }
  out[t] = sum;
}

template <int BUG>
static void run_copies(void) {
  device<uint4> in(64);
  device<uint32_t> out(64);
  LCT_LAUNCH(k_copies<BUG>, 1, 64, 1024, nullptr, in.p, out.p);
  (void)out.get();
}

template <bool PLAIN>
LCT_KERNEL(64, 1)
k_count(uint32_t *n) {
  (void)lct_atomic_add(n, 1u);
  if (PLAIN && threadIdx.x == 5 && blockIdx.x == 1) *n = 0;
}

template <bool PLAIN>
static void run_count(void) {
  device<uint32_t> n(std::vector<uint32_t>{0});
  LCT_LAUNCH(k_count<PLAIN>, 4, 64, 0, nullptr, n.p);
  assert_int_equal(n.get()[0], 256);
}

#define IN_ANY_SCHEDULE(statement)   \
  for (const char *s_ : schedules) { \
    shim_set_schedule(s_);           \
    statement;                       \
  }
static const char *const none_between = "with no barrier between";

static void test_right(void **) {
  IN_ANY_SCHEDULE((run_exchange<RIGHT, true>()))
  IN_ANY_SCHEDULE((run_exchange<RIGHT, false>()))
  IN_ANY_SCHEDULE(run_blocks<OWN>())
  IN_ANY_SCHEDULE(run_copies<0>())
  IN_ANY_SCHEDULE(run_count<false>())
}

static void test_block(void **) {
  IN_ANY_SCHEDULE(assert_dies(run_exchange<NO_SYNC, true>, none_between))
  IN_ANY_SCHEDULE(assert_dies(run_exchange<WRITE_AFTER_READ, true>, none_between))
  IN_ANY_SCHEDULE(assert_dies(run_exchange<SAME_ELEMENT, true>, none_between))
  shim_set_schedule("forward");
  assert_dies(run_exchange<SAME_ELEMENT, true>,
              "kernel (k_exchange<BUG, ACROSS>), block (0, 0, 0), thread 1: writes shared memory at offset 0, which thread 0 has written "
              "with no barrier between");
}

static void test_warp(void **) {
  IN_ANY_SCHEDULE(assert_dies(run_exchange<NO_WARP_SYNC, false>, none_between))
  IN_ANY_SCHEDULE(assert_dies(run_exchange<SHUFFLE_ONLY, false>, none_between))
  IN_ANY_SCHEDULE(assert_dies(run_exchange<WRITE_AFTER_READ, false>, none_between))
}

static void test_blocks(void **) {
  IN_ANY_SCHEDULE(assert_dies(run_blocks<ALL_WRITE>, "has written with no barrier between"))
  IN_ANY_SCHEDULE(assert_dies(run_blocks<NEIGHBOUR>, "device memory at offset"))
}

static void test_copies(void **) {
  IN_ANY_SCHEDULE(assert_dies(run_copies<COPY_EARLY>, none_between))
  IN_ANY_SCHEDULE(assert_dies(run_copies<COPY_NO_BARRIER>, none_between))
  IN_ANY_SCHEDULE(assert_dies(run_copies<LDMATRIX>, none_between))
}

static void test_atomics(void **) { IN_ANY_SCHEDULE(assert_dies(run_count<true>, "device memory at offset 0 of an allocation")) }

static int teardown(void **) {
  shim_reset();
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(test_right, teardown),  cmocka_unit_test_teardown(test_block, teardown),
      cmocka_unit_test_teardown(test_warp, teardown),   cmocka_unit_test_teardown(test_blocks, teardown),
      cmocka_unit_test_teardown(test_copies, teardown), cmocka_unit_test_teardown(test_atomics, teardown),
  };
  return cmocka_run_group_tests_name("race", tests, nullptr, nullptr);
}
