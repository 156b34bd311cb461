/* Where the prompts come from: a scenario's references, or labelled conversations; one after the other, until a unit is full. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "scenario/scenario.h"
#include "fingerprint/make_impl.h"

typedef struct {
  char text[1200]; /* "": nothing is wrong */
} reason;

struct fp_reader {
  lct_encoder *encoder;
  lct_tokens tokens;
  lct_unit *unit;         /* being filled */
  int32_t most;           /* prompts of a unit */
  lct_scenario *scenario; /* NULL: prompts are read from `in` */
  size_t reference;       /* the next one */
  lct_input *in;
  bool neutral, ended; /* the neutral file is being read; there is no more */
};

void fp_report(const maker *m, const char *phase, int64_t done, int64_t total) {
  if (m->o->progress == NULL) return;
  lct_progress p = {phase, done, total, 0};
  m->o->progress(m->o->progress_ctx, &p);
}

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
  size_t values = m->axes.n_places * (size_t)m->axes.hidden;
  *l = (fp_label){.name = strdup(name)};
  *out = (int)m->n_labels++;
  if (l->name == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a label");
  LCT_TRY(lct_calloc(&l->half[0], values, sizeof(double), "the sums of a label", err));
  return lct_calloc(&l->half[1], values, sizeof(double), "the sums of a label", err);
}

