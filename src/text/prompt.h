/* From messages to the tokens of a prompt, and the choice of a model's chat template. */
#ifndef LCT_TEXT_PROMPT_H
#define LCT_TEXT_PROMPT_H

#include "text/template.h"
#include "text/tokenizer.h"

/* Tokens [from, to) of a prompt, e.g. those of a message's own text; equal: it has none. */
typedef struct {
  int32_t from, to;
} lct_token_range;

/* Roles as numbers: of axes, moments and the neutral bank's bins. Every role that is not the first two counts as the third. */
typedef enum { LCT_ROLE_SYSTEM, LCT_ROLE_USER, LCT_ROLE_ASSISTANT, LCT_N_ROLES } lct_role;
lct_role lct_role_of(const char *name);

/* Renders messages with the generation prompt and tokenises the whole text, once. tokens is emptied first. content[i] (n of them, may be
 * NULL): where message i's own text lies; a token belongs to the message if it begins inside the message's span. */
lct_status lct_prompt_tokenise(const lct_template *t, lct_encoder *e, const lct_message *messages, size_t n, lct_tokens *tokens,
                               lct_token_range *content, lct_error *err) LCT_CHECKED;

/* One of a row of prompts. Its first `shared` tokens are those of the prompt before it, and no more are. */
typedef struct {
  int32_t n_tokens, shared;
  const int32_t *tail;            /* (n_tokens - shared) */
  const lct_token_range *content; /* (messages): as lct_prompt_tokenise has it */
} lct_tokenised;

/* What is known of the prompt that was made last. Zero-initialise; reusable. */
typedef struct {
  lct_rendered rendered;
  lct_tokens tokens;
  lct_seams seams;
  int32_t *ids; /* (tokens.len) */
  size_t cap_ids;
  lct_token_range *content; /* (n_content), the arena's, room for cap_content */
  size_t n_content, cap_content;
  lct_token_range *placed; /* scratch */
  size_t cap_placed;
} lct_prompts;
/* The next prompt has nothing to do with the one before. */
void lct_prompts_begin(lct_prompts *p);
void lct_prompts_free(lct_prompts *p);

/* The prompt of messages[0..n), token for token and position for position that of lct_prompt_tokenise. messages begins with the fewer messages
 * of the prompt before it, and what the two have in common is not rendered and tokenised again: of a conversation's prefixes, each piece of
 * text once. Templates whose early turns depend on later ones share less. out's lists are the arena's, which must be the same one from
 * lct_prompts_begin on. On failure lct_prompts_begin is to follow. */
lct_status lct_prompts_next(lct_prompts *p, const lct_template *t, lct_encoder *e, const lct_message *messages, size_t n, lct_arena *arena,
                            lct_tokenised *out, lct_error *err) LCT_CHECKED;

/* The template named, or else the tokenizer's own recognised; model names it in messages. */
lct_status lct_template_choose(const lct_tokenizer *t, const char *name, bool no_thinking, const char *model, lct_template *out,
                               lct_error *err) LCT_CHECKED;

#endif
