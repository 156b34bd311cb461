/* Pooled vectors and token files: against numpy (goldens by tests/oracle/gen_engine.py) and against the rows a pass showed, read
 * back from the .npz files. */
#include "engine_test.h"

#include "base/half.h"
#include "capture/files.h"
#include "capture/pool.h"
#include "store/npz.h"

enum { N_LAYERS = 3, HIDDEN = 48, N_Q = 48, N_KV = 24, N_ROWS = 50, LAST = 46 };

static const lct_config CONFIG = {
    .n_layers = N_LAYERS, .hidden = HIDDEN, .n_heads = 2, .n_kv_heads = 1, .head_dim = 24, .intermediate = 8, .vocab = 10};

/* The same floats as values() in gen_engine.py. */
static float *values(uint32_t seed, int rows, int width) {
  float *p = checked_calloc((size_t)rows * (size_t)width, sizeof *p);
  for (uint32_t i = 0; i < (uint32_t)(rows * width); i++) {
    uint32_t u = i + seed * 0x9E3779B9u;
    u = (u ^ (u >> 16)) * 0x7FEB352Du;
    u = (u ^ (u >> 15)) * 0x846CA68Bu;
    u ^= u >> 16;
    p[i] = (float)(u >> 8) * 0x1p-20f - 8.0f;
  }
  return p;
}

typedef struct {
  lct_buf file;
  const float *mean, *qkv_last; /* (N_LAYERS, HIDDEN), (N_LAYERS, N_KV) */
} golden;

static golden golden_open(void) {
  static const int32_t expected[] = {N_LAYERS, HIDDEN, N_Q, N_KV, N_ROWS};
  golden g = {0};
  lct_error err;
  assert_ok(lct_file_read(LCT_SOURCE_DIR "/tests/goldens/parity/capture.bin", 1 << 20, &g.file, &err));
  assert_int_equal(g.file.len, sizeof expected + N_LAYERS * (HIDDEN + N_KV) * sizeof(float));
  assert_memory_equal(g.file.data, expected, sizeof expected);
  g.mean = (const float *)(const void *)(g.file.data + sizeof expected);
  g.qkv_last = g.mean + N_LAYERS * HIDDEN;
  return g;
}

/* Shows (N_ROWS, width) in pieces of `step` rows, wider rows apart than they are long. */
static void show_in_pieces(lct_taker t, lct_source s, int layer, const float *data, int width, int step) {
  lct_error err;
  int64_t ld = width + 5;
  float *wide = checked_calloc((size_t)step * (size_t)ld, sizeof *wide);
  for (int row = 0; row < N_ROWS; row += step) {
    int n = N_ROWS - row < step ? N_ROWS - row : step;
    for (int i = 0; i < n; i++) memcpy(wide + i * ld, data + (row + i) * width, (size_t)width * sizeof *wide);
    assert_ok(t.rows(t.ctx, s, layer, row, n, wide, ld, &err));
  }
  free(wide);
}

static void assert_floats(const float *got, const float *want, size_t n, double tolerance) {
  for (size_t i = 0; i < n; i++) {
    if (fabs((double)got[i] - (double)want[i]) <= tolerance * (1 + fabs((double)want[i]))) continue;
    fail_msg("element %zu: %.9g, expected %.9g", i, (double)got[i], (double)want[i]);
  }
}

