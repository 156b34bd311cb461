/* Choosing tokens without bringing the vocabulary to the host: what src/engine/sampler.h defines, by selection instead of sorting.
 *
 * Logits become integer keys, ascending with the logit; the first token in the order whose cumulative weight exceeds a number is found
 * digit by digit: a histogram of weights over the keys' highest 8 bits says in which bin it lies, then over the next 8 bits within that
 * bin, and so on. Weights are integers, so the order of the atomic additions does not matter. */
#include "device.cuh"

#include <math.h>

extern "C" {
#include "engine/sampler.h"
}
#include "engine/sampler_math.h"
#include "kernels/sampler.h"
#include "vec.cuh"

#define THREADS 1024
#define BINS 256

namespace {

struct histogram {
  uint32_t lo[BINS], hi[BINS]; /* halves of a 64-bit sum: shared memory adds 32 bits natively */
};

struct shared {
  uint64_t table[LCT_WEIGHT_TABLE];
  uint64_t top[LCT_CHOOSE_MAX_TOP];
  uint64_t words[32], found[2];
  double sums[32];
  histogram all, part; /* of the weights by the keys' first digit; of what is being selected from */
  uint32_t count;
  int32_t token;
};

/* Element types: width of the bits, bits of infinity, value of bits. */
struct type_f32 {
  static constexpr int BITS = 32;
  static constexpr uint32_t INF = 0x7f800000u;
  static LCT_DEVICE float value(uint32_t raw) { return __uint_as_float(raw); }
};
struct type_f16 {
  static constexpr int BITS = 16;
  static constexpr uint32_t INF = 0x7c00u;
  static LCT_DEVICE float value(uint32_t raw) { return lct_unpack2<lct_f16>(raw).x; }
};
struct type_bf16 {
  static constexpr int BITS = 16;
  static constexpr uint32_t INF = 0x7f80u;
  static LCT_DEVICE float value(uint32_t raw) { return __uint_as_float(raw << 16); }
};

template <typename T>
struct keys {
  static constexpr uint32_t SIGN = 1u << (T::BITS - 1), ALL = 2 * SIGN - 1;

  /* NaN counts as -infinity, -0 as +0 */
  static LCT_DEVICE uint32_t of(uint32_t raw) {
    uint32_t magnitude = raw & (SIGN - 1);
    if (magnitude > T::INF) raw = SIGN | T::INF;
    if (magnitude == 0) raw = 0;
    return (raw & SIGN) != 0 ? ~raw & ALL : raw | SIGN;
  }
  static LCT_DEVICE float value(uint32_t key) { return T::value((key & SIGN) != 0 ? key ^ SIGN : ~key & ALL); }
};

/* A row of logits, in chunks of 8: the last one may be shorter. */
template <typename T>
struct row {
  const unsigned char *p; /* 16-byte aligned */
  int vocab;

