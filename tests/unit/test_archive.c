/* Sweep directories made by tests/oracle/gen_archive.py: rows, vectors under every name, damage. */
#include "zarr_fixture.h"

#include "base/half.h"
#include "archive/archive.h"

#define ARCHIVES LCT_SOURCE_DIR "/tests/goldens/store/archive"

static lct_archive *golden(const char *name) {
  lct_error err;
  lct_archive *a = NULL;
  char path[512];
  (void)snprintf(path, sizeof path, "%s/%s", ARCHIVES, name);
  assert_ok(lct_archive_open(path, &a, &err));
  return a;
}

/* Where the elements of an array begin in gen_zarr.py's formula. */
static uint64_t offset_of(const char *array) {
  uint64_t sum = 0;
  for (; *array != '\0'; array++) sum += (unsigned char)*array;
  return 1000 * sum;
}

/* Element (row, position, plane, k) of an array of halves, of n positions and planes. */
static float half_at(const char *array, size_t row, size_t position, size_t n_positions, size_t plane, size_t n_planes, size_t k) {
  uint16_t h;
  (void)zarr_value(LCT_ZARR_F16, offset_of(array) + ((row * n_positions + position) * n_planes + plane) * 16 + k, &h);
  return lct_f16_to_f32(h);
}

static void test_info(void **state) {
  (void)state;
  lct_archive *a = golden("half");
  const lct_archive_info *f = lct_archive_get_info(a);
  assert_string_equal(f->state, "done");
  assert_true(f->done && !f->derived);
  assert_int_equal(f->n_rows, 10);
  assert_int_equal(f->n_messages, 10);
  assert_int_equal(f->n_conversations, 4);
  assert_int_equal(f->n_tokens, 26);
  assert_int_equal(f->positions.n, 2);
  assert_string_equal(f->positions.names[1], "content_mean");
  assert_int_equal(f->n_layers, 2);
  assert_int_equal(f->layers[1], 2);
  assert_int_equal(f->scores.n, 16);
  assert_string_equal(f->scores.references.names[0], "joy");
  assert_int_equal(lct_archive_n_arrays(a), 11);
  lct_archive_array x = lct_archive_array_at(a, 1);
  assert_string_equal(x.name, "pooled/residual");
  assert_int_equal(x.n_shards, 3);
  lct_archive_free(a);
  lct_archive_free(NULL);
}

static void test_rows(void **state) {
  (void)state;
  lct_error err;
  lct_archive *a = golden("half");
  lct_archive_row_info r;
  int64_t row = -1;
  assert_ok(lct_archive_row(a, 4, &r, &err));
  assert_string_equal(r.id, "talk 1");
  assert_string_equal(r.role, "assistant");
  assert_string_equal(r.label, "joy");
  assert_int_equal(r.message, 2);
  assert_int_equal(r.n_tokens, 20);
  assert_int_equal(r.content_from, 14);
  assert_int_equal(r.content_to, 18);
  assert_int_equal(r.first_token, 6);
  assert_int_equal(r.n_stored, 7);
  assert_ok(lct_archive_row(a, 3, &r, &err));
  assert_null(r.label);
  static const struct {
    const char *id;
    int64_t row;
  } ids[] = {{"talk 0", 0}, {"talk 1", 2}, {"t\xc3\xa4lk \"2\"", 5}, {"3", 9}};
  for (size_t i = 0; i < 4; i++) {
    assert_ok(lct_archive_find(a, ids[i].id, &row, &err));
    assert_int_equal(row, ids[i].row);
  }
  assert_fails(lct_archive_find(a, "talk 3", &row, &err), LCT_E_USAGE, ARCHIVES "/half has no conversation \"talk 3\"");
  assert_fails(lct_archive_row(a, 10, &r, &err), LCT_E_USAGE, ARCHIVES "/half has rows 0 to 9, not 10");
  lct_archive_free(a);
}

