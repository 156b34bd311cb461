#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/synth_internal.h"
#include "model/tensors.h"

#define PIECE ((int64_t)4 << 20) /* elements generated, then written */

typedef struct {
  char name[96];
  int64_t rows, cols; /* rows 1: a vector */
  double mean, std;
  int shard;
  int64_t begin, bytes; /* within its shard's data */
} plan_tensor;

typedef struct {
  plan_tensor *tensors;
  int n, n_shards;
  int64_t total_bytes;
} plan;

static void add(plan *p, const char *name, int64_t rows, int64_t cols, double mean, double std) {
  plan_tensor *t = &p->tensors[p->n++];
  *t = (plan_tensor){.rows = rows, .cols = cols, .mean = mean, .std = std};
  (void)snprintf(t->name, sizeof t->name, "%s", name);
}

static void add_slot(plan *p, const lct_config *c, const lct_layer_slot *slot, int layer) {
  char name[96];
  (void)snprintf(name, sizeof name, "model.layers.%d.%s", layer, slot->hf);
  int64_t rows = lct_config_dim(c, slot->rows), cols = lct_config_dim(c, slot->cols);
  double mean = 0, std = 1 / sqrt((double)cols);
  if (slot->offset == offsetof(lct_layer, o)) std /= sqrt(2.0 * c->n_layers);
  if (slot->offset == offsetof(lct_layer, down)) std *= 3 / sqrt(2.0 * c->n_layers);
  if (slot->rows == LCT_DIM_ONE) {
    bool bias = slot->need == LCT_NEED_QKV_BIAS || slot->need == LCT_NEED_O_BIAS;
    mean = bias ? 0 : 1;
    std = !bias ? 0.1 : slot->need == LCT_NEED_O_BIAS ? 0.02 : slot->rotary ? 0.5 : 0.1;
  }
  add(p, name, rows, cols, mean, std);
}

static lct_status make_plan(const lct_config *c, lct_dtype t, int64_t shard_bytes, plan *p, lct_error *err) {
  *p = (plan){.n_shards = 1};
  LCT_TRY(lct_calloc(&p->tensors, (size_t)(c->n_layers * lct_n_layer_slots + 3), sizeof *p->tensors, "the tensor list", err));
  double unit = 1 / sqrt((double)c->hidden);
  add(p, "model.embed_tokens.weight", c->vocab, c->hidden, 0, c->tied_head ? unit : 1);
  for (int i = 0; i < c->n_layers; i++) {
    for (int k = 0; k < lct_n_layer_slots; k++) {
      if (lct_config_needs(c, lct_layer_slots[k].need)) add_slot(p, c, &lct_layer_slots[k], i);
    }
  }
  add(p, "model.norm.weight", 1, c->hidden, 2, 0.2);
  if (!c->tied_head) add(p, "lm_head.weight", c->vocab, c->hidden, 0, unit);
  int64_t at = 0;
  for (int i = 0; i < p->n; i++) {
    plan_tensor *x = &p->tensors[i];
    x->bytes = x->rows * (int64_t)lct_dtype_row_bytes(t, x->cols);
    if (at > 0 && at + x->bytes > shard_bytes) {
      p->n_shards++;
      at = 0;
    }
    x->shard = p->n_shards - 1;
    x->begin = at;
    at += x->bytes;
    p->total_bytes += x->bytes;
  }
  return LCT_OK;
}

static lct_status shard_name(const plan *p, int shard, lct_buf *out, lct_error *err) {
  out->len = 0;
  if (p->n_shards == 1) return lct_buf_puts(out, "model.safetensors", err);
  return lct_buf_printf(out, err, "model-%05d-of-%05d.safetensors", shard + 1, p->n_shards);
}

