/* The forward pass, written once. Reads like the paper; every step is an op of the backend. */
#include "engine/pass_impl.h"

/* Final norm and head over n rows of x; the logits stay in the workspace. */
static lct_status head_rows(const engine_pass *p, const float *x, int n, lct_error *err) {
  lct_engine *e = p->e;
  engine_workspace *w = &e->ws;
  LCT_TRY(p->ops->rmsnorm(p->be, x, e->final_norm, e->cfg.rms_eps, n, e->cfg.hidden, w->head_h, err));
  return pass_linear(p, e->head, w->head_h, e->cfg.hidden, n, w->logits, e->cfg.vocab, err);
}

static lct_status show_logits(const engine_pass *p, lct_error *err) {
  engine_workspace *w = &p->e->ws;
  for (int row = 0; row < p->n; row += LCT_LOGIT_ROWS) {
    int n = p->n - row < LCT_LOGIT_ROWS ? p->n - row : LCT_LOGIT_ROWS;
    LCT_TRY(head_rows(p, w->x + (size_t)row * (size_t)p->e->cfg.hidden, n, err));
    LCT_TRY(pass_show(p, LCT_SOURCE_LOGITS, -1, row, n, w->logits, p->ops->out_dtype(p->be), p->e->cfg.vocab, 0, err));
  }
  return LCT_OK;
}

static lct_status run_heads(const engine_pass *p, const lct_heads *heads, lct_error *err) {
  engine_workspace *w = &p->e->ws;
  size_t hidden = (size_t)p->e->cfg.hidden, vocab = (size_t)p->e->cfg.vocab;
  int cap = w->cap_rows < LCT_LOGIT_ROWS ? w->cap_rows : LCT_LOGIT_ROWS;
  for (int i = 0; i < heads->n; i += cap) {
    int n = heads->n - i < cap ? heads->n - i : cap;
    LCT_TRY(p->ops->rows.gather(p->be, w->x, heads->rows + i, n, (int)hidden, w->head_x, err));
    LCT_TRY(head_rows(p, w->head_x, n, err));
    if (heads->logits != NULL) {
      LCT_TRY(p->ops->rows.read(p->be, w->logits, p->ops->out_dtype(p->be), (int64_t)vocab, NULL, n, (int)vocab,
                                heads->logits + (size_t)i * vocab, err));
    }
    if (heads->choices != NULL) {
      LCT_TRY(p->ops->choose(p->be, w->logits, (int64_t)vocab, n, (int)vocab, heads->sampling, heads->steps + i, heads->top_k,
                             heads->choices + i, err));
    }
  }
  return LCT_OK;
}

static lct_status run_layer(const engine_pass *p, int l, const lct_kv *kv, lct_error *err) {
  LCT_TRY(pass_show(p, LCT_SOURCE_HIDDEN_IN, l, 0, p->n, p->e->ws.x, LCT_DTYPE_F32, p->e->cfg.hidden, 0, err));
  switch (lct_config_layer_kind(&p->e->cfg, l)) {
  case LCT_LAYER_ATTENTION: LCT_TRY(attention_block(p, l, kv->layers[kv->n_layers == 1 ? 0 : l], err)); break;
  }
  return mlp_block(p, l, err);
}

lct_status lct_pass_run(lct_engine *e, const lct_pass *asked, lct_error *err) {
  engine_pass p = {.e = e,
                   .ops = e->ops,
                   .be = e->be,
                   .batch = asked->batch,
                   .takers = asked->takers,
                   .n_takers = asked->n_takers,
                   .n = asked->batch->n_rows};
  engine_workspace *w = &e->ws;
  const lct_config *c = &e->cfg;
  lct_kv *kv = asked->kv;
  LCT_TRY(pass_begin(&p, &kv, err));
  LCT_TRY(p.ops->embed(p.be, e->embed, p.batch->tokens, p.n, w->x, err));
  LCT_TRY(pass_show(&p, LCT_SOURCE_EMBEDDINGS, -1, 0, p.n, w->x, LCT_DTYPE_F32, c->hidden, 0, err));
  LCT_TRY(pass_check_finite(&p, 0, err));
  LCT_TRY(p.ops->rmsnorm(p.be, w->x, e->layers[0].attn_norm, c->rms_eps, p.n, c->hidden, w->h, err));
  for (int l = 0; l < c->n_layers; l++) {
    if (asked->cancel != NULL && *asked->cancel) return lct_fail(err, LCT_E_CANCELLED, "interrupted at layer %d of %d", l, c->n_layers);
    LCT_TRY(run_layer(&p, l, kv, err));
    if (asked->layer_done != NULL) asked->layer_done(asked->layer_ctx, l);
  }
  if (pass_wants(&p, LCT_SOURCE_LOGITS, -1)) LCT_TRY(show_logits(&p, err));
  if (!p.ops->host_memory) LCT_TRY(pass_read_finite(&p, err));
  LCT_TRY(run_heads(&p, &asked->heads, err));
  return pass_end(&p, err);
}
