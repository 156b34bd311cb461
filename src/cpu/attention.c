/* Attention: a task is one KV head of a run of query rows of one segment, with all query heads that share it. It walks over the
 * key tiles (64 keys, cut at multiples of 64 of the absolute position), gathers each once, and shows it to its rows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/internal.h"

#define TILE_ROWS 192 /* query rows x heads of a task: the gathering of a tile costs about 4 % of its use */

typedef struct {
  const lct_segment *seg;
  int32_t row0, n; /* rows of the segment */
} item;

/* One thread's memory. */
typedef struct {
  lct_attn_rows a;
  float *kt, *v, *zero, *s; /* (d, 64), (64, dp), (dp) zeros, (LCT_ROW_BLOCK, 64) scores */
} workspace;

static int max_i(int a, int b) { return a > b ? a : b; }

static int group_of(const lct_attn_shape *s) { return s->n_heads / s->n_kv_heads; }
static int rows_per_task(const lct_attn_shape *s) { return max_i(1, TILE_ROWS / group_of(s)); }
static int padded_rows(const lct_attn_shape *s) {
  int n = rows_per_task(s) * group_of(s);
  return (n + LCT_ROW_BLOCK - 1) / LCT_ROW_BLOCK * LCT_ROW_BLOCK;
}
static int padded_dim(const lct_attn_shape *s) { return (s->head_dim + LCT_MAX_LANES - 1) / LCT_MAX_LANES * LCT_MAX_LANES; }

/* Lays a workspace out in p; p NULL only counts. Returns the bytes, a multiple of the alignment. */
static size_t layout(const lct_attn_shape *s, unsigned char *p, workspace *ws) {
  size_t rows = (size_t)padded_rows(s), dp = (size_t)padded_dim(s), at = 0;
  struct {
    void *to;
    size_t bytes;
  } want[] = {{&ws->a.q, rows * dp * 4},
              {&ws->a.o, rows * dp * 4},
              {&ws->a.m, rows * 4},
              {&ws->a.l, rows * LCT_MAX_LANES * 4},
              {&ws->a.pos, rows * 4},
              {&ws->kt, (size_t)s->head_dim * LCT_TILE_KEYS * 4},
              {&ws->v, LCT_TILE_KEYS * dp * 4},
              {&ws->zero, dp * 4},
              {&ws->s, LCT_ROW_BLOCK * LCT_TILE_KEYS * 4}};
  for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
    void *here = p == NULL ? NULL : p + at;
    if (p != NULL) memcpy(want[i].to, &here, sizeof here);
    at += (want[i].bytes + LCT_ALIGN - 1) / LCT_ALIGN * LCT_ALIGN;
  }
  ws->a.d = s->head_dim;
  ws->a.dp = (int)dp;
  return at;
}

static lct_status check_shape(const lct_attn_shape *s, lct_error *err) {
  if (s->n_kv_heads < 1 || s->n_heads % s->n_kv_heads != 0 || s->head_dim < 1) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "attention with %d heads, %d KV heads of %d: heads must be a multiple of KV heads", s->n_heads,
                    s->n_kv_heads, s->head_dim);
  }
  return LCT_OK;
}

/* One workspace a thread; bytes between them in *stride. */
static lct_status prepare(lct_backend *be, const lct_attn_shape *s, size_t *stride, lct_error *err) {
  LCT_TRY(check_shape(s, err));
  workspace ws;
  *stride = layout(s, NULL, &ws);
  return lct_cpu_reserve(&be->attn, *stride * (size_t)lct_threads_count(be->threads), "attention workspace", err);
}

static void open_workspace(const lct_backend *be, const lct_attn_shape *s, size_t stride, int thread, workspace *ws) {
  (void)layout(s, (unsigned char *)be->attn.p + stride * (size_t)thread, ws);
  memset(ws->zero, 0, (size_t)ws->a.dp * sizeof(float));
  /* the columns between head_dim and its padding are computed, too, but never shown */
  if (ws->a.dp != ws->a.d) memset(ws->v, 0, (size_t)LCT_TILE_KEYS * (size_t)ws->a.dp * sizeof(float));
}

