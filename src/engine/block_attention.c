/* The attention half of a layer: a token attends to its ancestors and to itself. */
#include "engine/pass_impl.h"

lct_status attention_block(const engine_pass *p, int layer, lct_kv_layer kv, lct_error *err) {
  lct_engine *e = p->e;
  engine_workspace *w = &e->ws;
  const engine_layer *l = &e->layers[layer];
  const lct_config *c = &e->cfg;
  int64_t nq = (int64_t)c->n_heads * c->head_dim, nkv = (int64_t)c->n_kv_heads * c->head_dim, ld = nq + 2 * nkv;
  lct_dtype out = p->ops->out_dtype(p->be);
  LCT_TRY(pass_linear(p, l->qkv, w->h, c->hidden, p->n, w->qkv, ld, err));
  LCT_TRY(pass_show(p, LCT_SOURCE_Q, layer, 0, p->n, w->qkv, out, ld, 0, err));
  LCT_TRY(pass_show(p, LCT_SOURCE_K, layer, 0, p->n, w->qkv, out, ld, nq, err));
  LCT_TRY(pass_show(p, LCT_SOURCE_V, layer, 0, p->n, w->qkv, out, ld, nq + nkv, err));
  LCT_TRY(p->ops->split_rope(p->be, w->qkv, &e->attn, l->q_norm, l->k_norm, c->rms_eps, e->d_cos_sin, w->d_positions, w->d_slots, p->n,
                             w->q, kv, err));
  LCT_TRY(pass_show_attention(p, layer, kv, err));
  LCT_TRY(p->ops->attention(p->be, w->q, &e->attn, p->batch, kv, w->ctx, err));
  LCT_TRY(pass_linear(p, l->o, w->ctx, nq, p->n, w->y, c->hidden, err));
  LCT_TRY(pass_show(p, LCT_SOURCE_ATTN_OUT, layer, 0, p->n, w->y, out, c->hidden, 0, err));
  return p->ops->add_rmsnorm(p->be, w->x, w->y, l->mlp_norm, c->rms_eps, p->n, c->hidden, w->h, err);
}
