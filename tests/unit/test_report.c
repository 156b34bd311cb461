/* src/report on the made-up run of tests/goldens/report/run (tests/oracle/make_fake_run.py); its numbers come from numpy
 * (tests/oracle/gen_analysis.py: run_expected.json, published_small.json). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "report/report.h"
#include "report_fixture.h"

#define MAX_REPORT 2000000

static char *html_of(const run_copy *r, size_t *n) {
  lct_error err = {0};
  char *path = NULL;
  if (lct_report_html(r->dir, &path, &err) != LCT_OK) fail_msg("%s", err.message);
  assert_string_equal(path, in_run(r, "report.html"));
  char *page = slurp(path, n);
  free(path);
  return page;
}

static size_t count(const char *text, const char *what) {
  size_t n = 0;
  for (const char *p = text; (p = strstr(p, what)) != NULL; p += strlen(what)) n++;
  return n;
}

static void page_is_sound(void **state) {
  (void)state;
  run_copy r = copy_run();
  size_t n = 0;
  char *page = html_of(&r, &n);
  assert_int_equal(strlen(page), n);
  assert_true(n < MAX_REPORT);
  check_html(page);
  /* self-contained: nothing is fetched */
  static const char *const FETCHES[] = {" src=", "url(", "@import", "<link", "<iframe", "href=\"http", "fetch(", "XMLHttp"};
  for (size_t i = 0; i < sizeof FETCHES / sizeof FETCHES[0]; i++) assert_null(strstr(page, FETCHES[i]));
  assert_int_equal(count(page, "http"), 1); /* the SVG namespace's name, in the script */
  assert_non_null(strstr(page, "prefers-color-scheme:dark"));
  /* a message tried to bring a script: it is text twice a heatmap (cell and title), and only our own script is one */
  assert_int_equal(count(page, "<script"), 1);
  assert_int_equal(count(page, "&lt;script&gt;alert(1)&lt;/script&gt;"), 4);
  free(page);
  drop_run(&r);
}

static json_t *golden(const char *name) {
  char path[512];
  json_error_t why;
  (void)snprintf(path, sizeof path, "%s/%s", GOLDENS, name);
  json_t *doc = json_load_file(path, 0, &why);
  if (doc == NULL) fail_msg("%s: %s", path, why.text);
  return doc;
}

static double item(const json_t *array, size_t i) { return json_number_value(json_array_get(array, i)); }

#define N_SNAP 7
#define N_REF 4

/* A cell's number; a minus sign is U+2212. */
static double shown_number(const char *text) {
  bool minus = strncmp(text, "−", strlen("−")) == 0;
  double v = strtod(minus ? text + strlen("−") : text, NULL);
  return minus ? -v : v;
}

/* Rows of a heatmap against numpy: the three digits in each cell, and where the ring is. cells: (snapshot, reference), stride apart.
 * Returns where the next one begins. */
static const char *check_heatmap(const char *page, const json_t *cells, size_t stride, const json_t *best) {
  const char *p = strstr(page, "<table class=\"heat\"");
  for (size_t i = 0; i < N_SNAP; i++) {
    for (size_t ref = 0; ref < N_REF; ref++) {
      p = strstr(p, "<td class=\"v ");
      assert_non_null(p);
      p += strlen("<td class=\"v ");
      bool ring = strstr(p, "max") != NULL && strstr(p, "max") < strchr(p, '>');
      double shown = shown_number(strchr(p, '>') + 1);
      double v = item(cells, (i * N_REF + ref) * stride);
      if (fabs(shown - v) > 5.0001e-4) fail_msg("cell %zu %zu: expected %.3f, found %.3f", i, ref, v, shown);
      assert_int_equal(ring, (size_t)item(best, i) == ref);
    }
  }
  return p;
}

static void heatmap_values(void **state) {
  (void)state;
  run_copy r = copy_run();
  json_t *want = golden("run_expected.json");
  size_t n = 0;
  char *page = html_of(&r, &n);
  const json_t *best = json_object_get(want, "best"), *contrast = json_object_get(want, "contrast");
  const char *next = check_heatmap(page, json_object_get(want, "by_message"), 3, best);
  (void)check_heatmap(next, json_object_get(contrast, "by_message"), 1, best);
  json_decref(want);
  free(page);
  drop_run(&r);
}

