/* Speed of the store without a model: rows through the writer and back through the reader, and the chunk codec alone. JSON lines on stdout.
 *
 *   bench_store DIR [DATA|-] [TOKENS LAYERS HIDDEN [THREADS REPEATS]]
 *
 * DATA: (tokens, layers, hidden) float16 values as they lie in memory; -: normal values with a scale per channel are made here. An array of
 * inner chunks [256, 1, hidden] is written to DIR/bench.zarr afresh every time; every read is compared with what was written. gb_s counts raw
 * bytes in wall time, gb_s_core in the process's time on all cores: pinned to one core the two are the same. */
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/half.h"
#include "store/codec.h"
#include "store/zarr_read.h"
#include "store/zarr_write.h"

enum { CHUNK_ROWS = 256, SHARD_ROWS = 4096, TURN_ROWS = 64, CODEC_REPEATS = 40 };

static lct_error err;

static void check(lct_status s) {
  if (s == LCT_OK) return;
  fprintf(stderr, "bench_store: %s\n", err.message);
  exit(1);
}

typedef struct {
  const char *dir;
  int64_t tokens, layers, hidden;
  int n_threads, repeats;
  lct_threads *threads;
  const uint16_t *data;
  size_t raw_bytes;
} bench;

static double cpu_seconds(void) {
  struct rusage u;
  (void)getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void report(const char *what, int run, double raw, double stored, double wall, double cpu) {
  printf(
      "{\"what\": \"%s\", \"run\": %d, \"raw_bytes\": %.0f, \"ratio\": %.4f, \"seconds\": %.4f, \"cpu_seconds\": %.4f, \"gb_s\": %.3f, "
      "\"gb_s_core\": %.3f}\n",
      what, run, raw, raw / stored, wall, cpu, raw / wall / 1e9, raw / cpu / 1e9);
  (void)fflush(stdout);
}

/* Sum of four uniform numbers, close enough to a normal one, times the channel's scale. */
static uint16_t *make_data(const bench *b) {
  uint16_t *v = NULL;
  float *scale = NULL;
  uint64_t seed = 1;
  check(lct_alloc_aligned(&v, b->raw_bytes, 1, "bench data", &err));
  check(lct_calloc(&scale, (size_t)b->hidden, sizeof *scale, "bench scales", &err));
  for (int64_t i = 0; i < b->hidden; i++) scale[i] = expf(sinf((float)i * 12.9898f) * 0.9f);
  for (size_t i = 0; i < b->raw_bytes / 2; i++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    uint64_t x = seed ^ seed >> 29;
    float sum = (float)(x & 0xffff) + (float)(x >> 16 & 0xffff) + (float)(x >> 32 & 0xffff) + (float)(x >> 48) - 131070.0f;
    v[i] = lct_f32_to_f16(sum * (1.0f / 37837.0f) * scale[i % (size_t)b->hidden]);
  }
  free(scale);
  return v;
}

static lct_zarr_meta meta_of(const bench *b) {
  return (lct_zarr_meta){LCT_ZARR_F16,
                         LCT_ZARR_BLOSC,
                         3,
                         {b->tokens, b->layers, b->hidden},
                         {SHARD_ROWS, b->layers, b->hidden},
                         {CHUNK_ROWS, 1, b->hidden},
                         {"token", "layer", "hidden"}};
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where) {
  (void)st, (void)type, (void)where;
  return remove(path);
}

static void bench_write(const bench *b, int run) {
  lct_zarr_meta m = meta_of(b);
  lct_zarr_write_options o = {.threads = b->threads, .budget_bytes = (size_t)64 << 20, .fsync = LCT_FSYNC_OFF};
  lct_zarr_writer *w = NULL;
  lct_zarr_out *out;
  size_t row = (size_t)(b->layers * b->hidden);
  (void)nftw(b->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  double wall = lct_seconds(), cpu = cpu_seconds();
  check(lct_zarr_writer_new(b->dir, &o, &w, &err));
  check(lct_zarr_writer_add(w, "tokens", &m, NULL, 0, &out, &err));
  for (int64_t at = 0, n; at < b->tokens; at += n) {
    void *rows;
    int64_t want = b->tokens - at < TURN_ROWS ? b->tokens - at : TURN_ROWS;
    check(lct_zarr_reserve(out, want, &rows, &n, &err));
    memcpy(rows, b->data + (size_t)at * row, (size_t)n * row * 2);
    check(lct_zarr_commit(out, n, &err));
  }
  check(lct_zarr_writer_finish(w, &err));
  double stored = (double)lct_zarr_writer_stats(w).stored_bytes;
  lct_zarr_writer_free(w);
  report("write", run, (double)b->raw_bytes, stored, lct_seconds() - wall, cpu_seconds() - cpu);
}

/* All of it, a few rows of chunks at a time. */
static void bench_read(const bench *b, int run) {
  size_t row = (size_t)(b->layers * b->hidden);
  uint16_t *got = NULL;
  check(lct_alloc_aligned(&got, row * CHUNK_ROWS, 2, "bench rows", &err));
  memset(got, 0, row * CHUNK_ROWS * 2);
  lct_zarr *z = NULL;
  double wall = 0, cpu = 0, t = lct_seconds(), c = cpu_seconds();
  check(lct_zarr_open(b->dir, "tokens", NULL, &z, &err));
  for (int64_t at = 0; at < b->tokens; at += CHUNK_ROWS) {
    int64_t start[] = {at, 0, 0}, count[] = {b->tokens - at < CHUNK_ROWS ? b->tokens - at : CHUNK_ROWS, b->layers, b->hidden};
    check(lct_zarr_read(z, start, count, got, &err));
    wall += lct_seconds() - t, cpu += cpu_seconds() - c;
    if (memcmp(got, b->data + (size_t)at * row, (size_t)count[0] * row * 2) != 0) {
      fprintf(stderr, "bench_store: other values were read\n");
      exit(1);
    }
    t = lct_seconds(), c = cpu_seconds();
  }
  lct_zarr_free(z);
  report("read", run, (double)b->raw_bytes, (double)b->raw_bytes, wall, cpu);
  free(got);
}

/* One chunk in and out, over and over: what the codec does when nothing else is to be done. */
static void bench_codec(const bench *b) {
  size_t row = (size_t)(b->layers * b->hidden) * 2, raw = (size_t)b->hidden * 2 * CHUNK_ROWS, n = 0;
  lct_codec *c = NULL;
  unsigned char *frame = NULL, *back = NULL;
  check(lct_codec_new(&c, &err));
  check(lct_alloc_aligned(&frame, lct_codec_bound(raw), 1, "bench frame", &err));
  check(lct_alloc_aligned(&back, raw, 1, "bench chunk", &err));
  for (int run = 0; run < b->repeats; run++) {
    double wall = lct_seconds(), cpu = cpu_seconds();
    for (int i = 0; i < CODEC_REPEATS; i++) {
      lct_pieces pieces = {b->data + (size_t)(i % b->layers * b->hidden), CHUNK_ROWS, (size_t)b->hidden * 2, row};
      check(lct_blosc_encode(c, &pieces, frame, &n, &err));
    }
    report("codec in", run, (double)raw * CODEC_REPEATS, (double)n * CODEC_REPEATS, lct_seconds() - wall, cpu_seconds() - cpu);
    wall = lct_seconds(), cpu = cpu_seconds();
    for (int i = 0; i < CODEC_REPEATS; i++) check(lct_blosc_decode(c, frame, n, back, raw, &err));
    report("codec out", run, (double)raw * CODEC_REPEATS, (double)n * CODEC_REPEATS, lct_seconds() - wall, cpu_seconds() - cpu);
  }
  lct_codec_free(c);
  free(frame);
  free(back);
}

int main(int argc, char **argv) {
  if (argc != 2 && argc != 3 && argc != 6 && argc != 8) {
    fprintf(stderr, "usage: bench_store DIR [DATA|-] [TOKENS LAYERS HIDDEN [THREADS REPEATS]]\n");
    return 2;
  }
  bench b = {.tokens = 4096, .layers = 24, .hidden = 2048, .n_threads = 1, .repeats = 3};
  if (argc >= 6) b.tokens = atoll(argv[3]), b.layers = atoll(argv[4]), b.hidden = atoll(argv[5]);
  if (argc == 8) b.n_threads = atoi(argv[6]), b.repeats = atoi(argv[7]);
  if (b.tokens < CHUNK_ROWS || b.layers < 1 || b.hidden < 1 || b.repeats < 1) return 2;
  b.raw_bytes = (size_t)(b.tokens * b.layers * b.hidden) * 2;
  lct_map map = {0};
  uint16_t *made = NULL;
  if (argc > 2 && strcmp(argv[2], "-") != 0) {
    check(lct_map_open(argv[2], &map, &err));
    if (map.size != b.raw_bytes) {
      fprintf(stderr, "bench_store: %s has %zu bytes, expected %zu\n", argv[2], map.size, b.raw_bytes);
      return 1;
    }
  } else {
    made = make_data(&b);
  }
  b.data = made != NULL ? made : (const uint16_t *)(const void *)map.data;
  lct_buf dir = {0};
  check(lct_path_join(&dir, argv[1], "bench.zarr", &err));
  b.dir = dir.data;
  check(lct_threads_new(b.n_threads, &b.threads, &err));
  bench_codec(&b);
  for (int run = 0; run < b.repeats; run++) {
    bench_write(&b, run);
    bench_read(&b, run);
  }
  lct_buf_free(&dir);
  lct_threads_free(b.threads);
  lct_map_close(&map);
  free(made);
  return 0;
}
