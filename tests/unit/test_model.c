/* Folders as transformers writes them: every value, and the exact message for each thing that can be wrong with one. */
#include "model/tensors.h"
#include "model_support.h"

#define QWEN2 "qwen2-bf16"
#define QWEN3 "qwen3-f16-shards"
#define LLAMA "llama-f32"

/* One damaged copy of a golden folder. */
typedef struct {
  char root[512];
  char dir[600];
} work;

static work begin(const char *golden) {
  work w;
  (void)make_temp(w.root, sizeof w.root);
  (void)snprintf(w.dir, sizeof w.dir, "%s/m", w.root);
  copy_folder(at(GOLDENS, golden), w.dir);
  return w;
}

/* Opens and checks the folder, which must fail with `format` filled with the folder's name (at most twice), and cleans up. */
static void end_with(const work *w, lct_status status, const char *format) {
  lct_error err = {0};
  lct_model *m = NULL;
  lct_buf want = {0};
  for (const char *p = format; *p != '\0'; p++) {
    if (*p == '@') assert_ok(lct_buf_puts(&want, w->dir, &err));
    else assert_ok(lct_buf_append(&want, p, 1, &err));
  }
  lct_status s = lct_model_map(w->dir, &m, &err);
  if (s == LCT_OK) s = lct_model_check_finite(m, NULL, &err);
  lct_model_unmap(m);
  remove_tree(w->root);
  if (s != status || strcmp(err.message, want.data) != 0) {
    fail_msg("status %d, \"%s\", expected %d, \"%s\"", s, err.message, status, want.data);
  }
  lct_buf_free(&want);
}

/* SHA-256 of every tensor as float32, in the order of lct_model_tensor. */
static void digest(const lct_model *m, char out[65]) {
  lct_error err = {0};
  lct_buf b = {0};
  for (int i = 0; i < lct_model_n_tensors(m); i++) {
    const lct_tensor *t = lct_model_tensor(m, i);
    if (t == NULL) continue;
    float row[512];
    for (int64_t r = 0; r < t->rows; r++) {
      lct_tensor_row_f32(t, r, row);
      assert_ok(lct_buf_append(&b, row, (size_t)t->cols * sizeof *row, &err));
    }
  }
  lct_sha256_hex(b.data, b.len, out);
  lct_buf_free(&b);
}

static void values(void **state) {
  (void)state;
  FILE *f = fopen(GOLDENS "/values.txt", "r");
  assert_non_null(f);
  char name[64], want[65], have[65];
  long long n_params = 0;
  int n = 0;
  while (fscanf(f, "%63s %lld %64s", name, &n_params, want) == 3) {
    lct_error err = {0};
    lct_model *m = NULL;
    assert_ok(lct_model_map(at(GOLDENS, name), &m, &err));
    assert_ok(lct_model_check_finite(m, NULL, &err));
    assert_int_equal(lct_model_n_params(m), n_params);
    digest(m, have);
    assert_string_equal(have, want);
    assert_string_equal(m->format, "safetensors");
    assert_string_equal(m->path, at(GOLDENS, name));
    assert_int_equal(strlen(m->hash), 64);
    assert_null(m->gguf);
    lct_model_unmap(m);
    n++;
  }
  (void)fclose(f);
  assert_int_equal(n, 3);
}

