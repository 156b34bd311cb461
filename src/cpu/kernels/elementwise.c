#include "cpu/kernels/kernels_decl.h"

/* x[0..dim) += y; returns the sum of squares. Four lanes-wide sums, added in a fixed order. */
static float add_sum_squares(float *x, const float *y, int dim) {
  vf s[4] = {{0}, {0}, {0}, {0}};
  int i = 0;
  for (; i + 4 * VL <= dim; i += 4 * VL) {
    for (int j = 0; j < 4; j++) {
      vf v = vload(x + i + j * VL);
      if (y != NULL) {
        v += vload(y + i + j * VL);
        vstore(x + i + j * VL, v);
      }
      s[j] += v * v;
    }
  }
  for (; i < dim; i += VL) {
    int n = dim - i < VL ? dim - i : VL;
    vf v = vload_part(x + i, n);
    if (y != NULL) {
      v += vload_part(y + i, n);
      vstore_part(x + i, v, n);
    }
    s[0] += v * v;
  }
  return vhsum((s[0] + s[1]) + (s[2] + s[3]));
}

static void scale_row(const float *x, const float *w, float inv, int dim, void *h, int64_t h0, bool bf16) {
  int i = 0;
  for (; i + VL <= dim; i += VL) vstore_as(h, h0 + i, vload(x + i) * inv * vload(w + i), bf16);
  if (i < dim) vstore_part_as(h, h0 + i, vload_part(x + i, dim - i) * inv * vload_part(w + i, dim - i), dim - i, bf16);
}

void LCT_K(lct_add_rmsnorm)(float *x, const float *y, const float *w, float eps, int64_t n, int dim, void *h, bool bf16) {
  for (int64_t r = 0; r < n; r++) {
    float *row = x + r * dim;
    float sum = add_sum_squares(row, y == NULL ? NULL : y + r * dim, dim);
    if (h != NULL) scale_row(row, w, 1.0f / sqrtf(sum / (float)dim + eps), dim, h, r * dim, bf16);
  }
}

INLINE vf silu(vf g) { return g / (1.0f + vexp(-g)); }

void LCT_K(lct_silu_mul)(const float *gu, int64_t n, int dim, void *act, bool bf16, bool mul) {
  for (int64_t r = 0; r < n; r++) {
    const float *gate = gu + r * 2 * dim, *up = gate + dim;
    int i = 0;
    for (; i + VL <= dim; i += VL) {
      vf a = silu(vload(gate + i));
      vstore_as(act, r * dim + i, mul ? a * vload(up + i) : a, bf16);
    }
    if (i < dim) {
      vf a = silu(vload_part(gate + i, dim - i));
      vstore_part_as(act, r * dim + i, mul ? a * vload_part(up + i, dim - i) : a, dim - i, bf16);
    }
  }
}

void LCT_K(lct_norm_rope)(const float *x, const float *norm, float eps, const float *cs, int d, float *tmp, float *out) {
  if (norm != NULL) {
    memcpy(tmp, x, (size_t)d * sizeof *tmp);
    float sum = add_sum_squares(tmp, NULL, d);
    scale_row(x, norm, 1.0f / sqrtf(sum / (float)d + eps), d, tmp, 0, false);
    x = tmp;
  }
  int half = d / 2;
  for (int i = 0; i < half; i++) {
    float c = cs[2 * i], s = cs[2 * i + 1], a = x[i], b = x[i + half];
    out[i] = a * c - b * s;
    out[i + half] = b * c + a * s;
  }
}

void LCT_K(lct_bf16_to_f32)(const uint16_t *x, int64_t n, float *out) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) vstore(out + i, vload_bf16(x + i));
  for (; i < n; i++) {
    uint32_t u = (uint32_t)x[i] << 16;
    memcpy(out + i, &u, 4);
  }
}

void LCT_K(lct_f32_to_bf16)(const float *x, int64_t n, uint16_t *out) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) vstore_bf16(out + i, vload(x + i));
  if (i < n) vstore_part_as(out, i, vload_part(x + i, (int)(n - i)), (int)(n - i), true);
}

static bool all_finite(const float *x, int64_t n) {
  vi bad = {0};
  int64_t i = 0;
  for (; i + VL <= n; i += VL) bad |= ((vi)vload(x + i) & 0x7f800000) == 0x7f800000;
  int any = 0;
  for (int j = 0; j < VL; j++) any |= bad[j];
  for (; i < n; i++) any |= !isfinite(x[i]);
  return any == 0;
}

int64_t LCT_K(lct_first_nonfinite)(const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i += 4096) {
    int64_t m = n - i < 4096 ? n - i : 4096;
    if (all_finite(x + i, m)) continue;
    for (int64_t j = i; j < i + m; j++) {
      if (!isfinite(x[j])) return j;
    }
  }
  return -1;
}

void LCT_K(lct_softmax)(float *x, int n) {
  float top = x[0];
  int i = 0;
  if (n >= VL) {
    vf m = vload(x);
    for (i = VL; i + VL <= n; i += VL) m = vmax(m, vload(x + i));
    top = vhmax(m);
  }
  for (; i < n; i++) top = x[i] > top ? x[i] : top;
  vf sum = {0};
  for (i = 0; i + VL <= n; i += VL) {
    vf p = vexp_neg(vload(x + i) - top);
    vstore(x + i, p);
    sum += p;
  }
  if (i < n) {
    float t[VL] = {0};
    vstore_part(t, vexp_neg(vload_part(x + i, n - i) - top), n - i);
    vstore_part(x + i, vload(t), n - i);
    sum += vload(t);
  }
  float inv = 1.0f / vhsum(sum);
  for (i = 0; i < n; i++) x[i] *= inv;
}
