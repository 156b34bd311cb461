#include "model/tensors.h"

/* Enough of each tensor to tell a fine-tune from its base; little enough to read at every start. */
#define SAMPLE_BYTES 4096

static lct_status put_config(const lct_config *c, lct_buf *b, lct_error *err) {
  LCT_TRY(lct_buf_printf(b, err, "%s layers %d hidden %d heads %d kv %d head %d inter %d vocab %d eps %a\n", lct_arch_name(c->arch),
                         c->n_layers, c->hidden, c->n_heads, c->n_kv_heads, c->head_dim, c->intermediate, c->vocab, (double)c->rms_eps));
  return lct_buf_printf(b, err, "rope %d %a %a %a %a %d tied %d bias %d %d norm %d\n", (int)c->rope.kind, c->rope.theta, c->rope.factor,
                        c->rope.low_freq_factor, c->rope.high_freq_factor, c->rope.original_max_positions, c->tied_head, c->qkv_bias,
                        c->o_bias, c->qk_norm);
}

lct_status lct_model_hash(lct_model *m, lct_error *err) {
  lct_buf b = {0};
  lct_status s = LCT_OK;
  LCT_TRY_GOTO(s, put_config(&m->config, &b, err), done);
  for (size_t i = 0; i < m->n_maps; i++) LCT_TRY_GOTO(s, lct_buf_printf(&b, err, "file %zu\n", m->maps[i].size), done);
  for (int i = 0; i < lct_model_n_tensors(m); i++) {
    const lct_tensor *t = lct_model_tensor(m, i);
    if (t == NULL) continue;
    LCT_TRY_GOTO(s, lct_buf_printf(&b, err, "%s %s %lld %lld\n", t->name, lct_dtype_name(t->dtype), (long long)t->rows, (long long)t->cols),
                 done);
    size_t n = lct_tensor_bytes(t);
    LCT_TRY_GOTO(s, lct_buf_append(&b, t->data, n < SAMPLE_BYTES ? n : SAMPLE_BYTES, err), done);
  }
  lct_sha256_hex(b.data, b.len, m->hash);
done:
  lct_buf_free(&b);
  return s;
}
