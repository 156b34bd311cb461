/* Everything a forward pass shows, for tests/oracle/check_parity.py and check_gpu.py.
 *
 *   dump_taps MODEL [OPTIONS]            token ids (i32) from stdin; to stdout records of
 *                                        char source[16]; i32 layer, row0, n, width, heads; f32 values (heads, n, width)
 *   dump_taps MODEL [OPTIONS] --greedy N token ids from stdin; to stdout the N ids (i32) that greedy decoding adds
 *   dump_taps MODEL [OPTIONS] --digest   groups of prompts from stdin: a prompt ends with -1, a group with -2, its prompts are run
 *                                        together; to stdout "GROUP PROMPT SOURCE LAYER HASH" lines
 *
 * OPTIONS: --device cpu|cuda:N, --precision exact|fast (cpu), f16|bf16 (cuda; f16 unless said). width is the source's width, of
 * attn_weights the number of keys; heads is 1 but for attn_weights. A digest covers every bit of a tap's rows in order of position, of
 * attn_weights up to the diagonal: equal lines mean equal bits, in whatever company a prompt was run. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pass.h"
#include "engine/sampler.h"

#define MAX_IDS (1 << 20)
#define FNV_BASIS 0xcbf29ce484222325u
#define FNV_PRIME 0x100000001b3u

typedef struct {
  const char *model;
  const lct_ops *ops;
  lct_backend_options backend;
  int n_greedy;
  bool digest;
} options;

static lct_status put(const void *data, size_t n, lct_error *err) {
  return fwrite(data, 1, n, stdout) == n ? LCT_OK : lct_fail(err, LCT_E_IO, "cannot write to stdout");
}

static lct_status put_header(lct_source s, int layer, int row0, int n, int width, int heads, lct_error *err) {
  char name[16] = "";
  const int32_t numbers[] = {layer, row0, n, width, heads};
  (void)snprintf(name, sizeof name, "%s", lct_source_name(s));
  LCT_TRY(put(name, sizeof name, err));
  return put(numbers, sizeof numbers, err);
}

static lct_status on_rows(void *ctx, lct_source s, int layer, int row0, int n, const float *data, int64_t ld, lct_error *err) {
  int width = lct_source_width(s, lct_engine_config(ctx));
  LCT_TRY(put_header(s, layer, row0, n, width, 1, err));
  for (int i = 0; i < n; i++) LCT_TRY(put(data + i * ld, (size_t)width * sizeof *data, err));
  return LCT_OK;
}

static lct_status on_attn(void *ctx, int layer, int segment, int row0, int n, int n_keys, const float *data, lct_error *err) {
  (void)segment;
  int heads = lct_engine_config(ctx)->n_heads;
  LCT_TRY(put_header(LCT_SOURCE_ATTN_WEIGHTS, layer, row0, n, n_keys, heads, err));
  return put(data, (size_t)heads * (size_t)n * (size_t)n_keys * sizeof *data, err);
}

static lct_status show_all(lct_engine *e, const lct_batch *b, lct_taker t, lct_error *err) {
  lct_pass pass = {.batch = b};
  t.sources = (1u << LCT_N_SOURCES) - 1;
  LCT_TRY(lct_pass_add(&pass, &t, err));
  return lct_pass_run(e, &pass, err);
}

static lct_status dump(lct_engine *e, const lct_batch *b, lct_error *err) {
  return show_all(e, b, (lct_taker){.ctx = e, .rows = on_rows, .attention = on_attn}, err);
}

/* One hash a row, source and layer of a batch. */
typedef struct {
  const lct_config *cfg;
  const lct_batch *batch;
  uint64_t *hash; /* (n_sources, n_layers, n_rows) */
} digest;

/* FNV-1a over words, four chains side by side. */
static uint64_t hash_words(uint64_t h, const void *data, size_t n_words) {
  const uint32_t *w = data;
  uint64_t chain[4] = {h, h + 1, h + 2, h + 3};
  size_t i = 0;
  for (; i + 4 <= n_words; i += 4) {
    for (int k = 0; k < 4; k++) chain[k] = (chain[k] ^ w[i + (size_t)k]) * FNV_PRIME;
  }
  for (; i < n_words; i++) chain[0] = (chain[0] ^ w[i]) * FNV_PRIME;
  for (int k = 1; k < 4; k++) chain[0] = (chain[0] ^ (chain[k] >> 29) ^ chain[k]) * FNV_PRIME;
  return chain[0];
}

static uint64_t *row_hash(const digest *d, lct_source s, int layer, int row) {
  return &d->hash[((size_t)s * (size_t)d->cfg->n_layers + (size_t)(layer < 0 ? 0 : layer)) * (size_t)d->batch->n_rows + (size_t)row];
}

