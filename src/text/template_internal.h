/* Between the template files: what each kind does, and the normal form by which a Jinja text is recognised. */
#ifndef LCT_TEXT_TEMPLATE_INTERNAL_H
#define LCT_TEXT_TEMPLATE_INTERNAL_H

#include "text/template.h"

/* Renderers of messages [first, n), which replace what is rendered from message `first` on; 0: everything. n >= 1, roles are not NULL, and
 * there is room for the spans and starts of n. */
lct_status lct_template_render_chatml(const lct_template *t, const lct_message *m, size_t n, size_t first, bool add_generation_prompt,
                                      lct_rendered *out, lct_error *err) LCT_CHECKED;
lct_status lct_template_render_llama(const lct_template *t, const lct_message *m, size_t n, size_t first, bool add_generation_prompt,
                                     lct_rendered *out, lct_error *err) LCT_CHECKED;
/* Of messages [0, n), how many are rendered the same whatever messages follow. */
size_t lct_template_settled(const lct_template *t, const lct_message *m, size_t n);

/* The normal form of a Jinja text: two texts with the same one render alike. Output and statements become tokens; whitespace
 * control, quoting, `a.b` against `a['b']`, comments, and where text ends and an expression begins are normalised away.
 * *ok is false (and out unspecified) when the text uses something the normal form has no word for. */
lct_status lct_template_normal_form(const char *jinja, size_t n, lct_buf *out, bool *ok, lct_error *err) LCT_CHECKED;

/* Replaces the ChatML default system prompt, if the normal form has one, by a mark, and copies it to system (size bytes).
 * False when there is one that does not fit. */
bool lct_template_mask_system(lct_buf *normal, char *system, size_t size);

#endif
