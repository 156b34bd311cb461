/* A conversation tokenised once is a conversation tokenised prefix by prefix: tokens and positions of hostile conversations, of tokenizers whose
 * added tokens lie across everything a template writes, of the fuzzer's strings and of the shared data; and the same trie comes of both. */
#include "model_support.h"

#include <jansson.h>

#include "base/utf8.h"
#include "model/gguf.h"
#include "model/synth_internal.h"
#include "plan/plan.h"
#include "prompt_once.h"
#include "scenario/conversations.h"
#include "text/tokenizer_internal.h"

#define TOKENIZERS LCT_SOURCE_DIR "/tests/goldens/tokenizer"
enum { MOST = 12, LONG = 60 };

static lct_error err;
static uint32_t rng = 2024;

static uint32_t draw(uint32_t n) {
  rng = rng * 1664525u + 1013904223u;
  return (uint32_t)((uint64_t)rng * n >> 32);
}

static lct_tokenizer *open_tokenizer(const char *path) {
  lct_tokenizer *t = NULL;
  if (lct_path_is_dir(path)) {
    assert_ok(lct_tokenizer_open_dir(path, &t, &err));
    return t;
  }
  lct_map map;
  lct_gguf *g = NULL;
  assert_ok(lct_map_open(path, &map, &err));
  assert_ok(lct_gguf_parse(map.data, map.size, path, &g, &err));
  assert_ok(lct_tokenizer_from_gguf(g, &t, &err));
  lct_gguf_free(g);
  lct_map_close(&map);
  return t;
}

/* Every kind of template, and how it may be told to be. */
static size_t all_templates(lct_template *out) {
  size_t n = 0;
  for (int k = 0; k < LCT_TEMPLATE_COUNT; k++) {
    assert_ok(lct_template_by_name(lct_template_name((lct_template_kind)k), &out[n], &err));
    n++;
    if (k != LCT_TEMPLATE_QWEN3) continue;
    out[n] = out[n - 1];
    out[n++].enable_thinking = false;
  }
  return n;
}

/* ---- hostile conversations ---- */

static const char *const pieces[] = {"Hello",
                                     " there",
                                     "café",
                                     "cafe\u0301",
                                     "\u0301",
                                     "\u1100\u1161",
                                     " ",
                                     "  ",
                                     "\n",
                                     "\n\n",
                                     "\r\n",
                                     "\u00a0",
                                     "\u3000",
                                     "'s",
                                     "12345",
                                     "你好",
                                     "<",
                                     "<|",
                                     "<|im_",
                                     "<|im_start|>",
                                     "<|im_end|>",
                                     "|>",
                                     "<|eot_id|>",
                                     "<|start_header_id|>",
                                     "<|end_header_id|>",
                                     "<think>",
                                     "</think>",
                                     "<think>\nwhy\n</think>\n\nso",
                                     "<tool_response>",
                                     "</tool_response>",
                                     "assistant",
                                     "user\n",
                                     "_",
                                     "x",
                                     "\""};

/* A text of pieces, of the tokenizer's own added tokens, and of their beginnings and ends. */
static char *hostile_text(const lct_tokenizer *t, lct_arena *arena, size_t *n) {
  lct_buf b = {0};
  assert_ok(lct_buf_puts(&b, "", &err));
  for (uint32_t i = draw(9); i > 0; i--) {
    if (t->added.n_tokens == 0 || draw(3) > 0) {
      assert_ok(lct_buf_puts(&b, pieces[draw(sizeof pieces / sizeof *pieces)], &err));
      continue;
    }
    const lct_added_token *a = &t->added.tokens[draw((uint32_t)t->added.n_tokens)];
    size_t from = draw(4) == 0 ? draw((uint32_t)a->n) : 0, to = draw(4) == 0 ? from + draw((uint32_t)(a->n - from)) : a->n;
    while (from < a->n && (a->content[from] & 0xC0) == 0x80) from++; /* whole characters */
    while (to < a->n && (a->content[to] & 0xC0) == 0x80) to++;
    if (from < to) assert_ok(lct_buf_append(&b, a->content + from, to - from, &err));
  }
  char *text = lct_arena_strndup(arena, b.data, b.len);
  assert_non_null(text);
  *n = b.len;
  lct_buf_free(&b);
  return text;
}

