/* A kernel launch: blocks one after another, the threads of a block as fibers.
 *
 * A warp runs in rounds: each of its 32 lanes runs until it stops at a warp operation or barrier, or returns. All lanes must stop at the
 * same place, all warps at the same lct_sync; anything else is reported and ends the program. Between two stops the order of lanes and
 * warps is free on a GPU, and here it is the schedule's: what depends on it shows when the schedule changes. */
#include "shim_device.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <vector>

#ifdef __F16C__
#include <immintrin.h>
#endif

#include "fiber.h"
#include "shim_internal.h"

uint3 shim_thread_idx, shim_block_idx;
dim3 shim_block_dim, shim_grid_dim;

struct shim_stop {
  shim_kind kind;
  shim_site at;
};

struct shim_copy { /* one cp.async that has not happened yet */
  void *smem;
  const void *gmem;
  bool valid;
};

struct shim_warp {
  int arrived;  /* lanes that have stopped in this round; the next to run is number `arrived` of the round's order */
  int first;    /* the round's first lane */
  int mask;     /* the round's order: schedule order xor mask */
  int parity;   /* which of slots is being filled */
  bool waiting; /* at the block's barrier */
  bool done;
  shim_stop stop;
  uint64_t slots[2][32];
  const shim_matrix_op *matrix[32];
};

struct shim_thread {
  shim_context context;
  bool started;
  shim_stack *stack;
  std::vector<shim_copy> copies; /* not yet done, oldest first */
  std::vector<size_t> groups;    /* number of copies in each committed group, oldest first */
  size_t open;                   /* copies not committed */
};

static const char *const kind_names[] = {"the end of the kernel",
                                         "lct_sync",
                                         "lct_warp_sync",
                                         "a shuffle",
                                         "lct_ballot",
                                         "lct_ldmatrix_x4",
                                         "lct_ldmatrix_x4_trans",
                                         "lct_mma_16816 (f16)",
                                         "lct_mma_16816 (bf16)"};

static shim_thread threads[1024];
static shim_warp warps[32];
static shim_context program; /* the launching computation while fibers run */
static shim_stack *free_stacks;
static size_t n_stacks;
static int n_warps, n_waiting, n_done;
static shim_schedule schedule;
static int lane_order[32], warp_order[32];
static const char *kernel_name;
static const std::function<void()> *kernel_thread;
static unsigned char *shared;
static size_t shared_bytes;

void (*shim_race_note)(const void *p, size_t bytes, shim_access kind);
uint32_t shim_race_launch, shim_race_phase, shim_race_block, shim_race_warp_epoch[32];
static uint32_t n_launches;

void shim_report(const char *format, ...) {
  fprintf(stderr, "shim: kernel %s, block (%u, %u, %u), thread %u: ", kernel_name, shim_block_idx.x, shim_block_idx.y, shim_block_idx.z,
          shim_thread_idx.x);
  va_list args;
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  abort();
}

bool shim_in_shared(const void *p) { return (const unsigned char *)p >= shared && (const unsigned char *)p < shared + shared_bytes; }

static void note(const void *p, size_t bytes, shim_access kind) {
  if (shim_race_note != nullptr) shim_race_note(p, bytes, kind);
}

static uint32_t random_below(uint32_t n) {
  schedule.state = schedule.state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)((schedule.state >> 33) * n >> 31);
}

/* ---- matrix operations, by the last lane to arrive ---- */

static void check_shared(const void *p, const char *what, shim_site at) {
  const unsigned char *s = (const unsigned char *)p;
  if ((uintptr_t)p % 16 != 0 || s < shared || s + 16 > shared + shared_bytes)
    shim_report("%s at %s:%d: 16 bytes at offset %lld of %zu bytes of shared memory", what, at.file, at.line, (long long)(s - shared),
                shared_bytes);
}

static void ldmatrix(shim_warp *w, bool trans) {
  for (int lane = 0; lane < 32; lane++) {
    uint32_t *r = w->matrix[lane]->r;
    for (int i = 0; i < 4; i++) {
      uint16_t two[2];
      int row = lane / 4, column = 2 * (lane % 4);
      for (int e = 0; e < 2; e++) {
        const void *from = w->matrix[8 * i + (trans ? column + e : row)]->smem;
        memcpy(&two[e], (const uint16_t *)from + (trans ? row : column + e), 2);
      }
      r[i] = two[0] | (uint32_t)two[1] << 16;
    }
  }
}

/* n a multiple of 8 */
static void to_f32(float *out, const uint16_t *in, int n, bool bf16) {
  if (bf16) {
    for (int i = 0; i < n; i++) out[i] = lct_bf16_to_f32(in[i]);
    return;
  }
#ifdef __F16C__
  for (int i = 0; i < n; i += 8) _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(in + i))));
