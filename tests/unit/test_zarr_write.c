/* The writer of sharded arrays: what it writes taken apart by hand, the same bytes for any number of threads, resumed, and failing. */
#include <sys/stat.h>

#include "fullfs.h"
#include "store_test.h"
#include "threads_support.h"

enum { N_ARRAYS = 5 };
static const char *const NAMES[N_ARRAYS] = {"tokens/hidden_out", "tokens/ids", "a/b/odd", "scores", "many"};
static const lct_zarr_meta METAS[N_ARRAYS] = {
    {LCT_ZARR_F16, LCT_ZARR_BLOSC, 3, {0, 3, 80}, {64, 3, 80}, {16, 1, 80}, {"token", "layer", "hidden"}},
    {LCT_ZARR_I32, LCT_ZARR_ZSTD, 1, {0}, {64}, {32}, {"token"}},
    {LCT_ZARR_U16, LCT_ZARR_BLOSC, 3, {0, 5, 7}, {32, 6, 9}, {8, 2, 3}, {""}},
    {LCT_ZARR_F32, LCT_ZARR_ZSTD, 3, {0, 2, 40}, {16, 2, 40}, {16, 2, 20}, {""}},
    {LCT_ZARR_F16, LCT_ZARR_BLOSC, 2, {0, 299}, {16, 300}, {8, 2}, {""}}, /* more chunks a slot than are compressed at a time */
};

typedef struct {
  char text[4096]; /* "array shard bytes\n" of every shard told */
  int fail_at;     /* the shard of the first array at which to fail; 0: none */
} told;

static lct_status tell(void *ctx, const char *array, int64_t shard, int64_t bytes, lct_error *err) {
  told *t = ctx;
  size_t n = strlen(t->text);
  (void)snprintf(t->text + n, sizeof t->text - n, "%s %lld %lld\n", array, (long long)shard, (long long)bytes);
  if (t->fail_at > 0 && shard >= t->fail_at) return lct_fail(err, LCT_E_IO, "the journal is full at shard %d", t->fail_at);
  return LCT_OK;
}

typedef struct {
  int threads;
  int64_t rows, from, step;
  size_t budget;
  lct_fsync fsync;
  bool stop; /* freed without finish */
  told *told;
} plan;

static lct_status begin(const char *dir, const plan *p, lct_zarr_writer **w, lct_zarr_out *outs[N_ARRAYS], lct_error *err) {
  lct_zarr_write_options o = {.threads = test_threads(p->threads), .budget_bytes = p->budget, .fsync = p->fsync};
  if (p->told != NULL) o.on_shard = tell, o.ctx = p->told;
  LCT_TRY(lct_zarr_writer_new(dir, &o, w, err));
  for (int i = 0; i < N_ARRAYS; i++) {
    LCT_TRY(lct_zarr_writer_add(*w, NAMES[i], &METAS[i], i == 1 ? "{\"unit\": \"token\"}" : NULL, p->from, &outs[i], err));
  }
  return LCT_OK;
}

/* All arrays get the rows [p->from, p->rows), in turns. */
static lct_status write_store(const char *dir, const plan *p, lct_error *err) {
  lct_zarr_writer *w = NULL;
  lct_zarr_out *outs[N_ARRAYS];
  lct_status s = begin(dir, p, &w, outs, err);
  int64_t turn = p->step > 0 ? p->step : 5;
  for (int64_t row = p->from; row < p->rows && s == LCT_OK; row += turn) {
    int64_t to = row + turn < p->rows ? row + turn : p->rows;
    for (int i = 0; i < N_ARRAYS && s == LCT_OK; i++) s = store_put(outs[i], &METAS[i], (uint64_t)i, row, to, turn, err);
  }
  if (s == LCT_OK && !p->stop) s = lct_zarr_writer_finish(w, err);
  lct_zarr_writer_free(w);
  return s;
}

static const plan PLAIN = {.threads = 1, .rows = 210, .fsync = LCT_FSYNC_OFF};

static lct_buf read_file(const char *path) {
  lct_buf b = {0};
  lct_error err;
  assert_ok(lct_file_read(path, 1 << 26, &b, &err));
  return b;
}