static size_t hostile_conversation(const lct_tokenizer *t, lct_arena *arena, lct_message *m) {
  static const char *const roles[] = {"user", "assistant", "user", "assistant", "tool", "tool", "system", "ipython", "narrator"};
  size_t n = 1 + draw(MOST), turn = draw(2);
  for (size_t i = 0; i < n; i++) {
    const char *role = i == 0 && draw(2) ? "system" : draw(3) ? roles[turn++ % 2] : roles[draw(sizeof roles / sizeof *roles)];
    m[i].role = role;
    m[i].content = hostile_text(t, arena, &m[i].content_len);
  }
  return n;
}

static void check(prompt_once *x, const lct_template *t, const lct_message *m, size_t n, const char *who) {
  size_t made = 0;
  if (prompt_once_check(x, t, m, n, &made)) return;
  for (size_t i = 0; i < n; i++) print_message("  %s: \"%.*s\"\n", m[i].role, (int)m[i].content_len, m[i].content);
  fail_msg("%s, %s: %s", who, lct_template_name(t->kind), x->why);
}

static void hostile(const lct_tokenizer *t, const char *who, int rounds) {
  prompt_once *x = calloc(1, sizeof *x);
  lct_template templates[LCT_TEMPLATE_COUNT + 1];
  size_t n_templates = all_templates(templates);
  assert_non_null(x);
  assert_ok(lct_encoder_new(t, &x->encoder, &err));
  for (int round = 0; round < rounds; round++) {
    lct_arena arena = {0};
    lct_message m[MOST];
    size_t n = hostile_conversation(t, &arena, m);
    for (size_t k = 0; k < n_templates; k++) check(x, &templates[k], m, n, who);
    lct_arena_free(&arena);
  }
  prompt_once_free(x);
  free(x);
}

static void test_small_tokenizers(void **state) {
  (void)state;
  static const char *const names[] = {"qwen", "smol", "llama", "odd"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char path[600];
    (void)snprintf(path, sizeof path, TOKENIZERS "/%s", names[i]);
    lct_tokenizer *t = open_tokenizer(path);
    hostile(t, names[i], 300);
    lct_tokenizer_free(t);
  }
}

static void test_built_in_tokenizer(void **state) {
  (void)state;
  char dir[600];
  lct_synth_vocab vocab;
  make_temp(dir, sizeof dir);
  assert_ok(lct_synth_write_tokenizer(dir, &vocab, &err));
  lct_tokenizer *t = open_tokenizer(dir);
  hostile(t, "built-in", 300);
  lct_tokenizer_free(t);
  remove_tree(dir);
}

/* ---- tokenizers of chance: added tokens of every kind that begin, end and nest anywhere in what a template writes ---- */

static const char *const texts[] = {"<|im_start|>",
                                    "<|im_end|>",
                                    "<|im_start|>u",
                                    "<|im_start|>assistant\n",
                                    "<|im_",
                                    "|>\n<|im",
                                    "|>",
                                    ">\n",
                                    "\n<",
                                    "user",
                                    "user\n",
                                    "s",
                                    "ss",
                                    "<|im_end|>\n",
                                    "<|im_end|>\n<|im_start|>user\nx",
                                    "assistant\n<think>",
                                    "\n\n",
                                    "<|eot_id|>",
                                    "<|start_header_id|>assistant",
                                    "<|end_header_id|>",
                                    "<|end_header_id|>\n\n ",
                                    " ",
                                    "x",
                                    "xx",
                                    " x ",
                                    "café",
                                    "é",
                                    "t|",
                                    "Today",
                                    "<think>",
                                    "nt\n"};

static json_t *byte_level(bool use_regex) {
  return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", draw(2), "trim_offsets", draw(2), "use_regex",
                   use_regex);
}

