/* What a model is, as text or JSON. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "api/inspect_fingerprints.h"
#include "api/inspect_sweep.h"
#include "archive/facts.h"
#include "model/model.h"
#include "text/template.h"
#include "text/tokenizer.h"

typedef struct {
  int64_t params, bytes;
} part;

typedef struct {
  part embed, attention, mlp, norms, head;
  const char *template_name;
  const char *template_hash;
  lct_template template;
  int vocab;
} facts;

static void add(part *p, const lct_tensor *t) {
  if (t->data == NULL) return;
  p->params += t->rows * t->cols;
  p->bytes += t->rows * (int64_t)lct_dtype_row_bytes(t->dtype, t->cols);
}

static void count_parts(const lct_model *m, facts *f) {
  add(&f->embed, &m->embed);
  if (!m->config.tied_head) add(&f->head, &m->head);
  add(&f->norms, &m->final_norm);
  for (int i = 0; i < m->config.n_layers; i++) {
    const lct_layer *l = &m->layers[i];
    const lct_tensor *attention[] = {&l->q, &l->k, &l->v, &l->o, &l->q_bias, &l->k_bias, &l->v_bias, &l->o_bias};
    const lct_tensor *mlp[] = {&l->gate, &l->up, &l->down};
    const lct_tensor *norms[] = {&l->attn_norm, &l->mlp_norm, &l->q_norm, &l->k_norm};
    for (size_t k = 0; k < sizeof attention / sizeof *attention; k++) add(&f->attention, attention[k]);
    for (size_t k = 0; k < sizeof mlp / sizeof *mlp; k++) add(&f->mlp, mlp[k]);
    for (size_t k = 0; k < sizeof norms / sizeof *norms; k++) add(&f->norms, norms[k]);
  }
}

/* A model without a usable tokenizer or template is still worth inspecting: their names then say what is wrong. */
static void find_template(const lct_model *m, facts *f) {
  lct_tokenizer *t = NULL;
  lct_error ignored;
  f->template_name = "none";
  f->template_hash = "";
  if (lct_tokenizer_for_model(m, &t, &ignored) != LCT_OK) {
    f->template_name = "no tokenizer";
    return;
  }
  f->vocab = lct_tokenizer_vocab(t);
  const char *jinja = lct_tokenizer_chat_template(t);
  if (jinja != NULL) {
    bool known = lct_template_recognise(jinja, &f->template, &ignored) == LCT_OK;
    f->template_name = known ? lct_template_name(f->template.kind) : "unknown (name one with --chat-template)";
    if (known) f->template_hash = f->template.hash;
  }
  lct_tokenizer_free(t);
}

static json_t *part_json(const part *p) { return json_pack("{s:I, s:I}", "params", (json_int_t)p->params, "bytes", (json_int_t)p->bytes); }

static char *as_json(const lct_model *m, const facts *f) {
  const lct_config *c = &m->config;
  json_t *parts = json_pack("{s:o, s:o, s:o, s:o, s:o}", "embedding", part_json(&f->embed), "attention", part_json(&f->attention), "mlp",
                            part_json(&f->mlp), "norms", part_json(&f->norms), "head", part_json(&f->head));
  json_t *root = json_pack(
      "{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:b, s:b, s:b, s:I, s:i, s:o, s:{s:s, s:s}}", "path", m->path,
      "format", m->format, "hash", m->hash, "arch", lct_arch_name(c->arch), "n_layers", c->n_layers, "hidden", c->hidden, "n_heads",
      c->n_heads, "n_kv_heads", c->n_kv_heads, "head_dim", c->head_dim, "intermediate", c->intermediate, "vocab", c->vocab, "max_positions",
      c->max_positions, "rms_eps", (double)c->rms_eps, "rope_theta", c->rope.theta, "tied_head", c->tied_head, "qkv_bias", c->qkv_bias,
      "qk_norm", c->qk_norm, "n_params", (json_int_t)lct_model_n_params(m), "tokenizer_vocab", f->vocab, "parts", parts, "template", "name",
      f->template_name, "hash", f->template_hash);
  char *text = root != NULL ? json_dumps(root, JSON_INDENT(2)) : NULL;
  json_decref(root);
  return text;
}