/* One inner chunk against the values it must have; rows behind `rows` are zero, and so is what hangs over an axis's end. */
static void check_chunk(const lct_zarr_meta *m, uint64_t seed, int64_t rows, const int64_t begin_at[3], const unsigned char *data) {
  size_t item = lct_zarr_dtype_bytes(m->dtype), at = 0;
  int64_t n1 = m->n_dims > 1 ? m->chunk[1] : 1, n2 = m->n_dims > 2 ? m->chunk[2] : 1;
  int64_t d1 = m->n_dims > 1 ? m->shape[1] : 1, d2 = m->n_dims > 2 ? m->shape[2] : 1;
  for (int64_t r = begin_at[0]; r < begin_at[0] + m->chunk[0]; r++) {
    for (int64_t i = begin_at[1]; i < begin_at[1] + n1; i++) {
      for (int64_t j = begin_at[2]; j < begin_at[2] + n2; j++, at += item) {
        uint64_t want = r < rows && i < d1 && j < d2 ? store_value(m, seed, (r * d1 + i) * d2 + j) : 0;
        assert_memory_equal(data + at, &want, item);
      }
    }
  }
}

static void check_shard(lct_codec *c, const char *dir, int array, int64_t shard, int64_t rows) {
  const lct_zarr_meta *m = &METAS[array];
  lct_error err;
  lct_buf path = {0};
  assert_ok(lct_zarr_shard_path(m, dir, NAMES[array], shard, &path, &err));
  lct_buf f = read_file(path.data);
  size_t n = (size_t)lct_zarr_shard_chunks(m), index = f.len - n * 16 - 4, at = 0, raw = lct_zarr_chunk_bytes(m);
  assert_int_equal(store_u32(f.data + f.len - 4), lct_crc32c(0, f.data + index, n * 16));
  int64_t n2 = m->n_dims > 2 ? m->shard[2] / m->chunk[2] : 1, n1 = m->n_dims > 1 ? m->shard[1] / m->chunk[1] : 1;
  unsigned char *data = malloc(raw);
  assert_non_null(data);
  for (size_t i = 0; i < n; i++) {
    uint64_t offset = store_u64(f.data + index + 16 * i), bytes = store_u64(f.data + index + 16 * i + 8);
    int64_t k = (int64_t)i, b[3] = {0, k / n2 % n1, k % n2};
    b[0] = shard * m->shard[0] + k / n2 / n1 * m->chunk[0];
    if (m->n_dims > 1) b[1] *= m->chunk[1];
    if (m->n_dims > 2) b[2] *= m->chunk[2];
    if (b[0] >= rows) {
      assert_true(offset == UINT64_MAX && bytes == UINT64_MAX);
      continue;
    }
    assert_int_equal(offset, at); /* in index order, without gaps */
    at += bytes;
    assert_int_equal(store_u32(f.data + at - 4), lct_crc32c(0, f.data + offset, bytes - 4));
    if (m->codec == LCT_ZARR_BLOSC) assert_ok(lct_blosc_decode(c, f.data + offset, bytes - 4, data, raw, &err));
    if (m->codec == LCT_ZARR_ZSTD) assert_ok(lct_zstd_decode(c, f.data + offset, bytes - 4, data, raw, &err));
    check_chunk(m, (uint64_t)array, rows, b, data);
  }
  assert_int_equal(at, index);
  free(data);
  lct_buf_free(&f);
  lct_buf_free(&path);
}

static void test_content(void **state) {
  (void)state;
  lct_error err;
  lct_codec *c;
  assert_ok(lct_codec_new(&c, &err));
  plan p = PLAIN;
  assert_ok(write_store(in_store("content"), &p, &err));
  for (int i = 0; i < N_ARRAYS; i++) {
    lct_zarr_meta m = METAS[i];
    m.shape[0] = p.rows;
    for (int64_t s = 0; s < lct_zarr_n_shards(&m); s++) check_shard(c, in_store("content"), i, s, p.rows);
    char path[64];
    lct_buf want = {0}, got = read_file(in_store((snprintf(path, sizeof path, "content/%s/zarr.json", NAMES[i]), path)));
    assert_ok(lct_zarr_meta_print(&m, i == 1 ? "{\"unit\": \"token\"}" : NULL, &want, &err));
    assert_string_equal(got.data, want.data);
    lct_buf_free(&want);
    lct_buf_free(&got);
  }
  static const char *const GROUPS[] = {"content/zarr.json", "content/tokens/zarr.json", "content/a/zarr.json", "content/a/b/zarr.json"};
  for (size_t i = 0; i < 4; i++) {
    lct_buf got = read_file(in_store(GROUPS[i]));
    assert_string_equal(got.data, "{\n  \"zarr_format\": 3,\n  \"node_type\": \"group\",\n  \"attributes\": {}\n}\n");
    lct_buf_free(&got);
  }
  lct_codec_free(c);
}

