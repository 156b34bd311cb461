/* Prefill attention: the launcher. The kernel is in attention.cuh. */
#include "attention.cuh"
#include "vec.cuh"

static lct_status check_shape(lct_dtype t, const lct_k_attn *a, int n_tiles, lct_error *err) {
  const lct_k_heads *s = &a->s;
  if (t != LCT_DTYPE_F16 && t != LCT_DTYPE_BF16) return lct_fail(err, LCT_E_UNSUPPORTED, "attention: queries must be f16 or bf16");
  if (s->head_dim != 32 && s->head_dim != 64 && s->head_dim != 96 && s->head_dim != 128 && s->head_dim != 256) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "attention: head_dim %d; the GPU can do 32, 64, 96, 128, 256", s->head_dim);
  }
  if (s->n_kv_heads < 1 || s->n_heads < 1 || s->n_heads % s->n_kv_heads != 0 || s->n_heads / s->n_kv_heads > LCT_ATTN_MAX_GROUP) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "attention: %d heads, %d KV heads; heads must be a multiple, at most %d times as many",
                    s->n_heads, s->n_kv_heads, LCT_ATTN_MAX_GROUP);
  }
  if (!(a->scale > 0)) return lct_fail(err, LCT_E_UNSUPPORTED, "attention: scale %g is not positive", (double)a->scale);
  if (n_tiles > INT32_MAX / s->n_kv_heads) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "attention: %d query tiles of %d KV heads are too many for a launch", n_tiles, s->n_kv_heads);
  }
  return LCT_OK;
}

/* Two buffers each of K and V at head_dim 128 take 65 KiB: worth it where at least two blocks fit an SM (not on sm_86 and sm_89). */
static bool fits_twice(void) {
  int device = 0, bytes = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return false;
  if (cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device) != cudaSuccess) return false;
  return bytes >= 2 * (attn_layout<128, 2>::BYTES + 1024);
}

lct_status lct_k_attention_variant(lct_dtype t, const lct_k_attn *a, const lct_k_tile *tiles, int n_tiles, bool deep, cudaStream_t stream,
                                   lct_error *err) {
  LCT_TRY(check_shape(t, a, n_tiles, err));
  if (n_tiles == 0) return LCT_OK;
  if (t == LCT_DTYPE_F16) lct_attn_launch_f16(a, tiles, n_tiles, deep, stream);
  else lct_attn_launch_bf16(a, tiles, n_tiles, deep, stream);
  return lct_check_launch("attention", err);
}

lct_status lct_k_attention(lct_dtype t, const lct_k_attn *a, const lct_k_tile *tiles, int n_tiles, cudaStream_t stream, lct_error *err) {
  return lct_k_attention_variant(t, a, tiles, n_tiles, a->s.head_dim == 128 && fits_twice(), stream, err);
}
