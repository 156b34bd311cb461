/* The shim's primitives against plain definitions, and its finding of bugs: kernels that are wrong in one way each. */
#include "shim_test.h"

/* ---- conversions ---- */

static void test_conversions(void **) {
  for (uint32_t i = 0; i < 65536; i++) {
    uint16_t h = (uint16_t)i;
    float a = lct_f32(lct_f16{h}), b = lct_f16_to_f32(h), c = lct_f32(lct_bf16{h}), d = lct_bf16_to_f32(h);
    assert_int_equal(__float_as_uint(a), __float_as_uint(b));
    assert_int_equal(__float_as_uint(c), __float_as_uint(d));
    if (a == a) assert_int_equal(lct_from_f32<lct_f16>(a).bits, h);
    if (c == c) assert_int_equal(lct_from_f32<lct_bf16>(c).bits, h);
    float2 two = lct_unpack2<lct_f16>(i | 0x3c00u << 16);
    assert_int_equal(__float_as_uint(two.x), __float_as_uint(a));
    assert_true(two.y == 1.0f);
  }
  for (uint32_t i = 0; i < 1u << 20; i++) {
    float x = __uint_as_float(hash(i));
    uint32_t f = lct_pack2<lct_f16>(x, 1.0f), b = lct_pack2<lct_bf16>(1.0f, x);
    assert_int_equal(f, lct_f32_to_f16(x) | 0x3c00u << 16);
    assert_int_equal(b, (uint32_t)lct_f32_to_bf16(x) << 16 | 0x3f80u);
  }
}

/* nearest, ties to even: against the neighbours, in double */
static void test_rounding(void **) {
  for (uint32_t i = 0; i < 1u << 18; i++) {
    float x = ldexpf((float)(int32_t)hash(i), -31 + (int)(i % 46) - 30);
    uint16_t h = lct_from_f32<lct_f16>(x).bits;
    double own = lct_f32(lct_f16{h});
    if (fabsf(x) > 65504.0f) continue;
    for (int step = -1; step <= 1; step += 2) {
      uint16_t other = (uint16_t)(h + step);
      if ((h & 0x7fff) == 0 || (other & 0x7c00) == 0x7c00) continue;
      double e = fabs(own - (double)x), o = fabs((double)lct_f32(lct_f16{other}) - (double)x);
      assert_true(e < o || (e == o && h % 2 == 0));
    }
  }
}

/* ---- indices ---- */

LCT_KERNEL(96, 1) k_index(uint32_t *out) {
  uint32_t block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  out[block * blockDim.x + threadIdx.x] = block * 1000 + (uint32_t)lct_warp() * 32 + (uint32_t)lct_lane();
}

static void test_indices(void **) {
  for (const char *s : schedules) {
    shim_set_schedule(s);
    device<uint32_t> out(3 * 5 * 2 * 96);
    LCT_LAUNCH(k_index, lct_grid(3, 5, 2), 96, 0, nullptr, out.p);
    check(cudaGetLastError());
    std::vector<uint32_t> v = out.get();
    for (size_t i = 0; i < v.size(); i++) assert_int_equal(v[i], i / 96 * 1000 + i % 96);
  }
}

/* ---- shuffles, ballot, sums ---- */

LCT_KERNEL(64, 1) k_shuffles(const uint32_t *in, uint32_t *out, double *doubles) {
  int t = (int)threadIdx.x, n = (int)blockDim.x;
  uint32_t v = in[t];
  int at = 0;
  for (int m = 1; m < 32; m = 2 * m + (m & 1)) out[n * at++ + t] = lct_shfl_xor(v, m);
  for (int d = 1; d < 32; d *= 3) out[n * at++ + t] = lct_shfl_up(v, d);
  for (int l = 0; l < 32; l += 31) out[n * at++ + t] = lct_shfl(v, l);
  out[n * at + t] = lct_ballot((v & 1) != 0);
  doubles[t] = lct_shfl_xor(1.0 / (1.0 + v), 5);
}

