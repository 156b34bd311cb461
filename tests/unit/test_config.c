/* config.json: both spellings of transformers, every refusal's exact message, writing. */
#include <math.h>

#include "model/config.h"
#include "model_support.h"

#define BASE                                                                                                                 \
  "\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"intermediate_size\":96," \
  "\"vocab_size\":100"
#define QWEN2 "{\"architectures\":[\"Qwen2ForCausalLM\"]," BASE
#define QWEN3 "{\"architectures\":[\"Qwen3ForCausalLM\"]," BASE
#define LLAMA "{\"architectures\":[\"LlamaForCausalLM\"]," BASE

static lct_status parse(const char *text, lct_config *c, lct_error *err) {
  return lct_config_parse(text, strlen(text), "config.json", c, err);
}

static void qwen2_before_5(void **state) {
  (void)state;
  lct_error err = {0};
  lct_config c;
  assert_ok(parse(QWEN2 ",\"rms_norm_eps\":1e-06,\"rope_theta\":1000000.0,\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\","
                        "\"max_position_embeddings\":32768,\"bos_token_id\":7,\"eos_token_id\":9,\"use_sliding_window\":false,"
                        "\"sliding_window\":32768,\"hidden_act\":\"silu\",\"rope_scaling\":null}",
                  &c, &err));
  assert_int_equal(c.arch, LCT_ARCH_QWEN2);
  assert_int_equal(c.n_layers, 2);
  assert_int_equal(c.hidden, 64);
  assert_int_equal(c.n_heads, 4);
  assert_int_equal(c.n_kv_heads, 2);
  assert_int_equal(c.head_dim, 16);
  assert_int_equal(c.intermediate, 96);
  assert_int_equal(c.vocab, 100);
  assert_int_equal(c.max_positions, 32768);
  assert_true(c.rms_eps == 1e-6f && c.rope.theta == 1e6 && c.rope.kind == LCT_ROPE_PLAIN);
  assert_true(c.tied_head && c.qkv_bias && !c.o_bias && !c.qk_norm);
  assert_int_equal(c.n_eos, 1);
  assert_int_equal(c.eos[0], 9);
  assert_int_equal(c.bos, 7);
}

static void defaults(void **state) {
  (void)state;
  lct_error err = {0};
  lct_config c;
  assert_ok(parse(QWEN3 "}", &c, &err)); /* the defaults of transformers' Qwen3Config */
  assert_int_equal(c.head_dim, 128);
  assert_int_equal(c.max_positions, 32768);
  assert_true(c.rms_eps == 1e-6f && c.rope.theta == 10000 && !c.tied_head && !c.qkv_bias && !c.o_bias && c.qk_norm);
  assert_int_equal(c.n_eos, 0);
  assert_int_equal(c.bos, -1);
  assert_ok(
      parse("{\"model_type\":\"llama\",\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
            "\"intermediate_size\":96,\"vocab_size\":100,\"attention_bias\":true}",
            &c, &err));
  assert_int_equal(c.arch, LCT_ARCH_LLAMA);
  assert_int_equal(c.n_kv_heads, 4);
  assert_int_equal(c.max_positions, 2048);
  assert_true(c.qkv_bias && c.o_bias && !c.qk_norm);
}

static void rope_scaling(void **state) {
  (void)state;
  static const char *const texts[] = {
      LLAMA
      ",\"rope_theta\":500000,\"rope_scaling\":{\"factor\":32.0,\"high_freq_factor\":4.0,\"low_freq_factor\":1.0,"
      "\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"}}",
      LLAMA
      ",\"rope_parameters\":{\"rope_theta\":500000,\"factor\":32.0,\"high_freq_factor\":4.0,\"low_freq_factor\":1.0,"
      "\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"}}"};
  for (int i = 0; i < 2; i++) {
    lct_error err = {0};
    lct_config c;
    assert_ok(parse(texts[i], &c, &err));
    assert_int_equal(c.rope.kind, LCT_ROPE_LLAMA3);
    assert_true(c.rope.theta == 500000 && c.rope.factor == 32 && c.rope.low_freq_factor == 1 && c.rope.high_freq_factor == 4);
    assert_int_equal(c.rope.original_max_positions, 8192);
  }
  lct_error err = {0};
  lct_config c;
  assert_ok(parse(QWEN2 ",\"rope_theta\":1e6,\"rope_scaling\":{\"type\":\"default\"}}", &c, &err));
  assert_int_equal(c.rope.kind, LCT_ROPE_PLAIN);
}