static lct_tokenizer *chance_tokenizer(void) {
  json_error_t je;
  json_t *odd = json_load_file(TOKENIZERS "/odd/tokenizer.json", 0, &je), *model = json_object_get(odd, "model"), *added = json_array();
  json_t *vocab = json_object_get(model, "vocab");
  bool used[sizeof texts / sizeof *texts] = {false};
  json_int_t id = (json_int_t)json_object_size(vocab);
  for (uint32_t i = 1 + draw(8); i > 0; i--) {
    uint32_t k = i <= 2 && draw(2) ? i - 1 : draw(sizeof texts / sizeof *texts);
    if (used[k]) continue;
    used[k] = true;
    const bool known = json_object_get(vocab, texts[k]) != NULL; /* then its id is the word's */
    const json_int_t number = known ? json_integer_value(json_object_get(vocab, texts[k])) : id++;
    json_array_append_new(added,
                          json_pack("{s:I, s:s, s:b, s:b, s:b, s:b, s:b}", "id", number, "content", texts[k], "single_word", draw(4) == 0,
                                    "lstrip", draw(3) == 0, "rstrip", draw(3) == 0, "normalized", draw(4) == 0, "special", 1));
  }
  json_t *root = json_pack("{s:o, s:o, s:o, s:o, s:o, s:O}", "added_tokens", added, "normalizer",
                           draw(2) ? json_pack("{s:s}", "type", "NFC") : json_null(), "pre_tokenizer", byte_level(draw(2)),
                           "post_processor", byte_level(true), "decoder", byte_level(true), "model", model);
  char *text = json_dumps(root, 0);
  lct_tokenizer *t = NULL;
  assert_non_null(text);
  assert_ok(lct_tokenizer_parse(text, strlen(text), NULL, 0, "chance", &t, &err));
  free(text);
  json_decref(root);
  json_decref(odd);
  return t;
}

static void test_tokenizers_of_chance(void **state) {
  (void)state;
  for (int i = 0; i < 150; i++) {
    lct_tokenizer *t = chance_tokenizer();
    hostile(t, "chance", 6);
    lct_tokenizer_free(t);
  }
}

/* ---- the fuzzer's strings: every file's lines are the messages ---- */

static size_t lines_of(const char *text, size_t n, lct_message *m, size_t most) {
  size_t count = 0;
  for (const char *end = text + n; text <= end && count < most;) {
    size_t len = 0;
    while (text + len < end && text[len] != '\n' && text[len] != '\0') len++;
    m[count] = (lct_message){count % 2 ? "assistant" : "user", text, len};
    count++;
    text += len + 1;
  }
  return count;
}

static size_t check_folder(prompt_once *x, const char *name, const lct_template *templates, size_t n_templates) {
  char folder[600];
  (void)snprintf(folder, sizeof folder, LCT_SOURCE_DIR "/tests/fuzz/corpus/%s", name);
  DIR *d = opendir(folder);
  size_t n_files = 0;
  if (d == NULL) fail_msg("no folder %s", folder);
  for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
    if (e->d_name[0] == '.') continue;
    lct_buf raw = read_all(at(folder, e->d_name)), text = {0};
    lct_message m[LONG];
    assert_ok(lct_utf8_replace(raw.data, raw.len, &text, NULL, &err));
    size_t n = lines_of(text.len > 0 ? text.data : "", text.len, m, LONG);
    for (size_t k = 0; k < n_templates; k++) check(x, &templates[k], m, n, e->d_name);
    lct_buf_free(&raw);
    lct_buf_free(&text);
    n_files++;
  }
  (void)closedir(d);
  return n_files;
}

static void test_the_fuzzers_strings(void **state) {
  (void)state;
  static const char *const names[] = {"qwen", "smol", "llama", "odd"}, *const folders[] = {"encode", "template", "prompt"};
  lct_template templates[LCT_TEMPLATE_COUNT + 1];
  size_t n_templates = all_templates(templates);
  prompt_once *x = calloc(1, sizeof *x);
  assert_non_null(x);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    lct_tokenizer *t = open_tokenizer(at(TOKENIZERS, names[i]));
    assert_ok(lct_encoder_new(t, &x->encoder, &err));
    for (size_t k = 0; k < 3; k++) assert_true(check_folder(x, folders[k], templates, n_templates) >= 4);
    prompt_once_free(x);
    memset(x, 0, sizeof *x);
    lct_tokenizer_free(t);
  }
  free(x);
}