/* The headline: references by falling contrast over the user's messages, each beside its raw cosine. */
static void headline(void **state) {
  (void)state;
  run_copy r = copy_run();
  json_t *want = golden("run_expected.json");
  const json_t *contrast = json_object_get(want, "contrast"), *cosines = json_object_get(json_object_get(want, "user"), "by_source");
  size_t n = 0;
  char *page = html_of(&r, &n);
  assert_non_null(strstr(page, "<h2>What stands out</h2>"));
  assert_non_null(strstr(page, "residual vectors share an offset, here 0.735"));
  const char *p = strstr(page, "<th>contrast</th><th>raw cosine</th>");
  for (size_t i = 0; i < N_REF; i++) {
    size_t ref = (size_t)item(json_object_get(contrast, "order"), i);
    double raw = 0;
    for (size_t source = 0; source < 4; source++) raw += item(cosines, (source * N_REF + ref) * 3) / 4;
    p = strstr(p + 1, "</th><td");
    assert_non_null(p);
    const double shown[] = {shown_number(strchr(strchr(p, '>') + 1, '>') + 1), shown_number(strstr(p, "</td><td>") + strlen("</td><td>"))};
    const double expected[] = {item(json_object_get(contrast, "mean"), ref), raw};
    for (int k = 0; k < 2; k++) {
      if (fabs(shown[k] - expected[k]) > 5.0001e-5) fail_msg("row %zu: expected %.4f, found %.4f", i, expected[k], shown[k]);
    }
  }
  json_decref(want);
  free(page);
  drop_run(&r);
}

static char *text_of(const char *dir, int width) {
  lct_buf out = {0};
  lct_error err = {0};
  if (lct_report_text(dir, width, &out, &err) != LCT_OK) fail_msg("%s", err.message);
  return out.data;
}

static void text_values(void **state) {
  (void)state;
  json_t *want = golden("run_expected.json");
  char *text = text_of(GOLDENS "/run", 72);
  const char *line = strstr(text, "\n  # who");
  for (size_t i = 0; i < N_SNAP; i++) {
    line = strchr(line + 1, '\n');
    assert_non_null(line);
    assert_int_equal(strtol(line + 1, NULL, 10), (long)i);
    const char *end = strchr(line + 1, '\n');
    const char *cells = end - N_REF * 9; /* the longest label, "sadness", makes a cell of nine; a mark at the very end may be missing */
    if (end[-1] != '*') cells++;
    for (size_t ref = 0; ref < N_REF; ref++) {
      char *after = NULL;
      double shown = strtod(cells + ref * 9, &after);
      double v = item(json_object_get(want, "by_message"), (i * N_REF + ref) * 3);
      if (fabs(shown - v) > 5.0001e-4) fail_msg("row %zu %zu: expected %.3f, found %.3f in %.72s", i, ref, v, shown, line + 1);
      assert_int_equal(*after == '*', (size_t)item(json_object_get(want, "best"), i) == ref);
    }
  }
  /* below them the means over the user's messages, and the headline */
  const json_t *mean = json_object_get(json_object_get(want, "contrast"), "mean");
  const char *contrasts = strstr(text, "\ncontrast ");
  assert_non_null(contrasts);
  const char *number = contrasts + strlen("\ncontrast");
  for (size_t ref = 0; ref < N_REF; ref++) {
    char *after = NULL;
    double shown = strtod(number, &after);
    if (fabs(shown - item(mean, ref)) > 5.0001e-4) fail_msg("contrast %zu: expected %.3f, found %.3f", ref, item(mean, ref), shown);
    number = after;
  }
  assert_int_equal(*number, '\n');
  char figure[64];
  (void)snprintf(figure, sizeof figure, "\nContrast: apathy %+.3f. Highest of", item(mean, 2));
  assert_non_null(strstr(text, figure));
  /* the five numbers */
  const json_t *fade = json_object_get(want, "fade"), *backbone = json_object_get(want, "backbone");
  (void)snprintf(figure, sizeof figure, "5. Fading: %.3f to %.3f.", json_number_value(json_object_get(fade, "first_value")),
                 json_number_value(json_object_get(fade, "last_value")));
  assert_non_null(strstr(text, figure));
  (void)snprintf(figure, sizeof figure, "1. Backbone: %.3f to %.3f.", item(backbone, 0), item(backbone, 1));
  assert_non_null(strstr(text, figure));
  (void)snprintf(figure, sizeof figure, "hidden_in %+.3f", item(json_object_get(want, "gap"), 0));
  assert_non_null(strstr(text, figure));
  assert_non_null(strstr(text, "\n2. Sharpest layers: layers 0-3."));
  assert_non_null(strstr(text, "\n4. Default emotion: apathy, 1 of 3."));
  free(text);
  text = text_of(GOLDENS "/run", 1000); /* a finding a line */
  const json_t *contrast = json_object_get(want, "contrast"), *ends = json_object_get(contrast, "backbone");
  (void)snprintf(figure, sizeof figure, "a contrast between %+.3f and %+.3f.", item(ends, 0), item(ends, 1));
  assert_non_null(strstr(text, figure));
  (void)snprintf(figure, sizeof figure, "Its contrast goes from %+.3f to %+.3f.", json_number_value(json_object_get(contrast, "first")),
                 json_number_value(json_object_get(contrast, "last")));
  assert_non_null(strstr(text, figure));
  json_decref(want);
  free(text);
}

