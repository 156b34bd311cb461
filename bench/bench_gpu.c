/* Speed of the engine on a GPU, one JSON line a measurement on stdout.
 *
 *   bench_gpu [--like NAME]... [options]     models of these shapes (llmct-gpu synth --help lists them), random weights, random ids
 *
 * --device N (0), --precision f16|bf16, --prompts N (64) of --tokens N (700), --rows N (16384) to a pass, --repeats N (5) after one to
 * warm up, --decode N (64) steps, --layers N (all), --tap-prompts N (8), --seconds N: no new measurement begins after so many.
 *
 *   gpu.machine   the device, its copy bandwidth, cuBLASLt's rate on an 8192 cube
 *   gpu.gemm      a GEMM of the model: the fastest algorithm cuBLASLt names, and the engine's choice
 *   gpu.prefill   whole passes on the host's clock, logits of each prompt's last token included; tokens/s, FLOP/s, share of cuBLASLt's
 *   gpu.family    the share of every family of kernels, measured in a pass of its own between events
 *   gpu.decode    decoding at batch 1 and 16 after --tokens each; bytes/s as a share of the copy bandwidth
 * With taps: hidden_in, hidden_out, attn_out, mlp_down_out of every layer, pooled as a scan pools them. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "capture/pool.h"
#include "gpu/gpu.h"

#define MAX_MODELS 8
#define CUBE 8192

typedef struct {
  const char *likes[MAX_MODELS];
  int n_likes;
  lct_backend_options backend;
  const char *precision;
  int n_prompts, n_tokens, max_rows, repeats, n_decode, n_layers, n_tap_prompts, seconds, cube, copy_mb;
  double start, copy_rate, cube_rate;
} settings;

typedef struct {
  const settings *s;
  const char *like;
  bench_model model;
  lct_engine *engine;
  char head[256]; /* "like": ..., "precision": ... */
} bench;

lct_error bench_error;

