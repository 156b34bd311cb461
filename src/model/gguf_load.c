#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/config.h"
#include "model/gguf_internal.h"
#include "model/tensors.h"

/* What reading the configuration needs: the file's metadata and the prefix of its keys. */
typedef struct {
  const lct_gguf *g;
  const char *arch;
  char key[128];
  lct_error *err;
} reader;

static const char *arch_key(reader *r, const char *name) {
  (void)snprintf(r->key, sizeof r->key, "%s.%s", r->arch, name);
  return r->key;
}

/* An integer in 0..INT32_MAX; `fallback` when the key is absent, unless that is negative: then it is required. */
static lct_status get_int(reader *r, const char *key, int fallback, int *out) {
  int64_t v = 0;
  if (!lct_gguf_has(r->g, key) && fallback >= 0) {
    *out = fallback;
    return LCT_OK;
  }
  if (!lct_gguf_i64(r->g, key, &v)) {
    return lct_fail(r->err, LCT_E_FORMAT, "%s: metadata \"%s\": expected an integer, found %s", lct_gguf_file(r->g), key,
                    lct_gguf_type_of(r->g, key));
  }
  if (v < 0 || v > INT32_MAX) {
    return lct_fail(r->err, LCT_E_FORMAT, "%s: metadata \"%s\": expected 0 to 2147483647, found %" PRId64, lct_gguf_file(r->g), key, v);
  }
  *out = (int)v;
  return LCT_OK;
}

/* A finite float above zero; as get_int. */
static lct_status get_positive(reader *r, const char *key, double fallback, double *out) {
  double v = fallback;
  if ((lct_gguf_has(r->g, key) || fallback < 0) && !lct_gguf_f64(r->g, key, &v)) {
    return lct_fail(r->err, LCT_E_FORMAT, "%s: metadata \"%s\": expected a float, found %s", lct_gguf_file(r->g), key,
                    lct_gguf_type_of(r->g, key));
  }
  if (!isfinite(v) || v <= 0) {
    return lct_fail(r->err, LCT_E_FORMAT, "%s: metadata \"%s\": expected a number above 0, found %g", lct_gguf_file(r->g), key, v);
  }
  *out = v;
  return LCT_OK;
}

static lct_status read_arch(reader *r, lct_config *cfg) {
  static const lct_arch known[] = {LCT_ARCH_QWEN2, LCT_ARCH_QWEN3, LCT_ARCH_LLAMA};
  static const char *const names[] = {"qwen2", "qwen3", "llama"};
  lct_str s = {0};
  if (!lct_gguf_str(r->g, "general.architecture", &s)) {
    return lct_fail(r->err, LCT_E_FORMAT, "%s: metadata \"general.architecture\": expected a string, found %s", lct_gguf_file(r->g),
                    lct_gguf_type_of(r->g, "general.architecture"));
  }
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    if (s.len != strlen(names[i]) || memcmp(s.data, names[i], s.len) != 0) continue;
    cfg->arch = known[i];
    r->arch = names[i];
    return LCT_OK;
  }
  char text[LCT_GGUF_PRINTABLE];
  return lct_fail(r->err, LCT_E_UNSUPPORTED, "%s: metadata \"general.architecture\": expected qwen2, qwen3 or llama, found \"%s\"",
                  lct_gguf_file(r->g), lct_gguf_printable(s, text));
}

