/* Chat templates: messages -> prompt text, with the span of each message's own content. */
#ifndef LCT_TEXT_TEMPLATE_H
#define LCT_TEXT_TEMPLATE_H

#include "base/mem.h"

#define LCT_TEMPLATES(X)                                                       \
  X(CHATML, "chatml", "plain ChatML")                                          \
  X(QWEN2, "qwen2", "Qwen2: ChatML with a default system prompt")              \
  X(QWEN25, "qwen2.5", "Qwen2.5: ChatML with Qwen's default system prompt")    \
  X(QWEN3, "qwen3", "Qwen3: <think> blocks, thinking on or off")               \
  X(QWEN3_INSTRUCT, "qwen3-instruct", "Qwen3 Instruct (2507): never thinks")   \
  X(QWEN3_THINKING, "qwen3-thinking", "Qwen3 Thinking (2507): always thinks")  \
  X(SMOLLM2, "smollm2", "SmolLM2: ChatML with SmolLM's default system prompt") \
  X(LLAMA3, "llama3", "Llama 3: header/eot form")                              \
  X(LLAMA31, "llama3.1", "Llama 3.1, 3.2, 3.3: Llama 3 with a dated system block")

typedef enum {
#define LCT_TEMPLATE_ENUM(id, name, what) LCT_TEMPLATE_##id,
  LCT_TEMPLATES(LCT_TEMPLATE_ENUM)
#undef LCT_TEMPLATE_ENUM
      LCT_TEMPLATE_COUNT
} lct_template_kind;

typedef struct {
  lct_template_kind kind;
  bool enable_thinking;     /* Qwen3's enable_thinking; default true */
  bool always_prompt;       /* the template adds the generation prompt whether asked to or not (the first Llama 3 files) */
  const char *bos_token;    /* what a Llama template puts first, "<|begin_of_text|>" by default; ChatML kinds do not use it */
  const char *date_string;  /* Llama 3.1+ "Today Date"; NULL: "26 Jul 2024", the template's own fixed date (Llama 3.2's asks
                               the clock first, but a scan must not depend on the day it is made) */
  char default_system[512]; /* ChatML kinds: system prompt put in when the first message is not one; "" for none */
  char hash[65];            /* SHA-256 of the template text recognised, or of the kind's name when chosen by name */
} lct_template;

/* Recognises a Jinja text by its normal form (see template_jinja.c), whatever its default system prompt. A text that is not
 * known to render as one of our kinds is LCT_E_UNSUPPORTED, with the way to override (--chat-template NAME) and the names. */
lct_status lct_template_recognise(const char *jinja, lct_template *out, lct_error *err) LCT_CHECKED;
/* By name ("qwen2.5", …): LCT_E_USAGE lists the names. */
lct_status lct_template_by_name(const char *name, lct_template *out, lct_error *err) LCT_CHECKED;
const char *lct_template_name(lct_template_kind k);

typedef struct {
  size_t begin, end; /* bytes of text */
} lct_span;

typedef struct {
  lct_buf text;
  lct_span *spans; /* n_messages: where each message's own content stands in text, after the template's trimming; of a Qwen3
                      assistant message the answer, without its reasoning, wherever the message stands; begin == end when
                      nothing of it is rendered */
  size_t n_spans, cap_spans;
  size_t *starts; /* (n_spans) bytes of text before anything of the message */
  size_t cap_starts;
} lct_rendered;
void lct_rendered_free(lct_rendered *r);

/* apply_chat_template(messages, tokenize=False, add_generation_prompt=...). Contents must be valid UTF-8 (else LCT_E_FORMAT).
 * LCT_E_USAGE without messages, or for a message without a role. On failure *out is empty. */
lct_status lct_template_render(const lct_template *t, const lct_message *messages, size_t n_messages, bool add_generation_prompt,
                               lct_rendered *out, lct_error *err) LCT_CHECKED;

/* What two renderings have in common at their beginnings: messages' spans, and bytes. */
typedef struct {
  size_t n_messages, n_bytes;
} lct_same;
/* With the generation prompt. *out holds the same for the first of these messages, fewer than n_messages (or nothing, all zero): only what
 * the new ones change is rendered again. On failure *out is empty. */
lct_status lct_template_render_on(const lct_template *t, const lct_message *messages, size_t n_messages, lct_rendered *out, lct_same *same,
                                  lct_error *err) LCT_CHECKED;

#endif
