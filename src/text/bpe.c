#include "text/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/bpe_internal.h"
#include "text/unicode.h"

uint32_t lct_bpe_byte_char(unsigned char byte) {
  if (byte <= 32) return 256u + byte;
  if (byte >= 127 && byte <= 160) return 289u + (byte - 127u);
  if (byte == 173) return 323u;
  return byte;
}

int lct_bpe_char_byte(uint32_t cp) {
  if (cp >= 256) {
    if (cp <= 288) return (int)(cp - 256);
    if (cp <= 322) return (int)(cp - 289 + 127);
    return cp == 323 ? 173 : -1;
  }
  return cp <= 32 || (cp >= 127 && cp <= 160) || cp == 173 ? -1 : (int)cp;
}

/* Decodes text into out (n bytes at most); returns the bytes written, or SIZE_MAX when a character is not in the alphabet. */
static size_t to_bytes(const char *text, size_t n, char *out) {
  size_t k = 0;
  for (size_t i = 0; i < n;) {
    const unsigned char *s = (const unsigned char *)text + i;
    size_t len = 1;
    int byte = lct_bpe_char_byte(s[0] < 0x80 ? s[0] : lct_utf8_decode(s, &len));
    if (byte < 0) return SIZE_MAX;
    out[k++] = (char)byte;
    i += len;
  }
  return k;
}

uint32_t lct_bpe_find(const lct_bpe *b, const char *text, size_t n) {
  if (b->n_slots == 0) return LCT_BPE_NONE;
  for (size_t i = lct_hash_bytes(text, n) & (b->n_slots - 1);; i = (i + 1) & (b->n_slots - 1)) {
    uint32_t id = b->by_text[i];
    if (id == LCT_BPE_NONE) return LCT_BPE_NONE;
    if (b->tokens[id].text_len == n && memcmp(b->tokens[id].text, text, n) == 0) return id;
  }
}

static void insert_text(lct_bpe *b, uint32_t id) {
  const lct_bpe_token *t = &b->tokens[id];
  size_t i = lct_hash_bytes(t->text, t->text_len) & (b->n_slots - 1);
  while (b->by_text[i] != LCT_BPE_NONE) i = (i + 1) & (b->n_slots - 1);
  b->by_text[i] = id;
}

static lct_status grow_texts(lct_bpe *b, lct_error *err) {
  if (b->n_slots > 0 && b->n_texts < b->n_slots / 2) return LCT_OK;
  size_t n = b->n_slots == 0 ? 1024 : b->n_slots * 2;
  uint32_t *slots = NULL;
  LCT_TRY(lct_calloc(&slots, n, sizeof *slots, "vocabulary index", err));
  memset(slots, 0xFF, n * sizeof *slots);
  free(b->by_text);
  b->by_text = slots;
  b->n_slots = n;
  for (size_t id = 0; id < b->n_tokens; id++) {
    if (b->tokens[id].in_model) insert_text(b, (uint32_t)id);
  }
  return LCT_OK;
}

static lct_status check_token(const lct_bpe *b, uint32_t id, const char *text, size_t n, bool in_model, const char *name, lct_error *err) {
  if (n >= UINT32_MAX) return lct_fail(err, LCT_E_LIMIT, "%s: token %u has %zu bytes", name, (unsigned)id, n);
  if (!lct_utf8_valid(text, n)) return lct_fail(err, LCT_E_FORMAT, "%s: token %u is not valid UTF-8", name, (unsigned)id);
  if (id < b->n_tokens && b->tokens[id].text != NULL) {
    return lct_fail(err, LCT_E_FORMAT, "%s: id %u belongs to two tokens, \"%.60s\" and \"%.*s\"", name, (unsigned)id, b->tokens[id].text,
                    (int)(n < 60 ? n : 60), text);
  }
  uint32_t other = in_model ? lct_bpe_find(b, text, n) : LCT_BPE_NONE;
  if (other != LCT_BPE_NONE) {
    return lct_fail(err, LCT_E_FORMAT, "%s: token \"%.*s\" has two ids, %u and %u", name, (int)(n < 60 ? n : 60), text, (unsigned)other,
                    (unsigned)id);
  }
  return LCT_OK;
}