/* The query rows of a task, scaled, heads of one token next to each other. */
static void load_rows(const lct_attn_shape *s, const item *it, int kv_head, const float *q, workspace *ws) {
  int group = group_of(s), d = s->head_dim, used = it->n * group;
  lct_attn_rows *a = &ws->a;
  a->n_rows = (used + LCT_ROW_BLOCK - 1) / LCT_ROW_BLOCK * LCT_ROW_BLOCK;
  for (int r = 0; r < a->n_rows; r++) {
    int token = r < used ? r / group : it->n - 1, head = r < used ? r % group : 0;
    const float *from = q + ((int64_t)(it->seg->row0 + it->row0 + token) * s->n_heads + kv_head * group + head) * d;
    float *to = a->q + (int64_t)r * a->dp;
    for (int i = 0; i < d; i++) to[i] = from[i] * s->scale;
    a->pos[r] = it->seg->pos0 + it->row0 + token;
    a->m[r] = -INFINITY;
  }
  memset(a->o, 0, (size_t)a->n_rows * (size_t)a->dp * sizeof(float));
  memset(a->l, 0, (size_t)a->n_rows * LCT_MAX_LANES * sizeof(float));
}

/* Walks over the slots a segment sees, in order of position. */
typedef struct {
  const lct_segment *seg;
  int range;
  int32_t offset;
} cursor;

static int64_t next_slot(cursor *c) {
  while (c->range < c->seg->n_ranges && c->offset >= c->seg->ranges[c->range].n) {
    c->range++;
    c->offset = 0;
  }
  int32_t first = c->range < c->seg->n_ranges ? c->seg->ranges[c->range].first : c->seg->kv0;
  return (int64_t)first + c->offset++;
}

/* The next n <= 64 keys (and, unless v is NULL, values) of one KV head into the workspace. */
static void gather(const lct_backend *be, const lct_attn_shape *s, int kv_head, cursor *c, int n, const float *k, const float *v,
                   workspace *ws) {
  int d = s->head_dim;
  const float *keys[LCT_TILE_KEYS];
  for (int j = 0; j < LCT_TILE_KEYS; j++) {
    if (j >= n) {
      keys[j] = ws->zero;
      continue;
    }
    int64_t at = (next_slot(c) * s->n_kv_heads + kv_head) * d;
    keys[j] = k + at;
    if (v != NULL) memcpy(ws->v + (int64_t)j * ws->a.dp, v + at, (size_t)d * sizeof(float));
  }
  be->kernels->pack_keys(keys, d, ws->kt);
}

/* First block of rows that sees a key at key0 or later. */
static int first_block(const lct_attn_rows *a, int key0) {
  int r = 0;
  while (r + LCT_ROW_BLOCK <= a->n_rows && a->pos[r + LCT_ROW_BLOCK - 1] < key0) r += LCT_ROW_BLOCK;
  return r;
}

static void attend(const lct_backend *be, const lct_attn_shape *s, const item *it, int kv_head, const float *q, lct_kv_layer kv, void *out,
                   workspace *ws) {
  int group = group_of(s), d = s->head_dim, n_keys = it->seg->pos0 + it->row0 + it->n;
  bool bf16 = be->precision == LCT_PRECISION_FAST;
  load_rows(s, it, kv_head, q, ws);
  cursor c = {.seg = it->seg};
  for (int key0 = 0; key0 < n_keys; key0 += LCT_TILE_KEYS) {
    gather(be, s, kv_head, &c, n_keys - key0 < LCT_TILE_KEYS ? n_keys - key0 : LCT_TILE_KEYS, kv.k, kv.v, ws);
    be->kernels->attn_tile(&ws->a, first_block(&ws->a, key0), ws->kt, ws->v, key0);
  }
  for (int r = 0; r < it->n * group; r++) {
    int64_t at = ((int64_t)(it->seg->row0 + it->row0 + r / group) * s->n_heads + kv_head * group + r % group) * d;
    be->kernels->attn_finish(&ws->a, r, (char *)out + (size_t)at * (bf16 ? 2 : 4), bf16);
  }
}

static lct_status list_items(lct_backend *be, const lct_attn_shape *s, const lct_segment *segments, int n_segments, int *n_items,
                             lct_error *err) {
  int step = rows_per_task(s);
  size_t n = 0;
  for (int i = 0; i < n_segments; i++) n += (size_t)(segments[i].n_rows + step - 1) / (size_t)step;
  LCT_TRY(lct_cpu_reserve(&be->items, n * sizeof(item), "attention work list", err));
  item *list = be->items.p;
  for (int i = n_segments - 1; i >= 0; i--) { /* the last rows of a segment see most keys: they come first */
    int32_t n_rows = segments[i].n_rows;
    for (int32_t row = (n_rows - 1) / step * step; row >= 0; row -= step) {
      *list++ = (item){&segments[i], row, n_rows - row < step ? n_rows - row : step};
    }
  }
  *n_items = (int)n;
  return LCT_OK;
}

/* Tasks: item * n_kv_heads + KV head. */
typedef struct {
  const lct_backend *be;
  const lct_attn_shape *s;
  size_t stride;
  const float *q;
  lct_kv_layer kv;
  void *out;
} attention;

