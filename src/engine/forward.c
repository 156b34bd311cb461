/* The forward pass, written once. Reads like the paper; every step is an op of the backend. */
#include <string.h>

#include "base/clock.h"
#include "engine/engine_impl.h"

typedef struct {
  lct_engine *e;
  const lct_ops *ops;
  lct_backend *be;
  const lct_batch *batch;
  const lct_tap *tap;
  int n; /* rows */
} pass;

static bool wants(const pass *p, lct_source s, int layer) {
  if (p->tap == NULL || (p->tap->wanted & LCT_SOURCE_BIT(s)) == 0) return false;
  return lct_source_is_global(s) || p->tap->layers == NULL || p->tap->layers[layer];
}

/* Shows rows [row0, row0 + n) of source s: `data` is the backend's buffer whose first row is row0, columns [col0, col0 + width). */
static lct_status show(const pass *p, lct_source s, int layer, int row0, int n, const void *data, lct_dtype dtype, int64_t ld,
                       int64_t col0, lct_error *err) {
  if (!wants(p, s, layer)) return LCT_OK;
  int width = lct_source_width(s, &p->e->cfg);
  size_t bytes = engine_dtype_bytes(dtype);
  const char *base = (const char *)data + (size_t)col0 * bytes;
  const lct_device_tap *device = &p->tap->device;
  if ((device->sources & LCT_SOURCE_BIT(s)) != 0 && n == p->n) return device->take(device->ctx, s, layer, base, dtype, ld, err);
  if (p->ops->host_memory && dtype == LCT_DTYPE_F32) {
    return p->tap->rows(p->tap->ctx, s, layer, row0, n, (const float *)base, ld, err);
  }
  int step = (int)(p->e->ws.stage_floats / (size_t)width);
  for (int i = 0; i < n; i += step) {
    int k = n - i < step ? n - i : step;
    LCT_TRY(p->ops->read_rows(p->be, base + (size_t)i * (size_t)ld * bytes, dtype, ld, NULL, k, width, p->e->ws.stage, err));
    LCT_TRY(p->tap->rows(p->tap->ctx, s, layer, row0 + i, k, p->e->ws.stage, width, err));
  }
  return LCT_OK;
}

/* Tags of the residual stream's checks: 0 the embeddings, l + 1 what layer l leaves. */
static lct_status read_finite(const pass *p, lct_error *err) {
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
static lct_status check_finite(const pass *p, int tag, lct_error *err) {
  LCT_TRY(p->ops->finite_check(p->be, p->e->ws.x, p->n, p->e->cfg.hidden, tag, err));
  const lct_tap *t = p->tap;
  bool shown = t != NULL && (t->wanted & ~t->device.sources) != 0 && (tag == 0 || t->layers == NULL || t->layers[tag - 1]);
  return p->ops->host_memory || shown ? read_finite(p, err) : LCT_OK;
}

/* Dense softmax weights, a block of query rows at a time, sized to the staging buffer. */
static lct_status show_attention(const pass *p, int layer, lct_kv_layer kv, lct_error *err) {
  lct_engine *e = p->e;
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
      LCT_TRY(p->tap->attn(p->tap->ctx, layer, s, row, n, (int)n_keys, e->ws.stage, err));
    }
  }
  return LCT_OK;
}

/* y = x W^T + b. On the host the time it takes is counted; a device's is not known when the call returns. */
static lct_status linear(const pass *p, const lct_weight *w, const void *x, int64_t ldx, int n, void *y, int64_t ldy, lct_error *err) {
  double t0 = lct_seconds();
  lct_status s = p->ops->linear(p->be, w, x, ldx, n, y, ldy, err);
  if (p->ops->host_memory) p->e->seconds_linear += lct_seconds() - t0;
  return s;
}

static lct_status attention_block(const pass *p, int layer, lct_kv_layer kv, lct_error *err) {
  lct_engine *e = p->e;
  engine_workspace *w = &e->ws;
  const engine_layer *l = &e->layers[layer];
  const lct_config *c = &e->cfg;
  int64_t nq = (int64_t)c->n_heads * c->head_dim, nkv = (int64_t)c->n_kv_heads * c->head_dim, ld = nq + 2 * nkv;
  lct_dtype out = p->ops->out_dtype(p->be);
  LCT_TRY(linear(p, l->qkv, w->h, c->hidden, p->n, w->qkv, ld, err));
  LCT_TRY(show(p, LCT_SOURCE_Q, layer, 0, p->n, w->qkv, out, ld, 0, err));
  LCT_TRY(show(p, LCT_SOURCE_K, layer, 0, p->n, w->qkv, out, ld, nq, err));
  LCT_TRY(show(p, LCT_SOURCE_V, layer, 0, p->n, w->qkv, out, ld, nq + nkv, err));
  LCT_TRY(p->ops->split_rope(p->be, w->qkv, &e->attn, l->q_norm, l->k_norm, c->rms_eps, e->d_cos_sin, w->d_positions, w->d_slots,
                             p->n, w->q, kv, err));
  if (wants(p, LCT_SOURCE_ATTN_WEIGHTS, layer)) LCT_TRY(show_attention(p, layer, kv, err));
  LCT_TRY(p->ops->attention(p->be, w->q, &e->attn, p->batch, kv, w->ctx, err));
  LCT_TRY(linear(p, l->o, w->ctx, nq, p->n, w->y, c->hidden, err));
  LCT_TRY(show(p, LCT_SOURCE_ATTN_OUT, layer, 0, p->n, w->y, out, c->hidden, 0, err));
  return p->ops->add_rmsnorm(p->be, w->x, w->y, l->mlp_norm, c->rms_eps, p->n, c->hidden, w->h, err);
}

