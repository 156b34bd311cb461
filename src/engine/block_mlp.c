/* The MLP half of a layer: down(silu(gate) * up), by blocks of rows where its widest activations would not fit. */
#include "engine/pass_impl.h"

static lct_status mlp_rows(const engine_pass *p, int layer, int row0, int n, lct_error *err) {
  lct_engine *e = p->e;
  engine_workspace *w = &e->ws;
  const engine_layer *l = &e->layers[layer];
  int64_t hidden = e->cfg.hidden, inter = e->cfg.intermediate;
  lct_dtype in = p->ops->in_dtype(p->be), out = p->ops->out_dtype(p->be);
  const char *h = (const char *)w->h + (size_t)row0 * (size_t)hidden * engine_dtype_bytes(in);
  char *y = (char *)w->y + (size_t)row0 * (size_t)hidden * engine_dtype_bytes(out);
  LCT_TRY(pass_linear(p, l->gate_up, h, hidden, n, w->gate_up, 2 * inter, err));
  LCT_TRY(pass_show(p, LCT_SOURCE_MLP_GATE, layer, row0, n, w->gate_up, out, 2 * inter, 0, err));
  LCT_TRY(pass_show(p, LCT_SOURCE_MLP_UP, layer, row0, n, w->gate_up, out, 2 * inter, inter, err));
  if (pass_wants(p, LCT_SOURCE_MLP_ACT, layer)) {
    LCT_TRY(p->ops->silu(p->be, w->gate_up, n, (int)inter, w->silu, err));
    LCT_TRY(pass_show(p, LCT_SOURCE_MLP_ACT, layer, row0, n, w->silu, LCT_DTYPE_F32, inter, 0, err));
  }
  LCT_TRY(p->ops->silu_mul(p->be, w->gate_up, n, (int)inter, w->act, err));
  LCT_TRY(pass_show(p, LCT_SOURCE_MLP_DOWN_IN, layer, row0, n, w->act, in, inter, 0, err));
  return pass_linear(p, l->down, w->act, inter, n, y, hidden, err);
}

lct_status mlp_block(const engine_pass *p, int layer, lct_error *err) {
  lct_engine *e = p->e;
  engine_workspace *w = &e->ws;
  int step = p->ops->mlp_rows;
  for (int row = 0; row < p->n; row += step) LCT_TRY(mlp_rows(p, layer, row, p->n - row < step ? p->n - row : step, err));
  LCT_TRY(pass_show(p, LCT_SOURCE_MLP_DOWN_OUT, layer, 0, p->n, w->y, p->ops->out_dtype(p->be), e->cfg.hidden, 0, err));
  bool last = layer + 1 == e->cfg.n_layers;
  LCT_TRY(p->ops->add_rmsnorm(p->be, w->x, w->y, last ? NULL : e->layers[layer + 1].attn_norm, e->cfg.rms_eps, p->n, e->cfg.hidden,
                              last ? NULL : w->h, err));
  LCT_TRY(pass_check_finite(p, layer + 1, err));
  return pass_show(p, LCT_SOURCE_HIDDEN_OUT, layer, 0, p->n, w->x, LCT_DTYPE_F32, e->cfg.hidden, 0, err);
}
