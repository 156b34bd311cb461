/* What an array is: sizes, checks, the text of its zarr.json (read by zarr-python and tensorstore: tests/oracle/check_store.py). */
#include "test_support.h"

#include "store/zarr.h"

static const lct_zarr_meta POOLED = {
    LCT_ZARR_F16, LCT_ZARR_BLOSC, 4, {1000, 2, 3, 64}, {256, 2, 3, 64}, {64, 1, 1, 64}, {"row", "", "layer", "hidden"}};

static void test_sizes(void **state) {
  (void)state;
  lct_error err;
  lct_buf path = {0};
  lct_zarr_meta m = POOLED;
  assert_ok(lct_zarr_check(&m, "pooled", &err));
  assert_int_equal(lct_zarr_row_values(&m), 384);
  assert_int_equal(lct_zarr_chunk_bytes(&m), 8192);
  assert_int_equal(lct_zarr_shard_chunks(&m), 24);
  assert_int_equal(lct_zarr_n_shards(&m), 4);
  m.shape[0] = 1024;
  assert_int_equal(lct_zarr_n_shards(&m), 4);
  m.shape[0] = 0;
  assert_ok(lct_zarr_check(&m, "pooled", &err));
  assert_int_equal(lct_zarr_n_shards(&m), 0);
  assert_ok(lct_zarr_shard_path(&m, "store/", "pooled/x", 12, &path, &err));
  assert_string_equal(path.data, "store/pooled/x/c/12/0/0/0");
  m.n_dims = 1;
  assert_ok(lct_zarr_shard_path(&m, "store", "ids", 3, &path, &err));
  assert_string_equal(path.data, "store/ids/c/3");
  assert_int_equal(lct_zarr_row_values(&m), 1);
  lct_buf_free(&path);
  static const size_t BYTES[] = {1, 2, 2, 4, 4, 8, 8};
  for (int t = 0; t < LCT_ZARR_N_DTYPES; t++) assert_int_equal(lct_zarr_dtype_bytes((lct_zarr_dtype)t), BYTES[t]);
  assert_string_equal(lct_zarr_dtype_name(LCT_ZARR_U16), "uint16");
}

static void refuse(const lct_zarr_meta *m, const char *message) {
  lct_error err;
  assert_fails(lct_zarr_check(m, "a", &err), LCT_E_FORMAT, message);
}

static void test_checks(void **state) {
  (void)state;
  lct_zarr_meta m = POOLED;
  m.n_dims = 9;
  refuse(&m, "a: 9 axes, expected 1 to 8");
  m.n_dims = 0;
  refuse(&m, "a: 0 axes, expected 1 to 8");
  m = POOLED, m.dtype = LCT_ZARR_N_DTYPES;
  refuse(&m, "a: no data type");
  m = POOLED, m.dtype = LCT_ZARR_F32;
  refuse(&m, "a: the codec does not take float32");
  m = POOLED, m.shape[0] = -1;
  refuse(&m, "a: axis 0: shape -1, shards of 256, chunks of 64");
  m = POOLED, m.shape[2] = 0;
  refuse(&m, "a: axis 2: shape 0, shards of 3, chunks of 1");
  m = POOLED, m.chunk[0] = 0;
  refuse(&m, "a: axis 0: shape 1000, shards of 256, chunks of 0");
  m = POOLED, m.chunk[0] = 60;
  refuse(&m, "a: axis 0: shards of 256 are not whole chunks of 60");
  m = POOLED, m.shard[2] = 2;
  refuse(&m, "a: axis 2: shards of 2 for 3 in chunks of 1: only the first axis is cut into shards");
  m = POOLED, m.shard[2] = 4;
  refuse(&m, "a: axis 2: shards of 4 for 3 in chunks of 1: only the first axis is cut into shards");
  m = POOLED, m.dim_names[1][3] = '"', memset(m.dim_names[1], 'x', 3);
  refuse(&m, "a: the name of axis 1 is not plain ASCII of less than 32 characters");
  m = POOLED, memset(m.dim_names[1], 'x', sizeof m.dim_names[1]);
  refuse(&m, "a: the name of axis 1 is not plain ASCII of less than 32 characters");
}

