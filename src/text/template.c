#include "text/template.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/utf8.h"
#include "text/template_internal.h"

#define LLAMA_BOS "<|begin_of_text|>"
#define QWEN_SYSTEM "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
#define QWEN2_SYSTEM "You are a helpful assistant."
#define SMOLLM_SYSTEM "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
#define ALL_NAMES_SIZE 256

static const char *const names[LCT_TEMPLATE_COUNT] = {
#define LCT_TEMPLATE_NAME(id, name, what) [LCT_TEMPLATE_##id] = name,
    LCT_TEMPLATES(LCT_TEMPLATE_NAME)
#undef LCT_TEMPLATE_NAME
};

/* SHA-256 of the normal forms that are known, with the default system prompt masked. */
static const struct {
  char sha256[65];
  lct_template_kind kind;
  bool always_prompt;
} known[] = {
    /* a loop over messages */
    {"325b62c9fe7a3d91663cc468f1bdb045b7ea52f765bb223631e931c930c547d4", LCT_TEMPLATE_CHATML, false},
    /* the same after a default for add_generation_prompt */
    {"d21bcd593426beed3026c52ce5881d31b7fccab1280be73d791bdf1bb13231f2", LCT_TEMPLATE_CHATML, false},
    /* the same with a default system prompt: Qwen1.5, Qwen2, SmolLM2 */
    {"c95de24bb22aed169c3e1f1dae846189649c9d1b55d8e7ff1ffb313b60fe0dfb", LCT_TEMPLATE_QWEN2, false},
    /* Qwen2.5, its Coder and Math sisters, MiMo */
    {"12e290ebf632fb4bed8edaf809afbc339169c4753ab53a08a7401edaae5c224c", LCT_TEMPLATE_QWEN25, false},
    /* Qwen3, April 2025 */
    {"497c62b051348f4dbb19664a6f192257b7bb0af0732e08ca9ebc3599ad93928b", LCT_TEMPLATE_QWEN3, false},
    /* Qwen3, July 2025 */
    {"a02140fa5c9b9534de04bc0f31a5c15a906c98ee15a954ded53f3cc71fe01bc5", LCT_TEMPLATE_QWEN3, false},
    {"d97e649c70c53513385b512eb9f11fc1a71e52144cf7a7d3ff295d06cf34a0ae", LCT_TEMPLATE_QWEN3_INSTRUCT, false},
    {"600c2acbac3b8c050e2f06ee2ce23516a7d140ca816683536b32cf8742e44162", LCT_TEMPLATE_QWEN3_THINKING, false},
    {"3a5b50d4c398f9095d0acc823539a8ff86646a7f545bf7b31fb9d3b276e1dff5", LCT_TEMPLATE_LLAMA3, false},
    {"858ee1dee3097eed55bcde123ac4f46974a3efd243c91294bfcfb2a4ca853223", LCT_TEMPLATE_LLAMA3, true},
    /* Llama 3.1, 3.3 */
    {"c372c629b988bf070833982a4b66cc2368edc8b41255f7809f90f03b89c658c6", LCT_TEMPLATE_LLAMA31, false},
    /* Llama 3.2 */
    {"c347d515e94c232266d835339a041125f7dde15e503a5b329d233ff7e3181efe", LCT_TEMPLATE_LLAMA31, false},
};

const char *lct_template_name(lct_template_kind k) { return k < LCT_TEMPLATE_COUNT ? names[k] : "?"; }

static void list_names(char out[ALL_NAMES_SIZE]) {
  size_t n = 0;
  for (int k = 0; k < LCT_TEMPLATE_COUNT; k++) {
    size_t len = strlen(names[k]);
    if (n + len + 3 > ALL_NAMES_SIZE) break;
    if (k > 0) n += (size_t)(stpcpy(out + n, ", ") - (out + n));
    memcpy(out + n, names[k], len);
    n += len;
  }
  out[n] = '\0';
}

static void set_kind(lct_template *t, lct_template_kind kind) {
  const char *system = kind == LCT_TEMPLATE_QWEN2     ? QWEN2_SYSTEM
                       : kind == LCT_TEMPLATE_QWEN25  ? QWEN_SYSTEM
                       : kind == LCT_TEMPLATE_SMOLLM2 ? SMOLLM_SYSTEM
                                                      : "";
  bool llama = kind == LCT_TEMPLATE_LLAMA3 || kind == LCT_TEMPLATE_LLAMA31;
  *t = (lct_template){.kind = kind, .enable_thinking = true, .bos_token = llama ? LLAMA_BOS : ""};
  memcpy(t->default_system, system, strlen(system) + 1);
}

lct_status lct_template_by_name(const char *name, lct_template *out, lct_error *err) {
  for (int k = 0; k < LCT_TEMPLATE_COUNT; k++) {
    if (strcmp(name, names[k]) != 0) continue;
    set_kind(out, (lct_template_kind)k);
    lct_sha256_hex(name, strlen(name), out->hash);
    return LCT_OK;
  }
  char list[ALL_NAMES_SIZE];
  list_names(list);
  return lct_fail(err, LCT_E_USAGE, "unknown chat template \"%s\"; known: %s", name, list);
}

