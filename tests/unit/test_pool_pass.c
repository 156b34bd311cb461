/* A pool that lets the backend make its vectors, beside one that is shown every row: the same bits, and nothing that waits. Over the CPU in
 * disguise (fake_gpu.h), and over the real backend. */
#include "engine_test.h"

#ifndef TEST_CUDA
#include "fake_gpu.h"
#endif

#include "capture/files.h"
#include "capture/pool_impl.h"

#define UNWRITTEN (-7.0f)
enum { N_SEQS = 3, LENGTH = 40, POOLED = ALL_SOURCES & ~LCT_SOURCE_BIT(LCT_SOURCE_ATTN_WEIGHTS) };

/* The backend's ops with what is counted and what fails. */
static struct {
  int n_reads, n_downloads, n_finite, n_pooled;
  int alloc_fails; /* this many allocations from now; 0: none */
} seen;
static lct_ops table;

static lct_status count_read(lct_backend *be, const void *src, lct_dtype dtype, int64_t ld, const int32_t *rows, int n, int dim, float *dst,
                             lct_error *err) {
  seen.n_reads++;
  return lct_cuda_ops()->rows.read(be, src, dtype, ld, rows, n, dim, dst, err);
}

static lct_status count_download(lct_backend *be, void *dst, const void *src, size_t bytes, lct_error *err) {
  seen.n_downloads++;
  return lct_cuda_ops()->memory.download(be, dst, src, bytes, err);
}

static lct_status count_finite(lct_backend *be, int *tag, int64_t *index, lct_error *err) {
  seen.n_finite++;
  return lct_cuda_ops()->finite_read(be, tag, index, err);
}

static lct_status count_pool(lct_backend *be, const void *src, lct_dtype dtype, int64_t ld, int dim, const lct_pooled *list,
                             const lct_row_range *ranges, int n, float *dst, lct_error *err) {
  seen.n_pooled++;
  return lct_cuda_ops()->rows.pool(be, src, dtype, ld, dim, list, ranges, n, dst, err);
}

static bool alloc_fails(void) { return seen.alloc_fails > 0 && --seen.alloc_fails == 0; }

static lct_status may_alloc(lct_backend *be, size_t bytes, void **out, lct_error *err) {
  *out = NULL;
  return alloc_fails() ? lct_fail(err, LCT_E_NOMEM, "no room") : lct_cuda_ops()->memory.alloc(be, bytes, out, err);
}

static lct_status may_alloc_host(lct_backend *be, size_t bytes, void **out, lct_error *err) {
  *out = NULL;
  return alloc_fails() ? lct_fail(err, LCT_E_NOMEM, "no room on the host") : lct_cuda_ops()->memory.alloc_host(be, bytes, out, err);
}

typedef struct {
  tiny model;
  lct_engine *engine;
  lct_plan *plan;
  lct_plane planes[LCT_N_SOURCES][16];
  lct_stream streams[LCT_N_SOURCES];
  int n_streams;
  lct_arena arena;
  lct_pool_rows rows[N_SEQS];
  int n_shown[LCT_N_SOURCES]; /* rows that came to the host for the pool */
  lct_taker pool;             /* of the pool whose pass it is */
} setup;
static setup u;

static void make_plan(void) {
  static const int32_t lengths[N_SEQS] = {LENGTH, 1, LENGTH - 9};
  int32_t ids[N_SEQS][LENGTH];
  for (int i = 0; i < N_SEQS; i++) {
    for (int k = 0; k < LENGTH; k++) ids[i][k] = k < 12 && i != 1 ? 20 + k : 100 + 37 * i + k; /* two share a trunk */
  }
  u.plan = plan_of((const int32_t *const[]){ids[0], ids[1], ids[2]}, lengths, N_SEQS, 4096);
  for (int i = 0; i < N_SEQS; i++) {
    int32_t n = 0;
    const lct_kv_range *path = lct_plan_seq_ranges(u.plan, i, &n);
    lct_pool_entry *entries = lct_arena_alloc(&u.arena, LCT_N_DEFAULT_POSITIONS * sizeof *entries);
    lct_token_range content = i == 1 ? (lct_token_range){1, 1} : (lct_token_range){5, lengths[i] - 2}; /* the second has no text */
    message_entries(path, n, content, &u.arena, entries);
    u.rows[i] = (lct_pool_rows){.item = N_SEQS - i, .entries = entries}; /* item 0 is in no batch */
  }
}