static void generation(void **state) {
  (void)state;
  lct_error err = {0};
  lct_config c;
  assert_ok(parse(QWEN2 ",\"eos_token_id\":[9,10]}", &c, &err));
  static const char more[] = "{\"eos_token_id\":[10,11]}", one[] = "{\"eos_token_id\":12}", none[] = "{}";
  assert_ok(lct_config_add_generation(more, strlen(more), "generation_config.json", &c, &err));
  assert_ok(lct_config_add_generation(one, strlen(one), "generation_config.json", &c, &err));
  assert_ok(lct_config_add_generation(none, strlen(none), "generation_config.json", &c, &err));
  assert_int_equal(c.n_eos, 4);
  assert_int_equal(c.eos[0], 9);
  assert_int_equal(c.eos[3], 12);
  static const char bad[] = "{\"eos_token_id\":\"<|im_end|>\"}", list[] = "[]";
  assert_fails(lct_config_add_generation(bad, strlen(bad), "generation_config.json", &c, &err), LCT_E_FORMAT,
               "generation_config.json: eos_token_id: expected a token id or a list of them, found \"<|im_end|>\"");
  assert_fails(lct_config_add_generation(list, strlen(list), "generation_config.json", &c, &err), LCT_E_FORMAT,
               "generation_config.json: top level: expected an object, found []");
  static const char many[] = "{\"eos_token_id\":[20,21,22,23,24,25,26,27,28,29,30,31,32]}";
  assert_fails(lct_config_add_generation(many, strlen(many), "generation_config.json", &c, &err), LCT_E_LIMIT,
               "generation_config.json: more than 16 different eos_token_id");
}