static lct_status digest_rows(void *ctx, lct_source s, int layer, int row0, int n, const float *data, int64_t ld, lct_error *err) {
  (void)err;
  const digest *d = ctx;
  size_t width = (size_t)lct_source_width(s, d->cfg);
  for (int i = 0; i < n; i++) *row_hash(d, s, layer, row0 + i) = hash_words(FNV_BASIS, data + i * ld, width);
  return LCT_OK;
}

static lct_status digest_attn(void *ctx, int layer, int segment, int row0, int n, int n_keys, const float *data, lct_error *err) {
  (void)segment, (void)err;
  const digest *d = ctx;
  for (int i = 0; i < n; i++) {
    uint64_t h = FNV_BASIS;
    for (int head = 0; head < d->cfg->n_heads; head++) {
      h = hash_words(h, data + ((size_t)head * (size_t)n + (size_t)i) * (size_t)n_keys, (size_t)d->batch->positions[row0 + i] + 1);
    }
    *row_hash(d, LCT_SOURCE_ATTN_WEIGHTS, layer, row0 + i) = h;
  }
  return LCT_OK;
}

static void print_digest(const digest *d, const lct_plan *p, int group, int seq) {
  for (int s = 0; s < LCT_N_SOURCES; s++) {
    bool global = lct_source_is_global((lct_source)s);
    for (int layer = 0; layer < (global ? 1 : d->cfg->n_layers); layer++) {
      uint64_t h = FNV_BASIS;
      for (int pos = 0; pos < lct_plan_seq_len(p, seq); pos++) {
        h = hash_words(h, row_hash(d, (lct_source)s, layer, lct_plan_seq_row(p, seq, pos)), 2);
      }
      printf("%d %d %s %d %016" PRIx64 "\n", group, seq, lct_source_name((lct_source)s), global ? -1 : layer, h);
    }
  }
}

static lct_status digest_group(lct_engine *e, const lct_plan *p, int group, int n_seqs, lct_error *err) {
  digest d = {.cfg = lct_engine_config(e), .batch = lct_plan_batch(p, 0)};
  LCT_TRY(lct_calloc(&d.hash, (size_t)LCT_N_SOURCES * (size_t)d.cfg->n_layers * (size_t)d.batch->n_rows, sizeof *d.hash, "digests", err));
  lct_status status = show_all(e, d.batch, (lct_taker){.ctx = &d, .rows = digest_rows, .attention = digest_attn}, err);
  for (int seq = 0; status == LCT_OK && seq < n_seqs; seq++) print_digest(&d, p, group, seq);
  free(d.hash);
  return status;
}

static lct_status decode(lct_engine *e, const lct_batch *prompt, int n_new, lct_kv *kv, float *logits, lct_error *err) {
  const int vocab = lct_engine_config(e)->vocab;
  const lct_sampling greedy = {0};
  int32_t last = prompt->n_rows - 1, zero = 0, token = 0;
  lct_pass prefill = {.batch = prompt, .kv = kv, .heads = {.rows = &last, .n = 1, .logits = logits}};
  LCT_TRY(lct_pass_run(e, &prefill, err));
  for (int i = 0; i < n_new; i++) {
    LCT_TRY(lct_sample(&greedy, logits, vocab, 0, (uint32_t)i, &token, err));
    LCT_TRY(put(&token, sizeof token, err));
    int32_t position = prompt->n_rows + i;
    lct_kv_range before = {0, position};
    lct_segment seg = {.n_rows = 1, .pos0 = position, .kv0 = position, .n_ranges = 1, .ranges = &before};
    lct_batch step =
        {.n_rows = 1, .n_segments = 1, .n_slots = position + 1, .decode = true, .tokens = &token, .positions = &position, .segments = &seg};
    lct_pass pass = {.batch = &step, .kv = kv, .heads = {.rows = &zero, .n = 1, .logits = logits}};
    if (i + 1 < n_new) LCT_TRY(lct_pass_run(e, &pass, err));
  }
  return LCT_OK;
}

static lct_status generate(lct_engine *e, const lct_batch *prompt, int n_new, lct_error *err) {
  lct_kv *kv = NULL;
  float *logits = NULL;
  lct_status status = lct_kv_new(e, prompt->n_rows + n_new, &kv, err);
  if (status == LCT_OK) status = lct_alloc_aligned(&logits, (size_t)lct_engine_config(e)->vocab, sizeof *logits, "logits", err);
  if (status == LCT_OK) status = decode(e, prompt, n_new, kv, logits, err);
  free(logits);
  lct_kv_free(e, kv);
  return status;
}