static lct_status mlp_rows(const pass *p, int layer, int row0, int n, lct_error *err) {
  lct_engine *e = p->e;
  engine_workspace *w = &e->ws;
  const engine_layer *l = &e->layers[layer];
  int64_t hidden = e->cfg.hidden, inter = e->cfg.intermediate;
  lct_dtype in = p->ops->in_dtype(p->be), out = p->ops->out_dtype(p->be);
  const char *h = (const char *)w->h + (size_t)row0 * (size_t)hidden * engine_dtype_bytes(in);
  char *y = (char *)w->y + (size_t)row0 * (size_t)hidden * engine_dtype_bytes(out);
  LCT_TRY(linear(p, l->gate_up, h, hidden, n, w->gate_up, 2 * inter, err));
  LCT_TRY(show(p, LCT_SOURCE_MLP_GATE, layer, row0, n, w->gate_up, out, 2 * inter, 0, err));
  LCT_TRY(show(p, LCT_SOURCE_MLP_UP, layer, row0, n, w->gate_up, out, 2 * inter, inter, err));
  if (wants(p, LCT_SOURCE_MLP_ACT, layer)) {
    LCT_TRY(p->ops->silu(p->be, w->gate_up, n, (int)inter, w->silu, err));
    LCT_TRY(show(p, LCT_SOURCE_MLP_ACT, layer, row0, n, w->silu, LCT_DTYPE_F32, inter, 0, err));
  }
  LCT_TRY(p->ops->silu_mul(p->be, w->gate_up, n, (int)inter, w->act, err));
  LCT_TRY(show(p, LCT_SOURCE_MLP_DOWN_IN, layer, row0, n, w->act, in, inter, 0, err));
  return linear(p, l->down, w->act, inter, n, y, hidden, err);
}

static lct_status mlp_block(const pass *p, int layer, lct_error *err) {
  lct_engine *e = p->e;
  engine_workspace *w = &e->ws;
  int step = p->ops->mlp_rows;
  for (int row = 0; row < p->n; row += step) LCT_TRY(mlp_rows(p, layer, row, p->n - row < step ? p->n - row : step, err));
  LCT_TRY(show(p, LCT_SOURCE_MLP_DOWN_OUT, layer, 0, p->n, w->y, p->ops->out_dtype(p->be), e->cfg.hidden, 0, err));
  bool last = layer + 1 == e->cfg.n_layers;
  LCT_TRY(p->ops->add_rmsnorm(p->be, w->x, w->y, last ? NULL : e->layers[layer + 1].attn_norm, e->cfg.rms_eps, p->n, e->cfg.hidden,
                              last ? NULL : w->h, err));
  LCT_TRY(check_finite(p, layer + 1, err));
  return show(p, LCT_SOURCE_HIDDEN_OUT, layer, 0, p->n, w->x, LCT_DTYPE_F32, e->cfg.hidden, 0, err);
}

/* Final norm and head over n rows of x; the logits stay in the workspace. */
static lct_status head_rows(const pass *p, const float *x, int n, lct_error *err) {
  lct_engine *e = p->e;
  engine_workspace *w = &e->ws;
  LCT_TRY(p->ops->rmsnorm(p->be, x, e->final_norm, e->cfg.rms_eps, n, e->cfg.hidden, w->head_h, err));
  return linear(p, e->head, w->head_h, e->cfg.hidden, n, w->logits, e->cfg.vocab, err);
}

static lct_status show_logits(const pass *p, lct_error *err) {
  engine_workspace *w = &p->e->ws;
  for (int row = 0; row < p->n; row += LCT_LOGIT_ROWS) {
    int n = p->n - row < LCT_LOGIT_ROWS ? p->n - row : LCT_LOGIT_ROWS;
    LCT_TRY(head_rows(p, w->x + (size_t)row * (size_t)p->e->cfg.hidden, n, err));
    LCT_TRY(show(p, LCT_SOURCE_LOGITS, -1, row, n, w->logits, p->ops->out_dtype(p->be), p->e->cfg.vocab, 0, err));
  }
  return LCT_OK;
}