static void open_setup(int mlp_rows) {
  u = (setup){.model = tiny_make("tiny-qwen2", 5)};
  lct_error err;
#ifndef TEST_CUDA
  fake = (fake_gpu){0};
#endif
  table = *lct_cuda_ops();
  table.rows.read = count_read;
  table.memory.download = count_download;
  table.finite_read = count_finite;
  table.rows.pool = count_pool;
  table.memory.alloc = may_alloc;
  table.memory.alloc_host = may_alloc_host;
  if (mlp_rows > 0) table.mlp_rows = mlp_rows;
  assert_ok(lct_engine_new(u.model.model, &table, &(lct_backend_options){.precision = LCT_PRECISION_F16}, &u.engine, &err));
  const lct_config *c = lct_engine_config(u.engine);
  for (int s = 0; s < LCT_N_SOURCES; s++) {
    if ((POOLED & LCT_SOURCE_BIT(s)) == 0) continue;
    lct_stream *t = &u.streams[u.n_streams];
    *t = lct_stream_of((lct_source)s, c, u.planes[u.n_streams++]);
    if (!lct_source_is_global((lct_source)s)) continue;
    u.planes[u.n_streams - 1][0].layer = -1;
    t->n_planes = 1;
  }
  make_plan();
}

static void close_setup(void) {
  lct_plan_free(u.plan);
  lct_engine_free(u.engine);
  lct_arena_free(&u.arena);
  tiny_remove(&u.model);
}

static lct_pool *new_pool(void) {
  lct_error err;
  lct_pool *p = NULL;
  assert_ok(lct_pool_new(u.engine, u.streams, u.n_streams, LCT_N_DEFAULT_POSITIONS, &p, &err));
  assert_ok(lct_pool_reserve(p, N_SEQS + 1, &err));
  for (int i = 0; i < u.n_streams; i++) { /* so that what is not written shows */
    size_t n = (size_t)LCT_N_DEFAULT_POSITIONS * (size_t)u.streams[i].n_planes * (size_t)(N_SEQS + 1) * (size_t)u.streams[i].width;
    for (size_t k = 0; k < n; k++) lct_pool_vectors(p, i, 0, 0)[k] = UNWRITTEN;
  }
  return p;
}

static lct_status on_rows(void *ctx, lct_source s, int layer, int row0, int n, const float *data, int64_t ld, lct_error *err) {
  u.n_shown[s] += n;
  return u.pool.rows(ctx, s, layer, row0, n, data, ld, err);
}

/* The pool's taker with its rows counted. */
static lct_taker pool_taker(lct_pool *p) {
  memset(u.n_shown, 0, sizeof u.n_shown);
  lct_pool_begin(p, u.rows, N_SEQS, lct_plan_batch(u.plan, 0)->n_rows);
  lct_taker t = u.pool = lct_pool_taker(p);
  t.rows = on_rows;
  return t;
}

static lct_status run_takers(const lct_taker *const *takers, int n, lct_error *err) {
  seen.n_reads = seen.n_downloads = seen.n_finite = seen.n_pooled = 0;
  lct_pass pass = {.batch = lct_plan_batch(u.plan, 0)};
  for (int i = 0; i < n; i++) LCT_TRY(lct_pass_add(&pass, takers[i], err));
  return lct_pass_run(u.engine, &pass, err);
}

