/* Whole GGUF models: configuration, every tensor as transformers sees it, and what the loader refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sha256.h>

#include "model/gguf.h"
#include "model/model.h"

#define GOLDENS LCT_SOURCE_DIR "/tests/goldens/gguf/"

static void read_file(const char *path, lct_buf *b) {
  lct_error err = {0};
  b->len = 0;
  if (lct_file_read(path, (size_t)1 << 24, b, &err) != LCT_OK) fail_msg("%s", err.message);
}

/* ---- every parameter against transformers ---- */

static const struct {
  const char *name;
  size_t offset;
} layer_tensors[] = {
#define AT(field) offsetof(lct_layer, field)
    {"input_layernorm.weight", AT(attn_norm)},
    {"self_attn.q_proj.weight", AT(q)},
    {"self_attn.k_proj.weight", AT(k)},
    {"self_attn.v_proj.weight", AT(v)},
    {"self_attn.o_proj.weight", AT(o)},
    {"self_attn.q_proj.bias", AT(q_bias)},
    {"self_attn.k_proj.bias", AT(k_bias)},
    {"self_attn.v_proj.bias", AT(v_bias)},
    {"self_attn.q_norm.weight", AT(q_norm)},
    {"self_attn.k_norm.weight", AT(k_norm)},
    {"post_attention_layernorm.weight", AT(mlp_norm)},
    {"mlp.gate_proj.weight", AT(gate)},
    {"mlp.up_proj.weight", AT(up)},
    {"mlp.down_proj.weight", AT(down)},
#undef AT
};

static const lct_tensor *by_hf_name(const lct_model *m, const char *name) {
  int layer = 0, skip_chars = 0;
  if (strcmp(name, "model.embed_tokens.weight") == 0) return &m->embed;
  if (strcmp(name, "model.norm.weight") == 0) return &m->final_norm;
  if (strcmp(name, "lm_head.weight") == 0) return &m->head;
  assert_int_equal(sscanf(name, "model.layers.%d.%n", &layer, &skip_chars), 1);
  assert_in_range(layer, 0, m->config.n_layers - 1);
  for (size_t i = 0; i < sizeof layer_tensors / sizeof layer_tensors[0]; i++) {
    if (strcmp(name + skip_chars, layer_tensors[i].name) != 0) continue;
    return (const lct_tensor *)((const char *)&m->layers[layer] + layer_tensors[i].offset);
  }
  fail_msg("no tensor %s", name);
  return NULL;
}

static void tensor_sha(const lct_tensor *t, char out[65]) {
  SHA2_CTX ctx;
  SHA256Init(&ctx);
  float *row = malloc((size_t)t->cols * sizeof *row);
  assert_non_null(row);
  for (int64_t r = 0; r < t->rows; r++) {
    lct_tensor_row_f32(t, r, row);
    SHA256Update(&ctx, (const uint8_t *)row, (size_t)t->cols * sizeof *row);
  }
  free(row);
  (void)SHA256End(&ctx, out);
}

static void check_params(const lct_model *m, const char *golden) {
  lct_buf b = {0};
  char *save = NULL;
  int n = 0;
  read_file(golden, &b);
  for (char *line = strtok_r(b.data, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save), n++) {
    char want[65], name[128], got[65];
    long long rows = 0, cols = 0;
    assert_int_equal(sscanf(line, "%64s %lld %lld %127s", want, &rows, &cols, name), 4);
    const lct_tensor *t = by_hf_name(m, name);
    assert_non_null(t->data);
    assert_int_equal(t->rows, rows);
    assert_int_equal(t->cols, cols);
    tensor_sha(t, got);
    if (strcmp(got, want) != 0) fail_msg("%s (%s %s): expected %s, found %s", name, t->name, lct_dtype_name(t->dtype), want, got);
  }
  assert_true(n > 3 + 9 * m->config.n_layers - 1);
  lct_buf_free(&b);
}

static lct_model *open_model(const char *path) {
  lct_model *m = NULL;
  lct_error err = {0};
  if (lct_model_map(path, &m, &err) != LCT_OK) fail_msg("%s", err.message);
  assert_string_equal(m->format, "gguf");
  assert_non_null(m->gguf);
  return m;
}