/* Keys that change the arithmetic in a way nothing here does: each must be absent or say what is done anyway. */
static lct_status refuse_variants(reader *r, const lct_config *cfg) {
  const struct {
    const char *name;
    int64_t least, most;
  } limits[] = {
      {"expert_count", 0, 0},
      {"rope.dimension_count", cfg->head_dim, cfg->head_dim},
      {"attention.value_length", cfg->head_dim, cfg->head_dim},
      {"attention.sliding_window", cfg->max_positions, INT64_MAX},
  };
  int64_t v = 0;
  for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
    const char *key = arch_key(r, limits[i].name);
    if (!lct_gguf_i64(r->g, key, &v) || (v >= limits[i].least && v <= limits[i].most)) continue;
    if (i == 3 && v == 0) continue; /* no window */
    return lct_fail(r->err, LCT_E_UNSUPPORTED, "%s: metadata \"%s\": expected %s%" PRId64 ", found %" PRId64, lct_gguf_file(r->g), key,
                    limits[i].most > limits[i].least ? "at least " : "", limits[i].least, v);
  }
  if (lct_gguf_i64(r->g, "split.count", &v) && v > 1) {
    return lct_fail(r->err, LCT_E_UNSUPPORTED, "%s: metadata \"split.count\": expected a model in one file, found %" PRId64 " parts",
                    lct_gguf_file(r->g), v);
  }
  return LCT_OK;
}

static lct_status read_rope_freqs(reader *r, lct_config *cfg) {
  const lct_gguf_tensor *t = lct_gguf_tensor_find(r->g, "rope_freqs.weight");
  if (t == NULL) return LCT_OK;
  int n = cfg->head_dim / 2;
  if (t->dtype != LCT_DTYPE_F32 || t->n_dims != 1 || t->dims[0] != n) {
    return lct_fail(r->err, LCT_E_FORMAT, "%s: tensor \"rope_freqs.weight\": expected F32 [%d], found %s [%" PRId64 "%s]",
                    lct_gguf_file(r->g), n, lct_dtype_name(t->dtype), t->dims[0], t->n_dims > 1 ? ", ..." : "");
  }
  float *divisors = NULL;
  LCT_TRY(lct_calloc(&divisors, (size_t)n, sizeof *divisors, "rope_freqs.weight", r->err));
  memcpy(divisors, t->data, (size_t)n * sizeof *divisors);
  bool known = lct_gguf_rope_recognise(divisors, n, &cfg->rope);
  free(divisors);
  if (known) return LCT_OK;
  return lct_fail(r->err, LCT_E_UNSUPPORTED,
                  "%s: tensor \"rope_freqs.weight\": expected the factors of llama3 RoPE scaling (low 1, high 4, original "
                  "context 8192), found others",
                  lct_gguf_file(r->g));
}

static lct_status read_rope(reader *r, lct_config *cfg) {
  lct_str type = {0};
  double factor = 1;
  cfg->rope.kind = LCT_ROPE_PLAIN;
  LCT_TRY(get_positive(r, arch_key(r, "rope.freq_base"), 10000.0, &cfg->rope.theta));
  if (lct_gguf_str(r->g, arch_key(r, "rope.scaling.type"), &type) && !(type.len == 4 && memcmp(type.data, "none", 4) == 0)) {
    bool linear = type.len == 6 && memcmp(type.data, "linear", 6) == 0;
    LCT_TRY(get_positive(r, arch_key(r, "rope.scaling.factor"), 1.0, &factor));
    if (!linear || factor != 1) {
      char text[LCT_GGUF_PRINTABLE];
      return lct_fail(r->err, LCT_E_UNSUPPORTED, "%s: metadata \"%s.rope.scaling.type\": expected none, found \"%s\" with factor %g",
                      lct_gguf_file(r->g), r->arch, lct_gguf_printable(type, text), factor);
    }
  }
  LCT_TRY(get_positive(r, arch_key(r, "rope.scale_linear"), 1.0, &factor));
  if (factor != 1) {
    return lct_fail(r->err, LCT_E_UNSUPPORTED, "%s: metadata \"%s\": expected 1, found %g", lct_gguf_file(r->g), r->key, factor);
  }
  return read_rope_freqs(r, cfg);
}