#else
  for (int i = 0; i < n; i++) out[i] = lct_f16_to_f32(in[i]);
#endif
}

typedef float row8 __attribute__((vector_size(32)));

/* Sums in f32 in order of k. What a GPU's sum looks like inside is not specified; tests must allow for either. */
static void mma(shim_warp *w, bool bf16) {
  uint16_t a16[16][16], b16[8][16]; /* b by columns */
  float a[16][16], columns[8][16], b[16][8], d[16][8];
  for (int lane = 0; lane < 32; lane++) {
    const shim_matrix_op *op = w->matrix[lane];
    int g = lane / 4, c = 2 * (lane % 4);
    for (int i = 0; i < 4; i++) memcpy(&a16[g + 8 * (i & 1)][c + 8 * (i >> 1)], &op->a[i], 4);
    memcpy(&b16[g][c], &op->b0, 4);
    memcpy(&b16[g][c + 8], &op->b1, 4);
    memcpy(&d[g][c], op->d, 8);
    memcpy(&d[g + 8][c], op->d + 2, 8);
  }
  to_f32(&a[0][0], &a16[0][0], 256, bf16);
  to_f32(&columns[0][0], &b16[0][0], 128, bf16);
  for (int k = 0; k < 16; k++) {
    for (int j = 0; j < 8; j++) b[k][j] = columns[j][k];
  }
  for (int i = 0; i < 16; i += 4) { /* four rows side by side: their sums do not wait for one another */
    row8 sum[4], of_b;
    memcpy(sum, d[i], sizeof sum);
    for (int k = 0; k < 16; k++) {
      memcpy(&of_b, b[k], sizeof of_b);
      for (int r = 0; r < 4; r++) sum[r] += a[i + r][k] * of_b;
    }
    memcpy(d[i], sum, sizeof sum);
  }
  for (int lane = 0; lane < 32; lane++) {
    float *out = w->matrix[lane]->d;
    int g = lane / 4, c = 2 * (lane % 4);
    memcpy(out, &d[g][c], 8);
    memcpy(out + 2, &d[g + 8][c], 8);
  }
}

/* ---- the schedule ---- */

static void begin_round(shim_warp *w) {
  w->arrived = 0;
  w->mask = schedule.order == SHIM_RANDOM ? (int)random_below(32) : 0;
}

static int next_lane(const shim_warp *w) { return lane_order[w->arrived] ^ w->mask; }

/* Some warp that can run: in random order any, otherwise the first in the schedule's order. */
static shim_warp *next_warp(void) {
  int from = schedule.order == SHIM_RANDOM ? (int)random_below((uint32_t)n_warps) : 0;
  for (int i = 0; i < n_warps; i++) {
    shim_warp *w = &warps[warp_order[(from + i) % n_warps]];
    if (!w->waiting && !w->done) return w;
  }
  return nullptr;
}

static void describe(char *text, size_t size, const shim_stop *s) {
  if (s->kind == SHIM_EXIT) (void)snprintf(text, size, "%s", kind_names[SHIM_EXIT]);
  else (void)snprintf(text, size, "%s at %s:%d", kind_names[s->kind], s->at.file, s->at.line);
}

__attribute__((noreturn)) static void diverged(const shim_stop *mine, const shim_stop *theirs, int other) {
  char a[300], b[300];
  describe(a, sizeof a, mine);
  describe(b, sizeof b, theirs);
  shim_report("is at %s while thread %d is at %s", a, other, b);
}

static bool same_stop(const shim_stop *a, const shim_stop *b) {
  return a->kind == b->kind && a->at.line == b->at.line && (a->at.file == b->at.file || strcmp(a->at.file, b->at.file) == 0);
}

/* All warps have stopped at the barrier or ended: they must agree. */
static void release_block(shim_warp *last) {
  for (int i = 0; i < n_warps; i++) {
    if (!same_stop(&warps[i].stop, &last->stop)) diverged(&last->stop, &warps[i].stop, 32 * i);
  }
  if (last->done) return;
  for (int i = 0; i < n_warps; i++) {
    warps[i].waiting = false;
    begin_round(&warps[i]);
  }
  n_waiting = 0;
  shim_race_phase++;
}