static void test_same_bytes(void **state) {
  (void)state;
  lct_error err;
  told want = {0};
  plan p = PLAIN;
  p.told = &want;
  assert_ok(write_store(in_store("one"), &p, &err));
  char *tree = store_tree(in_store("one"));
  static const plan OTHERS[] = {
      {.threads = 2, .rows = 210, .step = 1, .fsync = LCT_FSYNC_SHARD},
      {.threads = 4, .rows = 210, .step = 64, .budget = 1 << 24, .fsync = LCT_FSYNC_END},
      {.threads = 4, .rows = 210, .step = 210, .fsync = LCT_FSYNC_OFF},
      {.threads = 0, .rows = 210, .step = 33, .budget = 1 << 18, .fsync = LCT_FSYNC_OFF},
  };
  for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++) {
    p = OTHERS[i];
    assert_ok(write_store(in_store("other"), &p, &err));
    char *other = store_tree(in_store("other"));
    assert_string_equal(other, tree);
    free(other);
    store_remove(in_store("other"));
  }
  free(tree);
  assert_non_null(strstr(want.text, "tokens/hidden_out 0 "));
  assert_non_null(strstr(want.text, "scores 13 "));
}

/* Shards of one array are told in order, each once it stands there with the bytes told. */
static void test_told(void **state) {
  (void)state;
  lct_error err;
  told t = {0};
  plan p = PLAIN;
  p.threads = 3, p.told = &t;
  assert_ok(write_store(in_store("told"), &p, &err));
  int64_t next[N_ARRAYS] = {0};
  int n = 0;
  for (char *line = strtok(t.text, "\n"); line != NULL; line = strtok(NULL, "\n"), n++) {
    char name[64];
    long long shard, bytes;
    assert_int_equal(sscanf(line, "%63s %lld %lld", name, &shard, &bytes), 3);
    int a = 0;
    while (strcmp(NAMES[a], name) != 0) a++;
    assert_int_equal(shard, next[a]++);
    lct_buf path = {0};
    struct stat st;
    assert_ok(lct_zarr_shard_path(&METAS[a], in_store("told"), name, shard, &path, &err));
    assert_int_equal(stat(path.data, &st), 0);
    assert_int_equal(st.st_size, bytes);
    lct_buf_free(&path);
  }
  assert_int_equal(n, 4 + 4 + 7 + 14 + 14);
}

/* Stopped in the middle: whole shards stay, nothing else but folders; going on from them gives the bytes of an unbroken run. */
static void test_resume(void **state) {
  (void)state;
  lct_error err;
  plan p = PLAIN;
  p.threads = 2;
  assert_ok(write_store(in_store("whole"), &p, &err));
  char *want = store_tree(in_store("whole"));
  p.rows = 150, p.stop = true;
  assert_ok(write_store(in_store("broken"), &p, &err));
  char *left = store_tree(in_store("broken"));
  assert_non_null(strstr(left, "/tokens/ids/c/1 "));
  assert_null(strstr(left, "/tokens/ids/c/2 "));
  assert_null(strstr(left, "partial"));
  assert_null(strstr(left, "zarr.json"));
  free(left);
  p = PLAIN;
  p.threads = 2, p.from = 128;
  lct_buf stale = {0}; /* what kill -9 leaves */
  assert_ok(lct_buf_puts(&stale, "half a shard", &err));
  assert_ok(lct_mkdirs(in_store("broken/tokens/ids/c"), &err));
  assert_ok(lct_file_write_atomic(in_store("broken/tokens/ids/c/2.partial"), stale.data, stale.len, &err));
  assert_ok(lct_file_write_atomic(in_store("broken/tokens/ids/c/3"), stale.data, stale.len, &err));
  assert_ok(lct_file_write_atomic(in_store("broken/tokens/ids/c/0.partial"), stale.data, stale.len, &err)); /* of a shard that stands */
  lct_buf_free(&stale);
  assert_ok(write_store(in_store("broken"), &p, &err));
  char *got = store_tree(in_store("broken"));
  assert_string_equal(got, want);
  free(got);
  free(want);
}

static void test_empty(void **state) {
  (void)state;
  lct_error err;
  plan p = PLAIN;
  p.rows = 0;
  assert_ok(write_store(in_store("empty"), &p, &err));
  char *tree = store_tree(in_store("empty"));
  assert_null(strstr(tree, "/c/"));
  lct_buf json = read_file(in_store("empty/tokens/ids/zarr.json"));
  assert_non_null(strstr(json.data, "\"shape\": [0]"));
  lct_buf_free(&json);
  free(tree);
  lct_zarr_writer *w = NULL; /* a group without arrays */
  assert_ok(lct_zarr_writer_new(in_store("bare/"), &(lct_zarr_write_options){0}, &w, &err));
  assert_ok(lct_zarr_writer_finish(w, &err));
  lct_zarr_writer_free(w);
  lct_zarr_writer_free(NULL);
  assert_true(lct_path_exists(in_store("bare/zarr.json")));
}

