/* From messages to the tokens of a prompt, and the choice of a model's chat template. */
#ifndef LCT_TEXT_PROMPT_H
#define LCT_TEXT_PROMPT_H

#include "text/template.h"
#include "text/tokenizer.h"

/* Positions of a message's own text: [from, to); equal: it has none. */
typedef struct {
  int32_t from, to;
} lct_positions;

/* Roles as numbers: of axes, moments and the neutral bank's bins. Every role that is not the first two counts as the third. */
typedef enum { LCT_ROLE_SYSTEM, LCT_ROLE_USER, LCT_ROLE_ASSISTANT, LCT_N_ROLES } lct_role;
lct_role lct_role_of(const char *name);

/* Renders messages with the generation prompt and tokenises the whole text, once. tokens is emptied first. content[i] (n of them, may be
 * NULL): where message i's own text lies; a token belongs to the message if it begins inside the message's span. */
lct_status lct_prompt_tokenise(const lct_template *t, lct_encoder *e, const lct_message *messages, size_t n, lct_tokens *tokens,
                               lct_positions *content, lct_error *err) LCT_CHECKED;

/* The template named, or else the tokenizer's own recognised; model names it in messages. */
lct_status lct_template_choose(const lct_tokenizer *t, const char *name, bool no_thinking, const char *model, lct_template *out,
                               lct_error *err) LCT_CHECKED;

#endif