static void test_tiny_models(void **state) {
  (void)state;
  static const struct {
    const char *stem;
    lct_arch arch;
    int head_dim;
    bool tied, bias, norm;
    lct_rope_kind rope;
  } cases[] = {
      {GOLDENS "tiny_llama", LCT_ARCH_LLAMA, 8, false, false, false, LCT_ROPE_LLAMA3},
      {GOLDENS "tiny_qwen2", LCT_ARCH_QWEN2, 8, true, true, false, LCT_ROPE_PLAIN},
      {GOLDENS "tiny_qwen3", LCT_ARCH_QWEN3, 16, false, false, true, LCT_ROPE_PLAIN},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char path[512];
    (void)snprintf(path, sizeof path, "%s.gguf", cases[i].stem);
    lct_model *m = open_model(path);
    const lct_config *c = &m->config;
    assert_int_equal(c->arch, cases[i].arch);
    assert_int_equal(c->n_layers, 2);
    assert_int_equal(c->hidden, 32);
    assert_int_equal(c->n_heads, 4);
    assert_int_equal(c->n_kv_heads, 2);
    assert_int_equal(c->head_dim, cases[i].head_dim);
    assert_int_equal(c->intermediate, 32);
    assert_int_equal(c->vocab, 48);
    assert_int_equal(c->max_positions, 256);
    assert_true(c->rms_eps == 1e-6f);
    assert_true(c->rope.theta == 500000.0);
    assert_int_equal(c->rope.kind, cases[i].rope);
    assert_true(c->rope.kind == LCT_ROPE_PLAIN || c->rope.factor == 32);
    assert_int_equal(c->tied_head, cases[i].tied);
    assert_int_equal(c->qkv_bias, cases[i].bias);
    assert_false(c->o_bias);
    assert_int_equal(c->qk_norm, cases[i].norm);
    assert_int_equal(c->n_eos, 2);
    assert_int_equal(c->eos[0], 7);
    assert_int_equal(c->eos[1], 9);
    assert_int_equal(c->bos, 3);
    (void)snprintf(path, sizeof path, "%s.sha", cases[i].stem);
    check_params(m, path);
    lct_model_unmap(m);
  }
}

static void test_smollm2_as_transformers(void **state) {
  (void)state;
  const char *path = getenv("LCT_SMOLLM2_GGUF");
  if (path == NULL) {
    print_message("skipped: LCT_SMOLLM2_GGUF does not name SmolLM2-135M-Instruct.Q4_1.gguf\n");
    skip();
  }
  lct_model *m = open_model(path);
  assert_int_equal(m->config.n_layers, 30);
  assert_int_equal(m->config.head_dim, 64);
  assert_int_equal(m->config.vocab, 49152);
  assert_int_equal(m->config.max_positions, 8192);
  assert_true(m->config.rope.theta == 100000.0 && m->config.rms_eps == 1e-5f && m->config.tied_head);
  assert_int_equal(m->config.n_eos, 1);
  assert_int_equal(m->config.eos[0], 2);
  check_params(m, GOLDENS "smollm2_hf.sha");
  lct_model_unmap(m);
}

/* ---- what is refused ---- */

/* Opens the model in b, written to a file; the message is the file's path and `message`. */
static void expect(const lct_buf *b, lct_status code, const char *message) {
  char path[] = P_tmpdir "/llmct_gguf_XXXXXX", want[1024];
  int fd = mkstemp(path);
  lct_model *m = NULL;
  lct_error err = {0};
  assert_true(fd >= 0);
  assert_int_equal(write(fd, b->data, b->len), b->len);
  close(fd);
  lct_status s = lct_model_map(path, &m, &err);
  unlink(path);
  assert_true((m != NULL) == (code == LCT_OK));
  lct_model_unmap(m);
  (void)snprintf(want, sizeof want, "%s%s", message != NULL ? path : "", message != NULL ? message : "");
  assert_string_equal(err.message, want);
  assert_int_equal(s, code);
}

/* The first byte behind the first occurrence of text. */
static char *behind(lct_buf *b, const char *text) {
  char *p = memmem(b->data, b->len, text, strlen(text));
  assert_non_null(p);
  return p + strlen(text);
}