static void refusals(void **state) {
  (void)state;
  static const struct {
    const char *text;
    lct_status status;
    const char *message;
  } cases[] = {
      {"", LCT_E_FORMAT, "config.json is not valid JSON: '[' or '{' expected near end of file (line 1, column 0)"},
      {"{\"a\":1,\"a\":2}", LCT_E_FORMAT, "config.json is not valid JSON: duplicate object key near '\"a\"' (line 1, column 10)"},
      {"[]", LCT_E_FORMAT, "config.json: top level: expected an object, found []"},
      {"{}", LCT_E_FORMAT, "config.json: neither architectures nor model_type: not a model's config"},
      {"{\"model_type\":5}", LCT_E_FORMAT, "config.json: model_type: expected a string, found 5"},
      {"{\"architectures\":[]}", LCT_E_FORMAT, "config.json: architectures: expected a list of one name, found []"},
      {"{\"architectures\":[\"GPT2LMHeadModel\"]}", LCT_E_UNSUPPORTED,
       "config.json: architecture GPT2LMHeadModel is not supported: expected Qwen2ForCausalLM, Qwen3ForCausalLM or "
       "LlamaForCausalLM"},
      {"{\"model_type\":\"mistral\"}", LCT_E_UNSUPPORTED,
       "config.json: architecture mistral is not supported: expected Qwen2ForCausalLM, Qwen3ForCausalLM or LlamaForCausalLM"},
      {"{\"model_type\":\"qwen2\"}", LCT_E_FORMAT, "config.json: num_hidden_layers: expected a positive integer, found nothing"},
      {"{\"model_type\":\"qwen2\",\"num_hidden_layers\":\"x\"}", LCT_E_FORMAT,
       "config.json: num_hidden_layers: expected a positive integer, found \"x\""},
      {"{\"model_type\":\"qwen2\",\"num_hidden_layers\":0}", LCT_E_FORMAT,
       "config.json: num_hidden_layers: expected a positive integer, found 0"},
      {"{\"model_type\":\"qwen2\",\"num_hidden_layers\":4294967297}", LCT_E_FORMAT,
       "config.json: num_hidden_layers: expected a positive integer, found 4294967297"},
      {QWEN2 ",\"hidden_act\":\"gelu\"}", LCT_E_UNSUPPORTED, "config.json: hidden_act \"gelu\" is not supported: expected \"silu\""},
      {QWEN2 ",\"use_sliding_window\":true}", LCT_E_UNSUPPORTED,
       "config.json: use_sliding_window true: sliding window attention is not supported"},
      {QWEN2 ",\"use_sliding_window\":1}", LCT_E_FORMAT, "config.json: use_sliding_window: expected true or false, found 1"},
      {QWEN2 ",\"layer_types\":[\"full_attention\",\"sliding_attention\"]}", LCT_E_UNSUPPORTED,
       "config.json: layer_types[1] \"sliding_attention\" is not supported: expected \"full_attention\""},
      {LLAMA ",\"mlp_bias\":true}", LCT_E_UNSUPPORTED, "config.json: mlp_bias true: a bias in the MLP is not supported"},
      {LLAMA ",\"rope_interleaved\":true}", LCT_E_UNSUPPORTED, "config.json: rope_interleaved true: interleaved RoPE is not supported"},
      {QWEN2 ",\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4}}", LCT_E_UNSUPPORTED,
       "config.json: quantization_config (quant_method \"gptq\") is not supported: expected plain F32, F16 or BF16 weights"},
      {QWEN2 ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4.0}}", LCT_E_UNSUPPORTED,
       "config.json: RoPE scaling \"yarn\" is not supported: expected \"default\" or \"llama3\""},
      {LLAMA ",\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":4.0}}", LCT_E_UNSUPPORTED,
       "config.json: RoPE scaling \"linear\" is not supported: expected \"default\" or \"llama3\""},
      {LLAMA ",\"rope_parameters\":{\"rope_type\":\"dynamic\",\"factor\":4.0}}", LCT_E_UNSUPPORTED,
       "config.json: RoPE scaling \"dynamic\" is not supported: expected \"default\" or \"llama3\""},
      {LLAMA ",\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"default\"}}}", LCT_E_UNSUPPORTED,
       "config.json: rope_parameters per layer type (full_attention) is not supported"},
      {LLAMA ",\"rope_parameters\":{\"partial_rotary_factor\":0.5}}", LCT_E_UNSUPPORTED,
       "config.json: partial_rotary_factor 0.5 is not supported: expected 1"},
      {LLAMA ",\"rope_scaling\":\"llama3\"}", LCT_E_FORMAT, "config.json: rope_scaling: expected an object, found \"llama3\""},
      {LLAMA ",\"rope_scaling\":{\"rope_type\":\"llama3\"}}", LCT_E_FORMAT,
       "config.json: RoPE scaling factor: expected a positive number, found nothing"},
      {LLAMA ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":1,"
             "\"original_max_position_embeddings\":64}}",
       LCT_E_FORMAT,
       "config.json: RoPE scaling llama3: expected factor >= 1 and 0 < low_freq_factor < high_freq_factor, found factor 8, "
       "low_freq_factor 4, high_freq_factor 1, original_max_position_embeddings 64"},
      {LLAMA ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,"
             "\"original_max_position_embeddings\":64.5}}",
       LCT_E_FORMAT, "config.json: RoPE scaling original_max_position_embeddings: expected a positive integer, found 64.5"},
      {LLAMA ",\"rope_theta\":-1}", LCT_E_FORMAT, "config.json: rope_theta: expected a positive number, found -1"},
      {LLAMA ",\"rms_norm_eps\":0}", LCT_E_FORMAT, "config.json: rms_norm_eps: expected a positive number, found 0"},
      {LLAMA ",\"rms_norm_eps\":2}", LCT_E_FORMAT, "config.json: RMS norm epsilon: expected between 0 and 1, found 2"},
      {LLAMA ",\"head_dim\":15}", LCT_E_FORMAT, "config.json: head size: expected an even number, found 15"},
      {LLAMA ",\"head_dim\":1026}", LCT_E_FORMAT, "config.json: head size: expected 1 to 1024, found 1026"},
      {LLAMA ",\"bos_token_id\":\"a\"}", LCT_E_FORMAT, "config.json: bos_token_id: expected a token id, found \"a\""},
      {LLAMA ",\"eos_token_id\":[-1]}", LCT_E_FORMAT, "config.json: eos_token_id: expected a token id or a list of them, found -1"},
      {"{\"model_type\":\"llama\",\"hidden_size\":65,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"intermediate_size\":9,"
       "\"vocab_size\":9}",
       LCT_E_FORMAT, "config.json: hidden_size 65 is not a multiple of num_attention_heads 4 and there is no head_dim"},
      {"{\"model_type\":\"llama\",\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"intermediate_size\":9,"
       "\"vocab_size\":9,\"num_key_value_heads\":3}",
       LCT_E_FORMAT, "config.json: 4 attention heads are not a multiple of 3 key/value heads"},
      {"{\"model_type\":\"llama\",\"hidden_size\":64,\"num_hidden_layers\":2000,\"num_attention_heads\":4,\"intermediate_size\":"
       "9,"
       "\"vocab_size\":9}",
       LCT_E_FORMAT, "config.json: number of layers: expected 1 to 1024, found 2000"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    lct_error err = {0};
    lct_config c;
    lct_status s = parse(cases[i].text, &c, &err);
    if (s != cases[i].status || strcmp(err.message, cases[i].message) != 0) {
      fail_msg("case %zu: status %d, \"%s\", expected %d, \"%s\"", i, s, err.message, cases[i].status, cases[i].message);
    }
  }
}

