/* Replies token by token. Usage: reply MODEL FINGERPRINTS TALKS MAX_TOKENS SEED; prints the reply to the first conversation, drawn unless SEED is 0. */
#include <math.h>

#include "talks.h"

typedef struct {
  char text[1 << 14];
  size_t len;
  int32_t ids[512];
  int n, stop_at;
  float first[4096], first_score; /* what came with token 0 */
  size_t n_first;
} heard;

static int is_utf8(const char *s, size_t n) {
  for (size_t i = 0; i < n;) {
    unsigned char c = (unsigned char)s[i];
    size_t more = c < 0x80 ? 0 : c >= 0xC2 && c < 0xE0 ? 1 : c >= 0xE0 && c < 0xF0 ? 2 : c >= 0xF0 && c < 0xF5 ? 3 : n;
    if (i + more >= n) return 0;
    for (size_t k = 1; k <= more; k++) {
      if (((unsigned char)s[i + k] & 0xC0) != 0x80) return 0;
    }
    i += more + 1;
  }
  return 1;
}

static bool on_token(void *ctx, const lct_reply_token *t) {
  heard *h = ctx;
  if (t->number != h->n || !is_utf8(t->text, t->text_len) || t->text[t->text_len] != '\0') stop("a piece of text", NULL);
  if (!(t->probability > 0 && t->probability <= 1) || fabsf(logf(t->probability) - t->logprob) > 1e-4f || !(t->entropy >= 0))
    stop("a probability", NULL);
  if (t->vectors == NULL || t->scores == NULL) stop("a state", NULL);
  if (h->n == 0) {
    memcpy(h->first, t->vectors, h->n_first * sizeof *h->first);
    h->first_score = t->scores[0];
  }
  memcpy(h->text + h->len, t->text, t->text_len);
  h->len += t->text_len;
  h->ids[h->n++] = t->id;
  return h->n != h->stop_at;
}

static char text[1 << 16];
static talk talks[MAX_TALKS];

int main(int argc, char **argv) {
  static heard all, part, again;
  lct_error err = {0};
  lct_subject *model = NULL;
  lct_fingerprints *f = NULL;
  lct_observer *o = NULL;
  lct_observation *x = NULL;
  lct_reply_result r;
  if (argc != 6 || read_talks(argv[3], text, talks) < 1) return 2;
  if (lct_model_open(&(lct_model_options){.id = argv[1], .device = "cpu"}, &model, &err) != LCT_OK) stop("model", &err);
  if (lct_fingerprints_open(argv[2], &f, &err) != LCT_OK) stop("fingerprints", &err);
  if (lct_observer_new(model, f, NULL, &o, &err) != LCT_OK) stop("observer", &err);
  const lct_observer_axes *a = lct_observer_get_axes(o);
  const lct_message *messages = talks[0].messages;
  size_t n = talks[0].n;
  uint64_t seed = strtoull(argv[5], NULL, 10);
  lct_reply_options p = {.max_tokens = atoi(argv[4]), .do_sample = seed > 0, .temperature = 1.5, .seed = seed};
  all.n_first = (size_t)a->n_layers * (size_t)a->widths[0];
  if (lct_generate(o, messages, n, &p, on_token, &all, &r, &err) != LCT_OK) stop("generate", &err);
  if (r.n_tokens != all.n || r.why == LCT_REPLY_STOPPED) stop("the result", NULL);
  if (lct_observe(o, messages, n, &x, &err) != LCT_OK) stop("observe", &err);
  if (r.n_prompt != lct_observation_get(x, 0)->n_tokens ||
      memcmp(all.first, lct_observation_vector(x, 0, 0, 0, 0), all.n_first * sizeof(float)) != 0 ||
      all.first_score != lct_observation_score(x, 0, 0, 0, 0, 0, 0)) {
    stop("the state of the first token is not the conversation's own", NULL);
  }
  part = (heard){.stop_at = 3, .n_first = all.n_first};
  if (lct_generate(o, messages, n, &p, on_token, &part, &r, &err) != LCT_OK) stop("generate", &err);
  if (r.why != LCT_REPLY_STOPPED || r.n_tokens != 3 || memcmp(part.ids, all.ids, 3 * sizeof *all.ids) != 0)
    stop("a reply that was stopped", NULL);
  again.n_first = all.n_first;
  if (lct_generate(o, messages, n, &p, on_token, &again, &r, &err) != LCT_OK) stop("generate", &err);
  if (again.n != all.n || memcmp(again.ids, all.ids, sizeof all.ids) != 0) stop("the same seed gives another reply", NULL);
  printf("%.*s", (int)all.len, all.text);
  lct_observation_free(x);
  lct_observer_free(o);
  lct_fingerprints_free(f);
  lct_model_free(model);
  return 0;
}
