/* The built-in tokenizer: byte-level BPE of Qwen2's kind, small, with the ChatML tokens. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/synth_internal.h"

#define SPLIT                                                                                                       \
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|" \
  "\\s+(?!\\S)|\\s+"

#define CHAT_TEMPLATE                                                                                              \
  "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + " \
  "'\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

/* Merges in order of rank, learnt from English small talk: "left right", a space written as _ */
static const char merges[] =
    "_ t|_ a|o u|h e|i n|r e|_ s|_ w|h a|_ y|_y ou|_t he|_ m|o n|_ I|_ c|e r|_t o|_ b|i t|l l|o r|_ f|_ d|in g|i s|a n|"
    "_ p|e s|_ l|v e|ha t|_ g|n d|_ o|o m|_ n|e n|_ ha|o w|e t|a r|_ in|a t|e d|a y|_ it|s t|l e|_t h|_o f|k e|_ is|"
    "_a nd|i c|_b e|s e|o t|_f or|l d|_ e|' s|_ha ve|_ on|o o|_ he|_ re|_d o|u t|_m e|_ h|_w e|_t hat|g h|v er|i d|"
    "ou ld|a l|_you r|_l i|a s|ou t|r i|_a re|gh t|a ll|_c an|_ u|i on|i m|_ T|i ll|en t|a c|' t|_ W|om e|_n e|r o|_s t|"
    "l y|_a n|_m y|i r|_li ke|_s e|it h|Y ou|_g o|_ k|_w ith|a d|e ll|c h|_th is|t er|ha n|_a b|oo d|an t|u st|ou r|a m|"
    "_ j|in k|a ke|all y|i f|_a t|_s o|ver y|_w ill|Y es|_ab out|n t|_ A|_ M|he r|_s u|_th ink|_g et|_ H|c t|r y|' m|"
    "_d on|W hat|c e|_k n|_ S|_ C|_w or|_s h|_n ot|_kn ow|o p|e a|oo k|t h|u r|o re|_a s|_b ut|b le|_ B|_w as|_the re|"
    "_se e|ic e|g e|_c om|r a|im e|in d|_s ome|p p|' ll|_w ant|at ion|_e x|a se|ri ght|_a ll|u s|han k|D o|_I t|_an y|"
    "_ or|_p ro|_on e|e re|he n|_w ould|I t|_w hat|i ght|i ve|i l|_ right|_g ood|_a l|_ very|_j ust|_t ime|ar t|e l|u l|"
    "he re|_ne ed|le ase|at e|T hat|es t|_ out|_wor k|r om|_ You|on e|es s|on g|_m u|_he re|W ell|_p l|_s p|q u|c k|"
    "u re|_mu ch|_a m|_re ally|_w h|m ent|N o|. .|_to o|_go ing|_u p|_t ake|a st|in e|d ay|_d e|O h|H ow|a in|or t|an y|"
    "_l ook|_com p|er s|_ if|ac k|o s|_d id|_f rom|_ our|i g|l p|_he lp|_c o|_ r|_T he|e nd|ou nd|_p lease|ar d|_the y|"
    "_u s|i e|e ar|_ L|u n|_a f|an d|_n ow|_c on|_f e|_sh ould|ay s|n ing|a re|re at|_of f|_W hat|h ing|_m o|T he|re s|"
    "_l o|it e|u m|_ qu|_in t|_c l|' ve|ic k|_the m|a k|_m ore|_m ake|_be en|_W e|am e|is t|o b|_g ot|_ne w|it y|' re|"
    "T hank|e ct|_ P|th ing|re e|_ v|_ ro|_ E|_ D";

static const char *const specials[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};

#define MAX_TOKEN 64 /* bytes of the longest merged token, in its written form */

/* GPT-2's way to write a byte as a printable character: itself where it is one, else the next free one from U+0100. */
static int byte_char(int byte) {
  int next = 256;
  for (int b = 0; b < 256; b++) {
    bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    if (b == byte) return printable ? b : next;
    if (!printable) next++;
  }
  return -1;
}

/* Characters here are below U+0800. */
static void put_char(int c, char out[3]) {
  if (c < 0x80) {
    out[0] = (char)c;
    out[1] = '\0';
  } else {
    out[0] = (char)(0xc0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3f));
    out[2] = '\0';
  }
}

