/* A sweep against scans: every conversation's vectors are its own scan's, bit for bit, whatever stands beside it, however it is stored. */
#include "engine_test.h"

#include <jansson.h>
#include <math.h>
#include <unistd.h>

#include "base/file.h"
#include "base/half.h"
#include "score/fingerprint.h"
#include "store/npz.h"
#include "store/zarr_read.h"

#define KIND "You are a kind assistant who answers in a few words."

/* JSON of messages, one conversation each. Two share a system message with the first and follow each other, one has another one. */
static const char *const TALKS[] = {
    "{\"role\": \"system\", \"content\": \"" KIND
    "\"}, {\"role\": \"user\", \"content\": \"What a lovely morning! I could sing.\"}, "
    "{\"role\": \"assistant\", \"content\": \"It is.\"}, {\"role\": \"user\", \"content\": \"And now it rains.\"}",
    "{\"role\": \"user\", \"content\": \"Who is there?\"}",
    "{\"role\": \"system\", \"content\": \"" KIND "\"}, {\"role\": \"user\", \"content\": \"My dog died.\"}",
    "{\"role\": \"system\", \"content\": \"" KIND
    "\"}, {\"role\": \"user\", \"content\": \"Hello\"}, {\"role\": \"assistant\", \"content\": \"Hi\"}, "
    "{\"role\": \"user\", \"content\": \"Tell me of the sea, of ships, of storms, of sailors who never came home and of those who did.\"}, "
    "{\"role\": \"assistant\", \"content\": \"There was a ship.\"}, {\"role\": \"user\", \"content\": \"Go on.\"}",
    "{\"role\": \"system\", \"content\": \"" KIND "\"}, {\"role\": \"user\", \"content\": \"Once more.\"}",
    "{\"role\": \"system\", \"content\": \"" KIND "\"}, {\"role\": \"user\", \"content\": \"I passed the examination!\"}",
    "{\"role\": \"system\", \"content\": \"" KIND "\"}, {\"role\": \"user\", \"content\": \"They stole my bicycle again.\"}",
    "{\"role\": \"system\", \"content\": \"" KIND "\"}, {\"role\": \"user\", \"content\": \"What was that noise?\"}",
    "{\"role\": \"user\", \"content\": \"Café über alles, 😀!\"}, {\"role\": \"assistant\", \"content\": \"Oui.\"}",
    "{\"role\": \"system\", \"content\": \"Speak like a pirate.\"}, {\"role\": \"user\", \"content\": \"Hello\"}",
    "{\"role\": \"user\", \"content\": \"Who is there?\"}, {\"role\": \"assistant\", \"content\": \"Me.\"}, {\"role\": \"user\", \"content\": \"Who?\"}",
};
enum { N_TALKS = sizeof TALKS / sizeof *TALKS, N_SOURCES = 4, MAX_ROWS = 64 };
static const char *const SOURCES[N_SOURCES] = {"hidden_in", "hidden_out", "attn_out", "mlp_down_out"};

static const char *chat_template; /* NULL: the model's own */
static tiny model;
static char input[128], store[128];
static int n_rows, n_layers, hidden;
static float *wanted; /* (row, source, pooling, layer, hidden): of the scans */

static void write_text(const char *path, const char *text) {
  lct_error err;
  assert_ok(lct_file_write_atomic(path, text, strlen(text), &err));
}

static float *wanted_at(int row, int source, int pooling, int layer) {
  return wanted +
         ((((size_t)row * N_SOURCES + (size_t)source) * LCT_N_DEFAULT_POSITIONS + (size_t)pooling) * (size_t)n_layers + (size_t)layer) *
             (size_t)hidden;
}

static int n_messages(const char *talk) {
  int n = 0;
  for (const char *p = strstr(talk, "\"role\""); p != NULL; p = strstr(p + 1, "\"role\"")) n++;
  return n;
}