static void test_shuffles(void **) {
  std::vector<uint32_t> in(64);
  for (uint32_t i = 0; i < 64; i++) in[i] = hash(i);
  for (const char *s : schedules) {
    shim_set_schedule(s);
    device<uint32_t> d_in(in), d_out(64 * 16);
    device<double> d_doubles(64);
    LCT_LAUNCH(k_shuffles, 1, 64, 0, nullptr, d_in.p, d_out.p, d_doubles.p);
    std::vector<uint32_t> v = d_out.get();
    std::vector<double> x = d_doubles.get();
    for (int t = 0; t < 64; t++) {
      int at = 0, w = t / 32 * 32, lane = t % 32;
      uint32_t ballot = 0;
      for (int m = 1; m < 32; m = 2 * m + (m & 1)) assert_int_equal(v[64 * at++ + t], in[w + (lane ^ m)]);
      for (int d = 1; d < 32; d *= 3) assert_int_equal(v[64 * at++ + t], in[w + (lane < d ? lane : lane - d)]);
      for (int l = 0; l < 32; l += 31) assert_int_equal(v[64 * at++ + t], in[w + l]);
      for (int l = 0; l < 32; l++) ballot |= (in[w + l] & 1) << l;
      assert_int_equal(v[64 * at + t], ballot);
      assert_true(x[t] == 1.0 / (1.0 + in[w + (lane ^ 5)]));
    }
  }
}

LCT_KERNEL(1024, 1) k_sum(const float *in, float *out) {
  LCT_SHARED(float, scratch);
  float a = lct_block_sum(in[threadIdx.x], scratch);
  float b = lct_block_sum(in[threadIdx.x] * 2, scratch);
  out[2 * threadIdx.x] = a;
  out[2 * threadIdx.x + 1] = b;
}

static void test_block_sum(void **) {
  for (int n = 32; n <= 1024; n += 31 * 32) {
    std::vector<float> in((size_t)n);
    float sum = 0;
    for (int i = 0; i < n; i++) sum += in[(size_t)i] = (float)(i % 7); /* exact in any order */
    for (const char *s : schedules) {
      shim_set_schedule(s);
      device<float> d_in(in), d_out(2 * (size_t)n);
      LCT_LAUNCH(k_sum, 1, n, 32 * sizeof(float), nullptr, d_in.p, d_out.p);
      std::vector<float> v = d_out.get();
      for (size_t i = 0; i < v.size(); i++) assert_true(v[i] == sum * (float)(1 + i % 2));
    }
  }
}

/* ---- atomics and arithmetic ---- */

LCT_KERNEL(128, 1) k_atomics(uint32_t *a, uint64_t *b, uint64_t *least) {
  LCT_SHARED(uint32_t, count);
  if (threadIdx.x == 0) count[0] = 0;
  lct_sync();
  (void)lct_atomic_add(count, 1u);
  lct_sync();
  if (threadIdx.x == 0) (void)lct_atomic_add(a, count[0]);
  (void)lct_atomic_add(b, (uint64_t)threadIdx.x << 32);
  (void)lct_atomic_min(least, (uint64_t)(1000 - threadIdx.x) << 32 | blockIdx.x);
}

static void test_atomics(void **) {
  device<uint32_t> a(std::vector<uint32_t>{7});
  device<uint64_t> b(std::vector<uint64_t>{0}), least(std::vector<uint64_t>{~(uint64_t)0});
  LCT_LAUNCH(k_atomics, 10, 128, 4, nullptr, a.p, b.p, least.p);
  assert_int_equal(a.get()[0], 7 + 1280);
  assert_true(b.get()[0] == (uint64_t)(10 * 127 * 64) << 32);
  assert_true(least.get()[0] == (uint64_t)873 << 32);
}

