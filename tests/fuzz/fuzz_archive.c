/* Input: sweep.json, journal, messages.jsonl and shard 0 of pooled/hidden_out, NUL bytes between. */
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz_support.h"
#include "archive/archive.h"

enum { MAX_VALUES = 1 << 16, MAX_NAMES = 4 };

static const char *const FILES[] = {"sweep.json", "journal", "messages.jsonl", "data.zarr/pooled/hidden_out/c/0/0/0/0"};
static char dir[64];

static void make_dir(void) {
  static const char *const folders[] = {"",
                                        "/data.zarr",
                                        "/data.zarr/pooled",
                                        "/data.zarr/pooled/hidden_out",
                                        "/data.zarr/pooled/hidden_out/c",
                                        "/data.zarr/pooled/hidden_out/c/0",
                                        "/data.zarr/pooled/hidden_out/c/0/0",
                                        "/data.zarr/pooled/hidden_out/c/0/0/0"};
  char path[256];
  (void)snprintf(dir, sizeof dir, "%s/fuzz-archive-%d", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    (void)snprintf(path, sizeof path, "%s%s", dir, folders[i]);
    FUZZ_CHECK(mkdir(path, 0755) == 0);
  }
}

static void remove_dir(void) {
  char command[128];
  (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
  if (dir[0] != '\0') FUZZ_CHECK(system(command) == 0);
}

static void write_files(const uint8_t *data, size_t n) {
  char path[256];
  for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
    const uint8_t *nul = n > 0 && i < 3 ? memchr(data, 0, n) : NULL;
    size_t part = nul != NULL ? (size_t)(nul - data) : n;
    (void)snprintf(path, sizeof path, "%s/%s", dir, FILES[i]);
    FILE *f = fopen(path, "wb");
    FUZZ_CHECK(f != NULL && fwrite(data, 1, part, f) == part && fclose(f) == 0);
    data += part + (nul != NULL);
    n -= part + (nul != NULL);
  }
}

static void hear(void *ctx, const char *message) {
  FUZZ_CHECK(message[0] != '\0');
  (*(int64_t *)ctx)++;
}

static void read_rows(lct_archive *a) {
  lct_error err = {0};
  lct_archive_row_info r;
  int64_t row = 0;
  for (int64_t i = 0; i <= lct_archive_get_info(a)->n_messages && i < 20; i++) {
    lct_status s = lct_archive_row(a, i, &r, &err);
    if (s != LCT_OK) {
      fuzz_check_error(s, &err);
      continue;
    }
    fuzz_use(fuzz_touch(r.role, strlen(r.role)) + (r.label != NULL ? fuzz_touch(r.label, strlen(r.label)) : 0));
    char *id = strdup(r.id);
    FUZZ_CHECK(id != NULL && lct_archive_find(a, id, &row, &err) == LCT_OK && row <= i);
    free(id);
  }
}

static void read_vectors(lct_archive *a, const char *source, const char *position, int layer) {
  static float out[MAX_VALUES];
  lct_error err = {0};
  for (int tokens = 0; tokens < 2; tokens++) {
    int width = 0;
    lct_status s = lct_archive_width(a, tokens == 1, source, &width, &err);
    int64_t have = tokens ? lct_archive_get_info(a)->n_tokens : lct_archive_get_info(a)->n_rows;
    size_t n = have < 5 ? (size_t)have : 5;
    if (s == LCT_OK && n * (size_t)width <= MAX_VALUES) {
      s = tokens ? lct_archive_token_vectors(a, source, layer, 0, n, out, &err)
                 : lct_archive_vectors(a, source, position, layer, 0, n, out, &err);
    }
    if (s != LCT_OK) fuzz_check_error(s, &err);
  }
}

static void use(lct_archive *a) {
  static float scores[MAX_VALUES];
  const lct_archive_info *f = lct_archive_get_info(a);
  lct_error err = {0};
  read_rows(a);
  for (size_t i = 0; i < lct_archive_n_arrays(a); i++) {
    if (lct_zarr_chunk_bytes(lct_archive_array_at(a, i).meta) > MAX_VALUES * 4) return; /* legal and slow */
  }
  for (int i = 0; i < f->sources.n && i < MAX_NAMES; i++) {
    for (int k = 0; k < f->positions.n && k < MAX_NAMES; k++) {
      for (int l = 0; l < f->n_layers && l < MAX_NAMES; l++) read_vectors(a, f->sources.names[i], f->positions.names[k], f->layers[l]);
    }
  }
  if (f->scores.n > 0 && f->scores.n <= MAX_VALUES && f->n_rows > 0) {
    lct_status s = lct_archive_scores(a, 0, 1, scores, &err);
    if (s != LCT_OK) fuzz_check_error(s, &err);
  }
  int64_t heard = 0, n_faults = -1;
  lct_status s = lct_archive_verify(a, hear, &heard, &n_faults, &err);
  if (s != LCT_OK) fuzz_check_error(s, &err);
  FUZZ_CHECK(s != LCT_OK || heard == n_faults);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  if (dir[0] == '\0') {
    make_dir();
    (void)atexit(remove_dir);
  }
  lct_error err = {0};
  lct_archive *a = NULL;
  write_files(data, n);
  lct_status s = lct_archive_open(dir, &a, &err);
  if (s == LCT_OK) use(a);
  else fuzz_check_error(s, &err);
  lct_archive_free(a);
  return 0;
}