static void test_stats(void **state) {
  (void)state;
  lct_error err;
  lct_zarr_writer *w = NULL;
  lct_zarr_out *outs[N_ARRAYS];
  plan p = PLAIN;
  assert_ok(begin(in_store("stats"), &p, &w, outs, &err));
  assert_ok(store_put(outs[1], &METAS[1], 1, 0, 100, 7, &err));
  assert_ok(lct_zarr_writer_finish(w, &err));
  lct_zarr_write_stats s = lct_zarr_writer_stats(w);
  assert_int_equal(s.raw_bytes, 400);
  assert_int_equal(s.n_slots, 2 * N_ARRAYS);
  assert_int_equal(s.slots_taken, 0);
  assert_true(s.stored_bytes > 4 * 10 && s.stored_bytes < 1000);
  lct_zarr_writer_free(w);
}

static void test_misuse(void **state) {
  (void)state;
  lct_error err;
  lct_zarr_writer *w = NULL;
  lct_zarr_out *out, *outs[N_ARRAYS];
  plan p = PLAIN;
  char want[256];
  void *rows;
  int64_t n;
  assert_ok(begin(in_store("misuse"), &p, &w, outs, &err));
  static const char *const BAD[] = {"", "/x", "x/", "x//y", "..", "x/./y", "x/__y", "zarr.json", "tab\t"};
  for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
    (void)snprintf(want, sizeof want, "%s: not a name for an array: '%s'", in_store("misuse"), BAD[i]);
    assert_fails(lct_zarr_writer_add(w, BAD[i], &METAS[1], NULL, 0, &out, &err), LCT_E_USAGE, want);
  }
  static const char *const TAKEN[] = {"tokens", "tokens/ids", "tokens/ids/x"};
  for (size_t i = 0; i < 3; i++) assert_int_equal(lct_zarr_writer_add(w, TAKEN[i], &METAS[1], NULL, 0, &out, &err), LCT_E_USAGE);
  assert_fails(lct_zarr_writer_add(w, "x", &METAS[1], NULL, 32, &out, &err), LCT_E_USAGE,
               "x: rows go on at 32, no multiple of a shard's 64");
  assert_fails(lct_zarr_writer_add(w, "x", &METAS[1], "[]", 0, &out, &err), LCT_E_USAGE, "attributes: not a JSON object");
  lct_zarr_meta bad = METAS[1];
  bad.chunk[0] = 5;
  assert_int_equal(lct_zarr_writer_add(w, "x", &bad, NULL, 0, &out, &err), LCT_E_FORMAT);
  assert_ok(lct_zarr_reserve(outs[1], 100, &rows, &n, &err));
  assert_int_equal(n, 32);
  assert_int_equal(lct_zarr_writer_add(w, "x", &METAS[1], NULL, 0, &out, &err), LCT_E_USAGE);
  assert_ok(lct_zarr_commit(outs[1], 0, &err));
  assert_fails(lct_zarr_commit(outs[1], 33, &err), LCT_E_USAGE, "tokens/ids: 33 rows committed, 32 reserved");
  assert_fails(lct_zarr_reserve(outs[1], 1, &rows, &n, &err), LCT_E_USAGE, "tokens/ids: 33 rows committed, 32 reserved");
  assert_fails(lct_zarr_writer_finish(w, &err), LCT_E_USAGE, "tokens/ids: 33 rows committed, 32 reserved");
  lct_zarr_writer_free(w);
  assert_false(lct_path_exists(in_store("misuse/zarr.json")));
}