/* Whether the prompt has what every position is about; why says what it lacks. */
static lct_status check(const maker *m, const lct_item *x, lct_arena *arena, reason *why, lct_error *err) {
  const lct_prompt_shape shape = {.n_tokens = x->n_tokens, .content = x->content, .roles = x->roles, .message = x->message};
  lct_token_range *scratch = lct_arena_alloc(arena, ((size_t)x->message + 1) * sizeof *scratch);
  if (scratch == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a prompt");
  if (x->n_tokens > m->subject->cfg.max_positions) {
    (void)snprintf(why->text, sizeof why->text, "%d tokens long, longer than the model's context of %d", x->n_tokens,
                   m->subject->cfg.max_positions);
    return LCT_OK;
  }
  for (int i = 0; i < m->axes.n_positions; i++) {
    const lct_position *p = &m->axes.positions[i];
    if (lct_position_tokens(p, &shape, scratch) > 0) continue;
    if (p->at == LCT_AT_CONTENT_LAST || p->at == LCT_AT_CONTENT_MEAN) {
      (void)snprintf(why->text, sizeof why->text,
                     "the template renders no text of its last message, which content_last and content_mean need");
    } else {
      (void)snprintf(why->text, sizeof why->text, "it has no token at position %s", p->name);
    }
    return LCT_OK;
  }
  return LCT_OK;
}

static lct_status tokenise(maker *m, lct_item *x, const lct_message *messages, size_t n, reason *why, lct_error *err) {
  fp_reader *r = m->reader;
  lct_status s = lct_item_make(m->subject, r->encoder, messages, n, &r->tokens, &r->unit->arena, x, err);
  if (s == LCT_E_FORMAT || s == LCT_E_USAGE) {
    (void)snprintf(why->text, sizeof why->text, "%.1000s", err != NULL ? err->message : "it cannot be rendered");
    return LCT_OK;
  }
  LCT_TRY(s);
  return check(m, x, &r->unit->arena, why, err);
}

/* label NULL: of the bank. */
static lct_status add_prompt(maker *m, const lct_message *messages, size_t n, const char *label, reason *why, lct_error *err) {
  fp_reader *r = m->reader;
  lct_item x;
  why->text[0] = '\0';
  LCT_TRY(tokenise(m, &x, messages, n, why, err));
  if (why->text[0] != '\0') return LCT_OK;
  fp_prompt *p = &((fp_prompt *)r->unit->client)[r->unit->n_items];
  p->label = FP_NEUTRAL;
  if (label != NULL) LCT_TRY(find_label(m, label, &p->label, err));
  p->number = label != NULL ? m->labels[p->label].n++ : m->bank.n++;
  *(label != NULL ? &m->result->prompts : &m->result->neutral) += 1;
  r->unit->estimate += lct_unit_estimate(r->unit, &x, 1);
  LCT_TRY(lct_unit_begin_part(r->unit, err));
  return lct_unit_add(r->unit, &x, m->axes.positions, m->axes.n_positions, err);
}

static bool is_full(const maker *m) {
  const fp_reader *r = m->reader;
  return r->unit->n_items == r->most || r->unit->estimate >= m->subject->device.batch_rows;
}

/* One more of the scenario's references; *ended: there is none. */
static lct_status read_reference(maker *m, bool *ended, lct_error *err) {
  fp_reader *r = m->reader;
  const lct_scenario *sc = r->scenario;
  *ended = r->reference == sc->n_references;
  if (*ended) return LCT_OK;
  const char *neutral = m->o->neutral == NULL ? m->o->neutral_label : NULL;
  const lct_reference *x = &sc->references[r->reference++];
  reason why;
  bool bank = neutral != NULL && strcmp(x->label, neutral) == 0;
  LCT_TRY(add_prompt(m, x->messages, x->n_messages, bank ? NULL : x->label, &why, err));
  fp_report(m, "prompts", (int64_t)r->reference, (int64_t)sc->n_references);
  if (why.text[0] == '\0') return LCT_OK;
  return lct_fail(err, LCT_E_FORMAT, "%s: reference \"%s\": %.1000s", m->o->references, x->label, why.text);
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

/* One more conversation of the file that is being read; *ended: there is none. */
static lct_status read_conversation(maker *m, bool *ended, lct_error *err) {
  fp_reader *r = m->reader;
  lct_input_item item = {0};
  reason why = {""};
  LCT_TRY(lct_input_next(r->in, &item, err));
  *ended = item.kind == LCT_INPUT_END;
  if (*ended) return LCT_OK;
  lct_status s = LCT_OK;
  if (item.kind == LCT_INPUT_CONVERSATION) s = add_conversation(m, item.conversation, r->neutral, &why, err);
  else (void)snprintf(why.text, sizeof why.text, "%s", item.reason);
  if (s == LCT_OK && why.text[0] != '\0') reject(m, &item, why.text);
  if (item.kind == LCT_INPUT_CONVERSATION) lct_conversation_free(item.conversation);
  int64_t done = 0, total = 0;
  lct_input_progress(r->in, &done, &total);
  fp_report(m, r->neutral ? "neutral" : "prompts", done, total);
  return s;
}

/* Labelled prompts, then the neutral file's where there is one. */
static lct_status read_one(maker *m, bool *ended, lct_error *err) {
  fp_reader *r = m->reader;
  LCT_TRY(r->scenario != NULL && !r->neutral ? read_reference(m, ended, err) : read_conversation(m, ended, err));
  if (!*ended || r->neutral || m->o->neutral == NULL) return LCT_OK;
  lct_input_free(r->in);
  r->in = NULL;
  r->neutral = true;
  *ended = false;
  return lct_input_open(&m->o->neutral, 1, &r->in, err);
}

static lct_status new_unit(maker *m, lct_error *err) {
  fp_reader *r = m->reader;
  LCT_TRY(lct_unit_new(&r->unit, err));
  r->unit->client = lct_arena_alloc(&r->unit->arena, (size_t)r->most * sizeof(fp_prompt));
  return r->unit->client != NULL ? LCT_OK : lct_fail(err, LCT_E_NOMEM, "out of memory for prompts");
}

lct_status fp_next_unit(void *ctx, lct_unit **out, lct_error *err) {
  maker *m = ctx;
  fp_reader *r = m->reader;
  LCT_TRY(new_unit(m, err));
  while (!r->ended && !is_full(m)) LCT_TRY(read_one(m, &r->ended, err));
  if (r->unit->n_items == 0) return LCT_OK;
  LCT_TRY(lct_unit_plan(r->unit, m->axes.positions, m->axes.n_positions, m->subject->device.batch_rows, err));
  *out = r->unit;
  r->unit = NULL;
  return LCT_OK;
}

lct_status fp_reader_new(maker *m, lct_error *err) {
  const lct_fingerprint_options *o = m->o;
  fp_reader *r = NULL;
  LCT_TRY(lct_calloc(&r, 1, sizeof *r, "a reader of prompts", err));
  m->reader = r;
  LCT_TRY(lct_encoder_new(m->subject->tokenizer, &r->encoder, err));
  size_t most = FP_UNIT_BYTES / (m->axes.n_places * (size_t)m->axes.hidden * sizeof(float));
  r->most = most < 16 ? 16 : most > FP_UNIT ? FP_UNIT : (int32_t)most;
  if (!fp_is_scenario(o->references)) return lct_input_open(&o->references, 1, &r->in, err);
  LCT_TRY(lct_scenario_load(o->references, &r->scenario, err));
  m->result->utf8_replaced += r->scenario->n_replaced;
  return r->scenario->n_references > 0 ? LCT_OK : lct_fail(err, LCT_E_USAGE, "%s has no reference_states", o->references);
}

void fp_reader_free(fp_reader *r) {
  if (r == NULL) return;
  lct_unit_free(r->unit);
  lct_encoder_free(r->encoder);
  lct_tokens_free(&r->tokens);
  lct_scenario_free(r->scenario);
  lct_input_free(r->in);
  free(r);
}
