#include "run/item.h"

lct_status lct_item_make(const lct_subject *s, lct_encoder *e, const lct_message *messages, size_t n, lct_tokens *scratch, lct_arena *arena,
                         lct_item *out, lct_error *err) {
  lct_token_range *content = lct_arena_alloc(arena, n * sizeof *content);
  lct_role *roles = lct_arena_alloc(arena, n * sizeof *roles);
  if (content == NULL || roles == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a conversation");
  LCT_TRY(lct_prompt_tokenise(&s->template, e, messages, n, scratch, content, err));
  int32_t *ids = lct_arena_alloc(arena, scratch->len * sizeof *ids);
  if (ids == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a conversation");
  for (size_t i = 0; i < scratch->len; i++) ids[i] = scratch->data[i].id;
  for (size_t i = 0; i < n; i++) roles[i] = lct_role_of(messages[i].role);
  *out =
      (lct_item){.tail = ids, .n_tokens = (int32_t)scratch->len, .content = content, .roles = roles, .message = (int32_t)n - 1, .seq = -1};
  return LCT_OK;
}