static void test_half(void **state) {
  (void)state;
  lct_error err;
  lct_archive *a = golden("half");
  float got[26 * 16], scores[16];
  int32_t ids[26];
  static const struct {
    const char *source;
    int layer;
    const char *array;
    size_t plane, n_planes;
  } places[] = {{"hidden_in", 0, "residual", 0, 4},  {"hidden_out", 0, "residual", 1, 4}, {"hidden_in", 2, "residual", 2, 4},
                {"hidden_out", 2, "residual", 3, 4}, {"attn_out", 0, "attn_out", 0, 2},   {"attn_out", 2, "attn_out", 1, 2}};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    char pooled[64], tokens[64];
    int width = 0;
    (void)snprintf(pooled, sizeof pooled, "pooled/%s", places[i].array);
    (void)snprintf(tokens, sizeof tokens, "tokens/%s", places[i].array);
    assert_ok(lct_archive_width(a, false, places[i].source, &width, &err));
    assert_int_equal(width, 16);
    for (size_t position = 0; position < 2; position++) {
      assert_ok(lct_archive_vectors(a, places[i].source, position == 0 ? "last" : "content_mean", places[i].layer, 1, 8, got, &err));
      for (size_t k = 0; k < 8 * 16; k++) {
        assert_true(got[k] == half_at(pooled, 1 + k / 16, position, 2, places[i].plane, places[i].n_planes, k % 16));
      }
    }
    assert_ok(lct_archive_token_vectors(a, places[i].source, places[i].layer, 0, 26, got, &err));
    for (size_t k = 0; k < 26 * 16; k++) assert_true(got[k] == half_at(tokens, k / 16, 0, 1, places[i].plane, places[i].n_planes, k % 16));
  }
  assert_ok(lct_archive_token_ids(a, 3, 20, ids, &err));
  for (uint64_t i = 0; i < 20; i++) {
    int32_t want;
    (void)zarr_value(LCT_ZARR_I32, offset_of("tokens/ids") + 3 + i, &want);
    assert_int_equal(ids[i], want);
  }
  assert_ok(lct_archive_scores(a, 7, 1, scores, &err));
  for (uint64_t i = 0; i < 16; i++) {
    float want;
    (void)zarr_value(LCT_ZARR_F32, offset_of("scores") + 7 * 16 + i, &want);
    assert_true(scores[i] == want);
  }
  lct_archive_free(a);
}

static void test_moments(void **state) {
  (void)state;
  lct_error err;
  lct_archive *a = golden("half");
  double mean[16], sigma[16], want[32];
  int64_t n = 0;
  lct_buf b = {0};
  assert_ok(lct_file_read(ARCHIVES "/half/moments.f64", 4096, &b, &err));
  memcpy(want, b.data, sizeof want);
  lct_buf_free(&b);
  assert_ok(lct_archive_moments(a, "hidden_out", "content_mean", 2, mean, sigma, &n, &err));
  assert_int_equal(n, 7);
  for (size_t i = 0; i < 16; i++) {
    assert_true(mean[i] > want[i] * (1 - 1e-14) && mean[i] < want[i] * (1 + 1e-14));
    assert_true(sigma[i] > want[16 + i] * (1 - 1e-14) && sigma[i] < want[16 + i] * (1 + 1e-14));
  }
  assert_fails(lct_archive_moments(a, "q", "last", 2, mean, sigma, &n, &err), LCT_E_USAGE, ARCHIVES "/half holds no moments of q");
  assert_fails(lct_archive_moments(a, "attn_out", "last", 1, mean, sigma, &n, &err), LCT_E_USAGE,
               ARCHIVES "/half holds no moments of attn_out at layer 1, position \"last\"");
  lct_archive_free(a);
}