/* Tokens of single bytes, in GPT-2's order: printable ones first. */
static int add_bytes(json_t *vocab) {
  int bad = 0, id = 0;
  for (int pass = 0; pass < 2; pass++) {
    for (int b = 0; b < 256; b++) {
      int c = byte_char(b);
      char text[3];
      if ((c >= 256) != (pass == 1)) continue;
      put_char(c, text);
      bad |= json_object_set_new(vocab, text, json_integer(id++));
    }
  }
  return bad;
}

/* "_t he" -> left "\u0120t", right "he". */
static void spell(const char *from, size_t n, char *out) {
  char space[3];
  put_char(byte_char(' '), space);
  for (size_t i = 0; i < n; i++) {
    if (from[i] == '_') *out++ = space[0], *out++ = space[1];
    else *out++ = from[i];
  }
  *out = '\0';
}

static int add_merges(json_t *vocab, json_t *list) {
  int bad = 0, id = 256;
  for (const char *p = merges; *p != '\0';) {
    size_t n = strcspn(p, "|"), left = strcspn(p, " ");
    char a[MAX_TOKEN], b[MAX_TOKEN], both[2 * MAX_TOKEN + 1];
    spell(p, left, a);
    spell(p + left + 1, n - left - 1, b);
    (void)snprintf(both, sizeof both, "%s %s", a, b);
    bad |= json_array_append_new(list, json_string(both));
    (void)snprintf(both, sizeof both, "%s%s", a, b);
    bad |= json_object_set_new(vocab, both, json_integer(id++));
    p += n;
    if (*p == '|') p++;
  }
  return bad;
}

static int add_specials(json_t *added, int first) {
  int bad = 0;
  for (int i = 0; i < (int)(sizeof specials / sizeof specials[0]); i++) {
    bad |= json_array_append_new(added, json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", first + i, "content", specials[i],
                                                  "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1));
  }
  return bad;
}

static json_t *byte_level(void) {
  return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 0, "use_regex", 0);
}

/* tokenizer.json; NULL when memory is out. */
static json_t *build_tokenizer(int *n_plain) {
  json_t *vocab = json_object(), *list = json_array(), *added = json_array();
  int bad = add_bytes(vocab);
  bad |= add_merges(vocab, list);
  *n_plain = (int)json_object_size(vocab);
  bad |= add_specials(added, *n_plain);
  json_t *model = json_pack("{s:s, s:n, s:n, s:s, s:s, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout", "unk_token",
                            "continuing_subword_prefix", "", "end_of_word_suffix", "", "fuse_unk", 0, "byte_fallback", 0, "ignore_merges",
                            0, "vocab", vocab, "merges", list);
  json_t *split = json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", SPLIT, "behavior", "Isolated", "invert", 0);
  json_t *root = json_pack("{s:s, s:n, s:n, s:o, s:{s:s}, s:{s:s, s:[o, o]}, s:o, s:o, s:o}", "version", "1.0", "truncation", "padding",
                           "added_tokens", added, "normalizer", "type", "NFC", "pre_tokenizer", "type", "Sequence", "pretokenizers", split,
                           byte_level(), "post_processor", byte_level(), "decoder", byte_level(), "model", model);
  if (bad != 0) {
    json_decref(root);
    return NULL;
  }
  return root;
}

static json_t *build_config(void) {
  return json_pack("{s:s, s:s, s:s, s:n, s:n, s:b, s:b, s:i, s:s}", "tokenizer_class", "PreTrainedTokenizerFast", "eos_token", specials[2],
                   "pad_token", specials[0], "bos_token", "unk_token", "add_prefix_space", 0, "clean_up_tokenization_spaces", 0,
                   "model_max_length", 131072, "chat_template", CHAT_TEMPLATE);
}

/* Takes the reference to root. */
static lct_status write_json(const char *dir, const char *name, json_t *root, lct_error *err) {
  lct_buf path = {0};
  char *text = json_dumps(root, JSON_INDENT(1));
  json_decref(root);
  lct_status s = text == NULL ? lct_fail(err, LCT_E_NOMEM, "out of memory for %s", name) : lct_path_join(&path, dir, name, err);
  if (s == LCT_OK) s = lct_file_write_atomic(path.data, text, strlen(text), err);
  free(text);
  lct_buf_free(&path);
  return s;
}

lct_status lct_synth_write_tokenizer(const char *dir, lct_synth_vocab *out, lct_error *err) {
  int plain = 0;
  LCT_TRY(write_json(dir, "tokenizer.json", build_tokenizer(&plain), err));
  *out = (lct_synth_vocab){.vocab = plain + 3, .n_eos = 2, .eos = {plain + 2, plain}};
  return write_json(dir, "tokenizer_config.json", build_config(), err);
}
