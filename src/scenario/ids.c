#include "scenario/ids.h"

#include <sha256.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 1024, LINE_BITS = 44, FILE_BITS = 64 - LINE_BITS };

static lct_id_slot *find(lct_id_slot *slots, size_t n_slots, const uint64_t hash[2]) {
  for (size_t i = hash[0] & (n_slots - 1);; i = (i + 1) & (n_slots - 1)) {
    lct_id_slot *s = &slots[i];
    if (s->place == 0 || memcmp(s->hash, hash, sizeof s->hash) == 0) return s;
  }
}

static lct_status grow(lct_ids *t, lct_error *err) {
  if ((t->n_ids + 1) * 4 <= t->n_slots * 3) return LCT_OK;
  size_t n = t->n_slots > 0 ? t->n_slots * 2 : FIRST_SLOTS;
  lct_id_slot *slots = NULL;
  LCT_TRY(lct_calloc(&slots, n, sizeof *slots, "the conversations' ids", err));
  for (size_t i = 0; i < t->n_slots; i++) {
    if (t->slots[i].place != 0) *find(slots, n, t->slots[i].hash) = t->slots[i];
  }
  free(t->slots);
  t->slots = slots;
  t->n_slots = n;
  return LCT_OK;
}

lct_status lct_ids_add(lct_ids *t, const char *id, size_t n, lct_id_place place, bool *added, lct_id_place *first, lct_error *err) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  uint64_t hash[2];
  SHA2_CTX ctx;
  if (place.file >> FILE_BITS != 0 || place.line >> LINE_BITS != 0) {
    return lct_fail(err, LCT_E_LIMIT, "expected at most 2^%d files of fewer than 2^%d lines, found file %zu, line %zu", FILE_BITS,
                    LINE_BITS, place.file + 1, place.line);
  }
  LCT_TRY(grow(t, err));
  SHA256Init(&ctx);
  SHA256Update(&ctx, (const uint8_t *)id, n);
  SHA256Final(digest, &ctx);
  memcpy(hash, digest, sizeof hash);
  lct_id_slot *s = find(t->slots, t->n_slots, hash);
  *added = s->place == 0;
  if (*added) {
    memcpy(s->hash, hash, sizeof hash);
    s->place = (uint64_t)place.file << LINE_BITS | place.line;
    t->n_ids++;
  }
  *first = (lct_id_place){.file = s->place >> LINE_BITS, .line = s->place & (((uint64_t)1 << LINE_BITS) - 1)};
  return LCT_OK;
}

void lct_ids_free(lct_ids *t) {
  free(t->slots);
  *t = (lct_ids){0};
}