lct_status lct_bpe_add_token(lct_bpe *b, uint32_t id, const char *text, size_t n, bool in_model, const char *name, lct_error *err) {
  LCT_TRY(check_token(b, id, text, n, in_model, name, err));
  if (id >= b->n_tokens) {
    size_t old = b->n_tokens;
    LCT_TRY(lct_grow(&b->tokens, &b->tokens_cap, (size_t)id + 1, sizeof *b->tokens, "vocabulary", err));
    memset(b->tokens + old, 0, ((size_t)id + 1 - old) * sizeof *b->tokens);
    b->n_tokens = (size_t)id + 1;
  }
  lct_bpe_token t = {.text_len = (uint32_t)n};
  char *copy = lct_arena_strndup(&b->arena, text, n), *bytes = lct_arena_alloc(&b->arena, n + 1);
  if (copy == NULL || bytes == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the vocabulary of %s", name);
  size_t k = to_bytes(text, n, bytes);
  t.text = copy;
  t.bytes = k == SIZE_MAX ? copy : bytes;
  t.bytes_len = (uint32_t)(k == SIZE_MAX ? n : k);
  t.in_model = in_model;
  if (in_model) LCT_TRY(grow_texts(b, err));
  b->tokens[id] = t;
  if (!in_model) return LCT_OK;
  b->n_texts++;
  insert_text(b, id);
  return LCT_OK;
}

lct_status lct_bpe_reserve_merges(lct_bpe *b, size_t n, lct_error *err) {
  size_t slots = 16;
  while (slots / 2 <= n) {
    if (!lct_mul_ok(slots, 2, &slots)) return lct_fail(err, LCT_E_LIMIT, "%zu merges are too many", n);
  }
  LCT_TRY(lct_alloc_aligned(&b->merges, slots, sizeof *b->merges, "merges", err));
  memset(b->merges, 0xFF, slots * sizeof *b->merges);
  b->n_merge_slots = slots;
  return LCT_OK;
}

static lct_status find_part(const lct_bpe *b, uint32_t rank, const char *text, size_t n, const char *name, uint32_t *id, lct_error *err) {
  *id = lct_bpe_find(b, text, n);
  if (*id != LCT_BPE_NONE) return LCT_OK;
  return lct_fail(err, LCT_E_FORMAT, "%s: merge %u needs the token \"%.*s\", which the vocabulary does not have", name, (unsigned)rank,
                  (int)(n < 120 ? n : 120), text);
}

lct_status lct_bpe_add_merge(lct_bpe *b, uint32_t rank, const char *left, size_t left_n, const char *right, size_t right_n,
                             const char *name, lct_error *err) {
  lct_bpe_merge m = {.rank = rank};
  LCT_TRY(find_part(b, rank, left, left_n, name, &m.left, err));
  LCT_TRY(find_part(b, rank, right, right_n, name, &m.right, err));
  char small[256], *joined = small;
  if (left_n + right_n > sizeof small) LCT_TRY(lct_calloc(&joined, left_n + right_n, 1, "a merge", err));
  memcpy(joined, left, left_n);
  memcpy(joined + left_n, right, right_n);
  lct_status s = find_part(b, rank, joined, left_n + right_n, name, &m.merged, err);
  if (joined != small) free(joined);
  if (s != LCT_OK) return s;
  size_t i = lct_bpe_merge_slot(b, m.left, m.right);
  while (b->merges[i].left != LCT_BPE_NONE && (b->merges[i].left != m.left || b->merges[i].right != m.right)) {
    i = (i + 1) & (b->n_merge_slots - 1);
  }
  b->merges[i] = m; /* of two equal merges the later one counts, as in tokenizers */
  return LCT_OK;
}

lct_status lct_bpe_finish(lct_bpe *b, lct_error *err) {
  for (unsigned i = 0; i < 256; i++) {
    unsigned char text[4];
    b->byte_id[i] = lct_bpe_find(b, (const char *)text, lct_utf8_encode(lct_bpe_byte_char((unsigned char)i), text));
  }
  LCT_TRY(lct_alloc_aligned(&b->byte_pair, 65536, sizeof *b->byte_pair, "byte pairs", err));
  memset(b->byte_pair, 0xFF, 65536 * sizeof *b->byte_pair);
  for (unsigned i = 0; i < 65536; i++) {
    uint32_t left = b->byte_id[i >> 8], right = b->byte_id[i & 0xFF];
    if (left == LCT_BPE_NONE || right == LCT_BPE_NONE) continue;
    const lct_bpe_merge *m = lct_bpe_find_merge(b, left, right);
    if (m != NULL) b->byte_pair[i] = (uint32_t)(m - b->merges);
  }
  return LCT_OK;
}

void lct_bpe_free(lct_bpe *b) {
  lct_arena_free(&b->arena);
  free(b->tokens);
  free(b->by_text);
  free(b->merges);
  free(b->byte_pair);
  *b = (lct_bpe){0};
}
