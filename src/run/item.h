/* A prompt from messages, ready to be added to a unit. */
#ifndef LCT_RUN_ITEM_H
#define LCT_RUN_ITEM_H

#include "run/unit.h"
#include "subject/subject.h"

/* Renders messages [0, n) with the generation prompt and tokenises them; ids, content and roles of *out are the arena's. scratch is reused. */
lct_status lct_item_make(const lct_subject *s, lct_encoder *e, const lct_message *messages, size_t n, lct_tokens *scratch, lct_arena *arena,
                         lct_item *out, lct_error *err) LCT_CHECKED;

#endif