/* What enters and leaves every layer, in any order, equals numpy's sums bit for bit. */
static void test_derived(void **state) {
  (void)state;
  lct_error err;
  lct_archive *a = golden("derived");
  assert_true(lct_archive_get_info(a)->derived);
  static const struct {
    const char *source;
    int layer;
    size_t plane;
  } asked[] = {{"hidden_in", 0, 0},  {"hidden_out", 0, 1}, {"hidden_in", 1, 1},
               {"hidden_out", 1, 2}, {"hidden_in", 0, 0},  {"hidden_out", 1, 2}};
  float got[26 * 16];
  for (int tokens = 0; tokens < 2; tokens++) {
    size_t n = tokens ? 26 : 10;
    lct_buf want = {0};
    assert_ok(lct_file_read(tokens ? ARCHIVES "/derived/tokens.f32" : ARCHIVES "/derived/pooled.f32", 1 << 16, &want, &err));
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
      size_t first = i == 5 ? 3 : 0;
      if (tokens) assert_ok(lct_archive_token_vectors(a, asked[i].source, asked[i].layer, (int64_t)first, n - first, got, &err));
      else assert_ok(lct_archive_vectors(a, asked[i].source, "last", asked[i].layer, (int64_t)first, n - first, got, &err));
      assert_memory_equal(got, want.data + (asked[i].plane * n + first) * 64, (n - first) * 64);
    }
    lct_buf_free(&want);
  }
  float third;
  (void)zarr_value(LCT_ZARR_F32, offset_of("pooled/attn_out") + 16, &third); /* row 0, layer 1: a source that is stored is read as it is */
  assert_ok(lct_archive_vectors(a, "attn_out", "last", 1, 0, 1, got, &err));
  assert_true(got[0] == third / 3.0f);
  assert_fails(lct_archive_vectors(a, "hidden_out", "last", 2, 0, 1, got, &err), LCT_E_USAGE,
               ARCHIVES
               "/derived holds no vectors of attn_out at layer 2; there are pooled/embeddings, pooled/attn_out, pooled/mlp_down_out");
  assert_fails(lct_archive_vectors(a, "hidden_out", "content_last", 1, 0, 1, got, &err), LCT_E_USAGE,
               ARCHIVES "/derived: pooled/embeddings has no position \"content_last\"");
  lct_archive_free(a);
}

static void test_lossy(void **state) {
  (void)state;
  lct_error err;
  float got[10 * 160];
  lct_archive *a = golden("int8");
  int width = 0;
  assert_ok(lct_archive_width(a, false, "q", &width, &err));
  assert_int_equal(width, 160);
  assert_ok(lct_archive_vectors(a, "q", "last", 1, 0, 10, got, &err));
  for (uint64_t i = 0; i < 1600; i++) {
    int8_t q;
    float scale;
    (void)zarr_value(LCT_ZARR_I8, offset_of("pooled/q") + i, &q);
    (void)zarr_value(LCT_ZARR_F32, offset_of("pooled/q_scale") + i / 160 * 2 + i % 160 / 128, &scale);
    assert_true(got[i] == (float)q * scale);
  }
  lct_archive_free(a);
  a = golden("bf16");
  assert_ok(lct_archive_vectors(a, "hidden_out", "last", 2, 0, 10, got, &err));
  for (uint64_t i = 0; i < 160; i++) {
    uint16_t h;
    (void)zarr_value(LCT_ZARR_U16, offset_of("pooled/hidden_out") + i, &h);
    float want = lct_bf16_to_f32(h);
    assert_memory_equal(&got[i], &want, 4);
  }
  lct_archive_free(a);
}

static void test_interrupted(void **state) {
  (void)state;
  lct_error err;
  float got[8 * 16];
  double moments[16];
  int64_t n;
  lct_archive *a = golden("interrupted");
  const lct_archive_info *f = lct_archive_get_info(a);
  assert_true(!f->done);
  assert_int_equal(f->n_rows, 8);
  assert_int_equal(f->n_messages, 10);
  assert_int_equal(f->n_conversations, 4);
  assert_ok(lct_archive_vectors(a, "hidden_out", "last", 2, 0, 8, got, &err));
  for (size_t k = 0; k < 8 * 16; k++) assert_true(got[k] == half_at("pooled/hidden_out", k / 16, 0, 1, 1, 2, k % 16));
  assert_fails(lct_archive_vectors(a, "hidden_out", "last", 2, 8, 1, got, &err), LCT_E_USAGE,
               ARCHIVES "/interrupted has 8 rows, not 1 from 8 on");
  assert_fails(lct_archive_moments(a, "hidden_out", "last", 2, moments, moments, &n, &err), LCT_E_USAGE,
               ARCHIVES "/interrupted is not done: its moments are not there yet");
  lct_archive_free(a);
}