static void test_arithmetic(void **) {
  assert_true(lct_mulhi_u64(0xffffffffffffffffu, 0xffffffffffffffffu) == 0xfffffffffffffffeu);
  assert_true(lct_mulhi_u64(1ull << 63, 6) == 3);
  volatile double a = 1 + 0x1p-30, b = 1 - 0x1p-30, c = -1;
  assert_true(lct_fma_rn(a, b, c) == -0x1p-60);
  assert_true(lct_add_rn(lct_mul_rn(a, b), c) == 0); /* two roundings: not contracted */
  assert_true(lct_exp2(-INFINITY) == 0 && lct_exp2(3) == 8 && lct_exp2(-130) == 0);
}

/* ---- tensor cores ---- */

/* one warp, D (16, 8) = A (16, 16) B (16, 8) + D, through ldmatrix: A row-major, B row-major read transposed, rows padded to 24 */
template <typename T>
LCT_KERNEL(32, 1)
k_mma(const T *a, const T *b, float *d) {
  LCT_SHARED(T, s);
  T *sa = s, *sb = s + 16 * 24;
  for (int i = lct_lane(); i < 256; i += 32) sa[i / 16 * 24 + i % 16] = a[i];
  for (int i = lct_lane(); i < 128; i += 32) sb[i / 8 * 24 + i % 8] = b[i];
  for (int i = lct_lane(); i < 128; i += 32) sb[i / 8 * 24 + 8 + i % 8] = b[i];
  lct_warp_sync();
  int lane = lct_lane(), g = lane / 4, c = 2 * (lane % 4);
  uint32_t fa[4], fb[4];
  lct_ldmatrix_x4(fa, sa + (lane % 8 + lane / 8 % 2 * 8) * 24 + lane / 16 * 8);
  lct_ldmatrix_x4_trans(fb, sb + (lane % 8 + lane / 8 % 2 * 8) * 24 + lane / 16 * 8);
  float acc[4] = {d[g * 8 + c], d[g * 8 + c + 1], d[(g + 8) * 8 + c], d[(g + 8) * 8 + c + 1]};
  lct_mma_16816<T>(acc, fa, fb[0], fb[1]);
  lct_warp_sync();
  d[g * 8 + c] = acc[0];
  d[g * 8 + c + 1] = acc[1];
  d[(g + 8) * 8 + c] = acc[2];
  d[(g + 8) * 8 + c + 1] = acc[3];
}

template <typename T>
static void check_mma(void) {
  std::vector<T> a(256), b(128);
  std::vector<float> d(128);
  for (uint32_t i = 0; i < 256; i++) a[i] = lct_from_f32<T>((float)(int32_t)hash(i) * 0x1p-31f);
  for (uint32_t i = 0; i < 128; i++) b[i] = lct_from_f32<T>((float)(int32_t)hash(i + 999) * 0x1p-31f);
  for (uint32_t i = 0; i < 128; i++) d[i] = (float)(int32_t)hash(i + 7777) * 0x1p-31f;
  for (const char *s : schedules) {
    shim_set_schedule(s);
    device<T> d_a(a), d_b(b);
    device<float> d_d(d);
    LCT_LAUNCH(k_mma<T>, 1, 32, 32 * 24 * sizeof(T), nullptr, d_a.p, d_b.p, d_d.p);
    std::vector<float> v = d_d.get();
    for (int i = 0; i < 128; i++) {
      double want = d[(size_t)i], size = fabs(want);
      for (int k = 0; k < 16; k++) {
        double p = (double)lct_f32(a[(size_t)(i / 8 * 16 + k)]) * (double)lct_f32(b[(size_t)(k * 8 + i % 8)]);
        want += p;
        size += fabs(p);
      }
      assert_true(fabs((double)v[(size_t)i] - want) <= 16 * 0x1p-24 * size); /* 16 additions in f32 */
    }
  }
}

static void test_mma(void **) {
  check_mma<lct_f16>();
  check_mma<lct_bf16>();
}

