/* Text to tokens: added tokens cut out, NFC, pre-tokenizer steps, words through a cache into the BPE. */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/hash.h"
#include "text/tokenizer_internal.h"

#define CACHE_SLOTS ((size_t)1 << 15)
#define CACHE_KEY 30
#define CACHE_IDS 8

/* A word seen before and its tokens: one cache line. n_key == 0: empty. */
typedef struct {
  uint8_t n_key, n_ids;
  unsigned char key[CACHE_KEY]; /* padded with zeros */
  uint32_t ids[CACHE_IDS];
} cache_slot;

_Static_assert(sizeof(cache_slot) == 64, "a cache slot is one cache line");

struct lct_encoder {
  const lct_tokenizer *t;
  cache_slot *cache;
  lct_bpe_work work;
  lct_nfc nfc;
  void *match_data;
  lct_buf spaced; /* a piece behind an added prefix space */
  lct_tokens *out;
};

/* A stretch of (normalised) text and the way back to the source. */
typedef struct {
  const unsigned char *s;
  size_t n;
  size_t shift;                /* bytes put in front of it that the source does not have (0 or 1) */
  const uint32_t *begin, *end; /* source bytes of every byte, relative to base; NULL: the same */
  size_t base;                 /* source offset of byte `shift` */
} stretch;

lct_status lct_encoder_new(const lct_tokenizer *t, lct_encoder **out, lct_error *err) {
  lct_encoder *e = NULL;
  LCT_TRY(lct_calloc(&e, 1, sizeof *e, "an encoder", err));
  e->t = t;
  lct_status s = lct_alloc_aligned(&e->cache, CACHE_SLOTS, sizeof *e->cache, "the word cache", err);
  if (s == LCT_OK) {
    memset(e->cache, 0, CACHE_SLOTS * sizeof *e->cache);
    e->match_data = lct_pretok_match_data();
    if (e->match_data == NULL) s = lct_fail(err, LCT_E_NOMEM, "out of memory for match data");
  }
  if (s != LCT_OK) {
    lct_encoder_free(e);
    return s;
  }
  *out = e;
  return LCT_OK;
}

void lct_encoder_free(lct_encoder *e) {
  if (e == NULL) return;
  free(e->cache);
  lct_bpe_work_free(&e->work);
  lct_nfc_free(&e->nfc);
  lct_pretok_match_data_free(e->match_data);
  lct_buf_free(&e->spaced);
  free(e);
}

/* Source bytes of the bytes [b, e) of a stretch, whole characters (b < e). */
static void source_span(const stretch *x, size_t b, size_t e, uint32_t *begin, uint32_t *end) {
  while (b > 0 && (x->s[b] & 0xC0) == 0x80) b--;
  while (e < x->n && (x->s[e] & 0xC0) == 0x80) e++;
  if (x->shift > 0) { /* the added space takes the place of the first character */
    size_t first = 2;
    while (first < x->n && (x->s[first] & 0xC0) == 0x80) first++;
    b = b < 1 ? 0 : b - 1;
    e = (e < first ? first : e) - 1;
  }
  *begin = (uint32_t)(x->base + (x->begin == NULL ? b : x->begin[b]));
  *end = (uint32_t)(x->base + (x->end == NULL ? e : x->end[e - 1]));
}

static lct_status room(lct_encoder *e, size_t n, lct_error *err) {
  return lct_grow(&e->out->data, &e->out->cap, e->out->len + n, sizeof *e->out->data, "tokens", err);
}

static void put(lct_encoder *e, const stretch *x, uint32_t id, size_t b, size_t end) {
  lct_token *tok = &e->out->data[e->out->len++];
  tok->id = (int32_t)id;
  source_span(x, b, end, &tok->begin, &tok->end);
}