static void test_asked_wrongly(void **state) {
  (void)state;
  lct_error err;
  float got[16];
  int width;
  lct_archive *a = golden("half");
  assert_fails(lct_archive_vectors(a, "attn_out", "last", 1, 0, 1, got, &err), LCT_E_USAGE,
               ARCHIVES "/half holds no vectors of attn_out at layer 1; there are pooled/residual, pooled/attn_out");
  assert_fails(lct_archive_vectors(a, "hidden_out", "first", 0, 0, 1, got, &err), LCT_E_USAGE,
               ARCHIVES "/half: pooled/residual has no position \"first\"");
  assert_fails(lct_archive_vectors(a, "../x", "last", 0, 0, 1, got, &err), LCT_E_USAGE,
               ARCHIVES "/half holds no vectors of ../x at layer 0; there are pooled/residual, pooled/attn_out");
  assert_fails(lct_archive_width(a, true, "q", &width, &err), LCT_E_USAGE,
               ARCHIVES "/half holds no tokens of q at layer 0; there are tokens/residual, tokens/attn_out, tokens/ids");
  lct_archive_free(a);
  assert_fails(lct_archive_open("/nowhere", &a, &err), LCT_E_IO, "cannot open /nowhere/sweep.json: No such file or directory");
}

typedef struct {
  char text[8][1024];
  int n;
} heard;

static void hear(void *ctx, const char *message) {
  heard *h = ctx;
  if (h->n < 8) (void)snprintf(h->text[h->n], sizeof h->text[0], "%s", message);
  h->n++;
}

static void test_verify_whole(void **state) {
  (void)state;
  static const char *const names[] = {"half", "derived", "int8", "bf16", "interrupted"};
  for (size_t i = 0; i < 5; i++) {
    lct_error err;
    heard h = {0};
    int64_t n = -1;
    lct_archive *a = golden(names[i]);
    assert_ok(lct_archive_verify(a, hear, &h, &n, &err));
    if (h.n > 0) fail_msg("%s: %s", names[i], h.text[0]);
    assert_int_equal(n, 0);
    lct_archive_free(a);
  }
}

/* Runs a shell command in a copy of a golden and expects these faults; %s in them is the copy. */
static void expect_faults(const char *name, const char *command, int n, const char *const *want) {
  lct_error err;
  heard h = {0};
  int64_t n_faults = -1;
  char dir[64] = "/tmp/lct-archive-XXXXXX", text[1024];
  assert_non_null(mkdtemp(dir));
  (void)snprintf(text, sizeof text, "cp -r '%s/%s/.' '%s' && cd '%s' && %s", ARCHIVES, name, dir, dir, command);
  assert_int_equal(system(text), 0);
  lct_archive *a = NULL;
  assert_ok(lct_archive_open(dir, &a, &err));
  assert_ok(lct_archive_verify(a, hear, &h, &n_faults, &err));
  for (int i = 0; i < n && i < h.n; i++) {
    const char *mark = strstr(want[i], "%s");
    if (mark != NULL) (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(mark - want[i]), want[i], dir, mark + 2);
    assert_string_equal(h.text[i], mark != NULL ? text : want[i]);
  }
  assert_int_equal(h.n, n);
  assert_int_equal(n_faults, n);
  lct_archive_free(a);
  zarr_remove(dir);
}