static void test_limits(void **state) {
  (void)state;
  static const char TOO_LARGE[] = "a: a shard has at most 2^48 bytes and 2^31 chunks, a chunk at most 2^29 bytes";
  lct_error err;
  lct_zarr_meta m = POOLED;
  m.chunk[0] = m.shard[0] = 1 << 22;
  assert_ok(lct_zarr_check(&m, "a", &err)); /* 2^29 bytes */
  m.chunk[0] = m.shard[0] = (1 << 22) + 1;
  refuse(&m, TOO_LARGE);
  m = POOLED, m.shard[0] = (int64_t)64 << 36;
  refuse(&m, TOO_LARGE);
  m = POOLED, m.shape[3] = m.shard[3] = m.chunk[3] = (int64_t)1 << 40;
  refuse(&m, TOO_LARGE);
  m = POOLED, m.shape[0] = INT64_MAX;
  refuse(&m, "a: 9223372036854775807 rows are more bytes than can be counted");
}

static void test_print(void **state) {
  (void)state;
  lct_error err;
  lct_buf b = {0};
  assert_ok(lct_zarr_meta_print(&POOLED, "{\"model\": \"q\"}", &b, &err));
  assert_string_equal(b.data,
                      "{\n"
                      "  \"zarr_format\": 3,\n"
                      "  \"node_type\": \"array\",\n"
                      "  \"shape\": [1000, 2, 3, 64],\n"
                      "  \"data_type\": \"float16\",\n"
                      "  \"chunk_grid\": {\"name\": \"regular\", \"configuration\": {\"chunk_shape\": [256, 2, 3, 64]}},\n"
                      "  \"chunk_key_encoding\": {\"name\": \"default\", \"configuration\": {\"separator\": \"/\"}},\n"
                      "  \"fill_value\": \"NaN\",\n"
                      "  \"codecs\": [{\"name\": \"sharding_indexed\", \"configuration\": {\n"
                      "    \"chunk_shape\": [64, 1, 1, 64],\n"
                      "    \"codecs\": [\n"
                      "      {\"name\": \"bytes\", \"configuration\": {\"endian\": \"little\"}},\n"
                      "      {\"name\": \"blosc\", \"configuration\": {\"typesize\": 2, \"cname\": \"zstd\", \"clevel\": 1, \"shuffle\": "
                      "\"shuffle\", \"blocksize\": 0}},\n"
                      "      {\"name\": \"crc32c\"}\n"
                      "    ],\n"
                      "    \"index_codecs\": [\n"
                      "      {\"name\": \"bytes\", \"configuration\": {\"endian\": \"little\"}},\n"
                      "      {\"name\": \"crc32c\"}\n"
                      "    ],\n"
                      "    \"index_location\": \"end\"\n"
                      "  }}],\n"
                      "  \"dimension_names\": [\"row\", null, \"layer\", \"hidden\"],\n"
                      "  \"attributes\": {\"model\": \"q\"},\n"
                      "  \"storage_transformers\": []\n"
                      "}\n");
  b.len = 0;
  const lct_zarr_meta bytes = {LCT_ZARR_I8, LCT_ZARR_ZSTD, 1, {5}, {4}, {2}, {""}};
  assert_ok(lct_zarr_meta_print(&bytes, NULL, &b, &err));
  assert_non_null(strstr(b.data, "\"fill_value\": 0,"));
  assert_non_null(strstr(b.data,
                         "\"codecs\": [\n      {\"name\": \"bytes\"},\n      {\"name\": \"zstd\", \"configuration\": {\"level\": 1, "
                         "\"checksum\": false}},\n      {\"name\": \"crc32c\"}\n"));
  assert_non_null(strstr(b.data, "\"attributes\": {},"));
  assert_null(strstr(b.data, "dimension_names"));
  assert_int_equal(lct_zarr_meta_print(&bytes, "{", &b, &err), LCT_E_FORMAT);
  assert_fails(lct_zarr_group_print("[1]", &b, &err), LCT_E_USAGE, "attributes: not a JSON object");
  lct_buf_free(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sizes),
      cmocka_unit_test(test_checks),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_print),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