/* ChatML with a default system prompt is one text for many models; the prompt says which. */
static lct_template_kind kind_by_system(lct_template_kind kind, const char *system) {
  if (kind != LCT_TEMPLATE_QWEN2) return kind;
  if (strcmp(system, SMOLLM_SYSTEM) == 0) return LCT_TEMPLATE_SMOLLM2;
  /* Qwen1.5 has it without the full stop */
  bool qwen = strncmp(system, QWEN2_SYSTEM, strlen(QWEN2_SYSTEM) - 1) == 0 && strlen(system) + 1 >= strlen(QWEN2_SYSTEM) &&
              strlen(system) <= strlen(QWEN2_SYSTEM);
  return qwen ? LCT_TEMPLATE_QWEN2 : LCT_TEMPLATE_CHATML;
}

lct_status lct_template_recognise(const char *jinja, lct_template *out, lct_error *err) {
  size_t n = strlen(jinja);
  lct_buf normal = {0};
  char system[sizeof out->default_system], text_hash[65], normal_hash[65];
  bool ok = false;
  lct_sha256_hex(jinja, n, text_hash);
  lct_status status = lct_template_normal_form(jinja, n, &normal, &ok, err);
  if (status == LCT_OK && ok && lct_template_mask_system(&normal, system, sizeof system)) {
    lct_sha256_hex(normal.data, normal.len, normal_hash);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
      if (strcmp(known[i].sha256, normal_hash) != 0) continue;
      set_kind(out, kind_by_system(known[i].kind, system));
      out->always_prompt = known[i].always_prompt;
      memcpy(out->default_system, system, sizeof system);
      memcpy(out->hash, text_hash, sizeof text_hash);
      lct_buf_free(&normal);
      return LCT_OK;
    }
  }
  lct_buf_free(&normal);
  if (status != LCT_OK) return status;
  char list[ALL_NAMES_SIZE];
  list_names(list);
  return lct_fail(err, LCT_E_UNSUPPORTED,
                  "the model's chat template (%zu bytes, SHA-256 %.16s...) is none of those known here; choose one with "
                  "--chat-template NAME, NAME one of: %s",
                  n, text_hash, list);
}

void lct_rendered_free(lct_rendered *r) {
  if (r == NULL) return;
  lct_buf_free(&r->text);
  free(r->spans);
  free(r->starts);
  *r = (lct_rendered){0};
}

static lct_status check_messages(const lct_message *m, size_t first, size_t n, lct_error *err) {
  if (n == 0) return lct_fail(err, LCT_E_USAGE, "a chat template needs at least one message, got none");
  for (size_t i = first; i < n; i++) {
    if (m[i].role == NULL) return lct_fail(err, LCT_E_USAGE, "message %zu has no role", i);
    if (m[i].content_len > 0 && !lct_utf8_valid(m[i].content, m[i].content_len)) {
      return lct_fail(err, LCT_E_FORMAT, "message %zu (%s): content is not valid UTF-8", i, m[i].role);
    }
  }
  return LCT_OK;
}

static lct_status render_from(const lct_template *t, const lct_message *messages, size_t n, size_t first, bool add_generation_prompt,
                              lct_rendered *out, lct_error *err) {
  LCT_TRY(check_messages(messages, out->n_spans, n, err));
  LCT_TRY(lct_grow(&out->spans, &out->cap_spans, n, sizeof *out->spans, "message spans", err));
  LCT_TRY(lct_grow(&out->starts, &out->cap_starts, n, sizeof *out->starts, "message spans", err));
  LCT_TRY(lct_buf_puts(&out->text, "", err)); /* a string even when every message is left out */
  for (size_t i = out->n_spans; i < n; i++) out->spans[i] = (lct_span){0};
  out->n_spans = n;
  bool llama = t->kind == LCT_TEMPLATE_LLAMA3 || t->kind == LCT_TEMPLATE_LLAMA31;
  return llama ? lct_template_render_llama(t, messages, n, first, add_generation_prompt, out, err)
               : lct_template_render_chatml(t, messages, n, first, add_generation_prompt, out, err);
}

lct_status lct_template_render(const lct_template *t, const lct_message *messages, size_t n_messages, bool add_generation_prompt,
                               lct_rendered *out, lct_error *err) {
  *out = (lct_rendered){0};
  lct_status status = render_from(t, messages, n_messages, 0, add_generation_prompt, out, err);
  if (status != LCT_OK) lct_rendered_free(out);
  return status;
}

lct_status lct_template_render_on(const lct_template *t, const lct_message *messages, size_t n_messages, lct_rendered *out, lct_same *same,
                                  lct_error *err) {
  lct_buf before = {0}; /* what is rendered again, as it was */
  *same = (lct_same){.n_messages = lct_template_settled(t, messages, out->n_spans)};
  if (same->n_messages > 0) same->n_bytes = out->starts[same->n_messages];
  lct_status status = LCT_OK;
  if (out->n_spans > 0) status = lct_buf_append(&before, out->text.data + same->n_bytes, out->text.len - same->n_bytes, err);
  if (status == LCT_OK) status = render_from(t, messages, n_messages, same->n_messages, true, out, err);
  if (status != LCT_OK) lct_rendered_free(out);
  for (size_t i = 0; i < before.len && same->n_bytes < out->text.len && before.data[i] == out->text.data[same->n_bytes]; i++) {
    same->n_bytes++;
  }
  lct_buf_free(&before);
  return status;
}
