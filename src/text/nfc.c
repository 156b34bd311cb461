/* NFC (Unicode Standard Annex 15): decompose, order the marks, compose; only around characters that can change. */
#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"

enum { L_BASE = 0x1100, V_BASE = 0x1161, T_BASE = 0x11A7, S_BASE = 0xAC00, L_COUNT = 19, V_COUNT = 21, T_COUNT = 28 };
enum { S_COUNT = L_COUNT * V_COUNT * T_COUNT };

static unsigned mark_class(uint32_t cp) {
  size_t lo = 0, hi = lct_nfc_n_marks; /* the last run that begins at or before cp; run 0 begins at 0 */
  while (hi - lo > 1) {
    size_t mid = lo + (hi - lo) / 2;
    if ((lct_nfc_marks[mid] >> 8) <= cp) {
      lo = mid;
    } else {
      hi = mid;
    }
  }
  return lct_nfc_marks[lo] & 0xFF;
}

static const lct_nfc_pair *decomposition(uint32_t cp) {
  size_t lo = 0, hi = lct_nfc_n_decompositions;
  while (lo < hi) {
    size_t mid = lo + (hi - lo) / 2;
    if (lct_nfc_decompositions[mid].composed == cp) return &lct_nfc_decompositions[mid];
    if (lct_nfc_decompositions[mid].composed < cp) {
      lo = mid + 1;
    } else {
      hi = mid;
    }
  }
  return NULL;
}

/* The primary composite of a and b, or 0. */
static uint32_t compose(uint32_t a, uint32_t b) {
  if (a >= L_BASE && a < L_BASE + L_COUNT && b >= V_BASE && b < V_BASE + V_COUNT) {
    return S_BASE + ((a - L_BASE) * V_COUNT + (b - V_BASE)) * T_COUNT;
  }
  if (a >= S_BASE && a < S_BASE + S_COUNT && (a - S_BASE) % T_COUNT == 0 && b > T_BASE && b < T_BASE + T_COUNT) {
    return a + (b - T_BASE);
  }
  size_t lo = 0, hi = lct_nfc_n_compositions;
  while (lo < hi) {
    size_t mid = lo + (hi - lo) / 2;
    const lct_nfc_pair *p = &lct_nfc_decompositions[lct_nfc_compositions[mid]];
    if (p->first == a && p->second == b) return p->composed;
    if (p->first < a || (p->first == a && p->second < b)) {
      lo = mid + 1;
    } else {
      hi = mid;
    }
  }
  return 0;
}

static lct_status push_char(lct_nfc *nfc, uint32_t cp, uint32_t begin, uint32_t end, lct_error *err) {
  LCT_TRY(lct_grow(&nfc->chars, &nfc->chars_cap, nfc->n_chars + 1, sizeof *nfc->chars, "characters to normalise", err));
  nfc->chars[nfc->n_chars++] = (lct_nfc_char){.cp = cp, .begin = begin, .end = end};
  return LCT_OK;
}

/* Appends cp fully decomposed. The first part of a decomposition may decompose again, the second never does. */
static lct_status push_decomposed(lct_nfc *nfc, uint32_t cp, uint32_t begin, uint32_t end, lct_error *err) {
  if (cp >= S_BASE && cp < S_BASE + S_COUNT) {
    uint32_t s = cp - S_BASE;
    LCT_TRY(push_char(nfc, L_BASE + s / (V_COUNT * T_COUNT), begin, end, err));
    LCT_TRY(push_char(nfc, V_BASE + s % (V_COUNT * T_COUNT) / T_COUNT, begin, end, err));
    return s % T_COUNT == 0 ? LCT_OK : push_char(nfc, T_BASE + s % T_COUNT, begin, end, err);
  }
  uint32_t tail[8];
  size_t n = 0;
  const lct_nfc_pair *d;
  while (n < 8 && (d = decomposition(cp)) != NULL) {
    cp = d->first;
    if (d->second != 0) tail[n++] = d->second;
  }
  LCT_TRY(push_char(nfc, cp, begin, end, err));
  while (n > 0) LCT_TRY(push_char(nfc, tail[--n], begin, end, err));
  return LCT_OK;
}

static int by_class(const void *a, const void *b) {
  const lct_nfc_char *x = a, *y = b;
  return (x->order > y->order) - (x->order < y->order);
}

/* Canonical ordering: every run of marks sorted by class, equal classes in place. */
static void order_marks(lct_nfc_char *c, size_t n) {
  for (size_t i = 0; i < n;) {
    size_t j = i;
    unsigned last = 0;
    bool sorted = true;
    /* 2^24 marks in one run: beyond any text; the run is cut there so that the key holds */
    for (; j < n && j - i < 0x1000000; j++) {
      unsigned k = mark_class(c[j].cp);
      if (k == 0) break;
      if (k < last) sorted = false;
      last = k;
      c[j].order = (uint32_t)k << 24 | (uint32_t)(j - i);
    }
    if (!sorted) qsort(c + i, j - i, sizeof *c, by_class);
    for (size_t m = i; m < j; m++) c[m].order >>= 24;
    if (j < n && j - i < 0x1000000) c[j++].order = 0;
    i = j;
  }
}