LCT_KERNEL(32, 1) k_ldmatrix(const uint16_t *in, uint32_t *out) {
  LCT_SHARED(uint16_t, s);
  for (int i = lct_lane(); i < 256; i += 32) s[i] = in[i];
  lct_warp_sync();
  uint32_t r[4], t[4];
  lct_ldmatrix_x4(r, s + lct_lane() * 8);
  lct_ldmatrix_x4_trans(t, s + lct_lane() * 8);
  for (int i = 0; i < 4; i++) {
    out[(i * 2) * 32 + lct_lane()] = r[i];
    out[(i * 2 + 1) * 32 + lct_lane()] = t[i];
  }
}

static void test_ldmatrix(void **) {
  std::vector<uint16_t> in(256);
  for (uint32_t i = 0; i < 256; i++) in[i] = (uint16_t)i;
  device<uint16_t> d_in(in);
  device<uint32_t> d_out(256);
  LCT_LAUNCH(k_ldmatrix, 1, 32, 512, nullptr, d_in.p, d_out.p);
  std::vector<uint32_t> v = d_out.get();
  for (uint32_t lane = 0; lane < 32; lane++) {
    for (uint32_t m = 0; m < 4; m++) {
      uint32_t row = lane / 4, column = 2 * (lane % 4);
      assert_int_equal(v[m * 64 + lane], (m * 64 + row * 8 + column) | (m * 64 + row * 8 + column + 1) << 16);
      assert_int_equal(v[m * 64 + 32 + lane], (m * 64 + column * 8 + row) | (m * 64 + (column + 1) * 8 + row) << 16);
    }
  }
}

/* ---- asynchronous copies ---- */

/* Streams `n` tiles of 16 bytes a thread through two buffers and adds them up. The three bugs are the usual ones. */
enum { NO_BUG, NO_WAIT, TOO_EARLY, NO_BARRIER };
template <int BUG>
LCT_KERNEL(64, 1)
k_pipeline(const uint4 *in, int n, uint32_t *out) {
  LCT_SHARED(uint4, s);
  int t = (int)threadIdx.x, other = t ^ 63;
  lct_cp_async16(&s[t], &in[t], true);
  lct_cp_async_commit();
  uint32_t sum = 0;
  for (int i = 0; i < n; i++) {
    int fill = BUG == TOO_EARLY ? i & 1 : (i + 1) & 1;
    if (BUG == TOO_EARLY) lct_cp_async_wait<0>();
    lct_cp_async16(&s[fill * 64 + t], &in[(i + 1 < n ? i + 1 : 0) * 64 + t], i + 1 < n);
    lct_cp_async_commit();
    if (BUG == NO_BUG || BUG == NO_BARRIER) lct_cp_async_wait<1>();
    if (BUG != NO_BARRIER) lct_sync();
    const uint4 *from = &s[(i & 1) * 64 + other];
    sum += from->x + from->y * 3 + from->z * 5 + from->w * 7;
    lct_sync();
  }
  out[t] = sum;
}

template <int BUG>
static bool pipeline_is_right(const char *schedule) {
  const int n = 5;
  std::vector<uint4> in(64 * n);
  for (uint32_t i = 0; i < 64 * n; i++) in[i] = make_uint4(hash(i), hash(i + 1000), hash(i + 2000), hash(i + 3000));
  shim_set_schedule(schedule);
  device<uint4> d_in(in);
  device<uint32_t> d_out(64);
  LCT_LAUNCH(k_pipeline<BUG>, 1, 64, 2 * 64 * 16, nullptr, d_in.p, n, d_out.p);
  std::vector<uint32_t> v = d_out.get();
  for (uint32_t t = 0; t < 64; t++) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
      uint4 x = in[i * 64 + (t ^ 63)];
      sum += x.x + x.y * 3 + x.z * 5 + x.w * 7;
    }
    if (v[t] != sum) return false;
  }
  return true;
}