static lct_status part_line(const char *name, const part *p, lct_buf *b, lct_error *err) {
  if (p->params == 0) return LCT_OK;
  return lct_buf_printf(b, err, "  %-12s %10.2f M params %12.1f MB\n", name, (double)p->params / 1e6, (double)p->bytes / 1e6);
}

static lct_status as_text(const lct_model *m, const facts *f, lct_buf *b, lct_error *err) {
  const lct_config *c = &m->config;
  LCT_TRY(lct_buf_printf(b, err, "%s (%s)\n", m->path, m->format));
  LCT_TRY(lct_buf_printf(b, err, "architecture   %s, %d layers, hidden %d, intermediate %d\n", lct_arch_name(c->arch), c->n_layers,
                         c->hidden, c->intermediate));
  LCT_TRY(lct_buf_printf(b, err, "attention      %d heads, %d key/value heads, head size %d%s%s\n", c->n_heads, c->n_kv_heads, c->head_dim,
                         c->qkv_bias ? ", QKV bias" : "", c->qk_norm ? ", q/k norm" : ""));
  LCT_TRY(lct_buf_printf(b, err, "positions      %d, RoPE theta %g%s\n", c->max_positions, c->rope.theta,
                         c->rope.kind == LCT_ROPE_LLAMA3 ? ", llama3 scaling" : ""));
  LCT_TRY(lct_buf_printf(b, err, "vocabulary     %d (tokenizer %d), head %s\n", c->vocab, f->vocab, c->tied_head ? "tied" : "its own"));
  LCT_TRY(lct_buf_printf(b, err, "weights        %.2f M params in %s\n", (double)lct_model_n_params(m) / 1e6,
                         lct_dtype_name(m->layers[0].q.dtype)));
  LCT_TRY(part_line("embedding", &f->embed, b, err));
  LCT_TRY(part_line("attention", &f->attention, b, err));
  LCT_TRY(part_line("mlp", &f->mlp, b, err));
  LCT_TRY(part_line("norms", &f->norms, b, err));
  LCT_TRY(part_line("head", &f->head, b, err));
  LCT_TRY(lct_buf_printf(b, err, "chat template  %s%s%.12s\n", f->template_name, f->template_hash[0] != '\0' ? ", hash " : "",
                         f->template_hash));
  return lct_buf_printf(b, err, "model hash     %s", m->hash);
}

static lct_status check_weights(const lct_model *m, lct_error *err) {
  lct_threads *threads = NULL;
  LCT_TRY(lct_threads_new(0, &threads, err));
  lct_status s = lct_model_check_finite(m, threads, err);
  lct_threads_free(threads);
  return s;
}

lct_status lct_inspect(const char *model, bool json, bool check, char **text, lct_error *err) {
  char *path = NULL;
  lct_model *m = NULL;
  lct_buf b = {0};
  *text = NULL;
  if (inspects_fingerprints(model)) return inspect_fingerprints(model, json, text, err);
  if (lct_sweep_is_in(model)) return inspect_sweep(model, json, text, err);
  lct_status s = lct_model_resolve(model, NULL, &path, err);
  if (s == LCT_OK) s = lct_model_map(path, &m, err);
  if (s == LCT_OK && check) s = check_weights(m, err);
  if (s == LCT_OK) {
    facts f = {0};
    count_parts(m, &f);
    find_template(m, &f);
    if (json) *text = as_json(m, &f);
    else s = as_text(m, &f, &b, err);
    if (json && *text == NULL) s = lct_fail(err, LCT_E_NOMEM, "could not make the JSON of %s", path);
  }
  if (s == LCT_OK && !json) *text = b.data;
  else lct_buf_free(&b);
  lct_model_unmap(m);
  free(path);
  return s;
}