/* Rows of one conversation from its own scan. */
static void scan_talk(int talk, int *row) {
  char path[160], folder[160], pooled[4400];
  lct_error err = {0};
  lct_buf b = {0};
  (void)snprintf(path, sizeof path, "%s/talk.yaml", model.dir);
  (void)snprintf(folder, sizeof folder, "%s/scans", model.dir);
  assert_ok(lct_buf_printf(&b, &err,
                           "{\"name\": \"t\", \"model\": {\"id\": \"none\"}, \"prompt\": [{\"messages\": [%s]}], "
                           "\"generation\": {\"max_new_tokens\": 1}}",
                           TALKS[talk]));
  write_text(path, b.data);
  lct_buf_free(&b);
  lct_scan_options o = {.model = {.id = model.path, .device = TEST_DEVICE, .threads = 2, .chat_template = chat_template},
                        .scenario = path,
                        .output = folder,
                        .keep = LCT_KEEP_POOLED};
  lct_scan_result r;
  assert_ok(lct_scan(&o, &r, &err));
  (void)snprintf(pooled, sizeof pooled, "%s/prompt_0/pooled.npz", r.run_dir);
  lct_npz_reader *z = NULL;
  assert_ok(lct_npz_open(pooled, &z, &err));
  int n = 0;
  for (int s = 0; s < N_SOURCES; s++) {
    size_t at = (size_t)lct_npz_find(z, SOURCES[s]);
    const lct_npz_entry *e = lct_npz_entry_at(z, at);
    n_layers = (int)e->dims[2];
    hidden = (int)e->dims[3];
    if (wanted == NULL)
      wanted = calloc((size_t)MAX_ROWS * N_SOURCES * LCT_N_DEFAULT_POSITIONS * (size_t)n_layers * (size_t)hidden, sizeof *wanted);
    float *all = malloc((size_t)lct_npz_n_elements(e) * sizeof *all);
    assert_ok(lct_npz_read_f32(z, at, all, &err));
    size_t row_values = LCT_N_DEFAULT_POSITIONS * (size_t)n_layers * (size_t)hidden;
    n = n_messages(TALKS[talk]); /* the snapshot with the reply is no row of a sweep */
    for (int i = 0; i < n; i++) memcpy(wanted_at(*row + i, s, 0, 0), all + (size_t)i * row_values, row_values * sizeof *all);
    free(all);
  }
  lct_npz_close(z);
  *row += n;
}

static int set_up(void **state) {
  (void)state;
  lct_error err;
  lct_buf b = {0};
  model = tiny_write("tiny-qwen2", 3);
  (void)snprintf(input, sizeof input, "%s/talks.jsonl", model.dir);
  (void)snprintf(store, sizeof store, "%s/sweep", model.dir);
  for (int i = 0; i < N_TALKS; i++) {
    assert_ok(lct_buf_printf(&b, &err, "{\"id\": \"talk %d\", \"messages\": [%s]}\n", i, TALKS[i]));
    scan_talk(i, &n_rows);
  }
  write_text(input, b.data);
  lct_buf_free(&b);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  free(wanted);
  wanted = NULL;
  n_rows = 0;
  tiny_remove(&model);
  return 0;
}

static void remove_store(void) {
  char command[160];
  (void)snprintf(command, sizeof command, "rm -rf '%s'", store);
  assert_int_equal(system(command), 0);
}

static lct_sweep_options options(void) {
  static const char *inputs[1];
  inputs[0] = input;
  return (lct_sweep_options){.model = {.id = model.path, .device = TEST_DEVICE, .threads = 2, .chat_template = chat_template},
                             .inputs = inputs,
                             .n_inputs = 1,
                             .output = store,
                             .keep = LCT_KEEP_POOLED,
                             .sources = "hidden_in,hidden_out,attn_out,mlp_down_out",
                             .store_dtype = LCT_STORED_F32,
                             .sync = LCT_SYNC_OFF};
}

static lct_sweep_result run(const lct_sweep_options *o) {
  lct_sweep_result r;
  lct_error err = {0};
  assert_ok(lct_sweep(o, &r, &err));
  assert_true(r.complete);
  assert_int_equal(r.rejected, 0);
  assert_int_equal(r.rows, n_rows);
  return r;
}

/* A whole array as raw values; meta gets its shape. */
static void *read_all(const char *name, lct_zarr_meta *meta) {
  char dir[160];
  lct_error err;
  lct_zarr *z = NULL;
  (void)snprintf(dir, sizeof dir, "%s/data.zarr", store);
  assert_ok(lct_zarr_open(dir, name, NULL, &z, &err));
  *meta = *lct_zarr_get_meta(z);
  int64_t start[LCT_ZARR_MAX_DIMS] = {0};
  void *out = calloc((size_t)(meta->shape[0] * lct_zarr_row_values(meta)) + 1, lct_zarr_dtype_bytes(meta->dtype));
  assert_ok(lct_zarr_read(z, start, meta->shape, out, &err));
  lct_zarr_free(z);
  return out;
}

static void assert_same_vector(const float *got, const float *want, int row, const char *source, int pooling, int layer) {
  for (int i = 0; i < hidden; i++) {
    if (isnan(want[i]) ? isnan(got[i]) : got[i] == want[i]) continue;
    fail_msg("row %d, %s, pooling %d, layer %d, element %d: %.9g, expected %.9g", row, source, pooling, layer, i, (double)got[i],
             (double)want[i]);
  }
}