/* Writes until it fails (it must), then asks again: the same message everywhere, and nothing half-written is left. */
static void fails_with(const char *dir, const plan *p, const char *part) {
  lct_error err = {0}, again = {0};
  lct_zarr_writer *w = NULL;
  lct_zarr_out *outs[N_ARRAYS];
  void *rows;
  int64_t n;
  assert_ok(begin(dir, p, &w, outs, &err));
  lct_status s = LCT_OK;
  for (int64_t row = 0; row < p->rows && s == LCT_OK; row += 16) {
    for (int i = 0; i < N_ARRAYS && s == LCT_OK; i++) s = store_put(outs[i], &METAS[i], (uint64_t)i, row, row + 16, 16, &err);
  }
  if (s == LCT_OK) s = lct_zarr_writer_finish(w, &err);
  assert_int_equal(s, LCT_E_IO);
  if (strstr(err.message, part) == NULL) fail_msg("%s\nexpected: %s", err.message, part);
  for (int i = 0; i < N_ARRAYS; i++) {
    assert_int_equal(lct_zarr_reserve(outs[i], 1, &rows, &n, &again), LCT_E_IO);
    assert_string_equal(again.message, err.message);
  }
  assert_int_equal(lct_zarr_writer_finish(w, &again), LCT_E_IO);
  assert_string_equal(again.message, err.message);
  lct_zarr_writer_free(w);
  char *left = store_tree(dir);
  if (left != NULL) {
    assert_null(strstr(left, "partial"));
    assert_null(strstr(left, "zarr.json"));
  }
  free(left);
}

static void test_failures(void **state) {
  (void)state;
  lct_error err;
  plan p = PLAIN;
  p.rows = 3200;
  for (p.threads = 1; p.threads <= 4; p.threads += 3) {
    told t = {.fail_at = 2};
    p.told = &t;
    fails_with(in_store("journal"), &p, "the journal is full at shard 2");
    p.told = NULL;
    char want[256];
    (void)snprintf(want, sizeof want, "cannot create %s/c/1/0/0.partial: Is a directory", in_store("blocked/tokens/hidden_out"));
    assert_ok(lct_mkdirs(in_store("blocked/tokens/hidden_out/c/1/0/0.partial"), &err));
    fails_with(in_store("blocked"), &p, want);
    (void)snprintf(want, sizeof want, "cannot write %s/c/0/0/0.partial: File too large", in_store("limit/tokens/hidden_out"));
    fullfs_limit(24000);
    fails_with(in_store("limit"), &p, want);
    fullfs_unlimit();
  }
  static const char text[] = "a file";
  assert_ok(lct_file_write_atomic(in_store("file"), text, sizeof text, &err));
  lct_zarr_writer *w = NULL;
  assert_int_equal(lct_zarr_writer_new(in_store("file/store"), &(lct_zarr_write_options){0}, &w, &err), LCT_E_IO);
  assert_non_null(strstr(err.message, in_store("file")));
}

static void test_disk_full(void **state) {
  (void)state;
  char full[64], want[256];
  if (!fullfs_mount(full, 1 << 20)) skip();
  (void)snprintf(want, sizeof want, ".partial: No space left on device");
  plan p = PLAIN;
  p.threads = 2, p.rows = 32000;
  lct_error err = {0};
  lct_status s = write_store(full, &p, &err);
  char *left = store_tree(full);
  fullfs_unmount(full);
  assert_int_equal(s, LCT_E_IO);
  assert_non_null(left);
  assert_null(strstr(left, "partial"));
  bool named = strstr(err.message, full) != NULL && (strstr(err.message, want) != NULL || strstr(err.message, "bytes are free") != NULL);
  if (!named) fail_msg("%s", err.message);
  free(left);
}

static void test_no_room(void **state) {
  (void)state;
  lct_error err;
  lct_zarr_writer *w = NULL;
  lct_zarr_out *out;
  char want[256];
  lct_zarr_write_options o = {.fsync = LCT_FSYNC_OFF, .min_free_bytes = (int64_t)1 << 62};
  assert_ok(lct_zarr_writer_new(in_store("room"), &o, &w, &err));
  assert_ok(lct_zarr_writer_add(w, "ids", &METAS[1], NULL, 0, &out, &err));
  assert_ok(store_put(out, &METAS[1], 1, 0, 10, 10, &err));
  assert_int_equal(lct_zarr_writer_finish(w, &err), LCT_E_IO);
  lct_zarr_writer_free(w);
  (void)snprintf(want, sizeof want, "cannot begin %s/c/0: ", in_store("room/ids"));
  assert_memory_equal(err.message, want, strlen(want));
  assert_non_null(strstr(err.message, " bytes are free, and a shard needs up to 256 with 4611686018427387904 to be left"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_content),   cmocka_unit_test(test_same_bytes), cmocka_unit_test(test_told),   cmocka_unit_test(test_resume),
      cmocka_unit_test(test_empty),     cmocka_unit_test(test_stats),      cmocka_unit_test(test_misuse), cmocka_unit_test(test_failures),
      cmocka_unit_test(test_disk_full), cmocka_unit_test(test_no_room),
  };
  return cmocka_run_group_tests(tests, store_make_dir, store_remove_dir);
}
