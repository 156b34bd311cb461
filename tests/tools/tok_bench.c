/* tok_bench FOLDER|FILE.gguf TEXTS REPEATS: seconds to encode every text of a file of (uint32 little-endian length, bytes) records, one call
 * a text, one thread, after a warm-up. Prints {"tokens": N, "seconds": [...]}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "model/gguf.h"
#include "text/tokenizer.h"

static lct_status encode_all(lct_encoder *e, const lct_map *texts, lct_tokens *out, size_t *n_tokens, lct_error *err) {
  *n_tokens = 0;
  for (size_t at = 0; at + 4 <= texts->size;) {
    uint32_t n;
    memcpy(&n, texts->data + at, 4);
    if (n > texts->size - at - 4) return lct_fail(err, LCT_E_FORMAT, "a record of %u bytes runs past the end", n);
    out->len = 0;
    LCT_TRY(lct_encode(e, (const char *)texts->data + at + 4, n, false, out, err));
    *n_tokens += out->len;
    at += 4 + (size_t)n;
  }
  return LCT_OK;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: tok_bench FOLDER|FILE.gguf TEXTS REPEATS\n");
    return 2;
  }
  lct_error err;
  lct_map texts, file = {0};
  lct_gguf *gguf = NULL;
  lct_tokenizer *t = NULL;
  lct_encoder *e = NULL;
  lct_tokens out = {0};
  size_t n_tokens = 0;
  lct_status s = lct_map_open(argv[2], &texts, &err);
  if (s == LCT_OK && lct_path_is_dir(argv[1])) s = lct_tokenizer_open_dir(argv[1], &t, &err);
  else if (s == LCT_OK) {
    s = lct_map_open(argv[1], &file, &err);
    if (s == LCT_OK) s = lct_gguf_parse(file.data, file.size, argv[1], &gguf, &err);
    if (s == LCT_OK) s = lct_tokenizer_from_gguf(gguf, &t, &err);
  }
  if (s == LCT_OK) s = lct_encoder_new(t, &e, &err);
  if (s == LCT_OK) s = encode_all(e, &texts, &out, &n_tokens, &err);
  if (s == LCT_OK) printf("{\"tokens\": %zu, \"seconds\": [", n_tokens);
  int repeats = atoi(argv[3]);
  for (int r = 0; r < repeats && s == LCT_OK; r++) {
    double t0 = lct_seconds();
    s = encode_all(e, &texts, &out, &n_tokens, &err);
    printf("%s%.6f", r > 0 ? ", " : "", lct_seconds() - t0);
  }
  if (s == LCT_OK) printf("]}\n");
  else fprintf(stderr, "tok_bench: %s\n", err.message);
  lct_tokens_free(&out);
  lct_encoder_free(e);
  lct_tokenizer_free(t);
  lct_gguf_free(gguf);
  lct_map_close(&file);
  lct_map_close(&texts);
  return s == LCT_OK ? 0 : 1;
}