/* pooled/NAME against source: planes of the array begin at the source's layer 0. */
static void check_source(const char *name, int source, int first_plane) {
  lct_zarr_meta m;
  float *all = read_all(name, &m);
  assert_int_equal(m.shape[0], n_rows);
  assert_int_equal(m.shape[1], LCT_N_DEFAULT_POSITIONS);
  for (int row = 0; row < n_rows; row++) {
    for (int p = 0; p < LCT_N_DEFAULT_POSITIONS; p++) {
      for (int l = 0; l < n_layers; l++) {
        const float *got = all + (((int64_t)row * m.shape[1] + p) * m.shape[2] + l + first_plane) * m.shape[3];
        assert_same_vector(got, wanted_at(row, source, p, l), row, SOURCES[source], p, l);
      }
    }
  }
  free(all);
}

/* One batch for all, and batches of one conversation each. */
static void same_bits_as_scans(void **state) {
  (void)state;
  for (int small = 0; small < 2; small++) {
    lct_sweep_options o = options();
    if (small) o.memory_bytes = 800000;
    lct_sweep_result r = run(&o);
    if (small) {
      assert_true(r.batches > 3);
      assert_true(r.tokens_from_prefix > 0); /* the shared system message's keys were kept */
    } else {
      assert_int_equal(r.batches, 1);
    }
    check_source("pooled/residual", 0, 0);
    check_source("pooled/residual", 1, 1);
    check_source("pooled/attn_out", 2, 0);
    check_source("pooled/mlp_down_out", 3, 0);
    remove_store();
  }
}

static void half_is_rounded(void **state) {
  (void)state;
  lct_sweep_options o = options();
  o.store_dtype = LCT_STORED_F16;
  o.sources = "hidden_out";
  (void)run(&o);
  lct_zarr_meta m;
  uint16_t *all = read_all("pooled/hidden_out", &m);
  assert_int_equal(m.dtype, LCT_ZARR_F16);
  for (int64_t i = 0; i < n_rows * lct_zarr_row_values(&m); i++) {
    int64_t row = i / lct_zarr_row_values(&m);
    float want = wanted_at((int)row, 1, 0, 0)[i % lct_zarr_row_values(&m)];
    if (isnan(want)) continue;
    assert_int_equal(all[i], lct_f32_to_f16(want));
  }
  free(all);
  remove_store();
}

static void narrow_types_say_their_error(void **state) {
  (void)state;
  lct_sweep_options o = options();
  o.sources = "attn_out";
  o.store_dtype = LCT_STORED_INT8;
  (void)run(&o);
  lct_zarr_meta m, sm;
  int8_t *q = read_all("pooled/attn_out", &m);
  float *scale = read_all("pooled/attn_out_scale", &sm);
  int64_t groups = sm.shape[3], width = m.shape[3];
  assert_int_equal(groups, (width + 127) / 128);
  double error = 0, value = 0;
  for (int64_t v = 0; v < n_rows * m.shape[1] * m.shape[2]; v++) {
    const float *want = wanted_at((int)(v / (m.shape[1] * m.shape[2])), 2, 0, 0) + v % (m.shape[1] * m.shape[2]) * width;
    for (int64_t i = 0; i < width; i++) {
      double d = (double)((float)q[v * width + i] * scale[v * groups + i / 128]) - (double)want[i];
      if (isnan(want[i])) continue;
      assert_true(fabs(d) <= 0.5001 * (double)scale[v * groups + i / 128]);
      error += d * d;
      value += (double)want[i] * (double)want[i];
    }
  }
  char path[160];
  (void)snprintf(path, sizeof path, "%s/sweep.json", store);
  json_t *root = json_load_file(path, 0, NULL);
  double said = json_real_value(json_object_get(json_object_get(json_object_get(root, "store_error"), "attn_out"), "relative_l2"));
  if (fabs(said / sqrt(error / value) - 1) > 1e-3) fail_msg("relative error said %g, found %g", said, sqrt(error / value));
  json_decref(root);
  free(q);
  free(scale);
  remove_store();
}