/* A pass into the pool; on_host: all rows come to the host. */
static lct_status run(lct_pool *p, bool on_host, lct_error *err) {
  lct_taker t = pool_taker(p);
  if (on_host) {
    t.device = NULL;
    t.end = NULL;
  }
  return run_takers((const lct_taker *const[]){&t}, 1, err);
}

static void assert_same_pool(const lct_pool *a, const lct_pool *b) {
  for (int i = 0; i < u.n_streams; i++) {
    for (int k = 0; k < LCT_N_DEFAULT_POSITIONS * u.streams[i].n_planes; k++) {
      int pooling = k / u.streams[i].n_planes, plane = k % u.streams[i].n_planes;
      size_t bytes = (size_t)(N_SEQS + 1) * (size_t)u.streams[i].width * sizeof(float);
      if (memcmp(lct_pool_vectors(a, i, pooling, plane), lct_pool_vectors(b, i, pooling, plane), bytes) == 0) continue;
      fail_msg("%s, pooling %d, plane %d differ", lct_source_name(u.planes[i][0].source), pooling, plane);
    }
  }
}

/* The item without text has a last vector, and NaN in place of those of its content. */
static void assert_absent_are_nan(const lct_pool *p, int item) {
  for (int i = 0; i < u.n_streams; i++) {
    int width = u.streams[i].width;
    for (int k = 0; k < LCT_N_DEFAULT_POSITIONS * u.streams[i].n_planes; k++) {
      int pooling = k / u.streams[i].n_planes;
      const float *v = lct_pool_vectors(p, i, pooling, k % u.streams[i].n_planes) + (size_t)item * (size_t)width;
      for (int j = 0; j < width; j++) assert_int_equal(isnan(v[j]) != 0, pooling != LCT_AT_LAST);
    }
  }
}

static void test_same_bits_and_no_waiting(void **state) {
  (void)state;
  lct_error err;
  open_setup(0);
  lct_pool *host = new_pool(), *device = new_pool();
  int n_rows = lct_plan_batch(u.plan, 0)->n_rows;
  assert_ok(run(host, true, &err));
  assert_int_equal(seen.n_pooled, 0);
  assert_int_equal(u.n_shown[LCT_SOURCE_EMBEDDINGS], n_rows);
  for (int pass = 0; pass < 2; pass++) { /* the second finds room as it is */
    assert_ok(run(device, false, &err));
    assert_int_equal(seen.n_pooled, 11 * lct_engine_config(u.engine)->n_layers + 2);
    assert_int_equal(seen.n_reads, 0);
    assert_int_equal(seen.n_downloads, 1);
    assert_int_equal(seen.n_finite, 1);
    for (int s = 0; s < LCT_N_SOURCES; s++) assert_int_equal(u.n_shown[s], 0);
    assert_same_pool(host, device);
  }
  assert_float_equal(lct_pool_vectors(device, 0, 0, 0)[0], UNWRITTEN, 0); /* item 0 */
  assert_absent_are_nan(device, N_SEQS - 1);
  u.rows[2] = (lct_pool_rows){.item = 0, .entries = u.rows[1].entries}; /* another batch, other vectors */
  assert_ok(run(host, true, &err));
  assert_ok(run(device, false, &err));
  assert_same_pool(host, device);
  lct_pool_free(host);
  lct_pool_free(device);
  close_setup();
}

/* What comes in blocks of rows is shown. */
static void test_blocks(void **state) {
  (void)state;
  lct_error err;
  open_setup(7);
  lct_pool *host = new_pool(), *device = new_pool();
  int n_rows = lct_plan_batch(u.plan, 0)->n_rows, n_layers = lct_engine_config(u.engine)->n_layers;
  assert_ok(run(host, true, &err));
  assert_ok(run(device, false, &err));
  const lct_source blocks[] = {LCT_SOURCE_MLP_GATE, LCT_SOURCE_MLP_UP, LCT_SOURCE_MLP_ACT, LCT_SOURCE_MLP_DOWN_IN};
  for (int i = 0; i < 4; i++) assert_int_equal(u.n_shown[blocks[i]], n_rows * n_layers);
  assert_int_equal(seen.n_pooled, 7 * n_layers + 2);
  assert_same_pool(host, device);
  lct_pool_free(host);
  lct_pool_free(device);
  close_setup();
}