/* Remembers the tokens of a word, if they cover it byte for byte. */
static void remember(lct_encoder *e, cache_slot *slot, const unsigned char *word, size_t n) {
  const lct_bpe_work *w = &e->work;
  if (n > CACHE_KEY || w->n_parts > CACHE_IDS) return;
  size_t covered = 0;
  for (size_t i = 0; i < w->n_parts; i++) {
    if (w->parts[i].n_bytes != e->t->bpe.tokens[w->parts[i].id].bytes_len) return;
    covered += w->parts[i].n_bytes;
  }
  if (covered != n) return;
  memset(slot, 0, sizeof *slot);
  slot->n_key = (uint8_t)n;
  slot->n_ids = (uint8_t)w->n_parts;
  memcpy(slot->key, word, n);
  for (size_t i = 0; i < w->n_parts; i++) slot->ids[i] = w->parts[i].id;
}

static lct_status put_word(lct_encoder *e, const stretch *x, size_t b, size_t end, lct_error *err) {
  const unsigned char *word = x->s + b;
  size_t n = end - b;
  cache_slot *slot = &e->cache[lct_hash_bytes(word, n < CACHE_KEY ? n : CACHE_KEY) & (CACHE_SLOTS - 1)];
  if (slot->n_key == n && memcmp(slot->key, word, n) == 0) {
    LCT_TRY(room(e, CACHE_IDS, err));
    for (size_t i = 0; i < slot->n_ids; i++) {
      size_t len = e->t->bpe.tokens[slot->ids[i]].bytes_len;
      put(e, x, slot->ids[i], b, b + len);
      b += len;
    }
    return LCT_OK;
  }
  LCT_TRY(lct_bpe_encode(&e->t->bpe, &e->work, word, n, err));
  LCT_TRY(room(e, e->work.n_parts, err));
  for (size_t i = 0; i < e->work.n_parts; i++) {
    put(e, x, e->work.parts[i].id, b, b + e->work.parts[i].n_bytes);
    b += e->work.parts[i].n_bytes;
  }
  remember(e, slot, word, n);
  return LCT_OK;
}

static lct_status run_steps(lct_encoder *e, const stretch *x, size_t b, size_t end, size_t step, lct_error *err);

static lct_status split_by_regex(lct_encoder *e, const stretch *x, size_t b, size_t end, size_t step, lct_error *err) {
  const lct_pretok_step *re = &e->t->pretok.steps[step];
  size_t done = 0, n = end - b;
  for (;;) {
    bool found;
    size_t mb = 0, me = 0;
    LCT_TRY(lct_pretok_regex_next(re, e->match_data, x->s + b, n, done, &found, &mb, &me, err));
    if (!found) break;
    if (mb > done) LCT_TRY(run_steps(e, x, b + done, b + mb, step + 1, err));
    LCT_TRY(run_steps(e, x, b + mb, b + me, step + 1, err));
    done = me;
  }
  return done < n ? run_steps(e, x, b + done, end, step + 1, err) : LCT_OK;
}

/* Goes on with a copy of the piece that has a space in front. The space step occurs once, so one buffer is enough. */
static lct_status with_space(lct_encoder *e, const stretch *x, size_t b, size_t end, size_t step, lct_error *err) {
  if (x->s[b] == ' ') return run_steps(e, x, b, end, step + 1, err);
  e->spaced.len = 0;
  LCT_TRY(lct_buf_append(&e->spaced, " ", 1, err));
  LCT_TRY(lct_buf_append(&e->spaced, x->s + b, end - b, err));
  stretch y = {.s = (const unsigned char *)e->spaced.data, .n = e->spaced.len, .shift = 1, .base = x->base};
  if (x->begin == NULL) {
    y.base += b;
  } else {
    y.begin = x->begin + b;
    y.end = x->end + b;
  }
  return run_steps(e, &y, 0, y.n, step + 1, err);
}