static lct_status add_eos(reader *r, lct_config *cfg, const char *key) {
  int id = 0;
  if (!lct_gguf_has(r->g, key)) return LCT_OK;
  LCT_TRY(get_int(r, key, -1, &id));
  if (id >= cfg->vocab) {
    return lct_fail(r->err, LCT_E_FORMAT, "%s: metadata \"%s\": expected a token below %d, found %d", lct_gguf_file(r->g), key, cfg->vocab,
                    id);
  }
  for (int i = 0; i < cfg->n_eos; i++) {
    if (cfg->eos[i] == id) return LCT_OK;
  }
  cfg->eos[cfg->n_eos++] = id; /* at most three keys are asked for */
  return LCT_OK;
}

static lct_status read_tokens(reader *r, lct_config *cfg) {
  int64_t n_tokens = lct_gguf_array_len(r->g, "tokenizer.ggml.tokens");
  if (n_tokens > cfg->vocab) {
    return lct_fail(r->err, LCT_E_FORMAT,
                    "%s: metadata \"tokenizer.ggml.tokens\": expected at most %d tokens, the rows of "
                    "token_embd.weight, found %" PRId64,
                    lct_gguf_file(r->g), cfg->vocab, n_tokens);
  }
  LCT_TRY(add_eos(r, cfg, "tokenizer.ggml.eos_token_id"));
  LCT_TRY(add_eos(r, cfg, "tokenizer.ggml.eot_token_id"));
  LCT_TRY(add_eos(r, cfg, "tokenizer.ggml.eom_token_id"));
  cfg->bos = -1;
  if (!lct_gguf_has(r->g, "tokenizer.ggml.bos_token_id")) return LCT_OK;
  int bos = 0;
  LCT_TRY(get_int(r, "tokenizer.ggml.bos_token_id", -1, &bos));
  if (bos >= cfg->vocab) {
    return lct_fail(r->err, LCT_E_FORMAT, "%s: metadata \"tokenizer.ggml.bos_token_id\": expected a token below %d, found %d",
                    lct_gguf_file(r->g), cfg->vocab, bos);
  }
  cfg->bos = bos;
  return LCT_OK;
}

/* What the metadata leaves to the presence and shape of tensors. */
static lct_status read_tensor_facts(reader *r, lct_config *cfg) {
  const lct_gguf_tensor *embed = lct_gguf_tensor_find(r->g, "token_embd.weight");
  if (embed == NULL || embed->n_dims != 2 || embed->dims[1] > INT32_MAX) {
    return lct_fail(r->err, LCT_E_FORMAT, "%s: tensor \"token_embd.weight\": expected [vocabulary, %d], found %s", lct_gguf_file(r->g),
                    cfg->hidden, embed == NULL ? "none" : "another shape");
  }
  cfg->vocab = (int)embed->dims[1];
  cfg->tied_head = lct_gguf_tensor_find(r->g, "output.weight") == NULL;
  cfg->qkv_bias = cfg->arch == LCT_ARCH_QWEN2 || lct_gguf_tensor_find(r->g, "blk.0.attn_q.bias") != NULL;
  cfg->o_bias = lct_gguf_tensor_find(r->g, "blk.0.attn_output.bias") != NULL;
  cfg->qk_norm = cfg->arch == LCT_ARCH_QWEN3;
  return LCT_OK;
}