static void absurd_nesting(void **state) {
  (void)state;
  enum { N = 200000 };
  static char text[N + 64];
  lct_error err = {0};
  lct_config c;
  (void)snprintf(text, sizeof text, "{\"model_type\":");
  memset(text + strlen(text), '[', N);
  assert_fails(parse(text, &c, &err), LCT_E_FORMAT, "config.json: JSON nested deeper than 32 levels at byte 45");
  memset(text, ',', N);
  text[0] = '[';
  assert_int_equal(parse(text, &c, &err), LCT_E_FORMAT);
  size_t n = 5000000;
  char *big = malloc(n);
  assert_non_null(big);
  memset(big, ',', n);
  assert_fails(lct_config_parse(big, n, "config.json", &c, &err), LCT_E_LIMIT, "config.json: more than 4000000 JSON values");
  free(big);
}

/* Every prefix and every single broken byte of a good file: an answer, never a crash. */
static void damaged(void **state) {
  (void)state;
  lct_buf b = read_all(GOLDENS "/llama-f32/config.json");
  lct_config c;
  lct_error err = {0};
  size_t whole = b.len;
  while (whole > 0 && b.data[whole - 1] == '\n') whole--;
  for (size_t n = 0; n < whole; n++) assert_int_equal(lct_config_parse(b.data, n, "config.json", &c, &err), LCT_E_FORMAT);
  for (size_t i = 0; i < b.len; i++) {
    for (int flip = 1; flip < 256; flip *= 2) {
      b.data[i] = (char)(b.data[i] ^ flip);
      lct_status s = lct_config_parse(b.data, b.len, "config.json", &c, &err);
      assert_true(s == LCT_OK || s == LCT_E_FORMAT || s == LCT_E_UNSUPPORTED);
      b.data[i] = (char)(b.data[i] ^ flip);
    }
  }
  lct_buf_free(&b);
}

static void written_and_read(void **state) {
  (void)state;
  static const char *const texts[] = {
      QWEN2 ",\"eos_token_id\":9,\"tie_word_embeddings\":true,\"rms_norm_eps\":1e-06,\"rope_theta\":1000000}",
      QWEN3 ",\"eos_token_id\":[9,10],\"head_dim\":32,\"bos_token_id\":3,\"attention_bias\":true}",
      LLAMA
      ",\"rms_norm_eps\":1e-05,\"rope_theta\":500000,\"rope_scaling\":{\"factor\":32.0,\"high_freq_factor\":4.0,"
      "\"low_freq_factor\":1.0,\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"}}"};
  for (int i = 0; i < 3; i++) {
    lct_error err = {0};
    lct_config c, back;
    lct_buf text = {0};
    assert_ok(parse(texts[i], &c, &err));
    assert_ok(lct_config_write(&c, "bfloat16", &text, &err));
    assert_non_null(strstr(text.data, "\"torch_dtype\": \"bfloat16\""));
    assert_ok(lct_config_parse(text.data, text.len, "written", &back, &err));
    assert_memory_equal(&c, &back, sizeof c);
    lct_buf_free(&text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(qwen2_before_5), cmocka_unit_test(defaults),         cmocka_unit_test(rope_scaling),
      cmocka_unit_test(generation),     cmocka_unit_test(refusals),         cmocka_unit_test(absurd_nesting),
      cmocka_unit_test(damaged),        cmocka_unit_test(written_and_read),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
