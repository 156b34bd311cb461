/* src/analysis against numpy (tests/oracle/gen_analysis.py) and against the published run's tables (../shared, skipped when
 * absent). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "analysis/analysis.h"
#include "base/file.h"

#define GOLDENS LCT_SOURCE_DIR "/tests/goldens/report"

static json_t *load_json(const char *path) {
  json_error_t why;
  json_t *doc = json_load_file(path, 0, &why);
  if (doc == NULL) fail_msg("%s:%d: %s", path, why.line, why.text);
  return doc;
}

static const json_t *at(const json_t *o, const char *key) {
  const json_t *v = json_object_get(o, key);
  if (v == NULL) fail_msg("golden has no key %s", key);
  return v;
}

static double num(const json_t *v) { return json_is_null(v) ? NAN : json_number_value(v); }
static double item(const json_t *array, size_t i) { return num(json_array_get(array, i)); }

static void check_near(double got, double want, double tol, const char *what, size_t i) {
  if (isnan(got) && isnan(want)) return;
  if (isnan(got) || isnan(want) || fabs(got - want) > tol) fail_msg("%s[%zu]: expected %.9g, found %.9g", what, i, want, got);
}

static void check_array(const double *got, size_t n, const json_t *want, const char *what) {
  assert_int_equal(json_array_size(want), n);
  for (size_t i = 0; i < n; i++) check_near(got[i], item(want, i), 1e-12, what, i);
}

/* (n, LCT_N_STATS): the file's metrics, three a cell, and the contrasts, one. */
static void check_stats(const double *got, size_t n, const json_t *metrics, const json_t *contrasts, const char *what) {
  assert_int_equal(json_array_size(metrics), n * LCT_STAT_CONTRAST);
  assert_int_equal(json_array_size(contrasts), n);
  for (size_t i = 0; i < n; i++) {
    for (size_t st = 0; st < LCT_STAT_CONTRAST; st++) {
      check_near(got[i * LCT_N_STATS + st], item(metrics, i * LCT_STAT_CONTRAST + st), 1e-12, what, i);
    }
    check_near(got[i * LCT_N_STATS + LCT_STAT_CONTRAST], item(contrasts, i), 1e-12, what, i);
  }
}

static lct_scores *load_scores(const char *path) {
  lct_error err = {0};
  lct_scores *s = NULL;
  if (lct_scores_load(path, &s, &err) != LCT_OK) fail_msg("%s", err.message);
  return s;
}

static lct_analysis *run_analysis(const lct_scores *s, const char *pooling) {
  lct_error err = {0};
  lct_analysis *a = NULL;
  if (lct_analysis_run(s, pooling, &a, &err) != LCT_OK) fail_msg("%s", err.message);
  return a;
}

static void check_average(const lct_analysis *a, const lct_role_average *r, const json_t *golden, const char *name) {
  const json_t *want = at(golden, name);
  const lct_scores *s = a->scores;
  size_t n_rows = s->n_sources * s->n_layers;
  assert_int_equal(r->n_snapshots, json_integer_value(at(want, "n_snapshots")));
  check_stats(r->by_source, s->n_sources * s->n_references, at(want, "by_source"), at(at(golden, "contrast"), name), name);
  check_array(r->curves, n_rows * s->n_references, at(want, "curves"), name);
  check_array(r->source_mean, s->n_sources, at(want, "source_mean"), name);
  for (size_t i = 0; i < n_rows; i++) {
    const lct_layer_spread *sp = &r->spread[i];
    check_near(sp->spread, item(at(want, "spread"), i), 1e-12, "spread", i);
    check_near(sp->mean, item(at(want, "mean"), i), 1e-12, "layer mean", i);
    assert_int_equal(sp->highest, (int)item(at(want, "highest"), i));
    assert_int_equal(sp->lowest, (int)item(at(want, "lowest"), i));
    const json_t *order = json_array_get(at(want, "top"), i / s->n_layers);
    assert_int_equal(r->spread_top[i].layer_pos, (int)item(order, i % s->n_layers));
  }
}