/* Pre-tokenizer steps from `step` on, over the bytes [b, end) of x; b < end. The recursion is as deep as there are steps. */
static lct_status run_steps(lct_encoder *e, const stretch *x, size_t b, size_t end, size_t step, lct_error *err) {
  const lct_tokenizer *t = e->t;
  if (step == t->pretok.n_steps) return put_word(e, x, b, end, err);
  lct_pretok_kind kind = t->pretok.steps[step].kind;
  if (kind == LCT_PRETOK_PCRE) return split_by_regex(e, x, b, end, step, err);
  if (kind == LCT_PRETOK_SPACE) return with_space(e, x, b, end, step, err);
  bool last = step + 1 == t->pretok.n_steps;
  while (b < end) {
    size_t next = lct_pretok_next(kind, &t->classes, x->s, b, end);
    LCT_TRY(last ? put_word(e, x, b, next, err) : run_steps(e, x, b, next, step + 1, err));
    b = next;
  }
  return LCT_OK;
}

/* Tokens of normalised text: the added tokens that are matched there, and what lies between. */
static lct_status encode_normalized(lct_encoder *e, const stretch *x, lct_error *err) {
  const lct_tokenizer *t = e->t;
  size_t done = 0, at = 0;
  lct_added_match m;
  while (lct_added_next(&t->added, &t->added.normalized, &t->classes, x->s, x->n, done, &at, &m)) {
    if (m.begin > done) LCT_TRY(run_steps(e, x, done, m.begin, 0, err));
    LCT_TRY(room(e, 1, err));
    put(e, x, (uint32_t)m.token->id, m.begin, m.end);
    done = m.end;
  }
  return done < x->n ? run_steps(e, x, done, x->n, 0, err) : LCT_OK;
}

static lct_status encode_piece(lct_encoder *e, const unsigned char *s, size_t begin, size_t end, lct_error *err) {
  stretch x = {.s = s + begin, .n = end - begin, .base = begin};
  if (e->t->nfc && !lct_nfc_is_stable(&e->t->classes, x.s, x.n)) {
    LCT_TRY(lct_nfc_apply(&e->nfc, &e->t->classes, x.s, x.n, err));
    x.s = e->nfc.text;
    x.n = e->nfc.len;
    x.begin = e->nfc.begin;
    x.end = e->nfc.end;
  }
  return encode_normalized(e, &x, err);
}

/* Characters of white space at the front and at the back of s[0..n), as ByteLevel's trim_offsets counts them: of a model's token
 * the spaces of its bytes, of an added token any white space of the text it was matched on. */
static void count_spaces(const lct_uclasses *u, const unsigned char *s, size_t n, bool raw, size_t *front, size_t *back) {
  size_t len;
  *front = *back = 0;
  for (size_t i = 0; i < n; i += len) {
    len = 1;
    if (raw ? (lct_uclass_at(u, s + i, &len) & LCT_UC_SPACE) == 0 : s[i] != ' ') break;
    ++*front;
  }
  for (size_t i = n; i > 0;) {
    i--;
    while (raw && i > 0 && (s[i] & 0xC0) == 0x80) i--;
    if (raw ? (lct_uclass_at(u, s + i, &len) & LCT_UC_SPACE) == 0 : s[i] != ' ') break;
    ++*back;
  }
}

/* Takes the white space of a token out of its offsets. Like tokenizers it counts characters of the source without looking at
 * them, which matters where an added prefix space stands on a character. */
static void trim_offsets(const lct_tokenizer *t, lct_token *tok, const unsigned char *text, bool first) {
  size_t front, back, end = tok->end;
  const lct_bpe_token *known = &t->bpe.tokens[tok->id];
  if (t->kinds[tok->id] & LCT_TOKEN_ADDED) {
    count_spaces(&t->classes, text + tok->begin, tok->end - tok->begin, true, &front, &back);
  } else {
    count_spaces(&t->classes, (const unsigned char *)known->bytes, known->bytes_len, false, &front, &back);
  }
  if (front == 1 && t->trim_keeps_first && (first || tok->begin == 0)) front = 0; /* more than one: not an added one */
  for (; front > 0 && tok->begin < tok->end; front--) {
    do {
      tok->begin++;
    } while (tok->begin < tok->end && (text[tok->begin] & 0xC0) == 0x80);
  }
  for (; back > 0 && end > 0; back--) {
    do {
      end--;
    } while (end > 0 && (text[end] & 0xC0) == 0x80);
  }
  if (back == 0) tok->end = end < tok->begin ? tok->begin : (uint32_t)end;
}