static void replace(lct_buf *b, const char *from, const char *to) {
  assert_int_equal(strlen(from), strlen(to));
  memcpy(behind(b, from) - strlen(from), to, strlen(to));
}

static void set_u32(lct_buf *b, const char *key, uint32_t v) { memcpy(behind(b, key) + 4, &v, 4); }

static void add(lct_buf *b, const void *p, size_t n) { assert_int_equal(lct_buf_append(b, p, n, NULL), LCT_OK); }

static void add_kv(lct_buf *b, const char *key, uint32_t type, const void *value, size_t n) {
  uint64_t len = strlen(key);
  add(b, &len, 8);
  add(b, key, len);
  add(b, &type, 4);
  add(b, value, n);
}

/* Puts an entry in front of the others, and an array of bytes that keeps the tensor data aligned. */
static void insert(lct_buf *b, const char *key, uint32_t type, const void *value, size_t n) {
  lct_buf out = {0};
  char filler[12 + 32] = {0};
  uint64_t len = (32 - (12 + strlen(key) + n + 12 + 4 + 12) % 32) % 32;
  memcpy(filler + 4, &len, 8);
  add(&out, b->data, 24);
  add_kv(&out, key, type, value, n);
  add_kv(&out, "fill", 9, filler, 12 + len);
  assert_int_equal(out.len % 32, 24);
  add(&out, b->data + 24, b->len - 24);
  out.data[16] = (char)(out.data[16] + 2);
  lct_buf_free(b);
  *b = out;
}

static void insert_u32(lct_buf *b, const char *key, uint32_t v) { insert(b, key, 4, &v, 4); }

static void fresh(lct_buf *b) { read_file(GOLDENS "tiny_llama.gguf", b); }

static void test_bad_metadata(void **state) {
  (void)state;
  lct_buf b = {0};
  fresh(&b);
  memcpy(behind(&b, "general.architecture") + 12,
         "gem\x1b"
         "a",
         5);
  expect(&b, LCT_E_UNSUPPORTED, ": metadata \"general.architecture\": expected qwen2, qwen3 or llama, found \"gem?a\"");
  fresh(&b);
  replace(&b, "general.architecture", "general.architectura");
  expect(&b, LCT_E_FORMAT, ": metadata \"general.architecture\": expected a string, found absent");
  fresh(&b);
  replace(&b, "llama.context_length", "llama.context_longth");
  expect(&b, LCT_E_FORMAT, ": metadata \"llama.context_length\": expected an integer, found absent");
  fresh(&b);
  *behind(&b, "llama.block_count") = 6;
  expect(&b, LCT_E_FORMAT, ": metadata \"llama.block_count\": expected an integer, found f32");
  fresh(&b);
  set_u32(&b, "llama.embedding_length", 4000000000);
  expect(&b, LCT_E_FORMAT, ": metadata \"llama.embedding_length\": expected 0 to 2147483647, found 4000000000");
  fresh(&b);
  set_u32(&b, "llama.attention.head_count", 0);
  expect(&b, LCT_E_FORMAT, ": metadata \"llama.attention.head_count\": expected at least 1, found 0");
  fresh(&b);
  set_u32(&b, "llama.rope.freq_base", 0x7fc00000);
  expect(&b, LCT_E_FORMAT, ": metadata \"llama.rope.freq_base\": expected a number above 0, found nan");
  fresh(&b);
  set_u32(&b, "tokenizer.ggml.eos_token_id", 48);
  expect(&b, LCT_E_FORMAT, ": metadata \"tokenizer.ggml.eos_token_id\": expected a token below 48, found 48");
  fresh(&b);
  replace(&b, "token_embd.weight", "token_embx.weight");
  expect(&b, LCT_E_FORMAT, ": tensor \"token_embd.weight\": expected [vocabulary, 32], found none");
  lct_buf_free(&b);
}