/* Prompts end at -1 or with the input. */
static lct_status plan_prompts(const int32_t *ids, size_t n, lct_plan **out, int *n_seqs, lct_error *err) {
  lct_plan *p = NULL;
  *n_seqs = 0;
  lct_status status = lct_plan_new(&p, err);
  for (size_t first = 0, i = 0; status == LCT_OK && i <= n; i++) {
    if (i < n && ids[i] != -1) continue;
    int32_t seq = -1;
    if (i > first) status = lct_plan_add(p, ids + first, i - first, &seq, err);
    if (i > first) *n_seqs = seq + 1;
    first = i + 1;
  }
  if (status == LCT_OK && *n_seqs == 0) status = lct_fail(err, LCT_E_USAGE, "no token ids on stdin");
  if (status == LCT_OK) status = lct_plan_build(p, MAX_IDS, err);
  *out = p;
  return status;
}

static lct_status run_digests(lct_engine *e, const int32_t *ids, size_t n, lct_error *err) {
  int group = 0, n_seqs = 0;
  lct_status status = LCT_OK;
  for (size_t first = 0, i = 0; status == LCT_OK && i < n; i++) {
    if (ids[i] != -2) continue;
    lct_plan *p = NULL;
    status = plan_prompts(ids + first, i - first, &p, &n_seqs, err);
    if (status == LCT_OK) status = digest_group(e, p, group++, n_seqs, err);
    lct_plan_free(p);
    first = i + 1;
  }
  return status;
}

static lct_status run(const options *o, const int32_t *ids, size_t n, lct_error *err) {
  lct_model *m = NULL;
  lct_engine *e = NULL;
  lct_plan *p = NULL;
  int n_seqs = 0;
  lct_status status = lct_model_map(o->model, &m, err);
  if (status == LCT_OK) status = lct_engine_new(m, o->ops, &o->backend, &e, err);
  if (status == LCT_OK && o->digest) {
    status = run_digests(e, ids, n, err);
  } else if (status == LCT_OK) {
    status = plan_prompts(ids, n, &p, &n_seqs, err);
    if (status == LCT_OK)
      status = o->n_greedy > 0 ? generate(e, lct_plan_batch(p, 0), o->n_greedy, err) : dump(e, lct_plan_batch(p, 0), err);
  }
  lct_plan_free(p);
  lct_engine_free(e);
  lct_model_unmap(m);
  return status;
}

static bool parse_precision(const char *word, bool cuda, lct_precision *out) {
  static const struct {
    const char *word;
    bool cuda;
    lct_precision value;
  } known[] = {{"exact", false, LCT_PRECISION_EXACT},
               {"fast", false, LCT_PRECISION_FAST},
               {"f16", true, LCT_PRECISION_F16},
               {"bf16", true, LCT_PRECISION_BF16}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (strcmp(known[i].word, word) == 0 && known[i].cuda == cuda) return *out = known[i].value, true;
  }
  return false;
}

static bool parse(int argc, char **argv, options *o) {
  const char *device = "cpu", *precision = NULL;
  for (int i = 2; i < argc; i++) {
    bool more = i + 1 < argc;
    if (strcmp(argv[i], "--digest") == 0) o->digest = true;
    else if (strcmp(argv[i], "--device") == 0 && more) device = argv[++i];
    else if (strcmp(argv[i], "--precision") == 0 && more) precision = argv[++i];
    else if (strcmp(argv[i], "--greedy") == 0 && more) o->n_greedy = atoi(argv[++i]);
    else return false;
  }
  bool cuda = strncmp(device, "cuda:", 5) == 0;
  if (argc < 2 || (!cuda && strcmp(device, "cpu") != 0)) return false;
  o->model = argv[1];
  o->ops = cuda ? lct_cuda_ops() : lct_cpu_ops();
  o->backend.device = cuda ? atoi(device + 5) : 0;
  return parse_precision(precision != NULL ? precision : cuda ? "f16" : "exact", cuda, &o->backend.precision);
}

int main(int argc, char **argv) {
  options o = {0};
  if (!parse(argc, argv, &o)) {
    fprintf(stderr, "usage: dump_taps MODEL [--device cpu|cuda:N] [--precision exact|fast|f16|bf16] [--greedy N | --digest] < ids\n");
    return 2;
  }
  if (o.ops == NULL) {
    fprintf(stderr, "dump_taps: this build has no CUDA\n");
    return 1;
  }
  int32_t *ids = malloc(MAX_IDS * sizeof *ids);
  size_t n = ids != NULL ? fread(ids, sizeof *ids, MAX_IDS, stdin) : 0;
  lct_error err = {0};
  lct_status status = run(&o, ids, n, &err);
  free(ids);
  if (status != LCT_OK) fprintf(stderr, "dump_taps: %s\n", err.message);
  return status == LCT_OK && fflush(stdout) == 0 ? 0 : 1;
}