#define UNWRITTEN (-7.0f)
/* Items 0 and 2 of the first batch; item 1 in the second; item 3 in none. Item 2 has no text of its own. */
static void check_pool(int step) {
  static const lct_source sources[] = {LCT_SOURCE_HIDDEN_OUT, LCT_SOURCE_ATTN_OUT};
  /* prompts of 29, 1 and 2 tokens; their messages' own rows: [3, 9) and 20 and [33, 47); none; 7 */
  static const lct_kv_range paths[][4] = {{{1, 8}, {20, 1}, {33, 14}, {48, 2}}, {{0, 1}}, {{7, 2}}};
  static const lct_token_range content[] = {{2, 23}, {1, 1}, {0, 1}};
  static const int32_t n_paths[] = {4, 1, 1};
  lct_pool_entry entries[3][LCT_N_DEFAULT_POSITIONS];
  lct_arena arena = {0};
  lct_plane planes[2][N_LAYERS];
  lct_stream streams[2];
  golden g = golden_open();
  lct_pool *p = NULL;
  lct_error err;
  for (int i = 0; i < 3; i++) message_entries(paths[i], n_paths[i], content[i], &arena, entries[i]);
  const lct_pool_rows first[] = {{.item = 0, .entries = entries[0]}, {.item = 2, .entries = entries[1]}};
  const lct_pool_rows second[] = {{.item = 1, .entries = entries[2]}};
  for (int i = 0; i < 2; i++) streams[i] = lct_stream_of(sources[i], &CONFIG, planes[i]);
  assert_ok(lct_pool_new(NULL, streams, 2, LCT_N_DEFAULT_POSITIONS, &p, &err));
  assert_ok(lct_pool_reserve(p, 4, &err));
  for (size_t i = 0; i < (size_t)LCT_N_DEFAULT_POSITIONS * N_LAYERS * 4 * HIDDEN; i++) lct_pool_vectors(p, 0, 0, 0)[i] = UNWRITTEN;
  assert_int_equal(lct_pool_taker(p).sources, LCT_SOURCE_BIT(LCT_SOURCE_HIDDEN_OUT) | LCT_SOURCE_BIT(LCT_SOURCE_ATTN_OUT));
  for (int batch = 0; batch < 2; batch++) {
    lct_pool_begin(p, batch == 0 ? first : second, batch == 0 ? 2 : 1, N_ROWS);
    for (int l = 0; l < N_LAYERS; l++) {
      float *in = values(50, N_ROWS, HIDDEN), *out = values((uint32_t)l, N_ROWS, HIDDEN),
            *attn = values((uint32_t)(20 + l), N_ROWS, HIDDEN);
      show_in_pieces(lct_pool_taker(p), LCT_SOURCE_HIDDEN_IN, l, in, HIDDEN, step); /* not asked for: left alone */
      show_in_pieces(lct_pool_taker(p), LCT_SOURCE_ATTN_OUT, l, attn, HIDDEN, step);
      show_in_pieces(lct_pool_taker(p), LCT_SOURCE_HIDDEN_OUT, l, out, HIDDEN, step);
      const float *last = lct_pool_vectors(p, 0, LCT_AT_LAST, l), *attn_last = lct_pool_vectors(p, 1, LCT_AT_LAST, l);
      const float *content_last = lct_pool_vectors(p, 0, LCT_AT_CONTENT_LAST, l);
      const float *mean = lct_pool_vectors(p, 0, LCT_AT_CONTENT_MEAN, l);
      size_t bytes = HIDDEN * sizeof(float);
      assert_memory_equal(last, out + 49 * HIDDEN, bytes);
      assert_memory_equal(last + 2 * HIDDEN, out, bytes);
      assert_memory_equal(attn_last, attn + 49 * HIDDEN, bytes);
      assert_memory_equal(content_last, out + 46 * HIDDEN, bytes);
      assert_floats(mean, g.mean + l * HIDDEN, HIDDEN, 1e-7);
      if (batch == 1) {
        assert_memory_equal(last + HIDDEN, out + 8 * HIDDEN, bytes);
        assert_memory_equal(content_last + HIDDEN, out + 7 * HIDDEN, bytes);
        assert_memory_equal(mean + HIDDEN, out + 7 * HIDDEN, bytes); /* the mean of one row */
      }
      for (int i = 0; i < HIDDEN; i++) {
        assert_true(isnan(mean[2 * HIDDEN + i]) && isnan(content_last[2 * HIDDEN + i]) && last[3 * HIDDEN + i] == UNWRITTEN);
        if (batch == 0) assert_true(last[HIDDEN + i] == UNWRITTEN);
      }
      free(in);
      free(out);
      free(attn);
    }
  }
  lct_pool_free(p);
  lct_arena_free(&arena);
  lct_buf_free(&g.file);
}