static void check_findings(const lct_analysis *a, const json_t *want) {
  const lct_findings *f = &a->findings;
  const double ends[] = {f->backbone_min, f->backbone_max, f->sublayer_min, f->sublayer_max};
  check_array(ends, 4, at(want, "backbone"), "backbone");
  check_array(f->gap, LCT_N_RESIDUAL, at(want, "gap"), "gap");
  for (size_t i = 0; i < a->scores->n_references; i++) {
    assert_int_equal(f->wins_user[i], (int)item(at(want, "wins_user"), i));
    assert_int_equal(f->wins_all[i], (int)item(at(want, "wins_all"), i));
  }
  const json_t *fade = at(want, "fade");
  assert_int_equal(f->first, json_integer_value(at(fade, "first")));
  assert_int_equal(f->last, json_integer_value(at(fade, "last")));
  check_near(f->first_value, num(at(fade, "first_value")), 1e-12, "first", 0);
  check_near(f->last_value, num(at(fade, "last_value")), 1e-12, "last", 0);
  check_near(f->first_ref_at_last, num(at(fade, "first_ref_at_last")), 1e-12, "first reference at last", 0);
  check_near(f->fade.slope, num(at(fade, "slope")), 1e-10, "slope", 0);
  check_near(f->fade.intercept, num(at(fade, "intercept")), 1e-10, "intercept", 0);
  check_near(f->fade.r, num(at(fade, "r")), 1e-10, "r", 0);
}

static void check_contrast(const lct_analysis *a, const json_t *want) {
  const lct_contrast_findings *c = &a->findings.contrast;
  assert_ptr_equal(c->average, &a->user);
  assert_int_equal(c->n, a->scores->n_references);
  for (size_t i = 0; i < c->n; i++) {
    assert_int_equal(c->order[i], (int)item(at(want, "order"), i));
    check_near(lct_average_message(a, c->average, i, LCT_STAT_CONTRAST), item(at(want, "mean"), i), 1e-12, "mean contrast", i);
  }
  const double ends[] = {c->backbone_min, c->backbone_max};
  check_array(ends, 2, at(want, "backbone"), "backbone's contrasts");
  check_near(c->offset, num(at(want, "offset")), 1e-12, "offset", 0);
  check_near(c->first, num(at(want, "first")), 1e-12, "first contrast", 0);
  check_near(c->last, num(at(want, "last")), 1e-12, "last contrast", 0);
}

static void against_numpy(void **state) {
  (void)state;
  lct_scores *s = load_scores(GOLDENS "/analysis_scores.json");
  json_t *doc = load_json(GOLDENS "/analysis_expected.json");
  for (size_t p = 0; p < s->n_poolings; p++) {
    const json_t *want = at(doc, s->poolings[p]);
    lct_analysis *a = run_analysis(s, s->poolings[p]);
    const json_t *contrast = at(want, "contrast");
    assert_int_equal(s->n_nan, json_integer_value(at(want, "n_nan")));
    check_stats(a->by_source, s->n_snapshots * s->n_sources * s->n_references, at(want, "by_source"), at(contrast, "by_source"),
                "by_source");
    check_stats(a->by_message, s->n_snapshots * s->n_references, at(want, "by_message"), at(contrast, "by_message"), "by_message");
    for (size_t i = 0; i < s->n_snapshots; i++) assert_int_equal(a->best[i], (int)item(at(want, "best"), i));
    check_average(a, &a->all, want, "all");
    check_average(a, &a->user, want, "user");
    check_average(a, &a->assistant, want, "assistant");
    check_findings(a, want);
    check_contrast(a, contrast);
    for (size_t src = 0; src < s->n_sources; src++) {
      const lct_series_stats *st = &a->intra[src * LCT_N_STATS + LCT_STAT_COSINE];
      const double got[] = {st->mean, st->std, st->median, st->min, st->max, st->argmin, (double)st->n_nan};
      check_array(got, 7, at(at(want, "intra"), s->sources[src]), "intra_run");
    }
    lct_analysis_free(a);
  }
  json_decref(doc);
  lct_scores_free(s);
}