/* A buffer that holds some planes, and one that holds none. */
static void test_small_buffers(void **state) {
  (void)state;
  lct_error err;
  open_setup(0);
  lct_pool *host = new_pool();
  assert_ok(run(host, true, &err));
  for (size_t most = 1; most <= 40000; most *= 200) {
    lct_pool *device = new_pool();
    device->device.most = most;
    assert_ok(run(device, false, &err));
    assert_true(seen.n_downloads > 1);
    assert_same_pool(host, device);
    lct_pool_free(device);
  }
  lct_pool_free(host);
  close_setup();
}

/* Every allocation fails once; then the pass runs. */
static void test_out_of_memory(void **state) {
  (void)state;
  lct_error err;
  open_setup(0);
  lct_pool *host = new_pool();
  assert_ok(run(host, true, &err));
  for (int n = 1; n <= 3; n++) { /* the list, the buffer, the same on the host */
    lct_pool *device = new_pool();
    seen.alloc_fails = n;
    assert_int_equal(run(device, false, &err), LCT_E_NOMEM);
    seen.alloc_fails = 100;
    assert_ok(run(device, false, &err));
    assert_int_equal(seen.alloc_fails, 100 - (n < 2 ? 3 : 2)); /* what there was room for is kept */
    seen.alloc_fails = 0;
    assert_same_pool(host, device);
    lct_pool_free(device);
  }
  lct_pool_free(host);
  close_setup();
}

/* A pass that ends early leaves nothing behind for the next. */
static void test_cancelled(void **state) {
  (void)state;
  lct_error err;
  open_setup(0);
  lct_pool *host = new_pool(), *device = new_pool();
  assert_ok(run(host, true, &err));
  const volatile int cancel = 1;
  lct_pass pass = {.batch = lct_plan_batch(u.plan, 0), .cancel = &cancel};
  lct_taker t = pool_taker(device);
  assert_ok(lct_pass_add(&pass, &t, &err));
  assert_int_equal(lct_pass_run(u.engine, &pass, &err), LCT_E_CANCELLED);
  assert_int_equal(device->device.n_pieces, 1); /* the embeddings */
  assert_ok(run(device, false, &err));
  assert_same_pool(host, device);
  lct_pool_free(host);
  lct_pool_free(device);
  close_setup();
}

/* What the takers of a pass got: vectors on the device, a file and all rows on the host. */
typedef struct {
  lct_pool *pool;
  lct_files *files;
  lct_file_spec spec;
  char path[96];
  lct_row_range *rows;
  shown shown;
  lct_taker takers[3];
} taken;
enum { POOL, FILES, SHOWN };

static void begin_taken(taken *t, const char *name) {
  static const unsigned char layers[16] = {0, 1, 0, 1};
  lct_error err;
  *t = (taken){.pool = new_pool(), .shown = shown_new(lct_engine_config(u.engine), lct_plan_batch(u.plan, 0))};
  (void)snprintf(t->path, sizeof t->path, "%s/%s.npz", u.model.dir, name);
  t->spec = (lct_file_spec){.path = t->path, .sources = ALL_SOURCES, .qkv_last = true, .n_tokens = LENGTH, .n_keys = LENGTH};
  t->spec.ranges = t->rows = seq_rows(u.plan, 0, &t->spec.n_ranges);
  assert_ok(lct_files_new(lct_engine_config(u.engine), LCT_STORE_F32, layers, NULL, &t->files, &err));
  assert_ok(lct_files_begin(t->files, &t->spec, 1, lct_plan_batch(u.plan, 0), &err));
  t->takers[POOL] = pool_taker(t->pool);
  t->takers[FILES] = lct_files_taker(t->files);
  t->takers[SHOWN] = shown_taker(&t->shown, ALL_SOURCES);
}

