/* Arrays between float and the 16-bit types: every element bit-equal to half.h's, whatever the machine's instruction set. */
#ifndef LCT_BASE_CONVERT_H
#define LCT_BASE_CONVERT_H

#include <stddef.h>
#include <stdint.h>

/* Round to nearest even. *n_saturated (may be NULL) grows by the number of finite values that became Inf. No overlap. */
void lct_f32_to_f16_array(const float *src, uint16_t *dst, size_t n, size_t *n_saturated);
void lct_f32_to_bf16_array(const float *src, uint16_t *dst, size_t n, size_t *n_saturated);
/* Exact. */
void lct_f16_to_f32_array(const uint16_t *src, float *dst, size_t n);
void lct_bf16_to_f32_array(const uint16_t *src, float *dst, size_t n);

/* The same, through one implementation: for tests. */
typedef enum { LCT_CONVERT_PORTABLE, LCT_CONVERT_F16C, LCT_CONVERT_AVX512, LCT_CONVERT_N } lct_convert_level;
/* The best level this machine has; every lower one works too. */
lct_convert_level lct_convert_best(void);
void lct_f32_to_f16_level(lct_convert_level l, const float *src, uint16_t *dst, size_t n, size_t *n_saturated);
void lct_f16_to_f32_level(lct_convert_level l, const uint16_t *src, float *dst, size_t n);

#endif
