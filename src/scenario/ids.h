/* Which ids there were, and where first: 24 bytes each, whatever their length. Equal are those whose SHA-256 begins with the same
 * 128 bits. */
#ifndef LCT_SCENARIO_IDS_H
#define LCT_SCENARIO_IDS_H

#include "base/mem.h"

typedef struct {
  size_t file; /* < 2^20 */
  size_t line; /* 1 .. 2^44 - 1 */
} lct_id_place;

typedef struct {
  uint64_t hash[2];
  uint64_t place; /* 0: an empty slot */
} lct_id_slot;

/* Zero-initialise. */
typedef struct {
  lct_id_slot *slots; /* (n_slots), a power of two, at most three quarters full */
  size_t n_slots, n_ids;
} lct_ids;

/* Adds id where it is new; else *added is false and *first its first place. LCT_E_LIMIT: a place beyond what a slot holds. */
lct_status lct_ids_add(lct_ids *t, const char *id, size_t n, lct_id_place place, bool *added, lct_id_place *first,
                       lct_error *err) LCT_CHECKED;
void lct_ids_free(lct_ids *t);

#endif
