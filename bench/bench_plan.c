/* Planning alone, from the input's lines to units, no model: conversations a second.
 *   bench_plan TOKENIZER TEMPLATE FILE.jsonl [MAX_ROWS [REPEATS]]
 * TOKENIZER is a folder or a GGUF file. bench/plan_bench.py runs it, and its like of an earlier commit, in turns. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "model/gguf.h"
#include "plan_units.h"

static void die(const char *what, const lct_error *err) {
  fprintf(stderr, "bench_plan: %s: %s\n", what, err->message);
  exit(1);
}

static lct_tokenizer *open_tokenizer(const char *path) {
  lct_error err = {0};
  lct_tokenizer *t = NULL;
  lct_map map;
  lct_gguf *g = NULL;
  if (lct_path_is_dir(path)) {
    if (lct_tokenizer_open_dir(path, &t, &err) != LCT_OK) die(path, &err);
    return t;
  }
  if (lct_map_open(path, &map, &err) != LCT_OK || lct_gguf_parse(map.data, map.size, path, &g, &err) != LCT_OK ||
      lct_tokenizer_from_gguf(g, &t, &err) != LCT_OK) {
    die(path, &err);
  }
  lct_gguf_free(g);
  lct_map_close(&map);
  return t;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: bench_plan TOKENIZER TEMPLATE FILE.jsonl [MAX_ROWS [REPEATS]]\n");
    return 2;
  }
  lct_error err = {0};
  lct_template chat;
  lct_tokenizer *t = open_tokenizer(argv[1]);
  if (lct_template_by_name(argv[2], &chat, &err) != LCT_OK) die("template", &err);
  int32_t max_rows = argc > 4 ? atoi(argv[4]) : 4096;
  for (int i = argc > 5 ? atoi(argv[5]) : 1; i > 0; i--) {
    plan_counts c = {.lines = UINT64_C(0xcbf29ce484222325)};
    double start = lct_seconds();
    clock_t cpu = clock();
    if (plan_units(t, &chat, argv[3], max_rows, &c, &err) != LCT_OK) die(argv[3], &err);
    printf(
        "{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"conversations\": %lld, \"prompts\": %lld, \"tokens\": %lld, \"tokens_naive\": %lld, \"units\": %lld, "
        "\"lines\": \"%016llx\"}\n",
        lct_seconds() - start, (double)(clock() - cpu) / CLOCKS_PER_SEC, (long long)c.conversations, (long long)c.items,
        (long long)c.tokens, (long long)c.naive, (long long)c.units, (unsigned long long)c.lines);
  }
  lct_tokenizer_free(t);
  return 0;
}