static void end_taken(taken *t) {
  lct_pool_free(t->pool);
  lct_files_free(t->files);
  shown_free(&t->shown);
  free(t->rows);
}

static void assert_same_shown(const shown *a, const shown *b) {
  for (int l = 0; l < a->c->n_layers; l++) {
    for (int s = 0; s < LCT_N_SOURCES; s++) {
      size_t bytes = (size_t)a->batch->n_rows * (size_t)lct_source_width((lct_source)s, a->c) * sizeof(float);
      assert_int_equal(a->n_shown[tap_at((lct_source)s, l)], b->n_shown[tap_at((lct_source)s, l)]);
      assert_memory_equal(a->rows[tap_at((lct_source)s, l)], b->rows[tap_at((lct_source)s, l)], bytes);
    }
    for (int i = 0; i < a->batch->n_segments; i++) {
      const lct_segment *seg = &a->batch->segments[i];
      size_t floats = (size_t)a->c->n_heads * (size_t)seg->n_rows * (size_t)(seg->pos0 + seg->n_rows);
      int at = l * a->batch->n_segments + i;
      assert_int_equal(a->n_attn[at], b->n_attn[at]);
      assert_memory_equal(a->attn[at], b->attn[at], floats * sizeof(float));
    }
  }
}

static void assert_same_file(const char *a, const char *b) {
  lct_buf x = {0}, y = {0};
  lct_error err;
  assert_ok(lct_file_read(a, 1 << 24, &x, &err));
  assert_ok(lct_file_read(b, 1 << 24, &y, &err));
  assert_int_equal(x.len, y.len);
  assert_memory_equal(x.data, y.data, x.len);
  lct_buf_free(&x);
  lct_buf_free(&y);
}

/* Each taker of a list gets the bits that it gets alone, wherever it stands in the list, and rows come to the host once for all of them. */
static void check_takers(int mlp_rows) {
  static const int orders[][3] = {{POOL, FILES, SHOWN}, {SHOWN, FILES, POOL}, {FILES, POOL, SHOWN}};
  lct_error err;
  taken alone, together;
  int n_reads = 0, n_pooled = 0;
  open_setup(mlp_rows);
  begin_taken(&alone, "alone");
  for (int i = 0; i < 3; i++) {
    assert_ok(run_takers((const lct_taker *const[]){&alone.takers[i]}, 1, &err));
    if (i == POOL) n_pooled = seen.n_pooled;
    if (i == SHOWN) n_reads = seen.n_reads;
  }
  assert_ok(lct_files_finish(alone.files, &err));
  for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
    begin_taken(&together, "together");
    const lct_taker *takers[3];
    for (int k = 0; k < 3; k++) takers[k] = &together.takers[orders[i][k]];
    assert_ok(run_takers(takers, 3, &err));
    assert_ok(lct_files_finish(together.files, &err));
    assert_int_equal(seen.n_pooled, n_pooled);
    assert_int_equal(seen.n_reads, n_reads);
    assert_same_pool(alone.pool, together.pool);
    assert_same_shown(&alone.shown, &together.shown);
    assert_same_file(alone.path, together.path);
    end_taken(&together);
  }
  end_taken(&alone);
  close_setup();
}

static void test_takers(void **state) {
  (void)state;
  check_takers(0);
  check_takers(7); /* some of the pool's rows come to the host, too */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_same_bits_and_no_waiting),
      cmocka_unit_test(test_blocks),
      cmocka_unit_test(test_small_buffers),
      cmocka_unit_test(test_out_of_memory),
      cmocka_unit_test(test_cancelled),
      cmocka_unit_test(test_takers),
  };
  return cmocka_run_group_tests_name("pool_pass", tests, NULL, NULL);
}