/* No line longer than asked for, counted in code points, and no control character but the newline. */
static void text_width(void **state) {
  (void)state;
  static const int WIDTHS[] = {40, 60, 80, 100, 140, 300};
  run_copy r = copy_run();
  edit(&r, "prompt_0/scores.json", "You listen", "\\u001b[31m\\u009b31m\\u0007 Ünïcödé"); /* a message that would colour the terminal */
  for (size_t i = 0; i < sizeof WIDTHS / sizeof WIDTHS[0]; i++) {
    char *text = text_of(r.dir, WIDTHS[i]);
    int column = 0;
    for (const char *p = text; *p != '\0'; p++) {
      unsigned char c = (unsigned char)*p;
      if (c == '\n') {
        column = 0;
        continue;
      }
      assert_true(c >= 0x20 && c != 0x7f);
      assert_false(c == 0xc2 && (unsigned char)p[1] < 0xa0);
      column += (c & 0xc0) != 0x80;
      if (column > WIDTHS[i]) fail_msg("a line is longer than %d: %.300s", WIDTHS[i], p - column + 1);
    }
    free(text);
  }
  drop_run(&r);
}

static char *compare(const char *dir, const char *published) {
  lct_buf out = {0};
  lct_error err = {0};
  if (lct_report_published(dir, published, &out, &err) != LCT_OK) fail_msg("%s", err.message);
  return out.data;
}

static void beside_published(void **state) {
  (void)state;
  char *text = compare(GOLDENS "/run", GOLDENS "/published_small.json");
  assert_non_null(strstr(text, "published: Somebody/Else-9B\n"));
  assert_non_null(strstr(text, "The models differ"));
  assert_non_null(strstr(text, "Cannot be compared, not in this run: awe\n"));
  assert_non_null(strstr(text, "Cannot be compared, not published: sadness\n"));
  assert_non_null(strstr(text, "difference        -0.100     -0.100     -0.100\n"));
  assert_non_null(strstr(text, "6 cells: mean |difference| 0.1000, largest 0.1000, correlation 1.000\n"));
  assert_non_null(strstr(text, "Same highest reference in 2 of 2 messages.\n"));
  assert_non_null(strstr(text, "Cannot be compared: published messages 99; this run has 7.\n"));
  assert_non_null(strstr(text, "The published model has 7 layers, this one 4: compare depths, not layer numbers.\n"));
  assert_non_null(strstr(text, "The published file has no such table."));
  free(text);
}

static void damaged_published(void **state) {
  (void)state;
  static const struct {
    const char *from, *to, *message;
  } CASES[] = {
      {"\"99\":[", "\"x9\":[", "published.json: turn_by_reference_mean_cosine_over_sources.x9: expected a message number as key"},
      {"\"99\":[0.5,", "\"99\":[", "published.json: turn_by_reference_mean_cosine_over_sources.99: expected 4 numbers, found 3"},
      {"\"layers\":7", "\"layers\":\"7\"", "published.json: layers: expected an integer, found a string"},
      {"[[6,0.25", "[[6", "published.json: top_layers_hidden_in_user.rows[0]: expected 7 cells, found 6"},
      {"\"references\":", "\"labels\":", "published.json: references: missing"},
  };
  for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
    run_copy r = copy_run();
    size_t n = 0;
    char *text = slurp(GOLDENS "/published_small.json", &n);
    put(&r, "published.json", text, n);
    edit(&r, "published.json", CASES[i].from, CASES[i].to);
    lct_buf out = {0};
    lct_error err = {0};
    char path[512];
    (void)snprintf(path, sizeof path, "%s", in_run(&r, "published.json"));
    assert_int_equal(lct_report_published(r.dir, path, &out, &err), LCT_E_FORMAT);
    if (strstr(err.message, CASES[i].message) == NULL) fail_msg("case %zu: %s", i, err.message);
    lct_buf_free(&out);
    free(text);
    (void)unlink(path);
    drop_run(&r);
  }
}