static void test_cp_async(void **) {
  for (const char *s : schedules) assert_true(pipeline_is_right<NO_BUG>(s));
  for (const char *s : {"forward,late", "reverse,late", "random:5,late"}) assert_false(pipeline_is_right<NO_WAIT>(s));
  for (const char *s : {"forward,early", "reverse,early", "random:5,early"}) assert_false(pipeline_is_right<TOO_EARLY>(s));
  int caught = 0;
  for (const char *s : schedules) caught += !pipeline_is_right<NO_BARRIER>(s);
  assert_true(caught > 0);
}

LCT_KERNEL(32, 1) k_zero_fill(uint4 *out) {
  LCT_SHARED(uint4, s);
  lct_cp_async16(&s[lct_lane()], nullptr, false); /* not read when not valid */
  lct_cp_async_commit();
  lct_cp_async_wait<0>();
  out[lct_lane()] = s[lct_lane()];
}

static void test_zero_fill(void **) {
  for (const char *s : {"forward,early", "forward,late"}) {
    shim_set_schedule(s);
    device<uint4> out(32);
    LCT_LAUNCH(k_zero_fill, 1, 32, 512, nullptr, out.p);
    for (uint4 x : out.get()) assert_true((x.x | x.y | x.z | x.w) == 0);
  }
}

/* ---- missing barriers ---- */

template <bool WARP>
LCT_KERNEL(64, 1)
k_no_barrier(float *out) {
  LCT_SHARED(float, s);
  int t = (int)threadIdx.x;
  s[t] = (float)t;
  if (!WARP) lct_warp_sync();
  out[t] = s[WARP ? t ^ 31 : t ^ 63];
}

template <bool WARP>
static int wrong_runs(void) {
  int wrong = 0;
  for (const char *s : schedules) {
    shim_set_schedule(s);
    device<float> out(64);
    LCT_LAUNCH(k_no_barrier<WARP>, 1, 64, 256, nullptr, out.p);
    std::vector<float> v = out.get();
    bool right = true;
    for (int t = 0; t < 64; t++) right = right && v[(size_t)t] == (float)(WARP ? t ^ 31 : t ^ 63);
    wrong += !right;
  }
  return wrong;
}

static void test_missing_barrier(void **) {
  assert_true(wrong_runs<true>() > 0);
  assert_true(wrong_runs<false>() > 0);
}

/* A wrong order that only one direction shows: each thread reads what the one before it left. */
LCT_KERNEL(64, 1) k_order(float *out) {
  LCT_SHARED(float, s);
  int t = (int)threadIdx.x;
  s[t] = (float)t;
  out[t] = t > 0 ? s[t - 1] : 0;
}

static void test_default_schedule(void **) {
  shim_set_schedule(nullptr);
  int wrong = 0;
  for (int i = 0; i < 4; i++) {
    device<float> out(64);
    LCT_LAUNCH(k_order, 1, 64, 256, nullptr, out.p);
    std::vector<float> v = out.get();
    for (int t = 1; t < 64; t++) wrong += !(v[(size_t)t] == (float)(t - 1));
  }
  assert_true(wrong > 0);
}

/* ---- what ends the program: run in a child, its message read ---- */

enum { MISSING_LANE, MISSING_WARP, RETURNED, TWO_BARRIERS, LANES_APART, SHUFFLE_OR_BARRIER };
template <int BUG>
LCT_KERNEL(64, 1)
k_divergent(float *out) {
  int t = (int)threadIdx.x;
  float v = (float)t;
  if (BUG == MISSING_LANE && t != 5) v = lct_shfl_xor(v, 1);
  if (BUG == MISSING_WARP && t < 32) lct_sync();
  if (BUG == RETURNED) {
    if (t == 40) return;
    lct_sync();
  }
  if (BUG == TWO_BARRIERS) {
    if (t < 32) lct_sync();
    else lct_sync();
  }
  if (BUG == LANES_APART) {
    if (t % 2) lct_warp_sync();
    else v = lct_shfl(v, 0);
  }
  if (BUG == SHUFFLE_OR_BARRIER) {
    if (t == 63) lct_sync();
    else v = lct_warp_sum(v);
  }
  out[t] = v;
}