static void unknown_pooling(void **state) {
  (void)state;
  lct_scores *s = load_scores(GOLDENS "/analysis_scores.json");
  lct_analysis *a = NULL;
  lct_error err = {0};
  assert_int_equal(lct_analysis_run(s, "first", &a, &err), LCT_E_USAGE);
  assert_null(a);
  assert_non_null(strstr(err.message, "analysis_scores.json: has no pooling \"first\""));
  lct_scores_free(s);
}

static void fit_of_too_little(void **state) {
  (void)state;
  const double x[] = {1, 1, 3}, y[] = {2, 4, NAN};
  assert_true(isnan(lct_fit_line(x, y, 3).slope)); /* one distinct x */
  assert_true(isnan(lct_fit_line(x, y, 0).r));
  const double flat_x[] = {0, 1}, flat_y[] = {5, 5};
  lct_line_fit flat = lct_fit_line(flat_x, flat_y, 2);
  assert_true(flat.slope == 0 && isnan(flat.r));
}

/* ---- the published run ---- */

static const char *shared_dir(void) {
  const char *dir = getenv("LCT_SHARED");
  return dir != NULL ? dir : LCT_SOURCE_DIR "/../shared";
}

/* A scores document of the published cosines, written to a temporary file and loaded through the ordinary door. */
static lct_scores *published_scores(const json_t *cos) {
  json_t *doc = json_object(), *snaps = json_array(), *flat = json_array(), *layers = json_array();
  const json_t *messages = at(cos, "cosine");
  size_t n_layers = 0;
  for (size_t i = 0; i < json_array_size(messages); i++) {
    json_t *snap = json_pack("{s:i,s:O,s:s,s:i,s:b}", "index", (int)i, "role", json_array_get(at(cos, "roles"), i), "content_preview", "",
                             "n_tokens", 0, "generated", 0);
    json_array_append_new(snaps, snap);
    const json_t *sources = json_array_get(messages, i);
    for (size_t s = 0; s < json_array_size(sources); s++) {
      const json_t *refs = json_array_get(sources, s);
      n_layers = json_array_size(json_array_get(refs, 0));
      for (size_t l = 0; l < n_layers; l++) {
        for (size_t r = 0; r < json_array_size(refs); r++) {
          json_array_append(flat, json_array_get(json_array_get(refs, r), l));
        }
      }
    }
  }
  for (size_t l = 0; l < n_layers; l++) json_array_append_new(layers, json_integer((json_int_t)l));
  json_object_set_new(doc, "format", json_string("llmct-scores"));
  json_object_set_new(doc, "version", json_integer(1));
  json_object_set_new(doc, "axes", json_pack("[s,s,s,s,s,s]", "snapshot", "pooling", "source", "layer", "reference", "metric"));
  json_object_set_new(doc, "poolings", json_pack("[s]", "last"));
  json_object_set_new(doc, "metrics", json_pack("[s]", "cosine"));
  json_object_set_new(doc, "snapshots", snaps);
  json_object_set_new(doc, "layers", layers);
  json_object_set_new(doc, "scores", flat);
  json_object_set(doc, "sources", json_object_get(cos, "sources"));
  json_object_set(doc, "references", json_object_get(cos, "references"));
  char path[] = P_tmpdir "/lct_published_XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  close(fd);
  assert_int_equal(json_dump_file(doc, path, JSON_COMPACT), 0);
  json_decref(doc);
  lct_scores *s = load_scores(path);
  (void)unlink(path);
  return s;
}