/* x = embeddings; x += attn_out; x += mlp_down_out: every bit of hidden_in and hidden_out. */
static void residual_is_derived(void **state) {
  (void)state;
  lct_sweep_options o = options();
  o.sources = NULL;
  o.derive_residual = true;
  o.positions = "last,content_last";
  (void)run(&o);
  lct_zarr_meta e, m;
  float *x = read_all("pooled/embeddings", &e), *attn = read_all("pooled/attn_out", &m), *mlp = read_all("pooled/mlp_down_out", &m);
  for (int row = 0; row < n_rows; row++) {
    for (int p = 0; p < 2; p++) {
      float *v = x + ((int64_t)row * 2 + p) * hidden;
      for (int l = 0; l < n_layers; l++) {
        assert_same_vector(v, wanted_at(row, 0, p, l), row, "hidden_in", p, l);
        const float *a = attn + (((int64_t)row * 2 + p) * n_layers + l) * hidden,
                    *b = mlp + (((int64_t)row * 2 + p) * n_layers + l) * hidden;
        for (int i = 0; i < hidden; i++) v[i] += a[i];
        for (int i = 0; i < hidden; i++) v[i] += b[i];
        assert_same_vector(v, wanted_at(row, 1, p, l), row, "hidden_out", p, l);
      }
    }
  }
  free(x);
  free(attn);
  free(mlp);
  remove_store();
}

/* The lines of messages.jsonl. */
static json_t *message_lines(void) {
  char path[160];
  lct_error err;
  lct_buf b = {0};
  (void)snprintf(path, sizeof path, "%s/messages.jsonl", store);
  assert_ok(lct_file_read(path, (size_t)1 << 24, &b, &err));
  json_t *all = json_array();
  for (char *at = b.data; *at != '\0'; at = strchr(at, '\n') + 1) {
    json_array_append_new(all, json_loadb(at, (size_t)(strchr(at, '\n') - at), 0, NULL));
  }
  lct_buf_free(&b);
  return all;
}

static int64_t number(const json_t *line, const char *key, size_t i) {
  return json_integer_value(json_array_get(json_object_get(line, key), i));
}

/* The token rows of a conversation's last prompt: their mean over a message's text is its content_mean, and positions over several messages
 * or a range are means over the same rows. */
static void tokens_are_the_rows_of_the_means(void **state) {
  (void)state;
  lct_sweep_options o = options();
  o.keep = LCT_KEEP_TOKENS;
  o.sources = "hidden_out";
  lct_sweep_result r = run(&o);
  lct_zarr_meta m, im;
  float *tokens = read_all("tokens/hidden_out", &m);
  int32_t *ids = read_all("tokens/ids", &im);
  assert_int_equal(m.shape[0], r.tokens_stored);
  assert_int_equal(im.shape[0], r.tokens_stored);
  json_t *lines = message_lines();
  assert_int_equal(json_array_size(lines), n_rows);
  int64_t next = 0;
  for (int row = 0; row < n_rows; row++) {
    json_t *line = json_array_get(lines, (size_t)row);
    int64_t first = number(line, "tokens", 0), from = number(line, "content", 0), to = number(line, "content", 1);
    if (json_integer_value(json_object_get(line, "message")) == 0) {
      assert_int_equal(first, next);
      next += number(line, "tokens", 1);
    }
    for (int l = 0; l < n_layers; l++) {
      for (int i = 0; i < hidden; i++) {
        double sum = 0;
        for (int64_t t = from; t < to; t++) sum += (double)tokens[((first + t) * n_layers + l) * hidden + i];
        assert_true((float)(sum / (double)(to - from)) == wanted_at(row, 1, LCT_AT_CONTENT_MEAN, l)[i]);
      }
    }
  }
  assert_int_equal(next, r.tokens_stored);
  assert_true(ids[0] > 0);
  json_decref(lines);
  free(tokens);
  free(ids);
  remove_store();
}

/* message:user is the mean over the text of all user messages so far; range:0:4 over the first four positions. */
static void positions_are_means_over_sets(void **state) {
  (void)state;
  lct_sweep_options o = options();
  o.keep = LCT_KEEP_TOKENS;
  o.sources = "attn_out";
  o.positions = "message:user,range:0:4,last";
  (void)run(&o);
  lct_zarr_meta m, pm;
  float *pooled = read_all("pooled/attn_out", &pm), *tokens = read_all("tokens/attn_out", &m);
  json_t *lines = message_lines();
  assert_int_equal(pm.shape[1], 3);
  double *sum = calloc((size_t)hidden, sizeof *sum);
  int64_t count = 0, stored = 0;
  for (int row = 0; row < n_rows; row++) {
    json_t *line = json_array_get(lines, (size_t)row);
    int64_t from = number(line, "content", 0), to = number(line, "content", 1), first = number(line, "tokens", 0);
    if (json_integer_value(json_object_get(line, "message")) == 0) {
      memset(sum, 0, (size_t)hidden * sizeof *sum);
      count = 0;
      stored = first + 4; /* positions 0 to 3, then the user's text */
    }
    if (strcmp(json_string_value(json_object_get(line, "role")), "user") == 0) {
      for (int64_t t = from; t < to; t++) {
        if (t < 4) continue;
        for (int i = 0; i < hidden; i++) sum[i] += (double)tokens[stored * n_layers * hidden + i];
        stored++;
        count++;
      }
    }
    const float *got = pooled + (int64_t)row * 3 * n_layers * hidden;
    for (int i = 0; i < hidden; i++) {
      assert_true(count == 0 ? isnan(got[i]) : got[i] == (float)(sum[i] / (double)count));
      double early = 0;
      for (int64_t t = 0; t < 4; t++) early += (double)tokens[(first + t) * n_layers * hidden + i];
      assert_true(got[(int64_t)n_layers * hidden + i] == (float)(early / 4));
    }
  }
  free(sum);
  free(pooled);
  free(tokens);
  json_decref(lines);
  remove_store();
}