static lct_status read_config(reader *r, lct_config *cfg) {
  double eps = 0;
  LCT_TRY(read_arch(r, cfg));
  LCT_TRY(get_int(r, arch_key(r, "block_count"), -1, &cfg->n_layers));
  LCT_TRY(get_int(r, arch_key(r, "embedding_length"), -1, &cfg->hidden));
  LCT_TRY(get_int(r, arch_key(r, "feed_forward_length"), -1, &cfg->intermediate));
  LCT_TRY(get_int(r, arch_key(r, "context_length"), -1, &cfg->max_positions));
  LCT_TRY(get_int(r, arch_key(r, "attention.head_count"), -1, &cfg->n_heads));
  if (cfg->n_heads < 1) {
    return lct_fail(r->err, LCT_E_FORMAT, "%s: metadata \"%s\": expected at least 1, found %d", lct_gguf_file(r->g), r->key, cfg->n_heads);
  }
  LCT_TRY(get_int(r, arch_key(r, "attention.head_count_kv"), cfg->n_heads, &cfg->n_kv_heads));
  LCT_TRY(get_int(r, arch_key(r, "attention.key_length"), cfg->hidden / cfg->n_heads, &cfg->head_dim));
  LCT_TRY(get_positive(r, arch_key(r, "attention.layer_norm_rms_epsilon"), -1, &eps));
  cfg->rms_eps = (float)eps;
  LCT_TRY(refuse_variants(r, cfg));
  LCT_TRY(read_tensor_facts(r, cfg));
  LCT_TRY(read_rope(r, cfg));
  LCT_TRY(read_tokens(r, cfg));
  return lct_config_check(cfg, lct_gguf_file(r->g), r->err);
}

/* ---- tensors ---- */

typedef struct {
  const lct_gguf *g;
  bool *used; /* per tensor of the file */
} finder;

static lct_status find_tensor(void *ctx, const char *name, lct_tensor *out, lct_error *err) {
  finder *f = ctx;
  const lct_gguf_tensor *t = lct_gguf_tensor_find(f->g, name);
  *out = (lct_tensor){0};
  if (t == NULL) return LCT_OK;
  if (t->dims[2] != 1 || t->dims[3] != 1) {
    return lct_fail(err, LCT_E_FORMAT, "%s: tensor \"%s\": expected at most 2 dimensions, found %d", lct_gguf_file(f->g), name, t->n_dims);
  }
  f->used[t - lct_gguf_tensor_at(f->g, 0)] = true;
  *out = (lct_tensor){.name = t->name, .dtype = t->dtype, .rows = t->dims[1], .cols = t->dims[0], .data = t->data};
  return LCT_OK;
}

/* A tensor nobody asked for would be left out of the arithmetic in silence: a bias, a norm, an adapter. */
static lct_status check_all_used(const finder *f, const lct_config *cfg, lct_error *err) {
  for (size_t i = 0; i < lct_gguf_n_tensors(f->g); i++) {
    const char *name = lct_gguf_tensor_at(f->g, i)->name;
    if (f->used[i] || strcmp(name, "rope_freqs.weight") == 0) continue;
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: tensor \"%s\": expected only tensors of a %s model with %d layers, found this one",
                    lct_gguf_file(f->g), name, lct_arch_name(cfg->arch), cfg->n_layers);
  }
  return LCT_OK;
}

static lct_status bind_tensors(lct_model *m, lct_error *err) {
  finder f = {.g = m->gguf};
  LCT_TRY(lct_calloc(&f.used, lct_gguf_n_tensors(m->gguf), sizeof *f.used, "GGUF tensor table", err));
  lct_status s = lct_model_bind(m, true, find_tensor, &f, err);
  if (s == LCT_OK) s = check_all_used(&f, &m->config, err);
  free(f.used);
  return s;
}

/* What is set in m stays there on failure, for lct_model_unmap. */
lct_status lct_gguf_load(const char *path, lct_model *m, lct_error *err) {
  LCT_TRY(lct_calloc(&m->maps, 1, sizeof *m->maps, "file mapping", err));
  LCT_TRY(lct_map_open(path, &m->maps[0], err));
  m->n_maps = 1;
  LCT_TRY(lct_gguf_parse(m->maps[0].data, m->maps[0].size, path, &m->gguf, err));
  if (m->format == NULL && (m->format = strdup("gguf")) == NULL) return lct_fail(err, LCT_E_NOMEM, "%s: out of memory", path);
  reader r = {.g = m->gguf, .err = err};
  LCT_TRY(read_config(&r, &m->config));
  return bind_tensors(m, err);
}