template <int BUG>
static void assert_divergent(const char *schedule, const char *message) {
  assert_dies(
      [=] {
        shim_set_schedule(schedule);
        device<float> out(64);
        LCT_LAUNCH(k_divergent<BUG>, 3, 64, 0, nullptr, out.p);
        (void)out.get();
      },
      message);
}

static void test_divergence(void **) {
  for (const char *s : schedules) {
    assert_divergent<MISSING_LANE>(s, "kernel k_divergent<BUG>, block (");
    assert_divergent<MISSING_WARP>(s, " is at ");
    assert_divergent<RETURNED>(s, "the end of the kernel");
    assert_divergent<TWO_BARRIERS>(s, "lct_sync at ");
    assert_divergent<LANES_APART>(s, "lct_warp_sync at ");
    assert_divergent<SHUFFLE_OR_BARRIER>(s, "a shuffle at ");
  }
  assert_divergent<MISSING_LANE>("forward", "thread 5: is at the end of the kernel while thread 0 is at a shuffle at ");
  assert_divergent<RETURNED>("forward", "block (0, 0, 0), thread 40: is at the end of the kernel while thread 32 is at lct_sync at ");
}

LCT_KERNEL(32, 1) k_overrun(float *out, int behind) {
  LCT_SHARED(float, s);
  if (threadIdx.x == 31) s[31 + behind] = 1;
  lct_warp_sync();
  out[threadIdx.x] = s[threadIdx.x];
}

LCT_KERNEL(32, 1) k_outside(const uint4 *in, uint4 *out, int offset) {
  LCT_SHARED(unsigned char, s);
  lct_cp_async16(s + 16 * lct_lane() + offset, in, true);
  lct_cp_async_commit();
  lct_cp_async_wait<0>();
  out[threadIdx.x] = make_uint4(s[0], 0, 0, 0);
}

static void test_overruns(void **) {
  assert_dies(
      [] {
        device<float> out(32);
        LCT_LAUNCH(k_overrun, 1, 32, 128, nullptr, out.p, 1);
        (void)out.get();
      },
      SHIM_ASAN ? "heap-buffer-overflow" : "wrote 0 bytes behind the 128 bytes of shared memory");
  assert_dies(
      [] {
        device<float> out(31);
        LCT_LAUNCH(k_overrun, 1, 32, 128, nullptr, out.p, 0);
      },
      SHIM_ASAN ? "heap-buffer-overflow" : "an allocation of 124 bytes was written");
  for (int offset : {16, -16, 8}) {
    assert_dies(
        [=] {
          device<uint4> in(1), out(32);
          LCT_LAUNCH(k_outside, 1, 32, 512, nullptr, in.p, out.p, offset);
          (void)out.get();
        },
        "of 512 bytes of shared memory");
  }
}

/* ---- poison, deep stacks, limits ---- */

LCT_KERNEL(32, 1) k_unwritten(float *out) {
  LCT_SHARED(float, s);
  out[blockIdx.x * 32 + threadIdx.x] = s[threadIdx.x];
  s[threadIdx.x] = 1; /* must not be there for the next block */
}

static void test_poison(void **) {
  device<float> out(96);
  for (float x : out.get()) assert_true(x != x);
  LCT_LAUNCH(k_unwritten, 3, 32, 128, nullptr, out.p);
  for (float x : out.get()) assert_true(x != x);
}

LCT_KERNEL(1024, 1) k_big_frame(uint32_t *out) {
  volatile uint32_t local[2048];
  for (uint32_t i = 0; i < 2048; i++) local[i] = i * threadIdx.x;
  lct_sync();
  uint32_t sum = 0;
  for (uint32_t i = 0; i < 2048; i++) sum += local[i];
  out[threadIdx.x] = sum;
}

static void test_big_frame(void **) {
  device<uint32_t> out(1024);
  LCT_LAUNCH(k_big_frame, 2, 1024, 0, nullptr, out.p);
  std::vector<uint32_t> v = out.get();
  for (uint32_t t = 0; t < 1024; t++) assert_int_equal(v[t], t * (2047 * 1024));
}

