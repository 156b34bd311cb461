/* Where the prompts come from: a scenario's references, or labelled conversations. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "scenario/scenario.h"
#include "fingerprint/make_impl.h"

typedef struct {
  char text[1200]; /* "": nothing is wrong */
} reason;

bool fp_is_scenario(const char *path) {
  const char *dot = strrchr(path, '.');
  return dot != NULL && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

lct_status fp_scenario_model(const char *path, char **id, lct_error *err) {
  lct_scenario *s = NULL;
  LCT_TRY(lct_scenario_load(path, &s, err));
  *id = strdup(s->model.id);
  lct_scenario_free(s);
  return *id != NULL ? LCT_OK : lct_fail(err, LCT_E_NOMEM, "out of memory for a model's name");
}

static bool needs_content(const maker *m) { return m->n_poolings > 1 || m->poolings[0] != LCT_POOLING_LAST; }

/* The label's number; it is new where there was no prompt of it. */
static lct_status find_label(maker *m, const char *name, int *out, lct_error *err) {
  for (size_t i = 0; i < m->n_labels; i++) {
    if (strcmp(m->labels[i].name, name) != 0) continue;
    *out = (int)i;
    return LCT_OK;
  }
  if (m->n_labels == LCT_FINGERPRINT_MAX_NAMES) {
    return lct_fail(err, LCT_E_LIMIT, "%s has more than %d labels", m->o->references, LCT_FINGERPRINT_MAX_NAMES);
  }
  LCT_TRY(lct_grow(&m->labels, &m->cap_labels, m->n_labels + 1, sizeof *m->labels, "labels", err));
  fp_label *l = &m->labels[m->n_labels];
  size_t values = m->n_places * (size_t)m->cfg.hidden;
  *l = (fp_label){.name = strdup(name)};
  *out = (int)m->n_labels++;
  if (l->name == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a label");
  LCT_TRY(lct_calloc(&l->half[0], values, sizeof(double), "the sums of a label", err));
  return lct_calloc(&l->half[1], values, sizeof(double), "the sums of a label", err);
}

/* Tokenises into the chunk's next place; why says what is wrong with the messages. */
static lct_status tokenise(maker *m, fp_prompt *p, const lct_message *messages, size_t n, reason *why, lct_error *err) {
  lct_positions *content = NULL;
  LCT_TRY(lct_calloc(&content, n, sizeof *content, "message positions", err));
  lct_status s = lct_prompt_tokenise(&m->template, m->encoder, messages, n, &p->tokens, content, err);
  p->content = content[n - 1];
  free(content);
  if (s == LCT_E_FORMAT || s == LCT_E_USAGE) {
    (void)snprintf(why->text, sizeof why->text, "%.1000s", err != NULL ? err->message : "it cannot be rendered");
    return LCT_OK;
  }
  LCT_TRY(s);
  if (p->tokens.len > (size_t)m->cfg.max_positions) {
    (void)snprintf(why->text, sizeof why->text, "%zu tokens long, longer than the model's context of %d", p->tokens.len,
                   m->cfg.max_positions);
  } else if (needs_content(m) && p->content.from == p->content.to) {
    (void)snprintf(why->text, sizeof why->text,
                   "the template renders no text of its last message, which content_last and content_mean need");
  }
  return LCT_OK;
}

/* Tokens that the last two prompts do not share. */
static int64_t new_tokens(const maker *m) {
  const lct_tokens *t = &m->prompts[m->n_prompts - 1].tokens;
  size_t shared = 0;
  if (m->n_prompts > 1) {
    const lct_tokens *before = &m->prompts[m->n_prompts - 2].tokens;
    while (shared < t->len && shared < before->len && t->data[shared].id == before->data[shared].id) shared++;
  }
  return (int64_t)(t->len - shared);
}

/* label NULL: of the bank. */
static lct_status add_prompt(maker *m, const lct_message *messages, size_t n, const char *label, reason *why, lct_error *err) {
  fp_prompt *p = &m->prompts[m->n_prompts];
  why->text[0] = '\0';
  LCT_TRY(tokenise(m, p, messages, n, why, err));
  if (why->text[0] != '\0') return LCT_OK;
  p->label = FP_NEUTRAL;
  if (label != NULL) LCT_TRY(find_label(m, label, &p->label, err));
  p->number = label != NULL ? m->labels[p->label].n++ : m->bank.n++;
  p->role = lct_role_of(messages[n - 1].role);
  *(label != NULL ? &m->result->prompts : &m->result->neutral) += 1;
  m->n_prompts++;
  m->rows += new_tokens(m);
  return m->n_prompts == m->chunk || m->rows >= m->device.batch_rows ? fp_run_chunk(m, err) : LCT_OK;
}

static lct_status read_scenario(maker *m, lct_error *err) {
  lct_scenario *sc = NULL;
  LCT_TRY(lct_scenario_load(m->o->references, &sc, err));
  m->result->utf8_replaced += sc->n_replaced;
  lct_status s = LCT_OK;
  if (sc->n_references == 0) s = lct_fail(err, LCT_E_USAGE, "%s has no reference_states", m->o->references);
  const char *neutral = m->o->neutral == NULL ? m->o->neutral_label : NULL;
  for (size_t i = 0; i < sc->n_references && s == LCT_OK; i++) {
    const lct_reference *r = &sc->references[i];
    reason why;
    bool bank = neutral != NULL && strcmp(r->label, neutral) == 0;
    s = add_prompt(m, r->messages, r->n_messages, bank ? NULL : r->label, &why, err);
    if (s == LCT_OK && why.text[0] != '\0') {
      s = lct_fail(err, LCT_E_FORMAT, "%s: reference \"%s\": %.1000s", m->o->references, r->label, why.text);
    }
    fp_report(m, "prompts", (int64_t)i + 1, (int64_t)sc->n_references);
  }
  lct_scenario_free(sc);
  return s;
}

/* The label a conversation goes by and how much of it is its prompt. NULL: it has none. */
static const char *label_of(const lct_conversation *c, size_t *n_messages) {
  for (size_t i = c->n_messages; i > 0; i--) {
    if (c->labels[i - 1].label == NULL) continue;
    *n_messages = i;
    return c->labels[i - 1].label;
  }
  *n_messages = c->n_messages;
  return json_string_value(json_object_get(c->source, "label"));
}

static lct_status add_conversation(maker *m, const lct_conversation *c, bool neutral_file, reason *why, lct_error *err) {
  size_t n = c->n_messages;
  const char *wanted = m->o->neutral_label, *label = label_of(c, &n);
  why->text[0] = '\0';
  m->result->utf8_replaced += c->n_replaced;
  if (neutral_file) {
    if (wanted == NULL) return add_prompt(m, c->messages, c->n_messages, NULL, why, err);
    return label != NULL && strcmp(label, wanted) == 0 ? add_prompt(m, c->messages, n, NULL, why, err) : LCT_OK;
  }
  if (label == NULL || label[0] == '\0') {
    (void)snprintf(why->text, sizeof why->text, "no label");
    return LCT_OK;
  }
  bool bank = m->o->neutral == NULL && wanted != NULL && strcmp(label, wanted) == 0;
  return add_prompt(m, c->messages, n, bank ? NULL : label, why, err);
}

static void reject(const maker *m, const lct_input_item *item, const char *why) {
  char where[4200];
  m->result->rejected++;
  if (m->o->rejected == NULL) return;
  (void)snprintf(where, sizeof where, "%s:%zu", item->file, item->line);
  m->o->rejected(m->o->rejected_ctx, where, why);
}

static lct_status read_lines(maker *m, const char *path, bool neutral_file, lct_error *err) {
  lct_input *in = NULL;
  LCT_TRY(lct_input_open(&path, 1, &in, err));
  lct_status s = LCT_OK;
  for (lct_input_item item = {0}; s == LCT_OK;) {
    reason why = {""};
    s = lct_input_next(in, &item, err);
    if (s != LCT_OK || item.kind == LCT_INPUT_END) break;
    if (item.kind == LCT_INPUT_CONVERSATION) s = add_conversation(m, item.conversation, neutral_file, &why, err);
    else (void)snprintf(why.text, sizeof why.text, "%s", item.reason);
    if (s == LCT_OK && why.text[0] != '\0') reject(m, &item, why.text);
    if (item.kind == LCT_INPUT_CONVERSATION) lct_conversation_free(item.conversation);
    int64_t done = 0, total = 0;
    lct_input_progress(in, &done, &total);
    fp_report(m, neutral_file ? "neutral" : "prompts", done, total);
  }
  lct_input_free(in);
  return s;
}

lct_status fp_read_all(maker *m, lct_error *err) {
  if (fp_is_scenario(m->o->references)) LCT_TRY(read_scenario(m, err));
  else LCT_TRY(read_lines(m, m->o->references, false, err));
  if (m->o->neutral != NULL) LCT_TRY(read_lines(m, m->o->neutral, true, err));
  return m->n_prompts > 0 ? fp_run_chunk(m, err) : LCT_OK;
}