static void configs(void **state) {
  (void)state;
  lct_error err = {0};
  lct_model *m = NULL;
  assert_ok(lct_model_map(GOLDENS "/" LLAMA, &m, &err));
  assert_int_equal(m->config.rope.kind, LCT_ROPE_LLAMA3);
  assert_true(m->config.rope.factor == 8 && m->config.rope.original_max_positions == 64 && m->config.rope.theta == 10000);
  assert_true(m->config.qkv_bias && m->config.o_bias && !m->config.tied_head && m->layers[1].o_bias.data != NULL);
  assert_true(m->head.data != m->embed.data && m->config.rms_eps == 1e-5f);
  assert_string_equal(m->layers[1].down.name, "model.layers.1.mlp.down_proj.weight");
  lct_model_unmap(m);
  assert_ok(lct_model_map(GOLDENS "/" QWEN3, &m, &err));
  assert_int_equal(m->config.head_dim, 8);
  assert_int_equal(m->config.n_eos, 3); /* 3, 4 of config.json; 5 of generation_config.json */
  assert_int_equal(m->config.eos[2], 5);
  assert_int_equal(m->config.bos, -1);
  assert_true(m->head.data == m->embed.data && m->layers[0].q_norm.data != NULL && m->layers[0].q_bias.data == NULL);
  assert_int_equal(m->n_maps, 4);
  lct_model_unmap(m);
}

/* The hash sees the configuration, the types and the numbers; not the folder's name. */
static void hashes(void **state) {
  (void)state;
  char first[65];
  lct_error err = {0};
  lct_model *m = NULL;
  assert_ok(lct_model_map(GOLDENS "/" LLAMA, &m, &err));
  memcpy(first, m->hash, sizeof first);
  lct_model_unmap(m);
  for (int change = 0; change < 3; change++) {
    work w = begin(LLAMA);
    if (change == 1) patch(at(w.dir, "config.json"), "\"factor\": 8.0", "\"factor\": 9.0");
    if (change == 2) {
      lct_buf b = read_all(at(w.dir, "model.safetensors"));
      b.data[b.len - 3] ^= 1;
      write_all(at(w.dir, "model.safetensors"), b.data, b.len);
      lct_buf_free(&b);
    }
    assert_ok(lct_model_map(w.dir, &m, &err));
    if (change == 0) assert_string_equal(m->hash, first);
    else assert_string_not_equal(m->hash, first);
    lct_model_unmap(m);
    remove_tree(w.root);
  }
}

/* Rows and biases stored as llama.cpp's conversion permutes them. */
static void permuted_rows(void **state) {
  (void)state;
  FILE *f = fopen(GOLDENS "/permute.txt", "r");
  assert_non_null(f);
  int n_heads = 0, head_dim = 0, n = 0;
  while (fscanf(f, "%d %d", &n_heads, &head_dim) == 2) {
    float matrix[64][2], vector[64], row[64];
    for (int i = 0; i < n_heads * head_dim; i++) {
      assert_int_equal(fscanf(f, "%f", &vector[i]), 1);
      matrix[i][0] = vector[i];
      matrix[i][1] = -vector[i];
    }
    lct_tensor t = {.name = "q", .dtype = LCT_DTYPE_F32, .rows = n_heads * head_dim, .cols = 2, .data = matrix, .perm_head_dim = head_dim};
    for (int i = 0; i < n_heads * head_dim; i++) {
      lct_tensor_row_f32(&t, i, row);
      assert_true(row[0] == (float)i && row[1] == (float)-i);
    }
    t = (lct_tensor){.name = "b", .dtype = LCT_DTYPE_F32, .rows = 1, .cols = n_heads * head_dim, .data = vector, .perm_head_dim = head_dim};
    lct_tensor_row_f32(&t, 0, row);
    for (int i = 0; i < n_heads * head_dim; i++) assert_true(row[i] == (float)i);
    n++;
  }
  (void)fclose(f);
  assert_int_equal(n, 2);
}

#define ST "model.safetensors"
#define INDEX "model.safetensors.index.json"

