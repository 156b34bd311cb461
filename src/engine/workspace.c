#include <stdlib.h>

#include "engine/engine_impl.h"
#include "engine/rope.h"

void engine_workspace_free(lct_engine *e) {
  engine_workspace *w = &e->ws;
  void *device[] = {w->x,   w->h,    w->qkv,    w->q,      w->ctx,    w->y,           w->gate_up,
                    w->act, w->silu, w->logits, w->head_x, w->head_h, w->d_positions, w->d_slots};
  for (size_t i = 0; i < sizeof device / sizeof *device; i++) e->ops->memory.free(e->be, device[i]);
  free(w->slots);
  free(w->stage);
  *w = (engine_workspace){0};
}

static lct_status reserve_positions(lct_engine *e, int n_positions, lct_error *err) {
  if (n_positions <= e->cap_positions) return LCT_OK;
  int n = (n_positions + 1023) / 1024 * 1024;
  size_t floats = (size_t)n * (size_t)e->cfg.head_dim;
  float *host = NULL;
  LCT_TRY(lct_alloc_aligned(&host, floats, sizeof *host, "rope table", err));
  lct_rope_table(e->inv_freq, e->cfg.head_dim, 0, n, host);
  e->ops->memory.free(e->be, e->d_cos_sin);
  e->d_cos_sin = NULL;
  e->cap_positions = 0;
  lct_status s = e->ops->memory.alloc(e->be, floats * sizeof *host, (void **)&e->d_cos_sin, err);
  if (s == LCT_OK) s = e->ops->memory.upload(e->be, e->d_cos_sin, host, floats * sizeof *host, err);
  if (s == LCT_OK) e->cap_positions = n;
  free(host);
  return s;
}

/* What grows with every row; the MLP's and the head's buffers stop growing at their own limits. */
size_t lct_engine_row_bytes(const lct_engine *e) {
  const lct_config *c = &e->cfg;
  size_t in = engine_dtype_bytes(e->ops->in_dtype(e->be)), out = engine_dtype_bytes(e->ops->out_dtype(e->be));
  size_t hidden = (size_t)c->hidden, heads = (size_t)(c->n_heads * c->head_dim), kv = (size_t)(c->n_kv_heads * c->head_dim);
  return hidden * (4 + in + out) + (heads + 2 * kv) * out + heads * (4 + in) + 8;
}

static lct_status alloc_rows(lct_engine *e, size_t rows, lct_error *err) {
  engine_workspace *w = &e->ws;
  const lct_config *c = &e->cfg;
  size_t in = engine_dtype_bytes(e->ops->in_dtype(e->be)), out = engine_dtype_bytes(e->ops->out_dtype(e->be));
  size_t hidden = (size_t)c->hidden, heads = (size_t)(c->n_heads * c->head_dim), kv = (size_t)(c->n_kv_heads * c->head_dim);
  size_t inter = (size_t)c->intermediate, mlp_rows = rows < (size_t)e->ops->mlp_rows ? rows : (size_t)e->ops->mlp_rows;
  size_t head_rows = rows < LCT_LOGIT_ROWS ? rows : LCT_LOGIT_ROWS;
  const struct {
    void *slot;
    size_t bytes;
  } wanted[] = {
      {&w->x, rows * hidden * 4},
      {&w->h, rows * hidden * in},
      {&w->qkv, rows * (heads + 2 * kv) * out},
      {&w->q, rows * heads * 4},
      {&w->ctx, rows * heads * in},
      {&w->y, rows * hidden * out},
      {&w->gate_up, mlp_rows * 2 * inter * out},
      {&w->act, mlp_rows * inter * in},
      {&w->silu, mlp_rows * inter * 4},
      {&w->logits, head_rows * (size_t)c->vocab * out},
      {&w->head_x, head_rows * hidden * 4},
      {&w->head_h, head_rows * hidden * in},
      {&w->d_positions, rows * 4},
      {&w->d_slots, rows * 4},
  };
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    LCT_TRY(e->ops->memory.alloc(e->be, wanted[i].bytes, (void **)wanted[i].slot, err));
  }
  LCT_TRY(lct_calloc(&w->slots, rows, sizeof *w->slots, "slots", err));
  size_t widest = (size_t)c->vocab > 2 * inter ? (size_t)c->vocab : 2 * inter;
  w->stage_floats = LCT_LOGIT_ROWS * widest;
  LCT_TRY(lct_alloc_aligned(&w->stage, w->stage_floats, sizeof *w->stage, "staging of rows", err));
  w->cap_rows = (int32_t)rows;
  return LCT_OK;
}

lct_status engine_reserve(lct_engine *e, int32_t n_rows, int n_positions, lct_error *err) {
  LCT_TRY(reserve_positions(e, n_positions, err));
  if (n_rows <= e->ws.cap_rows) return LCT_OK;
  engine_workspace_free(e);
  lct_status s = alloc_rows(e, (size_t)n_rows, err);
  if (s != LCT_OK) engine_workspace_free(e);
  return s;
}