/* The last lane of a round has stopped. */
static shim_warp *end_round(shim_warp *w) {
  switch (w->stop.kind) {
  case SHIM_EXIT:
    w->done = true;
    n_done++;
    break;
  case SHIM_SYNC:
    w->waiting = true;
    n_waiting++;
    break;
  case SHIM_WARP_SYNC: shim_race_warp_epoch[w - warps]++; break;
  case SHIM_LDMATRIX: ldmatrix(w, false); break;
  case SHIM_LDMATRIX_TRANS: ldmatrix(w, true); break;
  case SHIM_MMA_F16: mma(w, false); break;
  case SHIM_MMA_BF16: mma(w, true); break;
  default: break;
  }
  w->parity ^= 1;
  if (w->stop.kind == SHIM_EXIT || w->stop.kind == SHIM_SYNC) {
    if (n_waiting + n_done == n_warps) release_block(w);
    return next_warp();
  }
  begin_round(w);
  return schedule.order == SHIM_RANDOM ? next_warp() : w;
}

/* The running thread has stopped: the thread to run now, -1 when the block is done. */
static int arrive(shim_kind kind, shim_site at) {
  shim_warp *w = &warps[shim_thread_idx.x >> 5];
  shim_stop stop = {kind, at};
  if (w->arrived == 0) {
    w->stop = stop;
    w->first = (int)shim_thread_idx.x;
  } else if (!same_stop(&w->stop, &stop)) {
    diverged(&stop, &w->stop, w->first);
  }
  if (++w->arrived == 32) w = end_round(w);
  return w == nullptr ? -1 : (int)(w - warps) * 32 + next_lane(w);
}

/* ---- fibers ---- */

static void fiber_main(void);

static void resume(int from, int to, bool last) {
  shim_thread_idx.x = (unsigned)to;
  shim_thread *t = &threads[to];
  if (!t->started) {
    t->started = true;
    shim_stack *s = free_stacks;
    if (s != nullptr) free_stacks = s->next;
    else s = shim_stack_new(n_stacks++);
    t->stack = s;
    shim_context_init(&t->context, s, fiber_main);
  }
  shim_switch(from < 0 ? &program : &threads[from].context, &t->context, last);
}

/* Runs threads from their beginning until one has to be resumed in the middle: its stack takes over then. */
__attribute__((no_sanitize("address"))) static void fiber_main(void) {
  shim_entered();
  for (;;) {
    (*kernel_thread)();
    int self = (int)shim_thread_idx.x;
    int next = arrive(SHIM_EXIT, shim_site{"", 0});
    if (next >= 0 && !threads[next].started) {
      threads[next].started = true;
      threads[next].stack = threads[self].stack;
      threads[next].context.stack = threads[self].stack;
      shim_thread_idx.x = (unsigned)next;
      continue;
    }
    threads[self].stack->next = free_stacks;
    free_stacks = threads[self].stack;
    if (next < 0) shim_switch(&threads[self].context, &program, true);
    else resume(self, next, true);
  }
}

static void stop(shim_kind kind, shim_site at) {
  int self = (int)shim_thread_idx.x;
  int next = arrive(kind, at);
  if (next == self) return;
  resume(self, next, false);
}

void shim_barrier(shim_kind kind, shim_site at) { stop(kind, at); }

const uint64_t *shim_exchange(shim_kind kind, uint64_t value, shim_site at) {
  shim_warp *w = &warps[shim_thread_idx.x >> 5];
  uint64_t *slots = w->slots[w->parity];
  slots[shim_thread_idx.x & 31] = value;
  stop(kind, at);
  return slots;
}

void shim_matrix(shim_kind kind, const shim_matrix_op *op, shim_site at) {
  if (op->r != nullptr) {
    check_shared(op->smem, kind_names[kind], at);
    note(op->smem, 16, SHIM_READ);
  }
  warps[shim_thread_idx.x >> 5].matrix[shim_thread_idx.x & 31] = op;
  stop(kind, at);
}

/* ---- asynchronous copies: at once, or as late as the wait allows ---- */

static void copy_now(const shim_copy *c) {
  note(c->smem, 16, SHIM_WRITE);
  if (c->valid) note(c->gmem, 16, SHIM_READ);
  if (c->valid) memcpy(c->smem, c->gmem, 16);
  else memset(c->smem, 0, 16);
}

void shim_cp_async(void *smem, const void *gmem, bool valid, shim_site at) {
  check_shared(smem, "lct_cp_async16", at);
  if (valid && (uintptr_t)gmem % 16 != 0)
    shim_report("lct_cp_async16 at %s:%d: the source %p is not 16-byte aligned", at.file, at.line, gmem);
  shim_copy c = {smem, gmem, valid};
  if (!schedule.late) {
    copy_now(&c);
    return;
  }
  threads[shim_thread_idx.x].copies.push_back(c);
  threads[shim_thread_idx.x].open++;
}

void shim_cp_async_commit(void) {
  shim_thread *t = &threads[shim_thread_idx.x];
  if (!schedule.late) return;
  t->groups.push_back(t->open);
  t->open = 0;
}