static void check_published_turns(const lct_analysis *a, const json_t *pub) {
  const char *key;
  json_t *row;
  json_object_foreach((json_t *)at(pub, "turn_by_reference_mean_cosine_over_sources"), key, row) {
    for (size_t r = 0; r < a->scores->n_references; r++) {
      check_near(lct_analysis_message(a, (size_t)atoi(key), r, LCT_STAT_COSINE), item(row, r), 5.1e-4, key, r);
    }
  }
}

static void check_published_sources(const lct_analysis *a, const json_t *pub, const char *table, const lct_role_average *avg, size_t stride,
                                    double tol) {
  for (size_t r = 0; r < a->scores->n_references; r++) {
    const json_t *row = at(at(pub, table), a->scores->references[r]);
    for (size_t src = 0; src < 4; src++) {
      check_near(lct_average_source(a, avg, src, r, LCT_STAT_COSINE), item(row, src * stride), tol, table, r * 4 + src);
    }
  }
}

static void check_published_layers(const lct_analysis *a, const json_t *pub) {
  const json_t *rows = at(at(pub, "top_layers_hidden_in_user"), "rows");
  for (size_t i = 0; i < json_array_size(rows); i++) {
    const json_t *row = json_array_get(rows, i);
    const lct_layer_spread *top = &a->user.spread_top[i];
    assert_int_equal(top->layer_pos, (int)item(row, 0));
    check_near(top->spread, item(row, 1), 1.1e-4, "spread", i); /* the difference of two means of four-digit cosines */
    assert_string_equal(a->scores->references[top->highest], json_string_value(json_array_get(row, 2)));
    check_near(top->highest_value, item(row, 3), 5.1e-4, "highest", i);
    assert_string_equal(a->scores->references[top->lowest], json_string_value(json_array_get(row, 4)));
    check_near(top->lowest_value, item(row, 5), 5.1e-4, "lowest", i);
    /* the published mean of layer 31 is 0.770 where its own cosines give 0.7695, of layer 29 0.806 for 0.8055: its last digit is
     * off */
    check_near(top->mean, item(row, 6), 6e-4, "mean", i);
  }
}

/* The paper's role means are not the means of its own per-reference tables (0.870 for 0.8677 and so on): the tables agree with
 * the cosines to the last digit, so the tables are what is held; the disagreement is kept here so that it is not rediscovered. */
static void check_published_roles(const lct_analysis *a, const json_t *pub) {
  const double from_tables[2][4] = {{0.86774, 0.85593, 0.60282, 0.61412}, {0.83339, 0.81970, 0.49301, 0.48926}};
  const json_t *roles = at(pub, "role_mean_cosine");
  const lct_role_average *avg[2] = {&a->user, &a->assistant};
  for (size_t k = 0; k < 2; k++) {
    for (size_t src = 0; src < 4; src++) {
      check_near(avg[k]->source_mean[src], from_tables[k][src], 5e-5, "role mean", k * 4 + src);
      double stated = item(at(roles, k == 0 ? "user" : "assistant"), src);
      print_message("          role mean %s %-12s cosines %.4f, paper %.3f, difference %+.4f\n", k == 0 ? "user     " : "assistant",
                    a->scores->sources[src], avg[k]->source_mean[src], stated, avg[k]->source_mean[src] - stated);
    }
  }
  for (size_t src = 0; src < 4; src++) {
    check_near(a->findings.gap[src], from_tables[0][src] - from_tables[1][src], 1e-4, "gap", src);
  }
}