static void test_verify_damage(void **state) {
  (void)state;
  expect_faults("half", "rm data.zarr/pooled/residual/c/1/0/0/0", 1,
                (const char *const[]){
                    "pooled/residual: shard 1 (%s/data.zarr/pooled/residual/c/1/0/0/0), rows 4 on: missing, the journal says it "
                    "has 1604 bytes"});
  expect_faults("half", "head -n 9 messages.jsonl >m && mv m messages.jsonl", 1,
                (const char *const[]){"messages.jsonl: 9 rows, sweep.json says 10"});
  expect_faults("half", "rm data.zarr/moments/attn_out/m2/zarr.json", 1,
                (const char *const[]){"cannot open %s/data.zarr/moments/attn_out/m2/zarr.json: No such file or directory"});
  expect_faults("half",
                "sed -i s/float16/uint16/ data.zarr/pooled/attn_out/zarr.json && sed -i 's/\"NaN\"/0/' data.zarr/pooled/attn_out/zarr.json",
                1, (const char *const[]){"pooled/attn_out: its zarr.json says another shape or type than %s/sweep.json"});
  expect_faults("half", "sed -i '/\"scores\",\"shard\":2/d' journal", 1,
                (const char *const[]){"scores: the journal has 2 shards, 10 rows make 3"});
  expect_faults("interrupted",
                "rm parts/moments-000000 && printf '\\377' | dd of=parts/moments-000001 bs=1 seek=7 conv=notrunc 2>/dev/null", 2,
                (const char *const[]){"moments: part 0: cannot open %s/parts/moments-000000: No such file or directory",
                                      "moments: part 1 (%s/parts/moments-000001): CRC-32C is f7cfe01e, expected 222121c1"});
  expect_faults("interrupted", "head -n 7 messages.jsonl >m && mv m messages.jsonl", 1,
                (const char *const[]){"pooled/hidden_out: 8 rows, messages.jsonl has 7"});
  expect_faults("half", "sed -i 's/\"tokens\":.21,5./\"tokens\":[21,6]/' messages.jsonl", 1,
                (const char *const[]){"messages.jsonl: row 9 names tokens that there are not"});
}

static void expect_closed(const char *name, const char *command, lct_status status, const char *want) {
  lct_error err;
  char dir[64] = "/tmp/lct-archive-XXXXXX", text[1024];
  assert_non_null(mkdtemp(dir));
  (void)snprintf(text, sizeof text, "cp -r '%s/%s/.' '%s' && cd '%s' && %s", ARCHIVES, name, dir, dir, command);
  assert_int_equal(system(text), 0);
  lct_archive *a = NULL;
  (void)snprintf(text, sizeof text, "%s%s", dir, want);
  assert_fails(lct_archive_open(dir, &a, &err), status, text);
  zarr_remove(dir);
}

static void test_not_a_sweep(void **state) {
  (void)state;
  expect_closed("bf16", "sed -i s/llmct-sweep/llmct-scan/ sweep.json", LCT_E_FORMAT,
                "/sweep.json: format: expected \"llmct-sweep\", found \"llmct-scan\"");
  expect_closed("bf16", "sed -i 's/\"version\": 1/\"version\": 2/' sweep.json", LCT_E_FORMAT, "/sweep.json: version: expected 1, found 2");
  expect_closed(
      "bf16", "sed -i 's/pooled.hidden_out/..\\/..\\/etc/' sweep.json", LCT_E_FORMAT,
      "/sweep.json: arrays: expected a list of arrays with names, found {\"name\":\"../../etc\",\"dtype\":\"uint16\",\"codec\":\"blosc\",\"shape\":[10,1,1,16],\"shard");
  expect_closed("bf16", "sed -i 's/\"row\":4,/\"row\":5,/' messages.jsonl", LCT_E_FORMAT,
                ": messages.jsonl:5: expected row 4 with id and message, found \"{\"row\":5,\"id\":\"talk 1\",\"message\":2,\"role\":"
                "\"assistant\",\"label\":\"joy\",\"n_tokens\":2\"");
  expect_closed("bf16", "echo nonsense >>journal", LCT_E_FORMAT,
                ": journal:6 is not valid JSON: '[' or '{' expected near 'nonsense' (line 1, column 8)");
  expect_closed("half", "sed -i 's/\"fear\"/\"fear\", \"hope\"/' sweep.json", LCT_E_FORMAT,
                "/sweep.json: scores: expected float32 in the shape its axes make, found "
                "{\"positions\":[\"last\"],\"sources\":[\"hidden_in\",\"hidden_out\"],\"layers\":[0,2],\"refe");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_info),          cmocka_unit_test(test_rows),          cmocka_unit_test(test_half),
      cmocka_unit_test(test_moments),       cmocka_unit_test(test_derived),       cmocka_unit_test(test_lossy),
      cmocka_unit_test(test_interrupted),   cmocka_unit_test(test_asked_wrongly), cmocka_unit_test(test_verify_whole),
      cmocka_unit_test(test_verify_damage), cmocka_unit_test(test_not_a_sweep),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
