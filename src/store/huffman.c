/* Huffman codes and the zstd frames around them (RFC 8878, sections 3.1.1 and 4). */
#include <stdlib.h>
#include <string.h>

#include "store/huffman.h"

enum {
  BLOCK_BYTES = 1 << 17, /* the format's largest */
  BLOCK_HEADER = 3,
  MIN_BLOCK = 256, /* smaller ones are stored */
  MIN_BYTES = 1 << 12,
  FRAME_HEADER = 9,
  LITERALS_HEADER = 5,
  STORED = 0, /* types of blocks and of literals */
  COMPRESSED = 2,
  FOUR_LARGE = 3, /* four streams, sizes of 18 bits */
  JUMP_TABLE = 6,
  RUN_BYTES = 64,
  RUN_STEP = 331, /* a prime: rows of any length are sampled at all their places */
  MAX_BITS = LCT_HUFFMAN_MAX_BITS,
  ROOM_OF_CODE = 1 << MAX_BITS,
  MAX_DIRECT = 128, /* weights that may stand without compression */
  FSE_LOG = 6,
  FSE_SIZE = 1 << FSE_LOG,
  N_WEIGHTS = MAX_BITS + 1,
};

static int ascending(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

/* Depths of Huffman's tree over m counts in ascending order, the deepest cut to MAX_BITS: how many leaves have each length. */
static void leaf_depths(const uint32_t *sorted, int m, uint32_t at_depth[MAX_BITS + 1]) {
  uint32_t weight[512];
  int parent[512], depth[512];
  for (int i = 0; i < m; i++) weight[i] = sorted[i] >> 8;
  int leaf = 0, node = m;
  for (int made = m; made < 2 * m - 1; made++) {
    int child[2];
    for (int c = 0; c < 2; c++) child[c] = leaf < m && (node >= made || weight[leaf] <= weight[node]) ? leaf++ : node++;
    weight[made] = weight[child[0]] + weight[child[1]];
    parent[child[0]] = parent[child[1]] = made;
  }
  depth[2 * m - 2] = 0;
  for (int i = 2 * m - 3; i >= 0; i--) depth[i] = depth[parent[i]] + 1;
  for (int i = 0; i < m; i++) at_depth[depth[i] < MAX_BITS ? depth[i] : MAX_BITS]++;
}

/* Leaves that were cut take too much room: others move down by one, those first whose bytes are rarest for the room they give, and what is
 * then too much is given back. */
static bool fit(const uint32_t *sorted, uint32_t at_depth[MAX_BITS + 1]) {
  uint32_t room = 0;
  for (int d = 1; d <= MAX_BITS; d++) room += at_depth[d] << (MAX_BITS - d);
  while (room > ROOM_OF_CODE) {
    uint32_t at = at_depth[MAX_BITS], least = UINT32_MAX;
    int best = 0;
    for (int d = MAX_BITS - 1; d > 0; at += at_depth[d--]) {
      if (at_depth[d] == 0 || (best != 0 && room - ROOM_OF_CODE < 1u << (MAX_BITS - 1 - d))) continue;
      uint32_t cost = sorted[at] >> (8 + MAX_BITS - 1 - d);
      if (cost < least) least = cost, best = d;
    }
    if (best == 0) return false;
    at_depth[best]--;
    at_depth[best + 1]++;
    room -= 1u << (MAX_BITS - 1 - best);
  }
  for (; room < ROOM_OF_CODE; room++) {
    if (at_depth[MAX_BITS] == 0) return false;
    at_depth[MAX_BITS]--;
    at_depth[MAX_BITS - 1]++;
  }
  return true;
}

bool lct_huffman_make(const uint32_t count[256], lct_huffman_code *code) {
  uint32_t sorted[256], at_depth[MAX_BITS + 1] = {0}, next[MAX_BITS + 2] = {0};
  int m = 0;
  *code = (lct_huffman_code){0};
  for (uint32_t s = 0; s < 256; s++) {
    if (count[s] > 0) sorted[m++] = count[s] << 8 | s;
  }
  if (m < 2) return false;
  qsort(sorted, (size_t)m, sizeof *sorted, ascending);
  leaf_depths(sorted, m, at_depth);
  if (!fit(sorted, at_depth)) return false;
  int at = 0;
  for (int d = MAX_BITS; d > 0; d--) {
    for (uint32_t i = 0; i < at_depth[d]; i++) code->bits[sorted[at++] & 0xff] = (uint8_t)d;
    next[d - 1] = (next[d] + at_depth[d]) >> 1; /* the longest codes are the smallest numbers */
  }
  for (int s = 0; s < 256; s++) {
    uint32_t v = code->bits[s] > 0 ? next[code->bits[s]]++ : 0;
    code->entry[s] = v << 8 | code->bits[s];
    code->low[s] = (uint8_t)v;
    code->high[s] = (uint8_t)(v >> 8);
  }
  return true;
}

/* The description: a weight for every byte below the last that occurs, 0 or longest + 1 - length. */

typedef struct {
  uint64_t bits;
  unsigned n;
  unsigned char *at;
} bit_writer;

static void put_bits(bit_writer *w, uint64_t bits, unsigned n) {
  w->bits |= bits << w->n;
  for (w->n += n; w->n >= 8; w->n -= 8, w->bits >>= 8) *w->at++ = (unsigned char)w->bits;
}

/* Shares of FSE_SIZE, at least one for every weight that occurs; false when only one does. */
static bool share(const unsigned char *weight, int n, int norm[N_WEIGHTS]) {
  int count[N_WEIGHTS] = {0}, most = 0, left = FSE_SIZE;
  for (int i = 0; i < n; i++) count[weight[i]]++;
  for (int w = 0; w < N_WEIGHTS; w++) {
    norm[w] = (count[w] * FSE_SIZE + n / 2) / n;
    if (norm[w] == 0 && count[w] > 0) norm[w] = 1;
    left -= norm[w];
    if (count[w] > count[most]) most = w;
  }
  norm[most] += left;
  return count[most] < n && norm[most] > 0;
}

static void put_shares(bit_writer *w, const int norm[N_WEIGHTS]) {
  int remaining = FSE_SIZE + 1, threshold = FSE_SIZE;
  unsigned n_bits = FSE_LOG + 1;
  put_bits(w, FSE_LOG - 5, 4);
  for (int s = 0; s < N_WEIGHTS && remaining > 1;) {
    int v = norm[s++], most = 2 * threshold - 1 - remaining;
    bool zero = v == 0;
    remaining -= v++;
    if (v >= threshold) v += most;
    put_bits(w, (uint64_t)v, n_bits - (v < most));
    while (remaining < threshold) n_bits--, threshold >>= 1;
    if (!zero) continue;
    int zeros = 0; /* more of them, in threes */
    while (norm[s] == 0) s++, zeros++;
    for (; zeros >= 3; zeros -= 3) put_bits(w, 3, 2);
    put_bits(w, (uint64_t)zeros, 2);
  }
  if (w->n > 0) put_bits(w, 0, 8 - w->n);
}

/* A finite state encoder over FSE_SIZE states. */
typedef struct {
  unsigned next[FSE_SIZE];
  int begin[N_WEIGHTS]; /* of a weight's states in next, less what is added to it */
  int delta[N_WEIGHTS]; /* 16.16: state + delta has the number of bits to give out above */
} fse;

static void fse_make(fse *f, const int norm[N_WEIGHTS]) {
  unsigned char of_state[FSE_SIZE];
  int at = 0, first[N_WEIGHTS], total = 0;
  for (int s = 0; s < N_WEIGHTS; s++) {
    for (int i = 0; i < norm[s]; i++) {
      of_state[at] = (unsigned char)s;
      at = (at + (FSE_SIZE >> 1) + (FSE_SIZE >> 3) + 3) & (FSE_SIZE - 1);
    }
  }
  for (int s = 0; s < N_WEIGHTS; s++) {
    int bits = FSE_LOG;
    first[s] = total;
    for (int v = norm[s] - 1; v > 1; v >>= 1) bits--; /* less the whole part of log2(norm - 1) */
    if (norm[s] == 1) {
      f->delta[s] = (FSE_LOG << 16) - FSE_SIZE;
    } else {
      f->delta[s] = (bits << 16) - (norm[s] << bits);
    }
    f->begin[s] = total - norm[s];
    total += norm[s];
  }
  for (unsigned u = 0; u < FSE_SIZE; u++) f->next[first[of_state[u]]++] = FSE_SIZE + u;
}

static unsigned fse_begin(const fse *f, int s) {
  int bits = (f->delta[s] + (1 << 15)) >> 16;
  return f->next[(((bits << 16) - f->delta[s]) >> bits) + f->begin[s]];
}

static unsigned fse_put(const fse *f, bit_writer *w, unsigned state, int s) {
  unsigned bits = (unsigned)((int)state + f->delta[s]) >> 16;
  put_bits(w, state & ((1u << bits) - 1), bits);
  return f->next[(int)(state >> bits) + f->begin[s]];
}

/* Two encoders by turns, from the last weight to the first. */
static size_t compress_weights(const unsigned char *weight, int n, unsigned char *dst) {
  int norm[N_WEIGHTS];
  fse f;
  bit_writer w = {.at = dst};
  if (!share(weight, n, norm)) return 0;
  put_shares(&w, norm);
  fse_make(&f, norm);
  unsigned state[2];
  state[(n - 1) & 1] = fse_begin(&f, weight[n - 1]);
  state[(n - 2) & 1] = fse_begin(&f, weight[n - 2]);
  for (int i = n - 3; i >= 0; i--) state[i & 1] = fse_put(&f, &w, state[i & 1], weight[i]);
  put_bits(&w, state[1] & (FSE_SIZE - 1), FSE_LOG);
  put_bits(&w, state[0] & (FSE_SIZE - 1), FSE_LOG);
  put_bits(&w, 1, 1);
  if (w.n > 0) put_bits(&w, 0, 8 - w.n);
  return (size_t)(w.at - dst);
}

size_t lct_huffman_describe(const lct_huffman_code *code, unsigned char *dst) {
  unsigned char weight[257] = {0};
  int last = 255, longest = 0;
  while (last > 0 && code->bits[last] == 0) last--;
  for (int s = 0; s <= last; s++) longest = code->bits[s] > longest ? code->bits[s] : longest;
  for (int s = 0; s < last; s++) weight[s] = (unsigned char)(code->bits[s] > 0 ? longest + 1 - code->bits[s] : 0);
  if (last <= MAX_DIRECT) {
    dst[0] = (unsigned char)(127 + last);
    for (int s = 0; s < last; s += 2) dst[1 + s / 2] = (unsigned char)(weight[s] << 4 | weight[s + 1]);
    return 1 + ((size_t)last + 1) / 2;
  }
  size_t n = compress_weights(weight, last, dst + 1);
  dst[0] = (unsigned char)n;
  return n > 0 && n < 128 ? n + 1 : 0;
}

/* Frames. */

static void put_le(unsigned char *p, uint64_t v, int n) {
  for (int i = 0; i < n; i++) p[i] = (unsigned char)(v >> (8 * i));
}

static void block_header(unsigned char *dst, bool last, unsigned type, size_t n) {
  put_le(dst, (unsigned)last | type << 1 | n << 3, BLOCK_HEADER);
}

/* Counts of a sample, and one for what occurs outside of it; false when one byte is more than half of it. */
static bool sample(const unsigned char *src, size_t n, uint32_t count[256]) {
  uint32_t part[4][256] = {{0}}, total = 0, most = 0;
  uint8_t present[256];
  for (size_t i = 0; i + RUN_BYTES <= n; i += RUN_STEP) {
    for (size_t k = i; k < i + RUN_BYTES; k += 4) {
      part[0][src[k]]++;
      part[1][src[k + 1]]++;
      part[2][src[k + 2]]++;
      part[3][src[k + 3]]++;
    }
  }
  for (int s = 0; s < 256; s++) {
    count[s] = part[0][s] + part[1][s] + part[2][s] + part[3][s];
    total += count[s];
    most = count[s] > most ? count[s] : most;
    present[s] = count[s] > 0;
  }
  if (most > total / 2) return false;
  lct_huffman_present(src, n, present);
  for (int s = 0; s < 256; s++) count[s] += present[s] != 0 && count[s] == 0;
  return true;
}

/* Bytes of a compressed block behind its header: literals in four streams, no sequences. 0 when there is no code for them. */
static size_t put_block(const unsigned char *src, size_t n, unsigned char *dst) {
  uint32_t count[256];
  lct_huffman_code code;
  if (!sample(src, n, count) || !lct_huffman_make(count, &code)) return 0;
  size_t description = lct_huffman_describe(&code, dst + LITERALS_HEADER), part = (n + 3) / 4;
  if (description == 0) return 0;
  unsigned char *jump = dst + LITERALS_HEADER + description, *at = jump + JUMP_TABLE;
  for (size_t i = 0; i < 4; i++) {
    size_t bytes = lct_huffman_stream(&code, src + i * part, i < 3 ? part : n - 3 * part, at);
    if (i < 3) put_le(jump + 2 * i, bytes, 2);
    at += bytes;
  }
  put_le(dst, COMPRESSED | FOUR_LARGE << 2 | (uint64_t)n << 4 | (uint64_t)(at - dst - LITERALS_HEADER) << 22, LITERALS_HEADER);
  *at++ = 0;
  return (size_t)(at - dst);
}

size_t lct_huffman_bound(size_t n) { return n + n / 8 * 3 + n / BLOCK_BYTES * BLOCK_HEADER + 1024; }

size_t lct_huffman_frame(const unsigned char *src, size_t n, unsigned char *dst) {
  if (n < MIN_BYTES || n > UINT32_MAX / 16) return 0;
  put_le(dst, 0xfd2fb528, 4);
  dst[4] = 0xa0; /* one segment; a content size of four bytes follows */
  put_le(dst + 5, n, 4);
  unsigned char *at = dst + FRAME_HEADER;
  for (size_t i = 0; i < n; i += BLOCK_BYTES) {
    size_t left = n - i, block = left < BLOCK_BYTES ? left : BLOCK_BYTES, got = block;
    if (block >= MIN_BLOCK && (got = put_block(src + i, block, at + BLOCK_HEADER)) == 0) return 0;
    bool stored = got >= block;
    if (stored) memcpy(at + BLOCK_HEADER, src + i, got = block);
    block_header(at, left <= BLOCK_BYTES, stored ? STORED : COMPRESSED, got);
    at += BLOCK_HEADER + got;
  }
  size_t bytes = (size_t)(at - dst);
  return bytes < n ? bytes : 0;
}