static void published_run(void **state) {
  (void)state;
  char cos_path[1024], pub_path[1024];
  (void)snprintf(cos_path, sizeof cos_path, "%s/reference/published_cosines.json", shared_dir());
  (void)snprintf(pub_path, sizeof pub_path, "%s/reference/where_emotions_lie.published.json", shared_dir());
  if (!lct_path_exists(cos_path) || !lct_path_exists(pub_path)) {
    print_message("SKIP: %s is not there (set LCT_SHARED)\n", cos_path);
    skip();
  }
  json_t *cos = load_json(cos_path), *pub = load_json(pub_path);
  lct_scores *s = published_scores(cos);
  lct_analysis *a = run_analysis(s, "last");
  check_published_turns(a, pub);
  /* two of 36 published cells (apathy attn_out, confusion hidden_in) are 0.00053 away from the four-digit cosines' mean */
  check_published_sources(a, pub, "reference_by_source_mean_cosine_all_messages", &a->all, 1, 5.5e-4);
  check_published_sources(a, pub, "user_turns_reference_by_source", &a->user, 3, 5.1e-5);
  check_published_sources(a, pub, "assistant_turns_reference_by_source", &a->assistant, 3, 5.1e-5);
  check_published_layers(a, pub);
  check_published_roles(a, pub);
  /* fades: 0.897 to joy at the first turn, 0.731 to peace and 0.728 to joy at the last */
  check_near(a->findings.first_value, 0.897, 5.1e-4, "first", 0);
  check_near(a->findings.last_value, 0.731, 5.1e-4, "last", 0);
  check_near(a->findings.first_ref_at_last, 0.728, 5.1e-4, "joy at last", 0);
  /* the paper says joy scores highest "even during angry and sad turns"; its table says apathy and confusion do there */
  assert_string_equal(s->references[a->best[7]], "apathy");
  assert_string_equal(s->references[a->best[11]], "apathy");
  lct_analysis_free(a);
  lct_scores_free(s);
  json_decref(cos);
  json_decref(pub);
}

/* ---- damaged files ---- */

static lct_status load_text(const char *text, size_t n, lct_error *err) {
  char path[] = P_tmpdir "/lct_scores_XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, n), (ssize_t)n);
  close(fd);
  lct_scores *s = NULL;
  lct_status st = lct_scores_load(path, &s, err);
  if (st == LCT_OK) {
    for (size_t p = 0; p < s->n_poolings; p++) {
      lct_analysis *a = NULL;
      if (lct_analysis_run(s, s->poolings[p], &a, err) == LCT_OK) lct_analysis_free(a);
    }
  }
  lct_scores_free(s);
  (void)unlink(path);
  return st;
}

#define HEAD "{\"format\":\"llmct-scores\",\"version\":1,"
#define AXES "\"axes\":[\"snapshot\",\"pooling\",\"source\",\"layer\",\"reference\",\"metric\"],"
#define SNAP "\"snapshots\":[{\"index\":0,\"role\":\"user\",\"content_preview\":\"x\",\"n_tokens\":3,\"generated\":false}],"
#define DIMS "\"poolings\":[\"last\"],\"sources\":[\"hidden_in\"],\"layers\":[0,1],\"references\":[\"joy\"],\"metrics\":[\"cosine\"]"