void bench_die(const char *what, const lct_error *err) {
  fprintf(stderr, "bench_gpu: %s%s%s\n", what != NULL ? what : "", what != NULL ? ": " : "", err->message);
  (void)fflush(stdout);
  exit(1);
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

bench_times bench_summary(double *seconds, int n) {
  qsort(seconds, (size_t)n, sizeof *seconds, by_value);
  return (bench_times){n % 2 == 1 ? seconds[n / 2] : 0.5 * (seconds[n / 2 - 1] + seconds[n / 2]), seconds[0], seconds[n - 1]};
}

/* false, and a line that says so, when --seconds are over. */
static bool time_left(const settings *s, const char *like, const char *what) {
  if (s->seconds == 0 || lct_seconds() - s->start < s->seconds) return true;
  printf("{\"what\": \"gpu.skipped\", \"like\": \"%s\", \"skipped\": \"%s\", \"reason\": \"%d s are over\"}\n", like, what, s->seconds);
  return false;
}

/* Prompts differ from the first token on: nothing is shared between them, and the rows of each follow one another. */
static int32_t random_id(const lct_config *c, int prompt, int k) {
  if (k == 0) return prompt % c->vocab;
  uint64_t z = ((uint64_t)prompt << 32 | (uint32_t)k) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  return (int32_t)((z ^ (z >> 31)) % (uint64_t)c->vocab);
}

static lct_plan *make_plan(const lct_config *c, int n_prompts, int n_tokens, int max_rows) {
  lct_plan *plan = NULL;
  int32_t *ids = NULL, seq = 0;
  BENCH_TRY(lct_plan_new(&plan, &bench_error));
  BENCH_TRY(lct_calloc(&ids, (size_t)n_tokens, sizeof *ids, "ids", &bench_error));
  for (int p = 0; p < n_prompts; p++) {
    for (int k = 0; k < n_tokens; k++) ids[k] = random_id(c, p, k);
    BENCH_TRY(lct_plan_add(plan, ids, (size_t)n_tokens, &seq, &bench_error));
  }
  BENCH_TRY(lct_plan_build(plan, max_rows, &bench_error));
  free(ids);
  return plan;
}

/* What is asked of the last row of every prompt of a pass: its greedy token. */
typedef struct {
  lct_heads heads;
  int32_t *rows;
  uint32_t *steps;
  lct_choice *choices;
  lct_sampling sampling;
} asked;

static asked *new_asked(int n) {
  asked *a = NULL;
  BENCH_TRY(lct_calloc(&a, 1, sizeof *a, "rows", &bench_error));
  BENCH_TRY(lct_calloc(&a->rows, (size_t)n, sizeof *a->rows, "rows", &bench_error));
  BENCH_TRY(lct_calloc(&a->steps, (size_t)n, sizeof *a->steps, "steps", &bench_error));
  BENCH_TRY(lct_calloc(&a->choices, (size_t)n, sizeof *a->choices, "choices", &bench_error));
  a->heads = (lct_heads){.rows = a->rows, .n = n, .choices = a->choices, .sampling = &a->sampling, .steps = a->steps};
  return a;
}

static void free_asked(asked *a) {
  free(a->rows);
  free(a->steps);
  free(a->choices);
  free(a);
}

/* Vectors of whole prompts, pooled as a scan does. */
typedef struct {
  lct_pool *pool;
  lct_pool_rows *rows;
  lct_position *positions; /* the default ones */
  lct_arena arena;
} pooling;

static void pool_batch(pooling *p, const lct_plan *plan, int batch, int n_prompts) {
  int n = 0;
  for (int seq = 0; seq < n_prompts; seq++) {
    if (lct_plan_seq_batch(plan, seq) != batch) continue;
    const lct_token_range content = {0, lct_plan_seq_len(plan, seq)};
    const lct_role user = LCT_ROLE_USER;
    const lct_prompt_shape shape = {.n_tokens = content.to, .content = &content, .roles = &user};
    const lct_cut_batch whole = {.prefix = 0};
    lct_place places[LCT_N_DEFAULT_POSITIONS];
    int32_t n_ranges = 0;
    const lct_kv_range *slots = lct_plan_seq_ranges(plan, seq, &n_ranges);
    lct_pool_entry *entries = lct_arena_alloc(&p->arena, LCT_N_DEFAULT_POSITIONS * sizeof *entries);
    if (entries == NULL) bench_die("out of memory for the pool", NULL);
    BENCH_TRY(lct_positions_place(p->positions, LCT_N_DEFAULT_POSITIONS, &shape, slots, n_ranges, &p->arena, places, &bench_error));
    BENCH_TRY(lct_pool_entries(places, LCT_N_DEFAULT_POSITIONS, &whole, &p->arena, entries, &bench_error));
    p->rows[n++] = (lct_pool_rows){.item = seq, .entries = entries};
  }
  lct_pool_begin(p->pool, p->rows, n, lct_plan_batch(plan, batch)->n_rows);
}

static void run_pass(lct_engine *e, const lct_plan *plan, int n_prompts, lct_kv *kv, asked *a, pooling *pool) {
  for (int b = 0; b < lct_plan_n_batches(plan); b++) {
    int n = 0;
    for (int seq = 0; seq < n_prompts; seq++) {
      if (lct_plan_seq_batch(plan, seq) == b) a->rows[n++] = lct_plan_seq_row(plan, seq, lct_plan_seq_len(plan, seq) - 1);
    }
    a->heads.n = n;
    lct_pass pass = {.batch = lct_plan_batch(plan, b), .kv = kv, .heads = a->heads};
    if (pool != NULL) {
      pool_batch(pool, plan, b, n_prompts);
      lct_taker vectors = lct_pool_taker(pool->pool);
      BENCH_TRY(lct_pass_add(&pass, &vectors, &bench_error));
    }
    BENCH_TRY(lct_pass_run(e, &pass, &bench_error));
  }
}

/* Rate of the model's own GEMMs by the fastest algorithm of the library, as they add up in a layer: FLOP/s. */
static double bench_gemm_shapes(const bench *b) {
  bench_gemm g[BENCH_N_GEMMS];
  const lct_config *c = &b->model.model.config;
  bench_gemms(c, g);
  double flops = 0, seconds = 0;
  int n = b->s->max_rows < b->s->n_prompts * b->s->n_tokens ? b->s->max_rows : b->s->n_prompts * b->s->n_tokens;
  for (int i = 0; i < BENCH_N_GEMMS; i++) {
    double library = 0, own = 0;
    lct_dtype t = b->s->backend.precision == LCT_PRECISION_BF16 ? LCT_DTYPE_BF16 : LCT_DTYPE_F16;
    bench_gemm_rate(t, g[i].in, g[i].out, n, b->s->repeats, &library, &own);
    printf(
        "{\"what\": \"gpu.gemm\", %s, \"gemm\": \"%s\", \"rows\": %d, \"in\": %lld, \"out\": %lld, \"repeats\": %d, "
        "\"cublaslt_tflops\": %.3f, \"engine_tflops\": %.3f}\n",
        b->head, g[i].name, n, (long long)g[i].in, (long long)g[i].out, b->s->repeats, library * 1e-12, own * 1e-12);
    double work = 2.0 * (double)g[i].in * (double)g[i].out;
    flops += work;
    seconds += work / library;
  }
  return seconds > 0 && isfinite(seconds) ? flops / seconds : 0;
}

static void print_prefill(const bench *b, const char *taps, int n_prompts, double *seconds, double shapes_rate) {
  const settings *s = b->s;
  bench_times t = bench_summary(seconds, s->repeats);
  double tokens = (double)n_prompts * s->n_tokens, flops = bench_flops(&b->model.model.config, n_prompts, s->n_tokens) / t.median;
  printf(
      "{\"what\": \"gpu.prefill\", %s, \"taps\": \"%s\", \"prompts\": %d, \"tokens\": %.0f, \"repeats\": %d, \"seconds_median\": %.6f, "
      "\"seconds_min\": %.6f, \"seconds_max\": %.6f, \"tokens_per_second\": %.1f, \"tflops\": %.3f, \"share_of_cublaslt_cube\": %.4f, "
      "\"share_of_cublaslt_shapes\": %.4f}\n",
      b->head, taps, n_prompts, tokens, s->repeats, t.median, t.min, t.max, tokens / t.median, flops * 1e-12,
      s->cube_rate > 0 ? flops / s->cube_rate : 0, shapes_rate > 0 ? flops / shapes_rate : 0);
}

static void bench_prefill(const bench *b, double shapes_rate) {
  double seconds[BENCH_MAX_REPEATS];
  const settings *s = b->s;
  lct_plan *plan = make_plan(&b->model.model.config, s->n_prompts, s->n_tokens, s->max_rows);
  asked *a = new_asked(s->n_prompts);
  for (int r = -1; r < s->repeats; r++) {
    double t0 = lct_seconds();
    run_pass(b->engine, plan, s->n_prompts, NULL, a, NULL);
    if (r >= 0) seconds[r] = lct_seconds() - t0;
  }
  print_prefill(b, "none", s->n_prompts, seconds, shapes_rate);
  free_asked(a);
  lct_plan_free(plan);
}

static void bench_taps(const bench *b, double shapes_rate) {
  static const lct_source sources[] = {LCT_SOURCE_HIDDEN_IN, LCT_SOURCE_HIDDEN_OUT, LCT_SOURCE_ATTN_OUT, LCT_SOURCE_MLP_DOWN_OUT};
  double seconds[BENCH_MAX_REPEATS];
  const settings *s = b->s;
  int n = s->n_tap_prompts < s->n_prompts ? s->n_tap_prompts : s->n_prompts;
  const lct_config *c = &b->model.model.config;
  pooling pool = {0};
  lct_stream streams[4];
  lct_plane *planes = NULL;
  BENCH_TRY(lct_calloc(&planes, 4 * (size_t)c->n_layers, sizeof *planes, "pool", &bench_error));
  for (int i = 0; i < 4; i++) streams[i] = lct_stream_of(sources[i], c, planes + i * c->n_layers);
  BENCH_TRY(lct_pool_new(b->engine, streams, 4, LCT_N_DEFAULT_POSITIONS, &pool.pool, &bench_error));
  int n_positions = 0;
  BENCH_TRY(lct_positions_parse("--positions", LCT_DEFAULT_POSITIONS, &pool.arena, &pool.positions, &n_positions, &bench_error));
  BENCH_TRY(lct_pool_reserve(pool.pool, n, &bench_error));
  BENCH_TRY(lct_calloc(&pool.rows, (size_t)n, sizeof *pool.rows, "pool", &bench_error));
  lct_plan *plan = make_plan(c, n, s->n_tokens, s->max_rows);
  asked *a = new_asked(n);
  for (int r = -1; r < s->repeats; r++) {
    double t0 = lct_seconds();
    run_pass(b->engine, plan, n, NULL, a, &pool);
    if (r >= 0) seconds[r] = lct_seconds() - t0;
  }
  print_prefill(b, "pooled", n, seconds, shapes_rate);
  free_asked(a);
  lct_plan_free(plan);
  lct_pool_free(pool.pool);
  free(pool.rows);
  free(planes);
  lct_arena_free(&pool.arena);
}

/* One decode step of n sequences whose prompts lie in rows of kv; new keys of sequence i go behind all prompts. */
static void decode_step(const bench *b, const lct_plan *plan, int n, int step, lct_kv *kv, asked *a) {
  const settings *s = b->s;
  const lct_config *c = &b->model.model.config;
  int32_t tokens[16], positions[16];
  lct_segment segments[16];
  lct_kv_range ranges[16][2];
  for (int i = 0; i < n; i++) {
    int32_t base = n * s->n_tokens + i * s->n_decode;
    ranges[i][0] = (lct_kv_range){lct_plan_seq_row(plan, i, 0), s->n_tokens};
    ranges[i][1] = (lct_kv_range){base, step};
    tokens[i] = random_id(c, n + i, step); /* not what was chosen: every repeat does the same work */
    positions[i] = s->n_tokens + step;
    segments[i] =
        (lct_segment){.row0 = i, .n_rows = 1, .pos0 = positions[i], .kv0 = base + step, .n_ranges = step > 0 ? 2 : 1, .ranges = ranges[i]};
    a->rows[i] = i;
  }
  a->heads.n = n;
  lct_batch batch = {.n_rows = n,
                     .n_segments = n,
                     .n_slots = n * (s->n_tokens + s->n_decode),
                     .decode = true,
                     .tokens = tokens,
                     .positions = positions,
                     .segments = segments};
  BENCH_TRY(lct_pass_run(b->engine, &(lct_pass){.batch = &batch, .kv = kv, .heads = a->heads}, &bench_error));
}

static void bench_decode(const bench *b, int n) {
  double seconds[BENCH_MAX_REPEATS];
  const settings *s = b->s;
  const lct_config *c = &b->model.model.config;
  lct_plan *plan = make_plan(c, n, s->n_tokens, n * s->n_tokens);
  lct_kv *kv = NULL;
  asked *a = new_asked(n);
  BENCH_TRY(lct_kv_new(b->engine, n * (s->n_tokens + s->n_decode), &kv, &bench_error));
  run_pass(b->engine, plan, n, kv, a, NULL);
  for (int r = -1; r < s->repeats; r++) {
    double t0 = lct_seconds();
    for (int i = 0; i < s->n_decode; i++) decode_step(b, plan, n, i, kv, a);
    if (r >= 0) seconds[r] = lct_seconds() - t0;
  }
  bench_times t = bench_summary(seconds, s->repeats);
  double keys = (double)n * (s->n_tokens + 0.5 * s->n_decode) * c->n_layers * 2 * c->n_kv_heads * c->head_dim * 2;
  double rate = (bench_weight_bytes(c) + keys) * s->n_decode / t.median;
  printf(
      "{\"what\": \"gpu.decode\", %s, \"batch\": %d, \"steps\": %d, \"context\": %d, \"repeats\": %d, \"seconds_median\": %.6f, "
      "\"seconds_min\": %.6f, \"seconds_max\": %.6f, \"tokens_per_second\": %.2f, \"gbytes_per_second\": %.2f, \"share_of_copy\": %.4f}\n",
      b->head, n, s->n_decode, s->n_tokens, s->repeats, t.median, t.min, t.max, n * s->n_decode / t.median, rate * 1e-9,
      rate / s->copy_rate);
  free_asked(a);
  lct_kv_free(b->engine, kv);
  lct_plan_free(plan);
}

/* A pass and a decode step with events around every op, on an engine of their own. */
static void bench_families(bench *b) {
  const settings *s = b->s;
  const lct_config *c = &b->model.model.config;
  lct_engine *plain = b->engine;
  char head[400];
  BENCH_TRY(lct_engine_new(&b->model.model, bench_timed_ops(lct_cuda_ops(), c), &s->backend, &b->engine, &bench_error));
  lct_plan *plan = make_plan(c, s->n_prompts, s->n_tokens, s->max_rows);
  asked *a = new_asked(s->n_prompts > 16 ? s->n_prompts : 16);
  double t0 = 0;
  for (int r = 0; r < 2; r++) { /* the first one warms up */
    bench_timed_start();
    t0 = lct_seconds();
    run_pass(b->engine, plan, s->n_prompts, NULL, a, NULL);
    t0 = lct_seconds() - t0;
  }
  (void)snprintf(head, sizeof head, "%s, \"pass\": \"prefill\"", b->head);
  bench_timed_report(head, t0);
  lct_plan_free(plan);
  lct_kv *kv = NULL;
  plan = make_plan(c, 1, s->n_tokens, s->n_tokens);
  BENCH_TRY(lct_kv_new(b->engine, s->n_tokens + s->n_decode, &kv, &bench_error));
  run_pass(b->engine, plan, 1, kv, a, NULL);
  for (int i = 0; i < s->n_decode; i++) {
    bench_timed_start();
    t0 = lct_seconds();
    decode_step(b, plan, 1, i, kv, a);
    t0 = lct_seconds() - t0;
  }
  (void)snprintf(head, sizeof head, "%s, \"pass\": \"decode\"", b->head);
  bench_timed_report(head, t0);
  lct_kv_free(b->engine, kv);
  lct_plan_free(plan);
  free_asked(a);
  lct_engine_free(b->engine);
  b->engine = plain;
}

static void bench_one(const settings *s, const char *like) {
  bench b = {.s = s, .like = like};
  if (!time_left(s, like, "all")) return;
  bench_model_make(like, s->n_layers, &b.model);
  const lct_config *c = &b.model.model.config;
  (void)snprintf(b.head, sizeof b.head, "\"like\": \"%s\", \"layers\": %d, \"precision\": \"%s\"", like, c->n_layers, s->precision);
  double t0 = lct_seconds();
  BENCH_TRY(lct_engine_new(&b.model.model, lct_cuda_ops(), &s->backend, &b.engine, &bench_error));
  printf("{\"what\": \"gpu.load\", %s, \"seconds\": %.3f, \"gbytes\": %.3f}\n", b.head, lct_seconds() - t0, bench_weight_bytes(c) * 1e-9);
  double shapes = time_left(s, like, "gemm") ? bench_gemm_shapes(&b) : 0;
  if (time_left(s, like, "prefill")) bench_prefill(&b, shapes);
  if (s->n_decode > 0 && time_left(s, like, "decode 1")) bench_decode(&b, 1);
  if (s->n_decode > 0 && time_left(s, like, "decode 16")) bench_decode(&b, 16);
  if (time_left(s, like, "pooled taps")) bench_taps(&b, shapes);
  if (time_left(s, like, "families")) bench_families(&b);
  lct_engine_free(b.engine);
  bench_model_free(&b.model);
  (void)fflush(stdout);
}

static void bench_machine(settings *s) {
  lct_gpu gpu;
  double own = 0;
  lct_dtype t = s->backend.precision == LCT_PRECISION_BF16 ? LCT_DTYPE_BF16 : LCT_DTYPE_F16;
  BENCH_TRY(lct_cuda_gpu(s->backend.device, &gpu, &bench_error));
  BENCH_CUDA(cudaSetDevice(s->backend.device));
  s->copy_rate = bench_copy_rate((size_t)s->copy_mb << 20, s->repeats);
  bench_gemm_rate(t, s->cube, s->cube, s->cube, s->repeats, &s->cube_rate, &own);
  printf(
      "{\"what\": \"gpu.machine\", \"gpu\": \"%s\", \"sm\": %d, \"multiprocessors\": %d, \"gbytes\": %.1f, \"build\": \"%s\", "
      "\"precision\": \"%s\", \"copy_gbytes_per_second\": %.1f, \"cube\": %d, \"cublaslt_cube_tflops\": %.2f, \"engine_cube_tflops\": %.2f}\n",
      gpu.name, gpu.sm, gpu.n_sm, (double)gpu.bytes * 1e-9, lct_cuda_build(), s->precision, s->copy_rate * 1e-9, s->cube,
      s->cube_rate * 1e-12, own * 1e-12);
}

static bool parse(int argc, char **argv, settings *s) {
  const struct {
    const char *name;
    int *value, min, max;
  } numbers[] = {{"--device", &s->backend.device, 0, 1023},
                 {"--prompts", &s->n_prompts, 1, 100000},
                 {"--tokens", &s->n_tokens, 1, 100000},
                 {"--rows", &s->max_rows, 1, 1 << 20},
                 {"--repeats", &s->repeats, 1, BENCH_MAX_REPEATS},
                 {"--decode", &s->n_decode, 0, 10000},
                 {"--layers", &s->n_layers, 0, 1000},
                 {"--tap-prompts", &s->n_tap_prompts, 1, 100000},
                 {"--seconds", &s->seconds, 0, 100000},
                 {"--cube", &s->cube, 64, 32768},
                 {"--copy-mb", &s->copy_mb, 1, 16384}};
  for (int i = 1; i < argc; i += 2) {
    bool known = false;
    if (i + 1 >= argc) return false;
    if (strcmp(argv[i], "--like") == 0 && s->n_likes < MAX_MODELS) known = true, s->likes[s->n_likes++] = argv[i + 1];
    if (strcmp(argv[i], "--precision") == 0) {
      known = strcmp(argv[i + 1], "f16") == 0 || strcmp(argv[i + 1], "bf16") == 0;
      s->precision = argv[i + 1];
      s->backend.precision = strcmp(argv[i + 1], "bf16") == 0 ? LCT_PRECISION_BF16 : LCT_PRECISION_F16;
    }
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
      if (strcmp(argv[i], numbers[k].name) != 0) continue;
      *numbers[k].value = atoi(argv[i + 1]);
      known = *numbers[k].value >= numbers[k].min && *numbers[k].value <= numbers[k].max;
    }
    if (!known) return false;
  }
  return s->n_likes > 0;
}

int main(int argc, char **argv) {
  settings s = {.backend = {.precision = LCT_PRECISION_F16},
                .precision = "f16",
                .n_prompts = 64,
                .n_tokens = 700,
                .max_rows = 16384,
                .repeats = 5,
                .n_decode = 64,
                .n_tap_prompts = 8,
                .cube = CUBE,
                .copy_mb = 1024,
                .start = lct_seconds()};
  if (!parse(argc, argv, &s)) {
    fprintf(stderr,
            "usage: bench_gpu --like NAME [--like NAME]... [--device N] [--precision f16|bf16] [--prompts N] [--tokens N] [--rows N]\n"
            "                 [--repeats N] [--decode N] [--layers N] [--tap-prompts N] [--seconds N] [--cube N] [--copy-mb N]\n");
    return 2;
  }
  if (lct_cuda_ops() == NULL) {
    fprintf(stderr, "bench_gpu: this build has no CUDA\n");
    return 1;
  }
  bench_machine(&s);
  for (int i = 0; i < s.n_likes; i++) bench_one(&s, s.likes[i]);
  return 0;
}