static void bad_tensors(void **state) {
  (void)state;
  work w = begin(QWEN2);
  patch(at(w.dir, ST), "model.layers.1.mlp.up_proj.weight", "model.layers.1.mlp.xx_proj.weight");
  end_with(&w, LCT_E_FORMAT, "@/model.safetensors: tensor \"model.layers.1.mlp.up_proj.weight\" is missing: expected shape [24, 16]");
  w = begin(QWEN2);
  patch(at(w.dir, ST), "[24,16]", "[16,24]");
  end_with(&w, LCT_E_FORMAT,
           "@/model.safetensors: tensor \"model.layers.0.mlp.gate_proj.weight\": expected shape [24, 16], found [16, 24]");
  w = begin(QWEN2);
  patch(at(w.dir, "config.json"), "\"vocab_size\": 32", "\"vocab_size\": 33");
  end_with(&w, LCT_E_FORMAT, "@/model.safetensors: tensor \"model.embed_tokens.weight\": expected shape [33, 16], found [32, 16]");
  w = begin(QWEN2);
  patch(at(w.dir, "config.json"), "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
  end_with(&w, LCT_E_FORMAT, "@/model.safetensors: tensor \"model.layers.2.input_layernorm.weight\" is missing: expected shape [16]");
  w = begin(QWEN2);
  patch(at(w.dir, "config.json"), "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false");
  end_with(&w, LCT_E_FORMAT, "@/model.safetensors: tensor \"lm_head.weight\" is missing: expected shape [32, 16]");
  w = begin(QWEN2);
  patch(at(w.dir, ST), "{\"dtype\":\"BF16\",\"shape\":[32,16]", "{\"dtype\":\"I16\",\"shape\":[32,16] ");
  end_with(&w, LCT_E_UNSUPPORTED,
           "@/model.safetensors: tensor \"model.embed_tokens.weight\": type I16 is not supported: expected F32, F16 or BF16");
  w = begin(QWEN2);
  patch(at(w.dir, ST), "\"shape\":[32,16]", "\"shape\":[8,8,8]");
  end_with(&w, LCT_E_FORMAT, "@/model.safetensors: tensor \"model.embed_tokens.weight\": expected 1 or 2 dimensions, found 3");
}

static void bad_folders(void **state) {
  (void)state;
  work w = begin(QWEN2);
  (void)unlink(at(w.dir, "config.json"));
  end_with(&w, LCT_E_FORMAT, "@ is not a model folder: neither config.json nor a .gguf file in it");
  w = begin(QWEN2);
  (void)unlink(at(w.dir, "config.json"));
  write_text(at(w.dir, "b.gguf"), "GGUF");
  write_text(at(w.dir, "a.gguf"), "GGUF");
  end_with(&w, LCT_E_FORMAT, "@ holds 2 .gguf files: name one of them (a.gguf, b.gguf)");
  w = begin(QWEN2);
  (void)unlink(at(w.dir, "config.json"));
  write_text(at(w.dir, "a.gguf"), "PK\x03\x04 and so on");
  end_with(&w, LCT_E_FORMAT,
           "@/a.gguf is not a GGUF file: expected \"GGUF\" at byte 0, found 50 4b 03 04 (a Hugging Face model is given by its "
           "folder)");
  w = begin(QWEN2);
  (void)unlink(at(w.dir, ST));
  end_with(&w, LCT_E_IO, "@: expected model.safetensors or model.safetensors.index.json, found neither");
  w = begin(QWEN2);
  (void)rename(at(w.dir, ST), at(w.dir, "pytorch_model.bin"));
  end_with(&w, LCT_E_IO, "@: expected model.safetensors or model.safetensors.index.json, found pytorch_model.bin, which is not supported");
  w = begin(QWEN2);
  write_text(at(w.dir, "generation_config.json"), "{");
  end_with(&w, LCT_E_FORMAT, "@/generation_config.json is not valid JSON: string or '}' expected near end of file (line 1, column 1)");
  w = begin(QWEN2);
  write_text(at(w.dir, ST), "");
  end_with(&w, LCT_E_FORMAT, "@/model.safetensors: truncated: expected a header length of 8 bytes, found 0 bytes");
  w = begin(QWEN2);
  remove_tree(w.dir);
  end_with(&w, LCT_E_IO, "cannot open model @: No such file or directory");
}

static void bad_shards(void **state) {
  (void)state;
  work w = begin(QWEN3);
  (void)unlink(at(w.dir, "model-00003-of-00004.safetensors"));
  end_with(&w, LCT_E_IO,
           "@/model.safetensors.index.json names the shard model-00003-of-00004.safetensors, which is not in the folder: the "
           "download is "
           "incomplete");
  w = begin(QWEN3);
  patch(at(w.dir, INDEX), "\"model.norm.weight\": \"model-00004-of-00004.safetensors\"",
        "\"model.norm.weight\": \"model-00001-of-00004.safetensors\"");
  end_with(&w, LCT_E_FORMAT,
           "@/model.safetensors.index.json: tensor \"model.norm.weight\": expected in model-00001-of-00004.safetensors, found in "
           "@/model-00004-of-00004.safetensors");
  w = begin(QWEN3);
  patch(at(w.dir, INDEX), "\"model.norm.weight\"", "\"model.norn.weight\"");
  end_with(&w, LCT_E_FORMAT,
           "@/model.safetensors.index.json: tensor \"model.norn.weight\": expected in model-00004-of-00004.safetensors, found "
           "nowhere");
  w = begin(QWEN3);
  patch(at(w.dir, "model-00004-of-00004.safetensors"), "model.layers.1.input_layernorm.weight", "model.layers.0.input_layernorm.weight");
  end_with(&w, LCT_E_FORMAT,
           "tensor \"model.layers.0.input_layernorm.weight\" is in both @/model-00002-of-00004.safetensors and "
           "@/model-00004-of-00004.safetensors");
  w = begin(QWEN3);
  patch(at(w.dir, INDEX), "\"model-00001-of-00004.safetensors\"", "\"../model-00001-of-00004.safetensors\"");
  end_with(&w, LCT_E_FORMAT,
           "@/model.safetensors.index.json: weight_map: \"model.embed_tokens.weight\": expected the name of a file in this "
           "folder, found "
           "\"../model-00001-of-00004.safetensors\"");
  w = begin(QWEN3);
  patch(at(w.dir, INDEX), "\"weight_map\"", "\"weight_nap\"");
  end_with(&w, LCT_E_FORMAT, "@/model.safetensors.index.json: weight_map: expected an object, found nothing");
  w = begin(QWEN3);
  write_text(at(w.dir, INDEX), "{\"weight_map\":{}}");
  end_with(&w, LCT_E_FORMAT, "@/model.safetensors.index.json: weight_map: expected tensors, found none");
  w = begin(QWEN3);
  patch(at(w.dir, "config.json"), "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
  end_with(&w, LCT_E_FORMAT, "@: tensor \"model.layers.2.input_layernorm.weight\" is missing: expected shape [16]");
}

/* Writes `size` bytes at element `index` of the tensor in the file. */
static void poke(const char *dir, const char *file, const char *tensor, size_t index, const void *bytes, size_t size) {
  lct_error err = {0};
  lct_arena a = {0};
  lct_st_file f;
  lct_buf b = read_all(at(dir, file));
  assert_ok(lct_safetensors_parse((const unsigned char *)b.data, b.len, file, &a, &f, &err));
  for (size_t i = 0; i < f.n_tensors; i++) {
    if (strcmp(f.tensors[i].name, tensor) == 0) memcpy(b.data + (f.tensors[i].data - (unsigned char *)b.data) + index * size, bytes, size);
  }
  write_all(at(dir, file), b.data, b.len);
  lct_arena_free(&a);
  lct_buf_free(&b);
}

static void not_finite(void **state) {
  (void)state;
  work w = begin(QWEN2);
  poke(w.dir, ST, "model.layers.1.mlp.up_proj.weight", 5 * 16 + 3, &(uint16_t){0x7fc0}, 2);
  end_with(&w, LCT_E_NUMERIC,
           "@/model.safetensors: tensor \"model.layers.1.mlp.up_proj.weight\": expected finite weights, found NaN at row 5, column 3");
  w = begin(QWEN2);
  poke(w.dir, ST, "model.layers.0.self_attn.k_proj.bias", 7, &(uint16_t){0xff80}, 2);
  end_with(&w, LCT_E_NUMERIC,
           "@/model.safetensors: tensor \"model.layers.0.self_attn.k_proj.bias\": expected finite weights, found -Inf at row 0, "
           "column 7");
  w = begin(QWEN3);
  poke(w.dir, "model-00003-of-00004.safetensors", "model.layers.1.self_attn.q_norm.weight", 2, &(uint16_t){0x7c00}, 2);
  end_with(&w, LCT_E_NUMERIC,
           "@/model-00003-of-00004.safetensors: tensor \"model.layers.1.self_attn.q_norm.weight\": expected finite weights, "
           "found Inf at row "
           "0, column 2");
  w = begin(LLAMA);
  poke(w.dir, ST, "lm_head.weight", 31 * 16 + 15, &(uint32_t){0x7f800001}, 4);
  end_with(&w, LCT_E_NUMERIC, "@/model.safetensors: tensor \"lm_head.weight\": expected finite weights, found NaN at row 31, column 15");
}

static void largest_finite(void **state) {
  (void)state;
  static const struct {
    const char *golden, *file, *tensor;
    uint32_t bits;
    size_t size;
  } cases[] = {{LLAMA, ST, "lm_head.weight", 0x7f7fffff, 4},
               {QWEN2, ST, "model.norm.weight", 0x7f7f, 2},
               {QWEN3, "model-00004-of-00004.safetensors", "model.norm.weight", 0xfbff, 2}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    lct_error err = {0};
    lct_model *m = NULL;
    work w = begin(cases[i].golden);
    poke(w.dir, cases[i].file, cases[i].tensor, 3, &cases[i].bits, cases[i].size);
    assert_ok(lct_model_map(w.dir, &m, &err));
    assert_ok(lct_model_check_finite(m, NULL, &err));
    lct_model_unmap(m);
    remove_tree(w.root);
  }
}

/* A model as large as the scan cuts into pieces, in quantised blocks and in permuted rows. */
static void not_finite_blocks(void **state) {
  (void)state;
  enum { ROWS = 4096, COLS = 256 };
  size_t bytes = (size_t)ROWS * lct_dtype_row_bytes(LCT_DTYPE_Q6_K, COLS);
  unsigned char *data = calloc(1, bytes);
  assert_non_null(data);
  uint16_t inf = 0x7c00;
  memcpy(data + 4000 * 210 + 208, &inf, 2);
  lct_error err = {0};
  lct_model m = {.config = {.tied_head = true}, .path = (char *)"q.gguf"};
  m.embed = (lct_tensor){.name = "token_embd.weight", .dtype = LCT_DTYPE_Q6_K, .rows = ROWS, .cols = COLS, .data = data};
  assert_fails(lct_model_check_finite(&m, NULL, &err), LCT_E_NUMERIC,
               "q.gguf: tensor \"token_embd.weight\": expected finite weights, found a NaN or Inf scale (Q6_K block at row 4000, "
               "column 0)");
  memset(data, 0, bytes);
  memcpy(data + 2 * (3 * 4 + 1), &inf, 2); /* file row 3 of a head of 6 is Hugging Face's row 4 */
  m.embed = (lct_tensor){.name = "q", .dtype = LCT_DTYPE_F16, .rows = 6, .cols = 4, .data = data, .perm_head_dim = 6};
  assert_fails(lct_model_check_finite(&m, NULL, &err), LCT_E_NUMERIC,
               "q.gguf: tensor \"q\": expected finite weights, found Inf at row 4, column 1");
  free(data);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values),         cmocka_unit_test(configs),           cmocka_unit_test(hashes),     cmocka_unit_test(permuted_rows),
      cmocka_unit_test(bad_tensors),    cmocka_unit_test(bad_folders),       cmocka_unit_test(bad_shards), cmocka_unit_test(not_finite),
      cmocka_unit_test(largest_finite), cmocka_unit_test(not_finite_blocks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
