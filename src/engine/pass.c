/* What surrounds the ops of a pass: its batch on the backend, and rows on their way to the takers. */
#include "engine/pass_impl.h"

#include "base/clock.h"

lct_status lct_pass_add(lct_pass *p, const lct_taker *t, lct_error *err) {
  if (t->sources == 0) return LCT_OK;
  if (p->n_takers == LCT_MAX_TAKERS) return lct_fail(err, LCT_E_LIMIT, "a pass has at most %d takers", LCT_MAX_TAKERS);
  p->takers[p->n_takers++] = *t;
  return LCT_OK;
}

static lct_status check_batch(const lct_engine *e, const lct_batch *b, const lct_kv *kv, int *n_positions, lct_error *err) {
  *n_positions = 0;
  for (int i = 0; i < b->n_rows; i++) {
    if (b->tokens[i] < 0 || b->tokens[i] >= e->cfg.vocab) {
      return lct_fail(err, LCT_E_FORMAT, "token id %d outside the model's vocabulary of %d", b->tokens[i], e->cfg.vocab);
    }
    if (b->positions[i] + 1 > *n_positions) *n_positions = b->positions[i] + 1;
  }
  if (*n_positions > e->cfg.max_positions) {
    return lct_fail(err, LCT_E_LIMIT, "a prompt of %d tokens is longer than the model's context of %d", *n_positions, e->cfg.max_positions);
  }
  if (kv != NULL && kv->n_slots < b->n_slots) {
    return lct_fail(err, LCT_E_USAGE, "a KV cache of %d rows is too small for a batch that needs %d", kv->n_slots, b->n_slots);
  }
  return LCT_OK;
}

lct_status pass_begin(engine_pass *p, lct_kv **kv, lct_error *err) {
  lct_engine *e = p->e;
  int n_positions = 0;
  LCT_TRY(check_batch(e, p->batch, *kv, &n_positions, err));
  LCT_TRY(engine_reserve(e, p->batch->n_rows, n_positions, err));
  if (*kv == NULL) {
    if (e->one_layer == NULL || e->one_layer->n_slots < p->batch->n_slots) {
      lct_kv_free(e, e->one_layer);
      e->one_layer = NULL;
      LCT_TRY(engine_kv_new(e, 1, p->batch->n_slots, &e->one_layer, err));
    }
    *kv = e->one_layer;
  }
  for (int s = 0; s < p->batch->n_segments; s++) {
    const lct_segment *seg = &p->batch->segments[s];
    for (int i = 0; i < seg->n_rows; i++) e->ws.slots[seg->row0 + i] = seg->kv0 + i;
  }
  size_t bytes = (size_t)p->n * sizeof(int32_t);
  LCT_TRY(p->ops->memory.upload(p->be, e->ws.d_slots, e->ws.slots, bytes, err));
  LCT_TRY(p->ops->memory.upload(p->be, e->ws.d_positions, p->batch->positions, bytes, err));
  return p->ops->begin_batch(p->be, p->batch, &e->attn, err);
}

lct_status pass_end(const engine_pass *p, lct_error *err) {
  for (int i = 0; i < p->n_takers; i++) {
    const lct_taker *t = &p->takers[i];
    if (t->end != NULL) LCT_TRY(t->end(t->ctx, err));
  }
  return LCT_OK;
}

static bool takes(const lct_taker *t, lct_source s, int layer) {
  return (t->sources & LCT_SOURCE_BIT(s)) != 0 && (lct_source_is_global(s) || t->layers == NULL || t->layers[layer]);
}

bool pass_wants(const engine_pass *p, lct_source s, int layer) {
  for (int i = 0; i < p->n_takers; i++) {
    if (takes(&p->takers[i], s, layer)) return true;
  }
  return false;
}

/* Takers of one source and layer as numbers of the list. */
typedef struct {
  int n, at[LCT_MAX_TAKERS];
} chosen;

/* Whoever can takes the rows where they lie; the others are returned. */
static lct_status show_device(const engine_pass *p, lct_source s, int layer, int n, const void *data, lct_dtype dtype, int64_t ld,
                              chosen *host, lct_error *err) {
  for (int i = 0; i < p->n_takers; i++) {
    const lct_taker *t = &p->takers[i];
    if (!takes(t, s, layer)) continue;
    if (t->device != NULL && n == p->n) LCT_TRY(t->device(t->ctx, s, layer, data, dtype, ld, err));
    else if (t->rows != NULL) host->at[host->n++] = i;
  }
  return LCT_OK;
}

static lct_status show_host(const engine_pass *p, const chosen *host, lct_source s, int layer, int row0, int n, const float *data,
                            int64_t ld, lct_error *err) {
  for (int i = 0; i < host->n; i++) {
    const lct_taker *t = &p->takers[host->at[i]];
    LCT_TRY(t->rows(t->ctx, s, layer, row0, n, data, ld, err));
  }
  return LCT_OK;
}