  LCT_DEVICE int chunks(void) const { return (vocab + 7) / 8; }
  LCT_DEVICE uint32_t raw(int id) const {
    return T::BITS == 32 ? reinterpret_cast<const uint32_t *>(p)[id] : reinterpret_cast<const uint16_t *>(p)[id];
  }
};

/* f(id, key) for the ids of chunk c, ascending. */
template <typename T, typename F>
LCT_DEVICE void visit_chunk(row<T> r, int c, F f) {
  constexpr int WORDS = T::BITS / 4; /* 32-bit words of a chunk */
  uint32_t w[WORDS];
  if (8 * c + 8 > r.vocab) {
    for (int id = 8 * c; id < r.vocab; id++) f(id, keys<T>::of(r.raw(id)));
    return;
  }
  const uint4 *q = reinterpret_cast<const uint4 *>(r.p + (int64_t)c * (4 * WORDS));
#pragma unroll
  for (int i = 0; i < WORDS / 4; i++) {
    uint4 v = q[i];
    w[4 * i] = v.x;
    w[4 * i + 1] = v.y;
    w[4 * i + 2] = v.z;
    w[4 * i + 3] = v.w;
  }
#pragma unroll
  for (int i = 0; i < 8; i++) {
    uint32_t raw = T::BITS == 32 ? w[i % WORDS] : w[i / 2] >> 16 * (i % 2) & 0xffffu;
    f(8 * c + i, keys<T>::of(raw));
  }
}

/* f(id, key) for all ids: neighbouring threads take neighbouring chunks, each in ascending order. */
template <typename T, typename F>
LCT_DEVICE void visit(row<T> r, F f) {
  for (int c = (int)threadIdx.x; c < r.chunks(); c += THREADS) visit_chunk(r, c, f);
}

/* Every function from here on that uses shared memory ends with a barrier, so the next one may write to it at once. */

/* op over the block in a fixed order, the same in every thread */
template <typename V, typename F>
LCT_DEVICE V reduce(V v, V *scratch, F op) {
  for (int m = 16; m > 0; m >>= 1) v = op(v, lct_shfl_xor(v, m));
  if (lct_lane() == 0) scratch[lct_warp()] = v;
  lct_sync();
  V all = scratch[0];
  for (int w = 1; w < THREADS / 32; w++) all = op(all, scratch[w]);
  lct_sync();
  return all;
}
LCT_DEVICE uint64_t sum_words(uint64_t v, shared *s) {
  return reduce(v, s->words, [](uint64_t a, uint64_t b) { return a + b; });
}
LCT_DEVICE double sum_doubles(double v, shared *s) {
  return reduce(v, s->sums, [](double a, double b) { return a + b; });
}

LCT_DEVICE void clear(histogram *h) {
  for (int i = (int)threadIdx.x; i < BINS; i += THREADS) h->lo[i] = h->hi[i] = 0;
  lct_sync();
}

LCT_DEVICE void add(histogram *h, uint32_t bin, uint64_t v) {
  uint32_t lo = (uint32_t)v, hi = (uint32_t)(v >> 32);
  if (lo != 0 && lct_atomic_add(&h->lo[bin], lo) > ~lo) hi++; /* the sum wrapped */
  if (hi != 0) (void)lct_atomic_add(&h->hi[bin], hi);
}

LCT_DEVICE uint64_t bin_of(const histogram *h, int bin) { return (uint64_t)h->hi[bin] << 32 | h->lo[bin]; }

/* Of the bins in descending order, the first whose inclusive sum exceeds target, which must be below the sum of all; *above: the sum
 * of those before it. */
LCT_DEVICE uint32_t find(const histogram *h, uint64_t target, uint64_t *above, shared *s) {
  if (lct_warp() == 0) {
    int highest = BINS - 1 - 8 * lct_lane();
    uint64_t own = 0;
    for (int i = 0; i < 8; i++) own += bin_of(h, highest - i);
    uint64_t sum = own;
    for (int delta = 1; delta < 32; delta *= 2) {
      uint64_t up = lct_shfl_up(sum, delta);
      if (lct_lane() >= delta) sum += up;
    }
    uint64_t before = sum - own;
    if (before <= target && target < sum) {
      int bin = highest;
      for (uint64_t v = bin_of(h, bin); before + v <= target; v = bin_of(h, bin)) {
        before += v;
        bin--;
      }
      s->found[0] = (uint64_t)bin;
      s->found[1] = before;
    }
  }
  lct_sync();
  uint32_t bin = (uint32_t)s->found[0];
  *above = s->found[1];
  lct_sync();
  return bin;
}

/* The key of the first token in the order whose inclusive sum of weigh(key) exceeds target, which must be below the sum of all;
 * *before: the sum over greater keys. `first` is the histogram over the first digit where it is known already, or NULL. */
template <typename T, typename W>
LCT_DEVICE uint32_t select(row<T> r, const histogram *first, W weigh, uint64_t target, uint64_t *before, shared *s) {
  uint32_t prefix = 0;
  *before = 0;
  for (int shift = T::BITS - 8; shift >= 0; shift -= 8) {
    const histogram *h = first;
    if (shift != T::BITS - 8 || first == nullptr) {
      clear(&s->part);
      visit(r, [&](int, uint32_t key) {
        if (key >> shift >> 8 == prefix) add(&s->part, key >> shift & 0xffu, weigh(key));
      });
      lct_sync();
      h = &s->part;
    }
    uint64_t above = 0;
    prefix = prefix << 8 | find(h, target - *before, &above, s);
    *before += above;
  }
  return prefix;
}

/* f(rank, id) for the ids with this key, ascending; rank counts them from 0. */
template <typename T, typename F>
LCT_DEVICE void visit_equal(row<T> r, uint32_t key, F f, shared *s) {
  int per = (r.chunks() + THREADS - 1) / THREADS, begin = (int)threadIdx.x * per;
  int end = begin + per < r.chunks() ? begin + per : r.chunks();
  uint32_t own = 0;
  for (int c = begin; c < end; c++) visit_chunk(r, c, [&](int, uint32_t other) { own += other == key ? 1 : 0; });
  uint32_t sum = own;
  for (int delta = 1; delta < 32; delta *= 2) {
    uint32_t up = lct_shfl_up(sum, delta);
    if (lct_lane() >= delta) sum += up;
  }
  if (lct_lane() == 31) s->words[lct_warp()] = sum;
  lct_sync();
  uint32_t rank = sum - own;
  for (int w = 0; w < lct_warp(); w++) rank += (uint32_t)s->words[w];
  for (int c = begin; own > 0 && c < end; c++) {
    visit_chunk(r, c, [&](int id, uint32_t other) {
      if (other == key) f(rank++, id);
    });
  }
  lct_sync();
}

/* The k largest, descending: those above the k-th key in any order, the first of those that equal it, then by their ranks. */
template <typename T>
LCT_DEVICE void find_top(row<T> r, int k, lct_top *top, shared *s) {
  uint64_t above = 0;
  uint32_t last = select(
      r, nullptr, [](uint32_t) { return (uint64_t)1; }, (uint64_t)k - 1, &above, s);
  if (threadIdx.x == 0) s->count = 0;
  lct_sync();
  visit(r, [&](int id, uint32_t key) {
    if (key > last) s->top[lct_atomic_add(&s->count, 1u)] = (uint64_t)key << 32 | ~(uint32_t)id;
  });
  visit_equal(
      r, last,
      [&](uint32_t rank, int id) {
        if (above + rank < (uint64_t)k) s->top[above + rank] = (uint64_t)last << 32 | ~(uint32_t)id;
      },
      s);
  for (int i = (int)threadIdx.x; i < k; i += THREADS) {
    uint64_t own = s->top[i];
    int rank = 0;
    for (int j = 0; j < k; j++) rank += s->top[j] > own ? 1 : 0;
    top[rank].id = (int32_t) ~(uint32_t)own;
    top[rank].logprob = keys<T>::value((uint32_t)(own >> 32));
  }
}

/* The draw of lct_sample. A run of equal keys weighs the same, so how many of them a target leaves behind is a quotient. */
template <typename T>
LCT_DEVICE int32_t draw_token(row<T> r, float max, lct_k_draw d, uint64_t u53, shared *s) {
  auto weigh = [&](uint32_t key) { return lct_token_weight(s->table, max, keys<T>::value(key), d.scale); };
  for (int i = (int)threadIdx.x; i < LCT_WEIGHT_TABLE; i += THREADS) s->table[i] = lct_weight_entry((uint32_t)i);
  clear(&s->all);
  visit(r, [&](int, uint32_t key) { add(&s->all, key >> (T::BITS - 8), weigh(key)); });
  lct_sync();
  uint64_t before = 0, own = 0;
  if (d.top_k > 0 && d.top_k < r.vocab) {
    uint32_t last = select(
        r, nullptr, [](uint32_t) { return (uint64_t)1; }, (uint64_t)d.top_k - 1, &before, s);
    visit(r, [&](int, uint32_t key) {
      if (key >= last) own += weigh(key);
    });
  } else if (threadIdx.x < BINS) {
    own = bin_of(&s->all, (int)threadIdx.x);
  }
  uint64_t total = sum_words(own, s);
  if (d.p53 > 0) {
    uint64_t target = lct_part_53(d.p53, total);
    uint64_t w = weigh(select(r, &s->all, weigh, target, &before, s));
    total = before + (target - before) / w * w; /* 0 where only the first is kept */
  }
  uint64_t target = lct_part_53(u53, total);
  uint32_t key = select(r, &s->all, weigh, target, &before, s);
  uint64_t chosen = (target - before) / weigh(key);
  visit_equal(
      r, key,
      [&](uint32_t rank, int id) {
        if (rank == chosen) s->token = id;
      },
      s);
  return s->token;
}

/* What both kernels have in common: grid (n), block THREADS, shared memory sizeof(shared); logits (n, vocab) 16-byte aligned, ld a multiple
 * of 8. describe_kernel fills out and top (n, k), as lct_k_choose says, with the argmax as token; draw_kernel then replaces the token. */
template <typename T>
LCT_KERNEL(THREADS, 1)
describe_kernel(const unsigned char *logits, int64_t ld, int vocab, int k, lct_k_choice *out, lct_top *top) {
  LCT_SHARED(shared, s);
  int n = (int)blockIdx.x;
  row<T> r = {logits + (int64_t)n * ld * (T::BITS / 8), vocab};
  uint64_t best = 0; /* the largest key, then the lowest id */
  visit(r, [&](int id, uint32_t key) {
    uint64_t own = (uint64_t)key << 32 | ~(uint32_t)id;
    if (own > best) best = own;
  });
  best = reduce(best, s->words, [](uint64_t a, uint64_t b) { return a > b ? a : b; });
  float max = keys<T>::value((uint32_t)(best >> 32));
  double sum = 0, weighted = 0;
  visit(r, [&](int, uint32_t key) {
    double x = (double)keys<T>::value(key) - (double)max, e = exp(x);
    sum += e;
    if (e > 0) weighted += e * x; /* not 0 * -infinity */
  });
  sum = sum_doubles(sum, s);
  weighted = sum_doubles(weighted, s);
  int32_t argmax = (int32_t) ~(uint32_t)best;
  if (threadIdx.x == 0) out[n] = lct_k_choice{sum, weighted, max, argmax, argmax, 0};
  if (k > 0) find_top(r, k, top + (int64_t)n * k, s);
}

template <typename T>
LCT_KERNEL(THREADS, 1)
draw_kernel(const unsigned char *logits, int64_t ld, int vocab, lct_k_draw d, const uint64_t *u53, lct_k_choice *out) {
  LCT_SHARED(shared, s);
  int n = (int)blockIdx.x;
  row<T> r = {logits + (int64_t)n * ld * (T::BITS / 8), vocab};
  int32_t token = draw_token(r, out[n].max, d, u53[n], s);
  if (threadIdx.x == 0) out[n].token = token;
}

template <typename T>
lct_status launch(const void *logits, int64_t ld, int n, int vocab, const lct_k_draw *d, const uint64_t *u53, int k, lct_k_choice *out,
                  lct_top *top, cudaStream_t stream, lct_error *err) {
  const unsigned char *p = (const unsigned char *)logits;
  LCT_LAUNCH(describe_kernel<T>, n, THREADS, sizeof(shared), stream, p, ld, vocab, k, out, top);
  lct_status status = lct_check_launch("describe_kernel", err);
  if (status != LCT_OK || !d->draw) return status;
  LCT_LAUNCH(draw_kernel<T>, n, THREADS, sizeof(shared), stream, p, ld, vocab, *d, u53, out);
  return lct_check_launch("draw_kernel", err);
}

}  // namespace