static void test_refused_variants(void **state) {
  (void)state;
  const float two = 2;
  lct_buf b = {0};
  fresh(&b);
  insert_u32(&b, "llama.expert_count", 8);
  expect(&b, LCT_E_UNSUPPORTED, ": metadata \"llama.expert_count\": expected 0, found 8");
  fresh(&b);
  insert_u32(&b, "llama.rope.dimension_count", 4);
  expect(&b, LCT_E_UNSUPPORTED, ": metadata \"llama.rope.dimension_count\": expected 8, found 4");
  fresh(&b);
  insert_u32(&b, "llama.attention.sliding_window", 128);
  expect(&b, LCT_E_UNSUPPORTED, ": metadata \"llama.attention.sliding_window\": expected at least 256, found 128");
  fresh(&b);
  insert(&b, "llama.rope.scale_linear", 6, &two, 4);
  expect(&b, LCT_E_UNSUPPORTED, ": metadata \"llama.rope.scale_linear\": expected 1, found 2");
  fresh(&b);
  insert(&b, "llama.rope.scaling.type", 8, "\4\0\0\0\0\0\0\0yarn", 12);
  expect(&b, LCT_E_UNSUPPORTED, ": metadata \"llama.rope.scaling.type\": expected none, found \"yarn\" with factor 1");
  fresh(&b);
  insert_u32(&b, "split.count", 3);
  expect(&b, LCT_E_UNSUPPORTED, ": metadata \"split.count\": expected a model in one file, found 3 parts");
  lct_buf_free(&b);
}

/* The same keys with values that change nothing. */
static void test_harmless_variants(void **state) {
  (void)state;
  static const struct {
    const char *key;
    uint32_t value;
  } cases[] = {{"llama.expert_count", 0},         {"llama.attention.sliding_window", 0}, {"llama.attention.sliding_window", 256},
               {"llama.rope.dimension_count", 8}, {"llama.attention.value_length", 8},   {"split.count", 1}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    lct_buf b = {0};
    fresh(&b);
    insert_u32(&b, cases[i].key, cases[i].value);
    expect(&b, LCT_OK, NULL);
    lct_buf_free(&b);
  }
}

static void test_bad_tensors(void **state) {
  (void)state;
  lct_buf b = {0};
  fresh(&b);
  replace(&b, "rope_freqs.weight", "rope_freqx.weight");
  expect(&b, LCT_E_UNSUPPORTED, ": tensor \"rope_freqx.weight\": expected only tensors of a llama model with 2 layers, found this one");
  fresh(&b);
  set_u32(&b, "llama.block_count", 1);
  expect(&b, LCT_E_UNSUPPORTED,
         ": tensor \"blk.1.attn_norm.weight\": expected only tensors of a llama model with 1 layers, found this one");
  fresh(&b);
  b.data[b.len - 32 + 15] = 0x7f; /* the last tensor's four factors lie in the last 32 bytes */
  expect(&b, LCT_E_UNSUPPORTED,
         ": tensor \"rope_freqs.weight\": expected the factors of llama3 RoPE scaling (low 1, high 4, "
         "original context 8192), found others");
  fresh(&b);
  b.len -= 32;
  expect(&b, LCT_E_FORMAT,
         ": tensor \"rope_freqs.weight\": expected 16 bytes at offset 21184 of the tensor data, found 21184 "
         "bytes of tensor data in all: truncated file");
  lct_buf_free(&b);
}

static void test_missing_tensor(void **state) {
  (void)state;
  lct_buf b = {0};
  fresh(&b);
  replace(&b, "blk.1.ffn_up.weight", "blk.1.ffn_ux.weight");
  expect(&b, LCT_E_FORMAT, ": tensor \"blk.1.ffn_up.weight\" is missing: expected shape [32, 32]");
  fresh(&b);
  set_u32(&b, "llama.feed_forward_length", 64);
  expect(&b, LCT_E_FORMAT, ": tensor \"blk.0.ffn_gate.weight\": expected shape [64, 32], found [32, 32]");
  lct_buf_free(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_tiny_models),      cmocka_unit_test(test_smollm2_as_transformers), cmocka_unit_test(test_bad_metadata),
      cmocka_unit_test(test_refused_variants), cmocka_unit_test(test_harmless_variants),       cmocka_unit_test(test_bad_tensors),
      cmocka_unit_test(test_missing_tensor),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
