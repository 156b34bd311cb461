/* The arithmetic of a draw, the same source on the host and in kernels (which include device.cuh first), so that both choose the same
 * token by construction: from one subtraction and one multiplication of doubles on, everything is integers, whose sums do not depend on
 * their order. Nothing here can be contracted to a fused multiply-add: no product is added to anything before it is an integer. */
#ifndef LCT_ENGINE_SAMPLER_MATH_H
#define LCT_ENGINE_SAMPLER_MATH_H

#include <stdint.h>

#if defined(__CUDACC__) || defined(LCT_SHIM)
#define LCT_SAMPLER_FN LCT_DEVICE
#else
#define LCT_SAMPLER_FN static inline
static inline uint64_t lct_mulhi_u64(uint64_t a, uint64_t b) { return (uint64_t)((unsigned __int128)a * b >> 64); }
#endif

#define LCT_WEIGHT_TABLE 256
#define LCT_WEIGHT_ONE (1ull << 40) /* weight of the most probable token */
#define LCT_WEIGHT_BITS 41          /* a token whose probability is 2^-41 of the most probable one's, or less, weighs nothing */

/* Entry i of the table that lct_token_weight needs: 2^(-i/256) * 2^63. */
LCT_SAMPLER_FN uint64_t lct_weight_entry(uint32_t i) {
  const uint64_t root[8] = {/* 2^(-2^b/256) * 2^64, rounded */
                            0xff4ecb59511ec8a5u, 0xfe9e115c7b8f884cu, 0xfd3e0c0cf486c175u, 0xfa83b2db722a033au,
                            0xf5257d152486cc2cu, 0xeac0c6e7dd24392fu, 0xd744fccad69d6af4u, 0xb504f333f9de6484u};
  uint64_t e = 1ull << 63;
#if defined(__CUDACC__)
#pragma unroll
#endif
  for (int b = 0; b < 8; b++) {
    if ((i >> b & 1u) != 0) e = lct_mulhi_u64(e, root[b]);
  }
  return e;
}

/* a * b * 2^-32 */
LCT_SAMPLER_FN uint32_t lct_mulhi_u32(uint32_t a, uint32_t b) { return (uint32_t)((uint64_t)a * b >> 32); }

/* exp((logit - max) / temperature) * 2^40, relative error below 2^-38 and half a unit; `scale` is lct_sampling_scale's. max is the
 * largest logit, of which neither is NaN. The largest weighs 2^40 even where it is infinite. */
LCT_SAMPLER_FN uint64_t lct_token_weight(const uint64_t *table, float max, float logit, double scale) {
  if (logit == max) return LCT_WEIGHT_ONE;
  double y = ((double)max - (double)logit) * scale;
  if (!(y < LCT_WEIGHT_BITS * 0x1p40)) return 0; /* or not a number: infinity times a scale of zero */
  uint64_t u = (uint64_t)(int64_t)y;
  /* 2^(-u/2^40) = 2^-n * table[i] * 2^(-f/2^40), f below 2^32; the last is exp(-a) with a = x/2^40, by its series up to a^4 */
  uint32_t n = (uint32_t)(u >> 40), i = (uint32_t)(u >> 32) & (LCT_WEIGHT_TABLE - 1);
  uint32_t x = lct_mulhi_u32((uint32_t)u, 0xb17217f8u);            /* ln 2 */
  uint32_t s = 0x2aaaaaabu - (lct_mulhi_u32(x, 0x0aaaaaabu) >> 8); /* 1/6 - a/24 */
  s = 0x80000000u - (lct_mulhi_u32(x, s) >> 8);                    /* 1/2 - a/6 + a^2/24 */
  s = x - (lct_mulhi_u32(x, lct_mulhi_u32(x, s)) >> 8);            /* (1 - exp(-a)) * 2^40 */
  uint64_t e = table[i];
  e -= (e >> 32) * s >> 8;
  return ((e >> (22 + n)) + 1) >> 1;
}

/* p * x / 2^53, rounded down; p < 2^53, x < 2^63 */
LCT_SAMPLER_FN uint64_t lct_part_53(uint64_t p, uint64_t x) { return lct_mulhi_u64(p, x) << 11 | p * x >> 53; }

#endif