void shim_cp_async_wait(int n) {
  shim_thread *t = &threads[shim_thread_idx.x];
  if (!schedule.late || t->groups.size() <= (size_t)n) return;
  size_t n_groups = t->groups.size() - (size_t)n, n_copies = 0;
  for (size_t i = 0; i < n_groups; i++) n_copies += t->groups[i];
  for (size_t i = 0; i < n_copies; i++) copy_now(&t->copies[i]);
  t->groups.erase(t->groups.begin(), t->groups.begin() + (ptrdiff_t)n_groups);
  t->copies.erase(t->copies.begin(), t->copies.begin() + (ptrdiff_t)n_copies);
}

/* ---- atomics: one fiber runs at a time ---- */

uint32_t shim_atomic_add(uint32_t *p, uint32_t v) {
  note(p, sizeof *p, SHIM_ATOMIC);
  uint32_t old = *p;
  *p = old + v;
  return old;
}

uint64_t shim_atomic_add(uint64_t *p, uint64_t v) {
  note(p, sizeof *p, SHIM_ATOMIC);
  uint64_t old = *p;
  *p = old + v;
  return old;
}

uint64_t shim_atomic_min(uint64_t *p, uint64_t v) {
  note(p, sizeof *p, SHIM_ATOMIC);
  uint64_t old = *p;
  if (v < old) *p = v;
  return old;
}

/* ---- launches ---- */

void *shim_shared(void) { return shared; }

#define GUARD_BYTES 256
#define GUARD_VALUE 0xa5

static void run_block(void) {
  memset(shared, 0xff, shared_bytes); /* NaN in every float type */
  for (int i = 0; i < n_warps; i++) {
    warps[i].waiting = warps[i].done = false;
    warps[i].parity = 0;
    begin_round(&warps[i]);
  }
  for (unsigned i = 0; i < shim_block_dim.x; i++) {
    threads[i].started = false;
    threads[i].copies.clear();
    threads[i].groups.clear();
    threads[i].open = 0;
  }
  n_waiting = n_done = 0;
  shim_race_phase++;
  shim_warp *w = next_warp();
  resume(-1, (int)(w - warps) * 32 + next_lane(w), false);
}

/* Without asan, bytes behind the shared memory tell of a write beyond it. */
static void check_guard(void) {
  for (int i = 0; !SHIM_ASAN && i < GUARD_BYTES; i++) {
    if (shared[shared_bytes + (size_t)i] != GUARD_VALUE)
      shim_report("wrote %d bytes behind the %zu bytes of shared memory", i, shared_bytes);
  }
}

static void make_orders(void) {
  for (int i = 0; i < 32; i++) lane_order[i] = schedule.order == SHIM_REVERSE ? 31 - i : i;
  for (int i = 0; i < n_warps; i++) warp_order[i] = schedule.order == SHIM_REVERSE ? n_warps - 1 - i : i;
  if (schedule.order != SHIM_RANDOM) return;
  for (int i = 31; i > 0; i--) std::swap(lane_order[i], lane_order[random_below((uint32_t)i + 1)]);
  for (int i = n_warps - 1; i > 0; i--) std::swap(warp_order[i], warp_order[random_below((uint32_t)i + 1)]);
}

void shim_run_grid(const char *name, dim3 grid, dim3 block, size_t bytes, const std::function<void()> &thread, shim_schedule s) {
  kernel_name = name;
  kernel_thread = &thread;
  schedule = s;
  shim_block_dim = block;
  shim_grid_dim = grid;
  n_warps = (int)block.x / 32;
  make_orders();
  void *p = nullptr;
  if (posix_memalign(&p, 128, bytes + (SHIM_ASAN ? 0 : GUARD_BYTES)) != 0) abort();
  shared = (unsigned char *)p;
  shared_bytes = bytes;
  shim_race_launch = ++n_launches;
  if (!SHIM_ASAN) memset(shared + bytes, GUARD_VALUE, GUARD_BYTES);
  uint64_t n = (uint64_t)grid.x * grid.y * grid.z, offset = s.order == SHIM_RANDOM ? random_below(1u << 30) % n : 0;
  for (uint64_t i = 0; i < n; i++) {
    uint64_t b = s.order == SHIM_REVERSE ? n - 1 - i : (i + offset) % n;
    shim_block_idx = uint3{(unsigned)(b % grid.x), (unsigned)(b / grid.x % grid.y), (unsigned)(b / grid.x / grid.y)};
    shim_race_block = (uint32_t)b;
    run_block();
    check_guard();
  }
  free(p);
  shared = nullptr;
  shared_bytes = 0;
  shim_race_launch = 0;
}
