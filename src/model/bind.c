#include <stdio.h>
#include <stdlib.h>

#include "model/tensors.h"

#define AT(field) offsetof(lct_layer, field)

const lct_layer_slot lct_layer_slots[] = {
    {AT(attn_norm), "input_layernorm.weight", "attn_norm.weight", LCT_DIM_ONE, LCT_DIM_HIDDEN, LCT_NEED_ALWAYS, false},
    {AT(q), "self_attn.q_proj.weight", "attn_q.weight", LCT_DIM_Q, LCT_DIM_HIDDEN, LCT_NEED_ALWAYS, true},
    {AT(q_bias), "self_attn.q_proj.bias", "attn_q.bias", LCT_DIM_ONE, LCT_DIM_Q, LCT_NEED_QKV_BIAS, true},
    {AT(k), "self_attn.k_proj.weight", "attn_k.weight", LCT_DIM_KV, LCT_DIM_HIDDEN, LCT_NEED_ALWAYS, true},
    {AT(k_bias), "self_attn.k_proj.bias", "attn_k.bias", LCT_DIM_ONE, LCT_DIM_KV, LCT_NEED_QKV_BIAS, true},
    {AT(v), "self_attn.v_proj.weight", "attn_v.weight", LCT_DIM_KV, LCT_DIM_HIDDEN, LCT_NEED_ALWAYS, false},
    {AT(v_bias), "self_attn.v_proj.bias", "attn_v.bias", LCT_DIM_ONE, LCT_DIM_KV, LCT_NEED_QKV_BIAS, false},
    {AT(q_norm), "self_attn.q_norm.weight", "attn_q_norm.weight", LCT_DIM_ONE, LCT_DIM_HEAD, LCT_NEED_QK_NORM, false},
    {AT(k_norm), "self_attn.k_norm.weight", "attn_k_norm.weight", LCT_DIM_ONE, LCT_DIM_HEAD, LCT_NEED_QK_NORM, false},
    {AT(o), "self_attn.o_proj.weight", "attn_output.weight", LCT_DIM_HIDDEN, LCT_DIM_Q, LCT_NEED_ALWAYS, false},
    {AT(o_bias), "self_attn.o_proj.bias", "attn_output.bias", LCT_DIM_ONE, LCT_DIM_HIDDEN, LCT_NEED_O_BIAS, false},
    {AT(mlp_norm), "post_attention_layernorm.weight", "ffn_norm.weight", LCT_DIM_ONE, LCT_DIM_HIDDEN, LCT_NEED_ALWAYS, false},
    {AT(gate), "mlp.gate_proj.weight", "ffn_gate.weight", LCT_DIM_INTER, LCT_DIM_HIDDEN, LCT_NEED_ALWAYS, false},
    {AT(up), "mlp.up_proj.weight", "ffn_up.weight", LCT_DIM_INTER, LCT_DIM_HIDDEN, LCT_NEED_ALWAYS, false},
    {AT(down), "mlp.down_proj.weight", "ffn_down.weight", LCT_DIM_HIDDEN, LCT_DIM_INTER, LCT_NEED_ALWAYS, false},
};
const int lct_n_layer_slots = sizeof lct_layer_slots / sizeof lct_layer_slots[0];

int64_t lct_config_dim(const lct_config *c, lct_dim d) {
  switch (d) {
  case LCT_DIM_ONE: return 1;
  case LCT_DIM_HIDDEN: return c->hidden;
  case LCT_DIM_Q: return (int64_t)c->n_heads * c->head_dim;
  case LCT_DIM_KV: return (int64_t)c->n_kv_heads * c->head_dim;
  case LCT_DIM_HEAD: return c->head_dim;
  case LCT_DIM_INTER: return c->intermediate;
  }
  return 0;
}

bool lct_config_needs(const lct_config *c, lct_need need) {
  switch (need) {
  case LCT_NEED_ALWAYS: return true;
  case LCT_NEED_QKV_BIAS: return c->qkv_bias;
  case LCT_NEED_O_BIAS: return c->o_bias;
  case LCT_NEED_QK_NORM: return c->qk_norm;
  }
  return false;
}

static const char *shape_text(int64_t rows, int64_t cols, char *buf, size_t n) {
  if (rows == 1) {
    (void)snprintf(buf, n, "[%lld]", (long long)cols);
  } else {
    (void)snprintf(buf, n, "[%lld, %lld]", (long long)rows, (long long)cols);
  }
  return buf;
}

typedef struct {
  lct_model *m;
  lct_tensor_find find;
  void *ctx;
  bool gguf;
} binder;

