/* Planning alone, from the input's lines to units, no model: conversations a second.
 *   bench_plan TOKENIZER TEMPLATE FILE.jsonl [MAX_ROWS [digest]]
 * TOKENIZER is a folder or a GGUF file. "digest": in place of the time, a number over everything the units hold. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "model/gguf.h"
#include "sweep/sweep_impl.h"

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

static uint64_t mix(uint64_t h, const void *data, size_t n) {
  const unsigned char *p = data;
  for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * UINT64_C(0x100000001b3);
  return h;
}

static uint64_t mix_ranges(uint64_t h, const lct_kv_range *r, int n) {
  h = mix(h, &n, sizeof n);
  return mix(h, r, (size_t)n * sizeof *r);
}

static uint64_t digest_batch(uint64_t h, const lct_batch *b) {
  h = mix(h, b->tokens, (size_t)b->n_rows * sizeof *b->tokens);
  h = mix(h, b->positions, (size_t)b->n_rows * sizeof *b->positions);
  const int32_t sizes[] = {b->n_rows, b->n_segments, b->n_slots};
  h = mix(h, sizes, sizeof sizes);
  for (int32_t i = 0; i < b->n_segments; i++) {
    const lct_segment *s = &b->segments[i];
    const int32_t numbers[] = {s->row0, s->n_rows, s->pos0, s->kv0};
    h = mix_ranges(mix(h, numbers, sizeof numbers), s->ranges, s->n_ranges);
  }
  return h;
}

static uint64_t digest_unit(uint64_t h, const sweep *s, const sweep_unit *u) {
  h = mix(h, u->messages.data, u->messages.len);
  h = mix(h, u->errors.data, u->errors.len);
  const int64_t numbers[] = {(int64_t)u->n_items, u->prefix, u->row0, u->estimate, u->naive, u->conversations, u->rejected, u->truncated};
  h = mix(h, numbers, sizeof numbers);
  for (size_t i = 0; i < u->n_items; i++) {
    const sweep_item *x = &u->items[i];
    const int32_t about[] = {x->n_tokens, x->message, x->role, x->seq, x->need_from, x->sets_memo};
    h = mix(h, about, sizeof about);
    h = mix(h, x->content, (size_t)(x->message + 1) * sizeof *x->content);
    for (int k = 0; x->entries != NULL && k < s->n_positions; k++) {
      h = mix(h, &x->entries[k].row, sizeof x->entries[k].row);
      h = mix_ranges(h, x->entries[k].mean, x->entries[k].n_mean);
    }
    if (x->seq < 0) continue;
    int32_t n = 0;
    const lct_kv_range *path = lct_plan_seq_ranges(u->plan, x->seq, &n);
    h = mix_ranges(h, path, n);
  }
  for (int32_t i = 0; u->plan != NULL && i < lct_plan_n_batches(u->plan); i++) h = digest_batch(h, lct_plan_batch(u->plan, i));
  return h;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: bench_plan TOKENIZER TEMPLATE FILE.jsonl [MAX_ROWS [digest]]\n");
    return 2;
  }
  lct_error err = {0};
  lct_sweep_options o = {.keep = LCT_KEEP_POOLED};
  sweep_position positions[] = {{"last", SWEEP_AT_LAST, 0, 0, 0}, {"content_last", SWEEP_AT_CONTENT_LAST, 0, 0, 0},
                                {"content_mean", SWEEP_AT_CONTENT_MEAN, 0, 0, 0}};
  sweep s = {.o = &o, .positions = positions, .n_positions = 3, .max_rows = argc > 4 ? atoi(argv[4]) : 4096, .max_tokens = 131072};
  bool digest = argc > 5;
  s.kv_slots = s.max_rows + s.max_rows / 2;
  lct_tokenizer *t = open_tokenizer(argv[1]);
  s.tokenizer = t;
  if (lct_template_by_name(argv[2], &s.template, &err) != LCT_OK) die("template", &err);
  lct_input *in = NULL;
  const char *path = argv[3];
  int64_t conversations = 0, items = 0, tokens = 0, naive = 0, units = 0;
  uint64_t h = UINT64_C(0xcbf29ce484222325);
  double start = lct_seconds();
  if (lct_input_open(&path, 1, &in, &err) != LCT_OK || sweep_planner_start(&s, in, &err) != LCT_OK) die(path, &err);
  for (;;) {
    sweep_unit *u = NULL;
    if (sweep_planner_next(&s, &u, &err) != LCT_OK) die(path, &err);
    if (u == NULL) break;
    conversations += u->conversations;
    items += (int64_t)u->n_items;
    naive += u->naive;
    units++;
    if (u->plan != NULL) tokens += lct_plan_n_tokens(u->plan);
    if (digest) h = digest_unit(h, &s, u);
    sweep_unit_free(u);
  }
  double seconds = lct_seconds() - start;
  sweep_planner_stop(&s);
  lct_input_free(in);
  if (digest) printf("%016llx", (unsigned long long)h);
  else printf("%.1f", (double)conversations / seconds);
  printf(" %lld conversations %lld items %lld tokens %lld naive %lld units\n", (long long)conversations, (long long)items, (long long)tokens,
         (long long)naive, (long long)units);
  lct_tokenizer_free(t);
  return 0;
}