static void test_pool(void **state) {
  (void)state;
  check_pool(N_ROWS);
  check_pool(1);
  check_pool(7);
}

static char *temp_dir(char dir[64]) {
  (void)snprintf(dir, 64, "/tmp/lct-capture-XXXXXX");
  assert_non_null(mkdtemp(dir));
  return dir;
}

static void remove_dir(const char *dir) {
  char command[128];
  (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
  assert_int_equal(system(command), 0);
}

/* Reads entry `name` and checks type and shape (dims end with -1). */
static float *read_entry(const lct_npz_reader *r, const char *name, lct_npy_dtype dtype, const int64_t *dims, int n_dims) {
  lct_error err;
  int64_t i = lct_npz_find(r, name);
  if (i < 0) fail_msg("no entry %s", name);
  const lct_npz_entry *e = lct_npz_entry_at(r, (size_t)i);
  assert_int_equal(e->dtype, dtype);
  assert_int_equal(e->n_dims, n_dims);
  for (int d = 0; d < n_dims; d++) assert_int_equal(e->dims[d], dims[d]);
  float *out = checked_calloc((size_t)lct_npz_n_elements(e), sizeof *out);
  assert_ok(lct_npz_read_f32(r, (size_t)i, out, &err));
  return out;
}

static lct_npz_reader *open_npz(const char *path) {
  lct_npz_reader *r = NULL;
  lct_error err;
  assert_ok(lct_npz_open(path, &r, &err));
  return r;
}

/* qkv_last, whose last token comes in the middle of a piece; the saturated values of a 16-bit file counted. */
static void test_qkv_last(void **state) {
  (void)state;
  char dir[64], path[96];
  golden g = golden_open();
  lct_error err;
  lct_files *f = NULL;
  static const unsigned char layers[N_LAYERS] = {1, 1, 1};
  const lct_segment seg = {.n_rows = N_ROWS};
  const lct_batch batch = {.n_rows = N_ROWS, .n_segments = 1, .n_slots = N_ROWS, .segments = &seg};
  const lct_row_range rows[] = {{0, 5}, {40, LAST - 39}};
  (void)snprintf(path, sizeof path, "%s/a.npz", temp_dir(dir));
  const lct_file_spec spec = {.path = path,
                              .qkv_last = true,
                              .sources = LCT_SOURCE_BIT(LCT_SOURCE_K),
                              .ranges = rows,
                              .n_ranges = 2,
                              .n_tokens = LAST - 34,
                              .n_keys = LAST - 34};
  assert_ok(lct_files_new(&CONFIG, LCT_STORE_F16, layers, NULL, &f, &err));
  assert_ok(lct_files_begin(f, &spec, 1, &batch, &err));
  assert_int_equal(lct_files_taker(f).sources, LCT_SOURCE_BIT(LCT_SOURCE_Q) | LCT_SOURCE_BIT(LCT_SOURCE_K) | LCT_SOURCE_BIT(LCT_SOURCE_V));
  for (int l = 0; l < N_LAYERS; l++) {
    for (int j = 0; j < 3; j++) {
      int width = j == 0 ? N_Q : N_KV;
      float *x = values((uint32_t)(100 + 10 * j + l), N_ROWS, width);
      if (j == 1) x[3 * N_KV] = 70000; /* beyond float16 */
      show_in_pieces(lct_files_taker(f), (lct_source)(LCT_SOURCE_Q + j), l, x, width, 20);
      free(x);
    }
  }
  lct_buf index = {0};
  assert_ok(lct_files_index(f, 0, &index, &err));
  assert_non_null(strstr(index.data, "\"layer_00/k\": {\"shape\": [1, 12, 24], \"dtype\": \"float16\"}"));
  assert_non_null(strstr(index.data, "\"qkv_last\": {\"shape\": [3, 24], \"dtype\": \"float32\"}"));
  lct_buf_free(&index);
  assert_int_equal(lct_files_bytes(f), 3 * 12 * 24 * 2 + 3 * 24 * 4);
  assert_false(lct_path_exists(path));
  assert_ok(lct_files_finish(f, &err));
  assert_int_equal(lct_files_saturated(f), N_LAYERS);
  lct_npz_reader *r = open_npz(path);
  assert_int_equal(lct_npz_n_entries(r), N_LAYERS + 1);
  float *qkv = read_entry(r, "qkv_last", LCT_NPY_F32, (const int64_t[]){N_LAYERS, N_KV}, 2);
  assert_floats(qkv, g.qkv_last, N_LAYERS * N_KV, 1e-6);
  free(qkv);
  lct_npz_close(r);
  lct_files_free(f);
  remove_dir(dir);
  lct_buf_free(&g.file);
}

static float stored(float x, lct_store_dtype t) { return t == LCT_STORE_F16 ? lct_f16_to_f32(lct_f32_to_f16(x)) : x; }

/* Source s of one file against the rows that were shown. */
static void check_entry(const lct_npz_reader *r, const shown *k, const lct_plan *p, int seq, lct_source s, int layer, lct_store_dtype t) {
  char name[32];
  int n = lct_plan_seq_len(p, seq), heads = shown_heads(k, s), full = s == LCT_SOURCE_ATTN_WEIGHTS ? n : lct_source_width(s, k->c);
  if (lct_source_is_global(s)) (void)snprintf(name, sizeof name, "%s", lct_source_name(s));
  else (void)snprintf(name, sizeof name, "layer_%02d/%s", layer, lct_source_name(s));
  const int64_t square[] = {1, heads, n, n}, rows[] = {1, n, full};
  bool attn = s == LCT_SOURCE_ATTN_WEIGHTS;
  float *got = read_entry(r, name, t == LCT_STORE_F16 ? LCT_NPY_F16 : LCT_NPY_F32, attn ? square : rows, attn ? 4 : 3);
  for (int h = 0; h < heads; h++) {
    for (int pos = 0; pos < n; pos++) {
      int width = 0;
      const float *want = shown_row(k, s, layer, lct_plan_seq_row(p, seq, pos), h, &width), *row = got + (h * n + pos) * full;
      for (int i = 0; i < full; i++) {
        float w = i < width ? stored(want[i], t) : 0.0f; /* behind the diagonal */
        if (row[i] == w) continue;
        fail_msg("%s of sequence %d, head %d, token %d, element %d: %g, expected %g", name, seq, h, pos, i, (double)row[i], (double)w);
      }
    }
  }
  free(got);
}

/* A trie of three sequences through the tiny model into files. */
static void check_files(lct_store_dtype t) {
  static const unsigned char layers[] = {1, 0, 0, 1};
  static const int32_t ids[3][80] = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {1, 2, 3, 4, 5, 6, 11, 12}, {1, 2, 3}};
  static const int32_t lengths[] = {70, 8, 3};
  char dir[64], paths[3][96];
  lct_error err;
  tiny m = tiny_make("tiny-qwen2", 3);
  lct_engine *e = open_engine(m.model, LCT_PRECISION_EXACT, 2);
  lct_plan *p = plan_of((const int32_t *const[]){ids[0], ids[1], ids[2]}, lengths, 3, 4096);
  const lct_batch *b = lct_plan_batch(p, 0);
  shown k = shown_new(&m.model->config, b);
  lct_files *files = NULL;
  lct_file_spec specs[3];
  lct_row_range *rows[3];
  (void)temp_dir(dir);
  for (int i = 0; i < 3; i++) { /* the second file holds all but v and the logits */
    (void)snprintf(paths[i], sizeof paths[i], "%s/%d.npz", dir, i);
    uint32_t without = i == 1 ? LCT_SOURCE_BIT(LCT_SOURCE_V) | LCT_SOURCE_BIT(LCT_SOURCE_LOGITS) : 0;
    specs[i] = (lct_file_spec){.path = paths[i],
                               .sources = ALL_SOURCES & ~without,
                               .qkv_last = i == 1,
                               .n_tokens = lengths[i],
                               .n_keys = lengths[i]};
    specs[i].ranges = rows[i] = seq_rows(p, i, &specs[i].n_ranges);
  }
  assert_ok(lct_files_new(&m.model->config, t, layers, NULL, &files, &err));
  assert_ok(lct_files_begin(files, specs, 3, b, &err));
  const lct_taker takers[] = {shown_taker(&k, ALL_SOURCES), lct_files_taker(files)};
  lct_pass pass = {.batch = b};
  for (int i = 0; i < 2; i++) assert_ok(lct_pass_add(&pass, &takers[i], &err));
  assert_ok(lct_pass_run(e, &pass, &err));
  assert_ok(lct_files_finish(files, &err));
  assert_int_equal(lct_files_saturated(files), 0);
  for (int i = 0; i < 3; i++) {
    lct_npz_reader *r = open_npz(paths[i]);
    size_t n = 0;
    for (int s = 0; s < LCT_N_SOURCES; s++) {
      if ((specs[i].sources & LCT_SOURCE_BIT(s)) == 0) continue;
      bool global = lct_source_is_global((lct_source)s);
      for (int l = 0; l < (global ? 1 : 4); l++) {
        if (!global && !layers[l]) continue;
        check_entry(r, &k, p, i, (lct_source)s, l, t);
        n++;
      }
    }
    assert_int_equal(lct_npz_n_entries(r), n + (i == 1));
    lct_npz_close(r);
  }
  for (int i = 0; i < 3; i++) free(rows[i]);
  lct_files_free(files);
  shown_free(&k);
  lct_plan_free(p);
  lct_engine_free(e);
  tiny_remove(&m);
  remove_dir(dir);
}