static lct_status run_heads(const pass *p, const lct_heads *heads, lct_error *err) {
  engine_workspace *w = &p->e->ws;
  size_t hidden = (size_t)p->e->cfg.hidden, vocab = (size_t)p->e->cfg.vocab;
  int cap = w->cap_rows < LCT_LOGIT_ROWS ? w->cap_rows : LCT_LOGIT_ROWS;
  for (int i = 0; i < heads->n; i += cap) {
    int n = heads->n - i < cap ? heads->n - i : cap;
    LCT_TRY(p->ops->gather_rows(p->be, w->x, heads->rows + i, n, (int)hidden, w->head_x, err));
    LCT_TRY(head_rows(p, w->head_x, n, err));
    if (heads->logits != NULL) {
      LCT_TRY(p->ops->read_rows(p->be, w->logits, p->ops->out_dtype(p->be), (int64_t)vocab, NULL, n, (int)vocab,
                                heads->logits + (size_t)i * vocab, err));
    }
    if (heads->choices != NULL) {
      LCT_TRY(p->ops->choose(p->be, w->logits, (int64_t)vocab, n, (int)vocab, heads->sampling, heads->steps + i, heads->top_k,
                             heads->choices + i, err));
    }
  }
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
    return lct_fail(err, LCT_E_LIMIT, "a prompt of %d tokens is longer than the model's context of %d", *n_positions,
                    e->cfg.max_positions);
  }
  if (kv != NULL && kv->n_slots < b->n_slots) {
    return lct_fail(err, LCT_E_USAGE, "a KV cache of %d rows is too small for a batch that needs %d", kv->n_slots, b->n_slots);
  }
  return LCT_OK;
}

static lct_status prepare(pass *p, lct_kv **kv, lct_error *err) {
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
  LCT_TRY(p->ops->upload(p->be, e->ws.d_slots, e->ws.slots, bytes, err));
  LCT_TRY(p->ops->upload(p->be, e->ws.d_positions, p->batch->positions, bytes, err));
  return p->ops->begin_batch(p->be, p->batch, &e->attn, err);
}

lct_status lct_engine_forward(lct_engine *e, const lct_batch *batch, lct_kv *kv, const lct_tap *tap, const int32_t *logit_rows,
                              int n_logit_rows, float *logits, const volatile int *cancel, lct_error *err) {
  lct_heads heads = {.rows = logit_rows, .n = n_logit_rows, .logits = logits};
  return lct_engine_run(e, batch, kv, tap, &heads, cancel, err);
}

lct_status lct_engine_run(lct_engine *e, const lct_batch *batch, lct_kv *kv, const lct_tap *tap, const lct_heads *heads,
                          const volatile int *cancel, lct_error *err) {
  pass p = {.e = e, .ops = e->ops, .be = e->be, .batch = batch, .tap = tap, .n = batch->n_rows};
  LCT_TRY(prepare(&p, &kv, err));
  engine_workspace *w = &e->ws;
  const lct_config *c = &e->cfg;
  LCT_TRY(p.ops->embed(p.be, e->embed, batch->tokens, p.n, w->x, err));
  LCT_TRY(show(&p, LCT_SOURCE_EMBEDDINGS, -1, 0, p.n, w->x, LCT_DTYPE_F32, c->hidden, 0, err));
  LCT_TRY(check_finite(&p, 0, err));
  LCT_TRY(p.ops->rmsnorm(p.be, w->x, e->layers[0].attn_norm, c->rms_eps, p.n, c->hidden, w->h, err));
  for (int l = 0; l < c->n_layers; l++) {
    if (cancel != NULL && *cancel) return lct_fail(err, LCT_E_CANCELLED, "interrupted at layer %d of %d", l, c->n_layers);
    lct_kv_layer keys = kv->layers[kv->n_layers == 1 ? 0 : l];
    LCT_TRY(show(&p, LCT_SOURCE_HIDDEN_IN, l, 0, p.n, w->x, LCT_DTYPE_F32, c->hidden, 0, err));
    LCT_TRY(attention_block(&p, l, keys, err));
    LCT_TRY(mlp_block(&p, l, err));
    if (tap != NULL && tap->layer_done != NULL) tap->layer_done(tap->ctx, l);
  }
  if (wants(&p, LCT_SOURCE_LOGITS, -1)) LCT_TRY(show_logits(&p, err));
  if (!p.ops->host_memory) LCT_TRY(read_finite(&p, err));
  LCT_TRY(run_heads(&p, heads, err));
  return tap != NULL && tap->device.end != NULL ? tap->device.end(tap->device.ctx, err) : LCT_OK;
}