/* The original's own numbers, if they are at hand: nothing of its form may be refused. */
static void published_file(void **state) {
  (void)state;
  const char *dir = getenv("LCT_SHARED");
  char path[1024];
  (void)snprintf(path, sizeof path, "%s/reference/where_emotions_lie.published.json", dir != NULL ? dir : LCT_SOURCE_DIR "/../shared");
  if (!lct_path_exists(path)) {
    print_message("SKIP: %s is not there (set LCT_SHARED)\n", path);
    skip();
  }
  char *text = compare(GOLDENS "/run", path);
  assert_non_null(strstr(text, "Cannot be compared, not in this run: love, hate, annoyed, scared, confusion\n"));
  assert_non_null(strstr(text, "Cannot be compared: published messages 7, 9, 11, 13, 15, 17, 19; this run has 7.\n"));
  assert_non_null(strstr(text, "The published model has 36 layers, this one 4"));
  assert_non_null(strstr(text, "Note: the published user means are not the means of the published table by reference (0.8677"));
  free(text);
}

/* ---- runs that are not whole ---- */

static void partial_run(void **state) {
  (void)state;
  run_copy r = copy_run();
  size_t n = 0;
  edit(&r, "scan.json", "\"prompts\":[\"prompt_0\"]", "\"prompts\":[\"prompt_0\",\"prompt_1\"]");
  lct_error err = {0};
  char *path = NULL;
  assert_int_equal(lct_report_html(r.dir, &path, &err), LCT_E_IO); /* done, and yet a prompt is missing */
  assert_non_null(strstr(err.message, "prompt_1/scores.json"));
  assert_null(path);
  assert_false(lct_path_exists(in_run(&r, "report.html")));
  edit(&r, "scan.json", "\"state\":\"done\"", "\"state\":\"partial\"");
  char *page = html_of(&r, &n);
  check_html(page);
  assert_non_null(strstr(page, "Partial run."));
  assert_non_null(strstr(page, "1 of 2 prompts have scores"));
  assert_non_null(strstr(page, "The run stopped before this prompt had scores."));
  free(page);
  char *text = text_of(r.dir, 80);
  assert_non_null(strstr(text, "This run is not complete"));
  assert_non_null(strstr(text, "prompt_1\nNo scores: the run stopped before this prompt."));
  free(text);
  drop_run(&r);
}

#define AXES "\"axes\":[\"snapshot\",\"pooling\",\"source\",\"layer\",\"reference\",\"metric\"]"