static void damaged(void **state) {
  (void)state;
  static const struct {
    const char *text, *message; /* message: what follows the file's name */
  } CASES[] = {
      {"", ": not JSON: "},
      {"[1]", ": expected a JSON object"},
      {"{}", ": format: missing"},
      {"{\"format\":7}", ": format: expected a string, found an integer"},
      {"{\"format\":\"llmct-scan\"}", ": format: expected \"llmct-scores\", found \"llmct-scan\""},
      {"{\"format\":\"llmct-scores\",\"version\":2}", ": version: expected 1, found 2"},
      {HEAD "\"axes\":[\"snapshot\"]}", ": axes: expected 6 names, found 1"},
      {HEAD "\"axes\":[\"snapshot\",\"pooling\",\"source\",\"reference\",\"layer\",\"metric\"]}",
       ": axes[3]: expected \"layer\", found \"reference\""},
      {HEAD AXES "\"snapshots\":{}}", ": snapshots: expected an array, found an object"},
      {HEAD AXES "\"snapshots\":[{\"index\":0,\"role\":null}]}", ": snapshots[0].role: expected a string, found null"},
      {HEAD AXES "\"snapshots\":[{\"index\":-1,\"role\":\"user\"}]}", ": snapshots[0].index: expected 0 to 2147483647, found -1"},
      {HEAD AXES SNAP "\"poolings\":[\"last\",\"last\"]}", ": poolings[1]: \"last\" is there twice"},
      {HEAD AXES SNAP "\"poolings\":[\"last\"],\"sources\":[],\"layers\":[2,1]}",
       ": layers[1]: expected layers in ascending order, found 1 after 2"},
      {HEAD AXES SNAP "\"poolings\":[],\"sources\":[],\"layers\":[],\"references\":[],\"metrics\":[\"mae\"]}",
       ": metrics: expected \"cosine\" among them"},
      {HEAD AXES SNAP DIMS ",\"scores\":[0.5]}", ": scores: expected 2 numbers (1 x 1 x 1 x 2 x 1 x 1), found 1"},
      {HEAD AXES SNAP DIMS ",\"scores\":[0.5,\"x\"]}", ": scores[1]: expected a number or null, found a string"},
      {HEAD AXES SNAP DIMS "}", ": scores: missing"},
      {HEAD AXES SNAP DIMS ",\"scores\":[0.5,null],\"intra_run\":{\"hidden_in\":{\"cosine\":[1]}}}",
       ": intra_run.hidden_in.cosine: expected 2 numbers, found 1"},
      {HEAD AXES SNAP DIMS ",\"scores\":[0.5,null],\"intra_run\":[]}", ": intra_run: expected an object, found an array"},
  };
  for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
    lct_error err = {0};
    assert_int_equal(load_text(CASES[i].text, strlen(CASES[i].text), &err), LCT_E_FORMAT);
    const char *after = strstr(err.message, "/lct_scores_");
    if (after == NULL || strstr(after, CASES[i].message) == NULL) fail_msg("case %zu: %s", i, err.message);
  }
  lct_error err = {0};
  const char *good = HEAD AXES SNAP DIMS ",\"scores\":[0.5,null]}";
  assert_int_equal(load_text(good, strlen(good), &err), LCT_OK);
  const char *nothing = HEAD AXES
      "\"snapshots\":[],\"poolings\":[\"last\"],\"sources\":[],\"layers\":[],\"references\":[],"
      "\"metrics\":[\"cosine\"],\"scores\":[]}";
  assert_int_equal(load_text(nothing, strlen(nothing), &err), LCT_OK);
}

/* Every truncation, and one changed byte at many places: an error or a value, never a crash. */
static void mangled(void **state) {
  (void)state;
  char text[] = HEAD AXES SNAP DIMS ",\"scores\":[0.5,null],\"intra_run\":{\"hidden_in\":{\"cosine\":[1,2]}}}";
  size_t n = strlen(text);
  for (size_t cut = 0; cut < n; cut++) {
    lct_error err = {0};
    assert_int_equal(load_text(text, cut, &err), LCT_E_FORMAT);
    assert_true(err.message[0] != '\0');
  }
  for (size_t i = 0; i < n; i++) {
    static const char WITH[] = {'0', '"', '[', '}', ',', '\xff', '\0'};
    char was = text[i];
    text[i] = WITH[i % sizeof WITH];
    lct_error err = {0};
    (void)!load_text(text, n, &err);
    text[i] = was;
  }
  lct_buf deep = {0};
  lct_error err = {0};
  for (int i = 0; i < 100000; i++) assert_int_equal(lct_buf_puts(&deep, "{\"a\":", &err), LCT_OK);
  assert_int_equal(load_text(deep.data, deep.len, &err), LCT_E_FORMAT);
  lct_buf_free(&deep);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(against_numpy), cmocka_unit_test(unknown_pooling), cmocka_unit_test(fit_of_too_little),
      cmocka_unit_test(published_run), cmocka_unit_test(damaged),         cmocka_unit_test(mangled),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