static const char REFERENCES[] =
    "{\"id\": \"a\", \"messages\": [{\"role\": \"user\", \"content\": \"I could dance.\", \"label\": \"joy\"}]}\n"
    "{\"id\": \"b\", \"messages\": [{\"role\": \"user\", \"content\": \"Who is at the door?\", \"label\": \"fear\"}]}\n";

/* Every score is that of the scan's vector against the fingerprint, whatever is kept. */
static void scores_are_those_of_the_vectors(void **state) {
  (void)state;
  char references[160], file[160];
  lct_error err = {0};
  (void)snprintf(references, sizeof references, "%s/references.jsonl", model.dir);
  (void)snprintf(file, sizeof file, "%s/f.safetensors", model.dir);
  write_text(references, REFERENCES);
  lct_fingerprint_result made;
  assert_ok(lct_fingerprint(&(lct_fingerprint_options){.model = {.id = model.path, .device = TEST_DEVICE, .threads = 2},
                                                       .references = references,
                                                       .output = file},
                            &made, &err));
  lct_sweep_options o = options();
  o.keep = LCT_KEEP_SCORES;
  o.sources = "attn_out,hidden_out"; /* the fingerprints have hidden_out alone */
  o.positions = "content_mean,range:0:2,last";
  o.layers = "0,2-2";
  o.fingerprints = file;
  (void)run(&o);
  lct_fingerprints *f = NULL;
  assert_ok(lct_fingerprints_open(file, &f, &err));
  lct_zarr_meta m;
  float *scores = read_all("scores", &m);
  const int64_t shape[] = {n_rows, 2, 1, 2, 2, 3};
  assert_memory_equal(m.shape, shape, sizeof shape);
  static const int poolings[] = {LCT_AT_CONTENT_MEAN, LCT_AT_LAST}, layers[] = {0, 2};
  for (int64_t i = 0; i < (int64_t)n_rows * 2 * 2; i++) {
    int row = (int)(i / 4), p = (int)(i / 2 % 2), l = (int)(i % 2);
    float refs[2 * 4096], want[6];
    for (int k = 0; k < 2; k++) {
      size_t at = (((size_t)k * (size_t)f->n_poolings + (size_t)poolings[p]) * (size_t)f->n_layers + (size_t)layers[l]) * (size_t)hidden;
      memcpy(refs + k * hidden, f->vectors + at, (size_t)hidden * sizeof *refs);
    }
    assert_ok(lct_score_block(wanted_at(row, 1, poolings[p], layers[l]), 1, refs, 2, hidden, want, &err));
    assert_memory_equal(scores + i * 6, want, sizeof want);
  }
  free(scores);
  lct_fingerprints_free(f);
  remove_store();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(same_bits_as_scans),
      cmocka_unit_test(half_is_rounded),
      cmocka_unit_test(narrow_types_say_their_error),
      cmocka_unit_test(residual_is_derived),
      cmocka_unit_test(tokens_are_the_rows_of_the_means),
      cmocka_unit_test(positions_are_means_over_sets),
      cmocka_unit_test(scores_are_those_of_the_vectors),
  };
  /* Qwen3 renders early replies otherwise than the last one: prompts of one conversation are no prefixes of each other */
  const struct CMUnitTest thinking[] = {cmocka_unit_test(same_bits_as_scans), cmocka_unit_test(half_is_rounded),
                                        cmocka_unit_test(residual_is_derived)};
  int failed = cmocka_run_group_tests_name("sweep", tests, set_up, tear_down);
  chat_template = "qwen3";
  return failed + cmocka_run_group_tests_name("sweep with a template that thinks", thinking, set_up, tear_down);
}