/* Length, JSON, spaces so that the data begins at a multiple of 64. */
static lct_status make_header(const plan *p, int shard, lct_dtype t, lct_buf *h, lct_error *err) {
  h->len = 0;
  LCT_TRY(lct_buf_puts(h, "12345678{\"__metadata__\":{\"format\":\"pt\"}", err));
  for (int i = 0; i < p->n; i++) {
    const plan_tensor *x = &p->tensors[i];
    if (x->shard != shard) continue;
    LCT_TRY(lct_buf_printf(h, err, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", x->name, lct_dtype_name(t)));
    if (x->rows != 1) LCT_TRY(lct_buf_printf(h, err, "%lld,", (long long)x->rows));
    LCT_TRY(lct_buf_printf(h, err, "%lld],\"data_offsets\":[%lld,%lld]}", (long long)x->cols, (long long)x->begin,
                           (long long)(x->begin + x->bytes)));
  }
  LCT_TRY(lct_buf_puts(h, "}", err));
  while (h->len % 64 != 0) LCT_TRY(lct_buf_puts(h, " ", err));
  uint64_t n = h->len - 8;
  for (int i = 0; i < 8; i++) h->data[i] = (char)(n >> (8 * i) & 0xff);
  return LCT_OK;
}

static lct_status write_bytes(FILE *f, const char *path, const void *data, size_t n, lct_error *err) {
  if (n > 0 && fwrite(data, 1, n, f) != n) return lct_fail_errno(err, errno, "cannot write %s", path);
  return LCT_OK;
}

/* How all tensors are made. */
typedef struct {
  uint64_t seed;
  lct_dtype t;
  lct_threads *threads;
  void *piece; /* (PIECE) */
} maker;

static lct_status write_tensor(FILE *f, const char *path, const plan_tensor *x, const maker *m, lct_error *err) {
  int64_t n = x->rows * x->cols;
  uint64_t key = lct_synth_key(m->seed, x->name);
  for (int64_t at = 0; at < n; at += PIECE) {
    int64_t count = n - at < PIECE ? n - at : PIECE;
    LCT_TRY(lct_synth_fill(key, at, count, x->mean, x->std, m->t, m->threads, m->piece, err));
    LCT_TRY(write_bytes(f, path, m->piece, lct_dtype_row_bytes(m->t, count), err));
  }
  return LCT_OK;
}

static lct_status write_shard(const plan *p, int shard, const char *path, const maker *m, lct_error *err) {
  lct_buf header = {0};
  lct_status s = make_header(p, shard, m->t, &header, err);
  FILE *f = s == LCT_OK ? fopen(path, "wbxe") : NULL;
  if (s == LCT_OK && f == NULL) s = lct_fail_errno(err, errno, "cannot create %s", path);
  if (s == LCT_OK) s = write_bytes(f, path, header.data, header.len, err);
  for (int i = 0; i < p->n && s == LCT_OK; i++) {
    if (p->tensors[i].shard == shard) s = write_tensor(f, path, &p->tensors[i], m, err);
  }
  if (s == LCT_OK && (fflush(f) != 0 || fsync(fileno(f)) != 0)) s = lct_fail_errno(err, errno, "cannot write %s", path);
  if (f != NULL && fclose(f) != 0 && s == LCT_OK) s = lct_fail_errno(err, errno, "cannot write %s", path);
  lct_buf_free(&header);
  return s;
}

static lct_status write_index(const plan *p, const char *dir, lct_error *err) {
  lct_buf text = {0}, name = {0}, path = {0};
  lct_status s = LCT_OK;
  LCT_TRY_GOTO(s, lct_buf_printf(&text, err, "{\n  \"metadata\": {\"total_size\": %lld},\n  \"weight_map\": {", (long long)p->total_bytes),
               done);
  for (int i = 0; i < p->n; i++) {
    LCT_TRY_GOTO(s, shard_name(p, p->tensors[i].shard, &name, err), done);
    LCT_TRY_GOTO(s, lct_buf_printf(&text, err, "%s\n    \"%s\": \"%s\"", i > 0 ? "," : "", p->tensors[i].name, name.data), done);
  }
  LCT_TRY_GOTO(s, lct_buf_puts(&text, "\n  }\n}\n", err), done);
  LCT_TRY_GOTO(s, lct_path_join(&path, dir, "model.safetensors.index.json", err), done);
  s = lct_file_write_atomic(path.data, text.data, text.len, err);
done:
  lct_buf_free(&text);
  lct_buf_free(&name);
  lct_buf_free(&path);
  return s;
}

lct_status lct_synth_write_weights(const lct_config *c, uint64_t seed, lct_dtype t, const char *dir, int64_t shard_bytes,
                                   lct_threads *threads, lct_error *err) {
  plan p = {0};
  lct_buf name = {0}, path = {0};
  maker m = {.seed = seed, .t = t, .threads = threads};
  lct_status s = LCT_OK;
  LCT_TRY_GOTO(s, make_plan(c, t, shard_bytes, &p, err), done);
  LCT_TRY_GOTO(s, lct_alloc_aligned(&m.piece, (size_t)PIECE, lct_dtype_row_bytes(t, 1), "generated weights", err), done);
  for (int i = 0; i < p.n_shards; i++) {
    LCT_TRY_GOTO(s, shard_name(&p, i, &name, err), done);
    LCT_TRY_GOTO(s, lct_path_join(&path, dir, name.data, err), done);
    LCT_TRY_GOTO(s, write_shard(&p, i, path.data, &m, err), done);
  }
  if (p.n_shards > 1) s = write_index(&p, dir, err);
done:
  free(m.piece);
  free(p.tensors);
  lct_buf_free(&name);
  lct_buf_free(&path);
  return s;
}