/* Little or nothing to show: no references; one layer, one message, one source; nothing but NaN. */
static void poor_runs(void **state) {
  (void)state;
  static const char *const SCORES[] = {
      "{\"format\":\"llmct-scores\",\"version\":1,\"snapshots\":[{\"index\":0,\"role\":\"user\",\"content_preview\":\"a\",\"n_"
      "tokens\":1}],"
      "\"poolings\":[\"last\"],\"sources\":[\"hidden_in\"],\"layers\":[0,1],\"references\":[],\"metrics\":[\"cosine\"]," AXES
      ",\"scores\":[]}",
      "{\"format\":\"llmct-scores\",\"version\":1,\"snapshots\":[{\"index\":0,\"role\":\"user\",\"content_preview\":\"a\",\"n_"
      "tokens\":1}],"
      "\"poolings\":[\"content_mean\"],\"sources\":[\"attn_out\"],\"layers\":[7],\"references\":[\"joy\"],\"metrics\":["
      "\"cosine\"]," AXES ",\"scores\":[0.25]}",
      "{\"format\":\"llmct-scores\",\"version\":1,\"snapshots\":[{\"index\":0,\"role\":\"critic\",\"content_preview\":\"a\",\"n_"
      "tokens\":1}],"
      "\"poolings\":[\"last\"],\"sources\":[\"hidden_in\"],\"layers\":[0,1],\"references\":[\"joy\"],\"metrics\":[\"cosine\"]"
      "," AXES ",\"scores\":[null,null],\"intra_run\":{}}",
      "{\"format\":\"llmct-scores\",\"version\":1,\"snapshots\":[],\"poolings\":[],\"sources\":[],\"layers\":[],\"references\":["
      "\"joy\"],"
      "\"metrics\":[\"cosine\"]," AXES ",\"scores\":[]}",
      "{\"format\":\"llmct-scores\",\"version\":1,\"snapshots\":[{\"index\":0,\"role\":\"user\",\"content_preview\":\"a\",\"n_"
      "tokens\":1}],"
      "\"poolings\":[\"last\"],\"sources\":[\"hidden_in\"],\"layers\":[0,1],\"references\":[\"joy\",\"awe\"],\"metrics\":["
      "\"cosine\"]," AXES ",\"scores\":[1e300,-1e300,1e-300,0]}",
  };
  for (size_t i = 0; i < sizeof SCORES / sizeof SCORES[0]; i++) {
    run_copy r = copy_run();
    size_t n = 0;
    put(&r, "prompt_0/scores.json", SCORES[i], strlen(SCORES[i]));
    put(&r, "prompt_0/steps.json", "{\"steps\":[]}", 12);
    char *page = html_of(&r, &n);
    check_html(page);
    static const char *const BEFORE[] = {">", "\"", "M", "L", " ", ":"};
    for (size_t k = 0; k < sizeof BEFORE / sizeof BEFORE[0]; k++) {
      char bad[8];
      (void)snprintf(bad, sizeof bad, "%s-nan", BEFORE[k]);
      assert_null(strstr(page, bad));
      (void)snprintf(bad, sizeof bad, "%sinf", BEFORE[k]);
      assert_null(strstr(page, bad));
      (void)snprintf(bad, sizeof bad, "%snan", BEFORE[k]);
      if (BEFORE[k][0] != ' ') assert_null(strstr(page, bad)); /* " nan" is the class of a cell without a value */
    }
    free(page);
    free(text_of(r.dir, 80));
    lct_buf out = {0};
    lct_error err = {0};
    lct_status st = lct_report_published(r.dir, GOLDENS "/published_small.json", &out, &err);
    assert_true(st == LCT_OK || st == LCT_E_USAGE);
    lct_buf_free(&out);
    drop_run(&r);
  }
}

static void damaged_run(void **state) {
  (void)state;
  static const struct {
    const char *file, *from, *to, *message;
  } CASES[] = {
      {"scan.json", "llmct-scan", "llmct-scores", "/scan.json: format: expected \"llmct-scan\", found \"llmct-scores\""},
      {"scan.json", "\"version\":1", "\"version\":9", "/scan.json: version: expected 1, found 9"},
      {"scan.json", "\"done\"", "\"lost\"", "/scan.json: state: expected done, partial, failed or running, found \"lost\""},
      {"scan.json", "\"prompt_0\"", "\"../prompt_0\"", "/scan.json: prompts[0]: \"../prompt_0\" is not the name of a folder"},
      {"scan.json", "\"prompt_0\"", "\"..\"", "/scan.json: prompts[0]: \"..\" is not the name of a folder"},
      {"scan.json", "\"prompt_0\"", "7", "/scan.json: prompts[0]: expected a string, found an integer"},
      {"scan.json", "\"threads\":2", "\"threads\":-2", "/scan.json: machine.threads: expected 0 to 9223372036854775807, found -2"},
      {"scan.json", "\"total\":11.67", "\"total\":\"long\"", "/scan.json: seconds.total: expected a number or null, found a string"},
      {"scan.json", "\"arch\":\"qwen2\"", "\"arch\":2", "/scan.json: model.arch: expected a string, found an integer"},
      {"scan.json", "{", "{{", "/scan.json:1:"},
      {"prompt_0/scores.json", "\"layers\":[0,1,2,3]", "\"layers\":[0,1,2]",
       "/prompt_0/scores.json: scores: expected 3024 numbers (7 x 3 x 4 x 3 x 4 x 3), found 4032"},
      {"prompt_0/steps.json", "\"step\":1", "\"step\":true", "/prompt_0/steps.json: steps[1].step: expected an integer, found a boolean"},
      {"prompt_0/steps.json", "\"logprob\":", "\"logprob\":[],\"x\":",
       "/prompt_0/steps.json: steps[0].top_k[0].logprob: expected a number or null, found an array"},
      {"prompt_0/steps.json", "\"entropy\":", "\"entropy\":\"high\",\"x\":",
       "/prompt_0/steps.json: steps[0].logit_stats.entropy: expected a number or null, found a string"},
      {"prompt_0/steps.json", "\"steps\"", "\"stairs\"", "/prompt_0/steps.json: steps: missing"},
  };
  for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
    run_copy r = copy_run();
    edit(&r, CASES[i].file, CASES[i].from, CASES[i].to);
    lct_error err = {0};
    char *path = NULL;
    assert_int_equal(lct_report_html(r.dir, &path, &err), LCT_E_FORMAT);
    if (strstr(err.message, CASES[i].message) == NULL) fail_msg("case %zu: %s", i, err.message);
    assert_null(path);
    assert_false(lct_path_exists(in_run(&r, "report.html")));
    drop_run(&r);
  }
}