static lct_status put_ids(lct_encoder *e, const int32_t *ids, size_t n, lct_error *err) {
  LCT_TRY(room(e, n, err));
  for (size_t i = 0; i < n; i++) e->out->data[e->out->len++] = (lct_token){.id = ids[i]};
  return LCT_OK;
}

/* Tokens of s[0..n) behind seam `from`, whose n_tokens stand in e->out behind the first `base`. Notes the seams it makes, if asked. */
static lct_status encode_text(lct_encoder *e, const unsigned char *s, size_t n, size_t base, lct_seam from, lct_seams *seams,
                              lct_error *err) {
  const lct_tokenizer *t = e->t;
  lct_added_match m;
  while (lct_added_next(&t->added, &t->added.raw, &t->classes, s, n, from.begin, &from.search, &m)) {
    if (m.begin > from.begin) LCT_TRY(encode_piece(e, s, from.begin, m.begin, err));
    LCT_TRY(room(e, 1, err));
    e->out->data[e->out->len++] = (lct_token){.id = m.token->id, .begin = (uint32_t)m.begin, .end = (uint32_t)m.end};
    from.begin = m.end;
    if (seams == NULL) continue;
    if (m.seen > from.seen) from.seen = m.seen;
    LCT_TRY(lct_grow(&seams->data, &seams->cap, seams->len + 1, sizeof *seams->data, "seams", err));
    seams->data[seams->len] = from;
    seams->data[seams->len++].n_tokens = e->out->len - base;
  }
  if (from.begin < n) LCT_TRY(encode_piece(e, s, from.begin, n, err));
  for (size_t i = base + from.n_tokens; t->trim_offsets && i < e->out->len; i++) trim_offsets(t, &e->out->data[i], s, i == base);
  return LCT_OK;
}

static lct_status check_text(const char *text, size_t from, size_t n, lct_error *err) {
  if (n >= UINT32_MAX) return lct_fail(err, LCT_E_LIMIT, "cannot tokenise %zu bytes at once: at most %u", n, UINT32_MAX - 1);
  return lct_utf8_valid(text + from, n - from) ? LCT_OK : lct_fail(err, LCT_E_FORMAT, "text to tokenise is not valid UTF-8");
}

lct_status lct_encode(lct_encoder *e, const char *text, size_t n, bool add_special, lct_tokens *out, lct_error *err) {
  LCT_TRY(check_text(text, 0, n, err));
  size_t before = out->len;
  e->out = out;
  lct_status s = LCT_OK;
  if (add_special) s = put_ids(e, e->t->prefix, e->t->n_prefix, err);
  if (s == LCT_OK) s = encode_text(e, (const unsigned char *)text, n, out->len, (lct_seam){0}, NULL, err);
  if (s == LCT_OK && add_special) s = put_ids(e, e->t->suffix, e->t->n_suffix, err);
  if (s != LCT_OK) out->len = before; /* all or nothing */
  e->out = NULL;
  return s;
}

lct_status lct_encode_again(lct_encoder *e, const char *text, size_t n, size_t same, lct_tokens *tokens, lct_seams *seams, size_t *kept,
                            lct_error *err) {
  while (seams->len > 0 && seams->data[seams->len - 1].seen > same) seams->len--;
  lct_seam from = seams->len > 0 ? seams->data[seams->len - 1] : (lct_seam){0};
  *kept = tokens->len = from.n_tokens;
  e->out = tokens;
  lct_status s = check_text(text, from.begin, n, err);
  if (s == LCT_OK) s = encode_text(e, (const unsigned char *)text, n, 0, from, seams, err);
  if (s != LCT_OK) tokens->len = seams->len = 0;
  e->out = NULL;
  return s;
}
