/* An inner chunk's bytes: cut out of a slot's rows, compressed, its CRC behind it. */
#include <stdlib.h>
#include <string.h>

#include "store/zarr_write_impl.h"

enum { ZSTD_LEVEL = 1 };

void lct_zarr_cut_make(const lct_zarr_meta *m, zarr_cut *cut) {
  *cut = (zarr_cut){.uniform = true, .slot_chunks = 1};
  cut->row_bytes = (size_t)lct_zarr_row_values(m) * lct_zarr_dtype_bytes(m->dtype);
  cut->chunk_bytes = lct_zarr_chunk_bytes(m);
  cut->packed_bytes = lct_codec_bound(cut->chunk_bytes) + CRC_BYTES;
  cut->piece_chunks = cut->packed_bytes < PIECE_BYTES ? PIECE_BYTES / cut->packed_bytes : 1;
  if (cut->piece_chunks > MAX_PIECE_CHUNKS) cut->piece_chunks = MAX_PIECE_CHUNKS;
  for (int i = 1; i < m->n_dims; i++) {
    cut->slot_chunks *= (size_t)(m->shard[i] / m->chunk[i]);
    if (m->chunk[i] != m->shape[i]) cut->cut_axis = i;
  }
  for (int i = 1; i <= cut->cut_axis; i++) {
    if (i < cut->cut_axis ? m->chunk[i] != 1 : m->shard[i] != m->shape[i]) cut->uniform = false;
  }
}

/* Where chunk i of a slot begins in every axis (0 in the first). */
static void chunk_begin(const lct_zarr_meta *m, size_t i, int64_t begin[LCT_ZARR_MAX_DIMS]) {
  begin[0] = 0;
  for (int axis = m->n_dims - 1; axis > 0; axis--) {
    size_t n = (size_t)(m->shard[axis] / m->chunk[axis]);
    begin[axis] = (int64_t)(i % n) * m->chunk[axis];
    i /= n;
  }
}

static size_t value_offset(const lct_zarr_meta *m, const int64_t at[LCT_ZARR_MAX_DIMS]) {
  size_t v = (size_t)at[0];
  for (int axis = 1; axis < m->n_dims; axis++) v = v * (size_t)m->shape[axis] + (size_t)at[axis];
  return v * lct_zarr_dtype_bytes(m->dtype);
}

/* Copies the box of the chunk, line by line of the last axis; what hangs over the shape's end is zero bytes. */
static void gather_box(const lct_zarr_meta *m, const int64_t begin[LCT_ZARR_MAX_DIMS], const unsigned char *rows, unsigned char *dst,
                       size_t bytes) {
  int last = m->n_dims - 1;
  int64_t count[LCT_ZARR_MAX_DIMS], in[LCT_ZARR_MAX_DIMS] = {0}, at[LCT_ZARR_MAX_DIMS];
  for (int i = 0; i < m->n_dims; i++) {
    count[i] = m->chunk[i];
    if (i > 0 && count[i] > m->shape[i] - begin[i]) count[i] = m->shape[i] - begin[i];
  }
  memset(dst, 0, bytes);
  for (;;) {
    size_t to = 0;
    for (int i = 0; i < m->n_dims; i++) {
      at[i] = begin[i] + in[i];
      to = to * (size_t)m->chunk[i] + (size_t)in[i];
    }
    memcpy(dst + to * lct_zarr_dtype_bytes(m->dtype), rows + value_offset(m, at), (size_t)count[last] * lct_zarr_dtype_bytes(m->dtype));
    int axis = last - 1;
    while (axis >= 0 && ++in[axis] == count[axis]) in[axis--] = 0;
    if (axis < 0) return;
  }
}

static lct_status cut_out(zarr_packer *p, const zarr_slot *slot, size_t i, lct_pieces *out, lct_error *err) {
  const lct_zarr_meta *m = &slot->out->meta;
  const zarr_cut *cut = &slot->out->cut;
  int64_t begin[LCT_ZARR_MAX_DIMS];
  if (cut->cut_axis == 0) {
    *out = (lct_pieces){slot->raw, 1, cut->chunk_bytes, cut->chunk_bytes};
    return LCT_OK;
  }
  chunk_begin(m, i, begin);
  if (cut->uniform) {
    *out = (lct_pieces){slot->raw + value_offset(m, begin), (size_t)m->chunk[0], cut->chunk_bytes / (size_t)m->chunk[0], cut->row_bytes};
    return LCT_OK;
  }
  if (p->cap < cut->chunk_bytes) {
    free(p->gather);
    p->gather = NULL;
    p->cap = 0;
    LCT_TRY(lct_alloc_aligned(&p->gather, cut->chunk_bytes, 1, "a chunk", err));
    p->cap = cut->chunk_bytes;
  }
  gather_box(m, begin, slot->raw, p->gather, cut->chunk_bytes);
  *out = (lct_pieces){p->gather, 1, cut->chunk_bytes, cut->chunk_bytes};
  return LCT_OK;
}

static lct_status pack_chunk(zarr_packer *p, const zarr_slot *slot, size_t i, unsigned char *dst, size_t *n, lct_error *err) {
  lct_pieces pieces;
  LCT_TRY(cut_out(p, slot, i, &pieces, err));
  if (slot->out->meta.codec == LCT_ZARR_BLOSC) {
    LCT_TRY(lct_blosc_encode(p->codec, &pieces, dst, n, err));
  } else {
    LCT_TRY(lct_zstd_encode(p->codec, &pieces, ZSTD_LEVEL, dst, n, err));
  }
  uint32_t crc = lct_crc32c(0, dst, *n);
  memcpy(dst + *n, &crc, CRC_BYTES);
  *n += CRC_BYTES;
  return LCT_OK;
}

lct_status lct_zarr_pack(zarr_packer *p, const zarr_slot *slot, zarr_piece *piece, lct_error *err) {
  piece->bytes = 0;
  for (size_t i = piece->begin; i < piece->end; i++) {
    size_t n = 0;
    LCT_TRY(pack_chunk(p, slot, i, piece->data + piece->bytes, &n, err));
    piece->chunk_bytes[i - piece->begin] = (uint32_t)n;
    piece->bytes += n;
  }
  return LCT_OK;
}