/* Looks one tensor up; absent stays data == NULL. Shape and type must fit. */
static lct_status bind_optional(const binder *b, const char *name, int64_t rows, int64_t cols, lct_tensor *out, lct_error *err) {
  *out = (lct_tensor){0};
  LCT_TRY(b->find(b->ctx, name, out, err));
  if (out->data == NULL) return LCT_OK;
  const char *file = lct_model_file_of(b->m, out->data);
  if (out->rows != rows || out->cols != cols) {
    char want[48], have[48];
    return lct_fail(err, LCT_E_FORMAT, "%s: tensor \"%s\": expected shape %s, found %s", file, name,
                    shape_text(rows, cols, want, sizeof want), shape_text(out->rows, out->cols, have, sizeof have));
  }
  int block = lct_dtype_block(out->dtype);
  if (rows == 1 && block != 1) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: tensor \"%s\": a vector of type %s is not supported: expected F32, F16 or BF16", file,
                    name, lct_dtype_name(out->dtype));
  }
  if (cols % block != 0) {
    return lct_fail(err, LCT_E_FORMAT, "%s: tensor \"%s\": rows of %lld elements are not whole %s blocks of %d", file, name,
                    (long long)cols, lct_dtype_name(out->dtype), block);
  }
  return LCT_OK;
}

static lct_status bind_one(const binder *b, const char *name, int64_t rows, int64_t cols, lct_tensor *out, lct_error *err) {
  LCT_TRY(bind_optional(b, name, rows, cols, out, err));
  if (out->data != NULL) return LCT_OK;
  char want[48];
  return lct_fail(err, LCT_E_FORMAT, "%s: tensor \"%s\" is missing: expected shape %s", lct_model_file_of(b->m, NULL), name,
                  shape_text(rows, cols, want, sizeof want));
}

static void tensor_name(const binder *b, const char *stem, int layer, char *buf, size_t n) {
  (void)snprintf(buf, n, b->gguf ? "blk.%d.%s" : "model.layers.%d.%s", layer, stem);
}

static lct_status bind_layer(const binder *b, int index, lct_error *err) {
  const lct_config *c = &b->m->config;
  for (int i = 0; i < lct_n_layer_slots; i++) {
    const lct_layer_slot *slot = &lct_layer_slots[i];
    if (!lct_config_needs(c, slot->need)) continue;
    char name[96];
    tensor_name(b, b->gguf ? slot->gguf : slot->hf, index, name, sizeof name);
    lct_tensor *t = (lct_tensor *)((char *)&b->m->layers[index] + slot->offset);
    LCT_TRY(bind_one(b, name, lct_config_dim(c, slot->rows), lct_config_dim(c, slot->cols), t, err));
    if (b->gguf && slot->rotary && c->arch == LCT_ARCH_LLAMA) t->perm_head_dim = c->head_dim;
  }
  return LCT_OK;
}

lct_status lct_model_bind(lct_model *m, bool gguf, lct_tensor_find find, void *ctx, lct_error *err) {
  binder b = {m, find, ctx, gguf};
  lct_config *c = &m->config;
  free(m->layers);
  m->layers = NULL;
  LCT_TRY(lct_calloc(&m->layers, (size_t)c->n_layers, sizeof *m->layers, "the layer table", err));
  LCT_TRY(bind_one(&b, gguf ? "token_embd.weight" : "model.embed_tokens.weight", c->vocab, c->hidden, &m->embed, err));
  LCT_TRY(bind_one(&b, gguf ? "output_norm.weight" : "model.norm.weight", 1, c->hidden, &m->final_norm, err));
  for (int i = 0; i < c->n_layers; i++) LCT_TRY(bind_layer(&b, i, err));
  if (c->tied_head) {
    m->head = m->embed;
    return LCT_OK;
  }
  return bind_one(&b, gguf ? "output.weight" : "lm_head.weight", c->vocab, c->hidden, &m->head, err);
}

int lct_model_n_tensors(const lct_model *m) { return 3 + m->config.n_layers * lct_n_layer_slots; }

const lct_tensor *lct_model_tensor(const lct_model *m, int index) {
  const lct_tensor *t = NULL;
  if (index == 0) t = &m->embed;
  else if (index == 1) t = &m->final_norm;
  else if (index == 2) t = m->config.tied_head ? NULL : &m->head;
  else
    t = (const lct_tensor *)((const char *)&m->layers[(index - 3) / lct_n_layer_slots] +
                             lct_layer_slots[(index - 3) % lct_n_layer_slots].offset);
  return t != NULL && t->data != NULL ? t : NULL;
}