lct_status pass_show(const engine_pass *p, lct_source s, int layer, int row0, int n, const void *data, lct_dtype dtype, int64_t ld,
                     int64_t col0, lct_error *err) {
  int width = lct_source_width(s, &p->e->cfg);
  size_t bytes = engine_dtype_bytes(dtype);
  const char *base = (const char *)data + (size_t)col0 * bytes;
  chosen host = {0};
  LCT_TRY(show_device(p, s, layer, n, base, dtype, ld, &host, err));
  if (host.n == 0) return LCT_OK;
  if (p->ops->host_memory && dtype == LCT_DTYPE_F32) return show_host(p, &host, s, layer, row0, n, (const float *)base, ld, err);
  int step = (int)(p->e->ws.stage_floats / (size_t)width);
  for (int i = 0; i < n; i += step) {
    int k = n - i < step ? n - i : step;
    LCT_TRY(p->ops->rows.read(p->be, base + (size_t)i * (size_t)ld * bytes, dtype, ld, NULL, k, width, p->e->ws.stage, err));
    LCT_TRY(show_host(p, &host, s, layer, row0 + i, k, p->e->ws.stage, width, err));
  }
  return LCT_OK;
}

/* A block of query rows at a time, sized to the staging buffer. */
lct_status pass_show_attention(const engine_pass *p, int layer, lct_kv_layer kv, lct_error *err) {
  lct_engine *e = p->e;
  if (!pass_wants(p, LCT_SOURCE_ATTN_WEIGHTS, layer)) return LCT_OK;
  for (int s = 0; s < p->batch->n_segments; s++) {
    const lct_segment *seg = &p->batch->segments[s];
    size_t n_keys = (size_t)(seg->pos0 + seg->n_rows);
    size_t step = e->ws.stage_floats / (n_keys * (size_t)e->cfg.n_heads);
    if (step == 0) {
      return lct_fail(err, LCT_E_LIMIT, "attn_weights of one token over %zu keys do not fit the staging buffer (%zu values)", n_keys,
                      e->ws.stage_floats);
    }
    for (int row = seg->row0; row < seg->row0 + seg->n_rows; row += (int)step) {
      int left = seg->row0 + seg->n_rows - row, n = left < (int)step ? left : (int)step;
      LCT_TRY(p->ops->attn_weights(p->be, e->ws.q, &e->attn, seg, row, n, 0, e->cfg.n_heads, kv, e->ws.stage, err));
      for (int i = 0; i < p->n_takers; i++) {
        const lct_taker *t = &p->takers[i];
        if (t->attention == NULL || !takes(t, LCT_SOURCE_ATTN_WEIGHTS, layer)) continue;
        LCT_TRY(t->attention(t->ctx, layer, s, row, n, (int)n_keys, e->ws.stage, err));
      }
    }
  }
  return LCT_OK;
}

lct_status pass_read_finite(const engine_pass *p, lct_error *err) {
  int tag = 0;
  int64_t at = -1;
  LCT_TRY(p->ops->finite_read(p->be, &tag, &at, err));
  if (at < 0) return LCT_OK;
  int row = (int)(at / p->e->cfg.hidden);
  return lct_fail(err, LCT_E_NUMERIC, "not a finite number in layer %d, %s, token %d (id %d, position %d), dimension %d",
                  tag == 0 ? 0 : tag - 1, lct_source_name(tag == 0 ? LCT_SOURCE_EMBEDDINGS : LCT_SOURCE_HIDDEN_OUT), row,
                  p->batch->tokens[row], p->batch->positions[row], (int)(at % p->e->cfg.hidden));
}

/* What was found is read at once where that costs nothing: on the host, and where this layer's rows wait for the device anyway. */
lct_status pass_check_finite(const engine_pass *p, int tag, lct_error *err) {
  LCT_TRY(p->ops->finite_check(p->be, p->e->ws.x, p->n, p->e->cfg.hidden, tag, err));
  bool read = p->ops->host_memory;
  for (int i = 0; i < p->n_takers && !read; i++) {
    const lct_taker *t = &p->takers[i];
    read = t->device == NULL && (tag == 0 || t->layers == NULL || t->layers[tag - 1]);
  }
  return read ? pass_read_finite(p, err) : LCT_OK;
}

lct_status pass_linear(const engine_pass *p, const lct_weight *w, const void *x, int64_t ldx, int n, void *y, int64_t ldy, lct_error *err) {
  double t0 = lct_seconds();
  lct_status s = p->ops->linear(p->be, w, x, ldx, n, y, ldy, err);
  if (p->ops->host_memory) p->e->seconds_linear += lct_seconds() - t0;
  return s;
}