static lct_status attend_tasks(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)err;
  const attention *a = ctx;
  const item *items = a->be->items.p;
  workspace ws;
  open_workspace(a->be, a->s, a->stride, thread, &ws);
  for (int64_t i = from; i < to; i++) {
    attend(a->be, a->s, &items[i / a->s->n_kv_heads], (int)(i % a->s->n_kv_heads), a->q, a->kv, a->out, &ws);
  }
  return LCT_OK;
}

lct_status lct_cpu_attention(lct_backend *be, const void *q, const lct_attn_shape *s, const lct_batch *batch, lct_kv_layer kv, void *out,
                             lct_error *err) {
  attention a = {.be = be, .s = s, .q = q, .kv = kv, .out = out};
  int n_items = 0;
  LCT_TRY(prepare(be, s, &a.stride, err));
  LCT_TRY(list_items(be, s, batch->segments, batch->n_segments, &n_items, err));
  return lct_threads_for(be->threads, (int64_t)n_items * s->n_kv_heads, 1, attend_tasks, &a, err);
}

/* Rows [row0, row0 + n) of a segment, heads [head0, head0 + n_heads): out (n_heads, n, n_keys). */
typedef struct {
  const lct_backend *be;
  const lct_attn_shape *s;
  const lct_segment *seg;
  size_t stride;
  const float *q, *k;
  int row0, n, head0, n_heads;
  int64_t n_keys;
  float *out;
} weights;

/* Scores of one task, then softmax. */
static void weigh(const weights *w, const item *it, int kv_head, workspace *ws) {
  int group = group_of(w->s), first = kv_head * group - w->head0, last = it->seg->pos0 + it->row0 + it->n;
  load_rows(w->s, it, kv_head, w->q, ws);
  cursor c = {.seg = it->seg};
  for (int key0 = 0; key0 < last; key0 += LCT_TILE_KEYS) {
    int keys = last - key0 < LCT_TILE_KEYS ? last - key0 : LCT_TILE_KEYS;
    gather(w->be, w->s, kv_head, &c, keys, w->k, NULL, ws);
    for (int b = first_block(&ws->a, key0); b < ws->a.n_rows; b += LCT_ROW_BLOCK) {
      w->be->kernels->attn_scores(&ws->a, b, ws->kt, ws->s);
      for (int r = b; r < b + LCT_ROW_BLOCK && r < it->n * group; r++) {
        int head = first + r % group;
        if (head < 0 || head >= w->n_heads) continue;
        float *to = w->out + ((int64_t)head * w->n + it->row0 - w->row0 + r / group) * w->n_keys + key0;
        memcpy(to, ws->s + (r - b) * LCT_TILE_KEYS, (size_t)keys * sizeof(float));
      }
    }
  }
  for (int r = 0; r < it->n * group; r++) {
    int64_t seen = it->seg->pos0 + it->row0 + r / group + 1;
    int head = first + r % group;
    if (head < 0 || head >= w->n_heads) continue;
    float *to = w->out + ((int64_t)head * w->n + it->row0 - w->row0 + r / group) * w->n_keys;
    w->be->kernels->softmax(to, (int)seen);
    memset(to + seen, 0, (size_t)(w->n_keys - seen) * sizeof(float));
  }
}

static lct_status weigh_tasks(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)err;
  const weights *w = ctx;
  int group = group_of(w->s), step = rows_per_task(w->s);
  workspace ws;
  open_workspace(w->be, w->s, w->stride, thread, &ws);
  for (int64_t i = from; i < to; i++) {
    int head = (int)(i % w->s->n_kv_heads), done = (int)(i / w->s->n_kv_heads) * step;
    if ((head + 1) * group <= w->head0 || head * group >= w->head0 + w->n_heads) continue;
    item it = {w->seg, w->row0 + done, w->n - done < step ? w->n - done : step};
    weigh(w, &it, head, &ws);
  }
  return LCT_OK;
}

lct_status lct_cpu_attn_weights(lct_backend *be, const void *q, const lct_attn_shape *s, const lct_segment *seg, int row0, int n, int head0,
                                int n_heads, lct_kv_layer kv, float *out, lct_error *err) {
  weights w = {.be = be,
               .s = s,
               .seg = seg,
               .q = q,
               .k = kv.k,
               .row0 = row0 - seg->row0,
               .n = n,
               .head0 = head0,
               .n_heads = n_heads,
               .n_keys = (int64_t)seg->pos0 + seg->n_rows,
               .out = out};
  LCT_TRY(prepare(be, s, &w.stride, err));
  int64_t n_items = (n - 1) / rows_per_task(s) + 1;
  return lct_threads_for(be->threads, n_items * s->n_kv_heads, 1, weigh_tasks, &w, err);
}