/* ---- the shared data: the trie ---- */

static void same_ranges(const lct_kv_range *a, int32_t n_a, const lct_kv_range *b, int32_t n_b) {
  assert_int_equal(n_a, n_b);
  for (int32_t i = 0; i < n_a; i++) assert_true(a[i].first == b[i].first && a[i].n == b[i].n);
}

static void same_plan(const lct_plan *a, const lct_plan *b, int32_t n_seqs) {
  assert_int_equal(lct_plan_n_batches(a), lct_plan_n_batches(b));
  assert_int_equal(lct_plan_n_tokens(a), lct_plan_n_tokens(b));
  assert_int_equal(lct_plan_n_tokens_naive(a), lct_plan_n_tokens_naive(b));
  for (int32_t i = 0; i < lct_plan_n_batches(a); i++) {
    const lct_batch *x = lct_plan_batch(a, i), *y = lct_plan_batch(b, i);
    assert_true(x->n_rows == y->n_rows && x->n_segments == y->n_segments && x->n_slots == y->n_slots);
    assert_memory_equal(x->tokens, y->tokens, (size_t)x->n_rows * sizeof *x->tokens);
    assert_memory_equal(x->positions, y->positions, (size_t)x->n_rows * sizeof *x->positions);
    for (int32_t k = 0; k < x->n_segments; k++) {
      const lct_segment *p = &x->segments[k], *q = &y->segments[k];
      assert_true(p->row0 == q->row0 && p->n_rows == q->n_rows && p->parent == q->parent && p->pos0 == q->pos0 && p->kv0 == q->kv0);
      same_ranges(p->ranges, p->n_ranges, q->ranges, q->n_ranges);
    }
  }
  for (int32_t s = 0; s < n_seqs; s++) {
    int32_t n = 0, m = 0;
    const lct_kv_range *p = lct_plan_seq_ranges(a, s, &n), *q = lct_plan_seq_ranges(b, s, &m);
    assert_int_equal(lct_plan_seq_len(a, s), lct_plan_seq_len(b, s));
    same_ranges(p, n, q, m);
  }
}

/* Conversations until there are so many messages, as one trie. */
typedef struct {
  lct_plan *once, *whole;
  int32_t n_seqs;
} tries;

static void tries_new(tries *x) {
  x->n_seqs = 0;
  assert_ok(lct_plan_new(&x->once, &err));
  assert_ok(lct_plan_new(&x->whole, &err));
}

static void tries_end(tries *x) {
  if (x->n_seqs > 0) {
    assert_ok(lct_plan_build(x->once, 300, &err));
    assert_ok(lct_plan_build(x->whole, 300, &err));
    same_plan(x->once, x->whole, x->n_seqs);
  }
  lct_plan_free(x->once);
  lct_plan_free(x->whole);
}

static void tries_add(tries *x, const prompt_once *p, size_t n) {
  int32_t before = -1, seq;
  for (size_t k = 0; k < n; k++) {
    const lct_tokenised *m = &p->made[k];
    assert_ok(lct_plan_add_behind(x->once, before, m->shared, m->tail, (size_t)(m->n_tokens - m->shared), &before, &err));
    assert_ok(lct_plan_add(x->whole, p->whole[k].ids, (size_t)m->n_tokens, &seq, &err));
    assert_int_equal(before, seq);
    x->n_seqs++;
  }
}

/* The file's conversations, `join` messages of them in a row as one (0: as they are), up to so many. Returns how many there were. */
static size_t check_file(prompt_once *x, const lct_template *t, const char *path, size_t join, size_t most) {
  lct_conversations *r = NULL;
  lct_message m[LONG];
  lct_conversation *held[LONG];
  size_t n = 0, n_held = 0, count = 0, made = 0;
  tries trie;
  tries_new(&trie);
  assert_ok(lct_conversations_open(path, &r, &err));
  for (lct_conversation *c; count < most; count++) {
    n = n_held = 0;
    do {
      assert_ok(lct_conversations_next(r, &c, &err));
      if (c == NULL) break;
      held[n_held++] = c;
      for (size_t i = 0; i < c->n_messages && n < LONG; i++) m[n++] = c->messages[i];
    } while (n < join);
    if (n == 0) break;
    if (!prompt_once_check(x, t, m, n, &made)) fail_msg("%s, conversation %zu, %s: %s", path, count, lct_template_name(t->kind), x->why);
    tries_add(&trie, x, made);
    for (size_t i = 0; i < n_held; i++) lct_conversation_free(held[i]);
    if (trie.n_seqs < 200) continue;
    tries_end(&trie);
    tries_new(&trie);
  }
  tries_end(&trie);
  lct_conversations_free(r);
  return count;
}

