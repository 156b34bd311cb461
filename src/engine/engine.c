#include "engine/engine.h"

#include <stdlib.h>

#include "engine/engine_impl.h"
#include "engine/rope.h"

static lct_status upload_vector(lct_engine *e, const lct_tensor *t, float **out, lct_error *err) {
  *out = NULL;
  if (t->data == NULL) return LCT_OK;
  float *host = NULL;
  LCT_TRY(lct_alloc_aligned(&host, (size_t)t->cols, sizeof *host, t->name, err));
  lct_tensor_row_f32(t, 0, host);
  lct_status s = e->ops->memory.alloc(e->be, (size_t)t->cols * sizeof *host, (void **)out, err);
  if (s == LCT_OK) s = e->ops->memory.upload(e->be, *out, host, (size_t)t->cols * sizeof *host, err);
  free(host);
  return s;
}

static lct_status load_layer(lct_engine *e, const lct_layer *l, engine_layer *out, lct_error *err) {
  LCT_TRY(upload_vector(e, &l->attn_norm, &out->attn_norm, err));
  LCT_TRY(upload_vector(e, &l->mlp_norm, &out->mlp_norm, err));
  LCT_TRY(upload_vector(e, &l->q_norm, &out->q_norm, err));
  LCT_TRY(upload_vector(e, &l->k_norm, &out->k_norm, err));
  const lct_tensor *qkv[] = {&l->q, &l->k, &l->v}, *qkv_bias[] = {&l->q_bias, &l->k_bias, &l->v_bias};
  const lct_tensor *o[] = {&l->o}, *o_bias[] = {&l->o_bias};
  const lct_tensor *gate_up[] = {&l->gate, &l->up}, *down[] = {&l->down}, *none[] = {NULL, NULL};
  LCT_TRY(e->ops->weights.new(e->be, qkv, qkv_bias, 3, &out->qkv, err));
  LCT_TRY(e->ops->weights.new(e->be, o, o_bias, 1, &out->o, err));
  LCT_TRY(e->ops->weights.new(e->be, gate_up, none, 2, &out->gate_up, err));
  return e->ops->weights.new(e->be, down, none, 1, &out->down, err);
}

static lct_status load_weights(lct_engine *e, lct_error *err) {
  const lct_model *m = e->model;
  LCT_TRY(lct_calloc(&e->layers, (size_t)e->cfg.n_layers, sizeof *e->layers, "layers", err));
  LCT_TRY(e->ops->weights.embedding_new(e->be, &m->embed, &e->embed, err));
  for (int l = 0; l < e->cfg.n_layers; l++) LCT_TRY(load_layer(e, &m->layers[l], &e->layers[l], err));
  const lct_tensor *head[] = {&m->head}, *none[] = {NULL};
  LCT_TRY(e->ops->weights.new(e->be, head, none, 1, &e->head, err));
  return upload_vector(e, &m->final_norm, &e->final_norm, err);
}

lct_status lct_engine_new(const lct_model *m, const lct_ops *ops, const lct_backend_options *o, lct_engine **out, lct_error *err) {
  lct_engine *e = NULL;
  LCT_TRY(lct_calloc(&e, 1, sizeof *e, "engine", err));
  e->model = m;
  e->cfg = m->config;
  e->ops = ops;
  e->threads = o->threads;
  e->attn = (lct_attn_shape){e->cfg.n_heads, e->cfg.n_kv_heads, e->cfg.head_dim, 0};
  e->attn.scale = 1.0f / __builtin_sqrtf((float)e->cfg.head_dim);
  lct_status s = ops->open(o, &e->be, err);
  if (s == LCT_OK) s = lct_calloc(&e->inv_freq, (size_t)e->cfg.head_dim / 2, sizeof(float), "rope", err);
  if (s == LCT_OK) {
    lct_rope_inv_freq(&e->cfg.rope, e->cfg.head_dim, e->inv_freq);
    s = load_weights(e, err);
  }
  if (s != LCT_OK) {
    lct_engine_free(e);
    return s;
  }
  *out = e;
  return LCT_OK;
}

static void free_layer(lct_engine *e, engine_layer *l) {
  float *vectors[] = {l->attn_norm, l->mlp_norm, l->q_norm, l->k_norm};
  for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) e->ops->memory.free(e->be, vectors[i]);
  lct_weight *weights[] = {l->qkv, l->o, l->gate_up, l->down};
  for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) e->ops->weights.free(e->be, weights[i]);
}

void lct_engine_free(lct_engine *e) {
  if (e == NULL) return;
  if (e->be != NULL) {
    for (int l = 0; e->layers != NULL && l < e->cfg.n_layers; l++) free_layer(e, &e->layers[l]);
    e->ops->weights.free(e->be, e->head);
    e->ops->weights.embedding_free(e->be, e->embed);
    e->ops->memory.free(e->be, e->final_norm);
    e->ops->memory.free(e->be, e->d_cos_sin);
    lct_kv_free(e, e->one_layer);
    engine_workspace_free(e);
    e->ops->close(e->be);
  }
  free(e->layers);
  free(e->inv_freq);
  free(e);
}

const lct_config *lct_engine_config(const lct_engine *e) { return &e->cfg; }
const lct_ops *lct_engine_ops(const lct_engine *e) { return e->ops; }
lct_backend *lct_engine_backend(const lct_engine *e) { return e->be; }
lct_threads *lct_engine_threads(const lct_engine *e) { return e->threads; }

double lct_engine_seconds_linear(const lct_engine *e) { return e->seconds_linear; }

size_t lct_engine_slot_bytes(const lct_engine *e) { return (size_t)e->cfg.n_layers * 2 * e->ops->kv_row_bytes(e->be, &e->attn); }

lct_status lct_engine_conversion(const lct_engine *e, lct_conversion *out, lct_error *err) {
  *out = (lct_conversion){0};
  return e->ops->weights.conversion(e->be, out, err);
}

lct_status engine_kv_new(lct_engine *e, int n_layers, int32_t n_slots, lct_kv **out, lct_error *err) {
  lct_kv *kv = NULL;
  LCT_TRY(lct_calloc(&kv, 1, sizeof *kv, "KV cache", err));
  kv->n_slots = n_slots;
  kv->n_layers = n_layers;
  lct_status s = lct_calloc(&kv->layers, (size_t)n_layers, sizeof *kv->layers, "KV cache", err);
  size_t bytes = (size_t)n_slots * e->ops->kv_row_bytes(e->be, &e->attn);
  for (int l = 0; l < n_layers && s == LCT_OK; l++) {
    s = e->ops->memory.alloc(e->be, bytes, &kv->layers[l].k, err);
    if (s == LCT_OK) s = e->ops->memory.alloc(e->be, bytes, &kv->layers[l].v, err);
  }
  if (s != LCT_OK) {
    lct_kv_free(e, kv);
    return s;
  }
  *out = kv;
  return LCT_OK;
}

lct_status lct_kv_new(lct_engine *e, int32_t n_slots, lct_kv **out, lct_error *err) {
  return engine_kv_new(e, e->cfg.n_layers, n_slots, out, err);
}

void lct_kv_free(lct_engine *e, lct_kv *kv) {
  if (kv == NULL) return;
  for (int l = 0; kv->layers != NULL && l < kv->n_layers; l++) {
    e->ops->memory.free(e->be, kv->layers[l].k);
    e->ops->memory.free(e->be, kv->layers[l].v);
  }
  free(kv->layers);
  free(kv);
}
