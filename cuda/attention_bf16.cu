/* Instantiations of attention.cuh for bf16. */
#include "attention.cuh"

void lct_attn_launch_bf16(const lct_k_attn *a, const lct_k_tile *tiles, int n_tiles, bool deep, cudaStream_t stream) {
  attn_launch<lct_bf16>(a, tiles, n_tiles, deep, stream);
}