static void test_launch_limits(void **) {
  device<uint32_t> out(96);
  LCT_LAUNCH(k_index, 0, 96, 0, nullptr, out.p);
  assert_int_equal(cudaGetLastError(), cudaErrorInvalidConfiguration);
  LCT_LAUNCH(k_index, 1, 1056, 0, nullptr, out.p);
  assert_int_equal(cudaGetLastError(), cudaErrorInvalidConfiguration);
  LCT_LAUNCH(k_index, lct_grid(1, 65536), 96, 0, nullptr, out.p);
  assert_int_equal(cudaGetLastError(), cudaErrorInvalidConfiguration);
  LCT_LAUNCH(k_index, 1, 96, 120000, nullptr, out.p);
  assert_int_equal(cudaGetLastError(), cudaErrorInvalidValue);
  LCT_LAUNCH(k_index, 1, 96, 0, nullptr, out.p);
  check(cudaGetLastError());
}

/* ---- the runtime ---- */

static void test_memory(void **) {
  char host[64] = {0}, *d = nullptr, *pinned = nullptr;
  check(cudaMalloc((void **)&d, 64));
  assert_int_equal((uintptr_t)d % 256, 0);
  check(cudaMemcpy(d, host, 64, cudaMemcpyHostToDevice));
  assert_int_equal(cudaMemcpy(d + 1, host, 64, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  assert_int_equal(cudaMemcpy(host, d, 65, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  assert_int_equal(cudaMemcpy(host, host, 1, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  assert_int_equal(cudaMemset(d + 60, 0, 5), cudaErrorInvalidValue);
  assert_int_equal(cudaGetLastError(), cudaErrorInvalidValue);
  assert_int_equal(cudaGetLastError(), cudaSuccess);
  size_t left = 0, total = 0;
  check(cudaMemGetInfo(&left, &total));
  assert_int_equal(total - left, 64);
  check(cudaMallocHost((void **)&pinned, 64));
  check(cudaFreeHost(pinned));
  assert_int_equal(cudaFree(host), cudaErrorInvalidValue);
  check(cudaFree(d));
  assert_int_equal(cudaFree(d), cudaErrorInvalidValue);
  check(cudaFree(nullptr));
  shim_set_memory(1000);
  assert_int_equal(cudaMalloc((void **)&d, 1001), cudaErrorMemoryAllocation);
  shim_reset();
  assert_int_equal(shim_live_allocations(), 0);
}

/* Work on a stream happens when it is waited for; what a host program must not rely on is not there. */
static void test_streams(void **) {
  cudaStream_t a = nullptr, b = nullptr;
  cudaEvent_t e = nullptr;
  uint32_t *pinned = nullptr;
  check(cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking));
  check(cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking));
  check(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
  check(cudaMallocHost((void **)&pinned, 96 * 4));
  {
    device<uint32_t> out(96);
    memset(pinned, 0, 96 * 4);
    LCT_LAUNCH(k_index, 1, 96, 0, a, out.p);
    check(cudaEventRecord(e, a));
    check(cudaStreamWaitEvent(b, e, 0));
    check(cudaMemcpyAsync(pinned, out.p, 96 * 4, cudaMemcpyDeviceToHost, b));
    assert_int_equal(pinned[95], 0);
    assert_int_equal(cudaStreamQuery(b), cudaErrorNotReady);
    check(cudaStreamSynchronize(b));
    assert_int_equal(pinned[95], 95);
    pinned[0] = 1;
    check(cudaMemcpyAsync(out.p, pinned, 4, cudaMemcpyHostToDevice, a));
    pinned[0] = 2; /* too early */
    check(cudaEventRecord(e, a));
    check(cudaEventSynchronize(e));
    assert_int_equal(out.get()[0], 2);
    uint32_t ordinary = 3;
    check(cudaMemcpyAsync(out.p, &ordinary, 4, cudaMemcpyHostToDevice, a));
    ordinary = 4; /* ordinary memory is read at once */
    assert_int_equal(out.get()[0], 3);
    shim_set_streams(0);
    check(cudaMemcpyAsync(pinned, out.p, 4, cudaMemcpyDeviceToHost, a));
    assert_int_equal(pinned[0], 3);
    shim_set_streams(1);
  }
  check(cudaFreeHost(pinned));
  check(cudaEventDestroy(e));
  check(cudaStreamDestroy(a));
  check(cudaStreamDestroy(b));
  assert_int_equal(cudaStreamSynchronize(a), cudaErrorInvalidResourceHandle);
}

static void test_faults(void **) {
  void *p = nullptr, *q = nullptr;
  shim_reset();
  shim_fail_allocation(2);
  check(cudaMalloc(&p, 10));
  assert_int_equal(cudaMalloc(&q, 10), cudaErrorMemoryAllocation);
  assert_null(q);
  check(cudaMalloc(&q, 10));
  check(cudaFree(q));
  check(cudaFree(p));
  uint32_t *out = nullptr;
  (void)cudaGetLastError();
  check(cudaMalloc((void **)&out, 384));
  shim_fail_launch(2);
  LCT_LAUNCH(k_index, 1, 96, 0, nullptr, out);
  check(cudaDeviceSynchronize());
  LCT_LAUNCH(k_index, 1, 96, 0, nullptr, out);
  check(cudaGetLastError()); /* a GPU tells later */
  assert_int_equal(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  assert_int_equal(cudaGetLastError(), cudaErrorIllegalAddress);
  assert_int_equal(cudaMalloc(&p, 10), cudaErrorIllegalAddress);
  assert_int_equal(cudaFree(out), cudaErrorIllegalAddress); /* but it is freed */
  shim_reset();
  assert_int_equal(shim_live_allocations(), 0);
  int n = 0;
  shim_set_devices(0);
  assert_int_equal(cudaGetDeviceCount(&n), cudaErrorNoDevice);
  shim_set_devices(2);
  check(cudaGetDeviceCount(&n));
  assert_int_equal(n, 2);
  check(cudaSetDevice(1));
  assert_int_equal(cudaSetDevice(2), cudaErrorInvalidDevice);
  check(cudaSetDevice(0));
  shim_set_driver(0);
  assert_int_equal(cudaGetDeviceCount(&n), cudaErrorInsufficientDriver);
  assert_int_equal(cudaMalloc(&p, 10), cudaErrorInsufficientDriver);
  shim_reset();
}

static int teardown(void **) {
  shim_reset();
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(test_conversions, teardown),      cmocka_unit_test_teardown(test_rounding, teardown),
      cmocka_unit_test_teardown(test_indices, teardown),          cmocka_unit_test_teardown(test_shuffles, teardown),
      cmocka_unit_test_teardown(test_block_sum, teardown),        cmocka_unit_test_teardown(test_atomics, teardown),
      cmocka_unit_test_teardown(test_arithmetic, teardown),       cmocka_unit_test_teardown(test_mma, teardown),
      cmocka_unit_test_teardown(test_ldmatrix, teardown),         cmocka_unit_test_teardown(test_cp_async, teardown),
      cmocka_unit_test_teardown(test_zero_fill, teardown),        cmocka_unit_test_teardown(test_missing_barrier, teardown),
      cmocka_unit_test_teardown(test_default_schedule, teardown), cmocka_unit_test_teardown(test_divergence, teardown),
      cmocka_unit_test_teardown(test_overruns, teardown),         cmocka_unit_test_teardown(test_poison, teardown),
      cmocka_unit_test_teardown(test_big_frame, teardown),        cmocka_unit_test_teardown(test_launch_limits, teardown),
      cmocka_unit_test_teardown(test_memory, teardown),           cmocka_unit_test_teardown(test_streams, teardown),
      cmocka_unit_test_teardown(test_faults, teardown),
  };
  return cmocka_run_group_tests_name("shim", tests, nullptr, nullptr);
}