/* Composes c[0..n) in place; returns the new length. */
static size_t compose_all(lct_nfc_char *c, size_t n) {
  size_t out = 0, starter = SIZE_MAX;
  unsigned last = 0; /* class of the last character kept since the starter */
  for (size_t i = 0; i < n; i++) {
    unsigned k = c[i].order;
    bool adjacent = starter != SIZE_MAX && out == starter + 1;
    if (starter != SIZE_MAX && (adjacent || last < k)) {
      uint32_t made = compose(c[starter].cp, c[i].cp);
      if (made != 0) {
        c[starter].cp = made;
        if (c[i].begin < c[starter].begin) c[starter].begin = c[i].begin;
        if (c[i].end > c[starter].end) c[starter].end = c[i].end;
        continue;
      }
    }
    if (k == 0) starter = out;
    last = k;
    c[out++] = c[i];
  }
  return out;
}

static lct_status reserve(lct_nfc *nfc, size_t more, lct_error *err) {
  size_t need = nfc->len + more;
  LCT_TRY(lct_grow(&nfc->text, &nfc->text_cap, need, 1, "normalised text", err));
  LCT_TRY(lct_grow(&nfc->begin, &nfc->begin_cap, need, sizeof *nfc->begin, "normalised text", err));
  return lct_grow(&nfc->end, &nfc->end_cap, need, sizeof *nfc->end, "normalised text", err);
}

static lct_status put_char(lct_nfc *nfc, const lct_nfc_char *c, lct_error *err) {
  LCT_TRY(reserve(nfc, 4, err));
  size_t n = lct_utf8_encode(c->cp, nfc->text + nfc->len);
  for (size_t i = 0; i < n; i++) {
    nfc->begin[nfc->len + i] = c->begin;
    nfc->end[nfc->len + i] = c->end;
  }
  nfc->len += n;
  return LCT_OK;
}

/* Normalises the characters gathered in nfc->chars and appends them. */
static lct_status flush(lct_nfc *nfc, lct_error *err) {
  order_marks(nfc->chars, nfc->n_chars);
  size_t n = compose_all(nfc->chars, nfc->n_chars);
  /* Reordered marks: widen, so that any run of output covers all the source it came from. */
  for (size_t i = 1; i < n; i++) {
    if (nfc->chars[i].end < nfc->chars[i - 1].end) nfc->chars[i].end = nfc->chars[i - 1].end;
  }
  for (size_t i = n; i-- > 1;) {
    if (nfc->chars[i - 1].begin > nfc->chars[i].begin) nfc->chars[i - 1].begin = nfc->chars[i].begin;
  }
  for (size_t i = 0; i < n; i++) LCT_TRY(put_char(nfc, &nfc->chars[i], err));
  nfc->n_chars = 0;
  return LCT_OK;
}

bool lct_nfc_is_stable(const lct_uclasses *u, const unsigned char *s, size_t n) {
  for (size_t i = 0; i < n;) {
    uint64_t word;
    if (n - i >= sizeof word && (memcpy(&word, s + i, sizeof word), (word & UINT64_C(0x8080808080808080)) == 0)) {
      i += sizeof word;
      continue;
    }
    size_t len;
    if (lct_uclass_at(u, s + i, &len) & LCT_UC_NFC) return false;
    i += len;
  }
  return true;
}

/* A character without the NFC bit is a starter that nothing before it can touch: text may be cut in front of it. */
lct_status lct_nfc_apply(lct_nfc *nfc, const lct_uclasses *u, const unsigned char *s, size_t n, lct_error *err) {
  nfc->len = nfc->n_chars = 0;
  LCT_TRY(reserve(nfc, n, err));
  lct_nfc_char last = {0};
  bool have_last = false; /* a stable character held back: the next one may compose with it */
  for (size_t i = 0; i < n;) {
    size_t len = 1;
    uint32_t cp = s[i] < 0x80 ? s[i] : lct_utf8_decode(s + i, &len);
    uint32_t begin = (uint32_t)i, end = (uint32_t)(i + len);
    i += len;
    if (lct_uclass(u, cp) & LCT_UC_NFC) {
      if (have_last) LCT_TRY(push_decomposed(nfc, last.cp, last.begin, last.end, err));
      have_last = false;
      LCT_TRY(push_decomposed(nfc, cp, begin, end, err));
      continue;
    }
    if (nfc->n_chars > 0) LCT_TRY(flush(nfc, err));
    if (have_last) LCT_TRY(put_char(nfc, &last, err));
    last = (lct_nfc_char){.cp = cp, .begin = begin, .end = end};
    have_last = true;
  }
  if (nfc->n_chars > 0) LCT_TRY(flush(nfc, err));
  return have_last ? put_char(nfc, &last, err) : LCT_OK;
}

void lct_nfc_free(lct_nfc *nfc) {
  free(nfc->text);
  free(nfc->begin);
  free(nfc->end);
  free(nfc->chars);
  *nfc = (lct_nfc){0};
}
