#include "plan/cut.h"

#include <string.h>

/* Marks the segments that a sequence which is not skipped goes through. */
static void mark(const lct_plan *p, int32_t number, const bool *skip, const lct_batch *b, bool *needed) {
  for (int32_t s = 0; s < lct_plan_n_seqs(p); s++) {
    if (skip[s] || lct_plan_seq_batch(p, s) != number) continue;
    for (int32_t at = lct_plan_seq_segment(p, s); at >= 0 && !needed[at]; at = b->segments[at].parent) needed[at] = true;
  }
}

typedef struct {
  const lct_batch *from;
  int32_t *tokens, *positions, *slot, *segment; /* segment: number in the cut batch of each of from's */
  lct_segment *segments;
  lct_batch batch;
  int32_t prefix;
} cutter;

/* Rows of a segment that are left; those before the prefix's end have their position's slot. */
static lct_status cut_segment(cutter *c, int32_t number, lct_arena *arena, lct_error *err) {
  const lct_segment *s = &c->from->segments[number];
  int32_t known = c->prefix - s->pos0;
  known = known < 0 ? 0 : known > s->n_rows ? s->n_rows : known;
  for (int32_t i = 0; i < known; i++) c->slot[s->kv0 + i] = s->pos0 + i;
  c->segment[number] = -1;
  if (known == s->n_rows) return LCT_OK;
  lct_segment *out = &c->segments[c->batch.n_segments];
  int32_t row = c->batch.n_rows, n = s->n_rows - known;
  lct_kv_range *ranges = lct_arena_alloc(arena, ((size_t)s->n_ranges + 2) * sizeof *ranges);
  if (ranges == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the paths of a batch");
  *out = (lct_segment){.row0 = row,
                       .n_rows = n,
                       .parent = s->parent >= 0 ? c->segment[s->parent] : -1,
                       .pos0 = s->pos0 + known,
                       .kv0 = c->prefix + row,
                       .ranges = ranges};
  const lct_cut_batch so_far = {.prefix = c->prefix, .slot = c->slot};
  out->n_ranges = lct_cut_slots(&so_far, s->ranges, s->n_ranges, ranges);
  if (known > 0) { /* what of the segment itself stands already */
    lct_kv_range own = {s->kv0, known};
    out->n_ranges += lct_cut_slots(&so_far, &own, 1, ranges + out->n_ranges);
  }
  for (int32_t i = 0; i < n; i++) c->slot[s->kv0 + known + i] = c->prefix + row + i;
  memcpy(c->tokens + row, c->from->tokens + s->row0 + known, (size_t)n * sizeof *c->tokens);
  memcpy(c->positions + row, c->from->positions + s->row0 + known, (size_t)n * sizeof *c->positions);
  c->segment[number] = c->batch.n_segments++;
  c->batch.n_rows += n;
  return LCT_OK;
}

lct_status lct_plan_cut(const lct_plan *p, int32_t number, int32_t prefix, const bool *skip, lct_arena *arena, lct_cut_batch *out,
                        lct_error *err) {
  const lct_batch *b = lct_plan_batch(p, number);
  *out = (lct_cut_batch){.batch = *b};
  bool skips = false;
  for (int32_t s = 0; skip != NULL && s < lct_plan_n_seqs(p); s++) skips = skips || (skip[s] && lct_plan_seq_batch(p, s) == number);
  if (prefix == 0 && !skips) return LCT_OK;
  size_t rows = (size_t)b->n_rows, segments = (size_t)b->n_segments;
  cutter c = {.from = b, .prefix = prefix};
  c.tokens = lct_arena_alloc(arena, rows * sizeof *c.tokens);
  c.positions = lct_arena_alloc(arena, rows * sizeof *c.positions);
  c.slot = lct_arena_alloc(arena, (size_t)b->n_slots * sizeof *c.slot);
  c.segment = lct_arena_alloc(arena, segments * sizeof *c.segment);
  c.segments = lct_arena_alloc(arena, segments * sizeof *c.segments);
  bool *needed = lct_arena_alloc(arena, segments * sizeof *needed);
  if (!c.tokens || !c.positions || !c.slot || !c.segment || !c.segments || !needed) {
    return lct_fail(err, LCT_E_NOMEM, "out of memory for a batch of %d tokens", b->n_rows);
  }
  for (int32_t i = 0; i < b->n_slots; i++) c.slot[i] = -1;
  if (skips) mark(p, number, skip, b, needed);
  else memset(needed, 1, segments * sizeof *needed);
  for (int32_t s = 0; s < b->n_segments; s++) {
    if (needed[s]) LCT_TRY(cut_segment(&c, s, arena, err));
  }
  c.batch.tokens = c.tokens;
  c.batch.positions = c.positions;
  c.batch.segments = c.segments;
  c.batch.n_slots = prefix + c.batch.n_rows;
  *out = (lct_cut_batch){.batch = c.batch, .prefix = prefix, .slot = c.slot};
  return LCT_OK;
}

/* Numbers go up along a path and leave nothing out: where both ends of a range stand as far apart as before, all of it stands. */
static bool in_one_piece(int32_t first, int32_t last, int32_t n) { return first >= 0 && last - first == n - 1; }

int32_t lct_cut_slots(const lct_cut_batch *c, const lct_kv_range *ranges, int32_t n, lct_kv_range *out) {
  int32_t count = 0;
  for (int32_t i = 0; i < n; i++) {
    for (int32_t k = 0, len = 1; k < ranges[i].n; k += len) {
      int32_t at = c->slot == NULL ? ranges[i].first + k : c->slot[ranges[i].first + k];
      int32_t last = c->slot == NULL ? ranges[i].first + ranges[i].n - 1 : c->slot[ranges[i].first + ranges[i].n - 1];
      len = in_one_piece(at, last, ranges[i].n - k) ? ranges[i].n - k : 1;
      if (at < 0) continue;
      if (count > 0 && out[count - 1].first + out[count - 1].n == at) out[count - 1].n += len;
      else out[count++] = (lct_kv_range){at, len};
    }
  }
  return count;
}

int32_t lct_cut_rows(const lct_cut_batch *c, const lct_kv_range *ranges, int32_t n, lct_row_range *out) {
  int32_t count = 0;
  for (int32_t i = 0; i < n; i++) {
    for (int32_t k = 0, len = 1; k < ranges[i].n; k += len) {
      int32_t at = lct_cut_row(c, ranges[i].first + k);
      len = in_one_piece(at, lct_cut_row(c, ranges[i].first + ranges[i].n - 1), ranges[i].n - k) ? ranges[i].n - k : 1;
      if (at < 0) continue;
      if (count > 0 && out[count - 1].first + out[count - 1].n == at) out[count - 1].n += len;
      else out[count++] = (lct_row_range){at, len};
    }
  }
  return count;
}