static void check_shared(const char *key, const char *variable, const char *const *templates, size_t n_templates) {
  static const char *const names[] = {"affect-reception.jsonl", "goemotions.dev.jsonl", "repe-emotions.jsonl", "xdailydialog.en.jsonl",
                                      "xdailydialog.zh.jsonl"};
  const char *path = variable != NULL ? getenv(variable) : at(TOKENIZERS, key), *shared = getenv("LCT_SHARED");
  char folder[600], file[900];
  (void)snprintf(folder, sizeof folder, "%s/data", shared != NULL ? shared : LCT_SOURCE_DIR "/../shared");
  if (path == NULL || !lct_path_is_dir(folder)) {
    print_message("skipped, %s over the shared data: %s\n", key, path == NULL ? variable : folder);
    print_message("  (the environment variable is not set, or the folder is not there)\n");
    skip();
  }
  lct_tokenizer *t = open_tokenizer(path);
  prompt_once *x = calloc(1, sizeof *x);
  assert_non_null(x);
  assert_ok(lct_encoder_new(t, &x->encoder, &err));
  for (size_t k = 0; k < n_templates; k++) {
    lct_template template;
    assert_ok(lct_template_by_name(templates[k], &template, &err));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
      (void)snprintf(file, sizeof file, "%s/%s", folder, names[i]);
      assert_true(check_file(x, &template, file, 0, 1500) > 200);
      assert_true(check_file(x, &template, file, LONG, 40) > 3);
    }
  }
  prompt_once_free(x);
  free(x);
  lct_tokenizer_free(t);
}

static void test_data_small(void **state) {
  (void)state;
  static const char *const templates[] = {"chatml", "qwen3-thinking", "llama3.1"};
  check_shared("qwen", NULL, templates, 3);
}

static void test_data_qwen25(void **state) {
  (void)state;
  static const char *const templates[] = {"qwen2.5"};
  check_shared("qwen2.5", "LCT_TOKENIZER_QWEN25", templates, 1);
}

static void test_data_qwen3(void **state) {
  (void)state;
  static const char *const templates[] = {"qwen3"};
  check_shared("qwen3", "LCT_TOKENIZER_QWEN3", templates, 1);
}

static void test_data_smollm2(void **state) {
  (void)state;
  static const char *const templates[] = {"smollm2"};
  check_shared("smollm2", "LCT_SMOLLM2_GGUF", templates, 1);
}

static void hostile_real(const char *variable) {
  const char *path = getenv(variable);
  if (path == NULL) {
    print_message("skipped: %s is not set\n", variable);
    skip();
  }
  lct_tokenizer *t = open_tokenizer(path);
  hostile(t, variable, 100);
  lct_tokenizer_free(t);
}

static void test_real_qwen25(void **state) {
  (void)state;
  hostile_real("LCT_TOKENIZER_QWEN25");
}

static void test_real_qwen3(void **state) {
  (void)state;
  hostile_real("LCT_TOKENIZER_QWEN3");
}

static void test_real_smollm2(void **state) {
  (void)state;
  hostile_real("LCT_SMOLLM2_GGUF");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_small_tokenizers),    cmocka_unit_test(test_built_in_tokenizer), cmocka_unit_test(test_tokenizers_of_chance),
      cmocka_unit_test(test_the_fuzzers_strings), cmocka_unit_test(test_real_qwen25),        cmocka_unit_test(test_real_qwen3),
      cmocka_unit_test(test_real_smollm2),        cmocka_unit_test(test_data_small),         cmocka_unit_test(test_data_qwen25),
      cmocka_unit_test(test_data_qwen3),          cmocka_unit_test(test_data_smollm2),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