static void missing_run(void **state) {
  (void)state;
  lct_error err = {0};
  char *path = NULL;
  lct_buf out = {0};
  assert_int_equal(lct_report_html(GOLDENS "/no_such_run", &path, &err), LCT_E_IO);
  assert_non_null(strstr(err.message, "no_such_run/scan.json"));
  assert_int_equal(lct_report_text(GOLDENS "/no_such_run", 80, &out, &err), LCT_E_IO);
  assert_int_equal(lct_report_published(GOLDENS "/run", GOLDENS "/no_such.json", &out, &err), LCT_E_IO);
  assert_non_null(strstr(err.message, "no_such.json"));
  lct_buf_free(&out);
}

/* Every name and text that comes from a file, with every character that HTML minds. */
static void escaping(void **state) {
  (void)state;
  static const char EVIL[] = "\\\"'><b onmouseover=x()>&amp;\\u0001\\n</title></style></script>";
  static const struct {
    const char *file, *from;
  } PLACES[] = {
      {"scan.json", "small_talk"},
      {"scan.json", "made-up/Qwen2.5-shaped"},
      {"scan.json", "models/made-up"},
      {"scan.json", "2026-01-02T03:04:05Z"},
      {"scan.json", "A made-up processor"},
      {"scan.json", "qwen2.5\",\"hash"},
      {"prompt_0/scores.json", "You listen"},
      {"prompt_0/scores.json", "\"sadness\""},
      {"prompt_0/scores.json", "\"system\""},
      {"prompt_0/scores.json", "\"content_mean\""},
      {"prompt_0/steps.json", "\"generated_token\":\" Then\""},
      {"prompt_0/steps.json", "\"token\":\" Then\""},
  };
  run_copy r = copy_run();
  for (size_t i = 0; i < sizeof PLACES / sizeof PLACES[0]; i++) {
    /* the closing part of a pattern that spans a quote is put back */
    char to[256];
    const char *from = PLACES[i].from, *value = strrchr(from, ':');
    if (strncmp(from, "qwen2.5", 7) == 0) {
      (void)snprintf(to, sizeof to, "%s\",\"hash", EVIL);
    } else if (value != NULL && from[0] == '"') {
      (void)snprintf(to, sizeof to, "%.*s:\"%s\"", (int)(value - from), from, EVIL);
    } else {
      (void)snprintf(to, sizeof to, from[0] == '"' ? "\"%s\"" : "%s", EVIL);
    }
    edit(&r, PLACES[i].file, from, to);
  }
  size_t n = 0;
  char *page = html_of(&r, &n);
  check_html(page);
  assert_null(strstr(page, "<b onmouseover"));
  assert_int_equal(count(page, "<script"), 1);
  assert_int_equal(count(page, "</script"), 1);
  assert_int_equal(count(page, "</style"), 1);
  assert_null(memchr(page, 1, n));
  free(page);
  drop_run(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(page_is_sound),     cmocka_unit_test(heatmap_values), cmocka_unit_test(text_values),
      cmocka_unit_test(headline),          cmocka_unit_test(text_width),     cmocka_unit_test(beside_published),
      cmocka_unit_test(damaged_published), cmocka_unit_test(published_file), cmocka_unit_test(partial_run),
      cmocka_unit_test(poor_runs),         cmocka_unit_test(damaged_run),    cmocka_unit_test(missing_run),
      cmocka_unit_test(escaping),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
