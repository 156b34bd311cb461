/* Input: u32 length of a zarr.json, the zarr.json, shard 0. */
#include "fuzz_support.h"
#include "store/zarr_read_impl.h"

enum { MAX_VALUES = 1 << 18, MAX_CHUNK = 1 << 22, MAX_CHUNKS = 1 << 12 };

static void hear(void *ctx, const char *message) {
  FUZZ_CHECK(message[0] != '\0');
  (*(int64_t *)ctx)++;
}

/* All rows of the first shard, a box in the middle, rows backwards: each as far as the result is small. */
static void read_some(lct_zarr *z) {
  const lct_zarr_meta *m = lct_zarr_get_meta(z);
  lct_error err = {0};
  size_t item = lct_zarr_dtype_bytes(m->dtype);
  for (int kind = 0; kind < 3; kind++) {
    int64_t start[LCT_ZARR_MAX_DIMS], count[LCT_ZARR_MAX_DIMS], rows[3];
    int64_t n_values = 1;
    for (int d = 0; d < m->n_dims; d++) {
      int64_t size = d == 0 && m->shape[0] > m->shard[0] + 1 ? m->shard[0] + 1 : m->shape[d];
      start[d] = kind == 1 ? size / 3 : 0;
      count[d] = kind == 1 ? size - 2 * (size / 3) : d == 0 && kind == 2 ? 3 : size;
      if (__builtin_mul_overflow(n_values, count[d], &n_values) || n_values > MAX_VALUES) return;
    }
    for (int i = 0; i < 3; i++) rows[i] = m->shape[0] / (i + 1) - 1;
    if (m->shape[0] < 3) rows[0] = rows[1] = rows[2] = m->shape[0] - 1; /* of an empty array: outside */
    unsigned char *out = malloc((size_t)n_values * item + 1);
    FUZZ_CHECK(out != NULL);
    lct_status s = kind == 2 ? lct_zarr_read_rows(z, rows, 3, start, count, out, &err) : lct_zarr_read(z, start, count, out, &err);
    if (s != LCT_OK) fuzz_check_error(s, &err);
    else fuzz_use(fuzz_touch(out, (size_t)n_values * item));
    free(out);
  }
}

static void use(lct_zarr *z) {
  const lct_zarr_meta *m = lct_zarr_get_meta(z);
  lct_error err = {0};
  FUZZ_CHECK(lct_zarr_chunk_bytes(m) <= LCT_ZARR_MAX_READ_CHUNK);
  if (lct_zarr_chunk_bytes(m) > MAX_CHUNK || lct_zarr_shard_chunks(m) > MAX_CHUNKS) return; /* legal and slow */
  read_some(z);
  int64_t heard = 0, n_faults = -1;
  lct_status s = lct_zarr_verify(z, 0, lct_zarr_n_shards(m) > 0, NULL, hear, &heard, &n_faults, &err);
  if (s != LCT_OK) fuzz_check_error(s, &err);
  FUZZ_CHECK(s != LCT_OK || heard == n_faults);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  lct_error err = {0};
  uint32_t json = 0;
  if (n < sizeof json) return 0;
  memcpy(&json, data, sizeof json);
  data += sizeof json;
  n -= sizeof json;
  if (json > n) json = (uint32_t)n;
  lct_zarr_meta m;
  lct_buf attributes = {0}, again = {0};
  lct_status s = lct_zarr_meta_parse((const char *)data, json, "fuzz", &m, &attributes, &err);
  lct_zarr *z = NULL;
  if (s == LCT_OK) {
    lct_zarr_meta same;
    FUZZ_CHECK(lct_zarr_meta_print(&m, attributes.data, &again, &err) == LCT_OK);
    FUZZ_CHECK(lct_zarr_meta_parse(again.data, again.len, "again", &same, NULL, &err) == LCT_OK);
    FUZZ_CHECK(memcmp(&m, &same, sizeof m) == 0);
    s = lct_zarr_open_memory(&m, "fuzz", data + json, n - json, &z, &err);
  }
  if (s == LCT_OK) use(z);
  else fuzz_check_error(s, &err);
  lct_zarr_free(z);
  lct_buf_free(&attributes);
  lct_buf_free(&again);
  return 0;
}