static void test_files(void **state) {
  (void)state;
  check_files(LCT_STORE_F16);
  check_files(LCT_STORE_F32);
  check_files(LCT_STORE_BF16); /* as float32, like Activation Lab */
}

/* A pass that stops in the middle leaves nothing under the files' names. */
static void test_unfinished(void **state) {
  (void)state;
  char dir[64], path[96], tmp[104];
  lct_error err;
  lct_files *f = NULL;
  static const unsigned char layers[N_LAYERS] = {1, 1, 1};
  const lct_segment seg = {.n_rows = N_ROWS};
  const lct_batch batch = {.n_rows = N_ROWS, .n_segments = 1, .n_slots = N_ROWS, .segments = &seg};
  const lct_row_range rows = {0, N_ROWS};
  (void)snprintf(path, sizeof path, "%s/a.npz", temp_dir(dir));
  (void)snprintf(tmp, sizeof tmp, "%s.tmp", path);
  const lct_file_spec spec =
      {.path = path, .sources = LCT_SOURCE_BIT(LCT_SOURCE_K), .ranges = &rows, .n_ranges = 1, .n_tokens = N_ROWS, .n_keys = N_ROWS};
  float *x = values(1, N_ROWS, N_KV);
  for (int finish = 0; finish < 2; finish++) {
    assert_ok(lct_files_new(&CONFIG, LCT_STORE_F32, layers, NULL, &f, &err));
    assert_ok(lct_files_begin(f, &spec, 1, &batch, &err));
    show_in_pieces(lct_files_taker(f), LCT_SOURCE_K, 0, x, N_KV, 50);
    if (finish) assert_int_not_equal(lct_files_finish(f, &err), LCT_OK); /* layers 1 and 2 are missing */
    lct_files_free(f);
    assert_false(lct_path_exists(path));
    assert_false(lct_path_exists(tmp));
  }
  free(x);
  remove_dir(dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_pool), cmocka_unit_test(test_qkv_last), cmocka_unit_test(test_files),
                                     cmocka_unit_test(test_unfinished)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