lct_status lct_k_choose(lct_dtype type, const void *logits, int64_t ld, int n, int vocab, const lct_k_draw *draw, const uint64_t *u53,
                        int k, lct_k_choice *out, lct_top *top, cudaStream_t stream, lct_error *err) {
  if (n == 0) return LCT_OK;
  if (vocab < 1 || ld < vocab || ld % 8 != 0 || !lct_aligned(logits, 16)) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "choose: %d logits a row, rows %lld apart: expected a multiple of 8 that is no less", vocab,
                    (long long)ld);
  }
  if (k < 0 || k > vocab || k > LCT_CHOOSE_MAX_TOP) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "choose: the %d most probable of %d tokens: on a GPU at most %d", k, vocab, LCT_CHOOSE_MAX_TOP);
  }
  lct_status status = lct_sampling_check(vocab, err);
  if (status != LCT_OK) return status;
  switch (type) {
  case LCT_DTYPE_F32: return launch<type_f32>(logits, ld, n, vocab, draw, u53, k, out, top, stream, err);
  case LCT_DTYPE_F16: return launch<type_f16>(logits, ld, n, vocab, draw, u53, k, out, top, stream, err);
  case LCT_DTYPE_BF16: return launch<type_bf16>(logits, ld, n, vocab, draw, u53, k, out, top, stream, err);
  default: return lct_refuse_type(type, "choose", err);
  }
}
