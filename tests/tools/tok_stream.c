/* Drives the tokenizer for the scripts under tests/oracle.
 *   tok_stream PATH encode          records of texts on stdin -> records of tokens on stdout
 *   tok_stream PATH encode-special  the same with the post-processor
 *   tok_stream PATH decode|decode-skip  records of int32 ids -> records of text (skip: without special tokens)
 *   tok_stream PATH bench SECONDS   encodes the texts on stdin again and again; prints "MB/s", tokens and load time
 * A record is a u32 count of bytes and the bytes; a token is {i32 id, u32 begin, u32 end}. PATH: a folder, a tokenizer.json or a
 * .gguf. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model/gguf.h"
#include "text/tokenizer.h"

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool ends_with(const char *s, const char *end) {
  size_t n = strlen(s), k = strlen(end);
  return n >= k && strcmp(s + n - k, end) == 0;
}

static lct_status open_tokenizer(const char *path, lct_tokenizer **out, lct_error *err) {
  if (lct_path_is_dir(path)) return lct_tokenizer_open_dir(path, out, err);
  lct_map map;
  LCT_TRY(lct_map_open(path, &map, err));
  lct_status s;
  if (ends_with(path, ".gguf")) {
    lct_gguf *g = NULL;
    s = lct_gguf_parse(map.data, map.size, path, &g, err);
    if (s == LCT_OK) s = lct_tokenizer_from_gguf(g, out, err);
    lct_gguf_free(g);
  } else {
    s = lct_tokenizer_parse((const char *)map.data, map.size, NULL, 0, path, out, err);
  }
  lct_map_close(&map);
  return s;
}

/* Reads one record into b; false at the end of the input. */
static bool read_record(lct_buf *b, lct_error *err) {
  uint32_t n;
  if (fread(&n, sizeof n, 1, stdin) != 1) return false;
  b->len = 0;
  char chunk[65536];
  while (n > 0) {
    size_t k = n < sizeof chunk ? n : sizeof chunk;
    if (fread(chunk, 1, k, stdin) != k || lct_buf_append(b, chunk, k, err) != LCT_OK) return false;
    n -= (uint32_t)k;
  }
  return lct_buf_append(b, "", 0, err) == LCT_OK;
}

static void write_record(const void *data, size_t n) {
  uint32_t k = (uint32_t)n;
  fwrite(&k, sizeof k, 1, stdout);
  fwrite(data, 1, n, stdout);
}

static lct_status stream_encode(lct_encoder *e, bool special, lct_error *err) {
  lct_buf text = {0};
  lct_tokens tokens = {0};
  lct_status s = LCT_OK;
  while (s == LCT_OK && read_record(&text, err)) {
    tokens.len = 0;
    s = lct_encode(e, text.data, text.len, special, &tokens, err);
    write_record(tokens.data, tokens.len * sizeof *tokens.data);
  }
  lct_buf_free(&text);
  lct_tokens_free(&tokens);
  return s;
}

static lct_status stream_decode(const lct_tokenizer *t, bool skip, lct_error *err) {
  lct_buf ids = {0}, text = {0};
  lct_status s = LCT_OK;
  while (s == LCT_OK && read_record(&ids, err)) {
    text.len = 0;
    s = lct_decode(t, (const int32_t *)(const void *)ids.data, ids.len / 4, skip, &text, err);
    write_record(text.data, text.len);
  }
  lct_buf_free(&ids);
  lct_buf_free(&text);
  return s;
}

static lct_status bench(lct_encoder *e, double seconds, double load, lct_error *err) {
  lct_buf all = {0}, one = {0};
  lct_tokens tokens = {0};
  size_t *ends = NULL, n = 0, cap = 0;
  lct_status s = LCT_OK;
  while (s == LCT_OK && read_record(&one, err)) {
    s = lct_buf_append(&all, one.data, one.len, err);
    if (s == LCT_OK) s = lct_grow(&ends, &cap, n + 1, sizeof *ends, "texts", err);
    if (s == LCT_OK) ends[n++] = all.len;
  }
  size_t n_tokens = 0, rounds = 0;
  double start = now(), best = 1e30;
  while (s == LCT_OK && (rounds == 0 || now() - start < seconds)) {
    double t0 = now();
    n_tokens = 0;
    for (size_t i = 0; i < n && s == LCT_OK; i++) {
      size_t begin = i == 0 ? 0 : ends[i - 1];
      tokens.len = 0;
      s = lct_encode(e, all.data + begin, ends[i] - begin, false, &tokens, err);
      n_tokens += tokens.len;
    }
    double t = now() - t0;
    best = t < best ? t : best;
    rounds++;
  }
  printf("%.2f MB/s best of %zu rounds, %zu tokens, load %.3f s\n", (double)all.len / best / 1e6, rounds, n_tokens, load);
  lct_buf_free(&all);
  lct_buf_free(&one);
  lct_tokens_free(&tokens);
  free(ends);
  return s;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: tok_stream PATH encode|encode-special|decode|decode-skip|bench [SECONDS]\n");
    return 2;
  }
  lct_error err = {0};
  lct_tokenizer *t = NULL;
  lct_encoder *e = NULL;
  double start = now();
  lct_status s = open_tokenizer(argv[1], &t, &err);
  double load = now() - start;
  if (s == LCT_OK) s = lct_encoder_new(t, &e, &err);
  if (s == LCT_OK) {
    if (strncmp(argv[2], "encode", 6) == 0) {
      s = stream_encode(e, strcmp(argv[2], "encode-special") == 0, &err);
    } else if (strncmp(argv[2], "decode", 6) == 0) {
      s = stream_decode(t, strcmp(argv[2], "decode-skip") == 0, &err);
    } else {
      s = bench(e, argc > 3 ? atof(argv[3]) : 3, load, &err);
    }
  }
  if (s != LCT_OK) fprintf(stderr, "tok_stream: %s\n", err.message);
  lct_encoder_free(e);
  lct_tokenizer_free(t);
  return s == LCT_OK ? 0 : 1;
}
