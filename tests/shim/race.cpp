/* Finds two threads that touch the same memory, one of them writing, with no barrier between: whatever order they ran in here, on a GPU
 * they may run in the other. Kernels are compiled with -fsanitize=thread and linked with what follows in place of that sanitizer's runtime, so
 * every access of theirs arrives here. Between threads of a block lct_sync separates accesses, between lanes of a warp lct_warp_sync too;
 * shuffles and matrix operations do not. Nothing separates the blocks of a launch. Atomics do not race with one another. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include <map>
#include <vector>

#include "runtime.h"
#include "shim_device.h"
#include "shim_internal.h"

#define GRAIN 2 /* bytes a cell stands for: no kernel shares smaller elements between threads */
#define MANY (-1)
#define MOST_CELLS ((size_t)8 << 20) /* kept from one launch to the next */

struct access { /* the last one, or of several readers what they have in common */
  uint32_t launch, phase, block, warp_epoch;
  int16_t warp, thread;
  bool atomic;
};
struct cell {
  access write, read;
};
struct region {
  size_t bytes;
  std::vector<cell> cells;
};

static region shared_cells;
static std::map<uintptr_t, region> regions; /* of device memory, by address */
static uintptr_t last_start;
static region *last; /* found last, in this launch */
static uint32_t last_launch;
static size_t n_cells; /* in regions, and in those that were there before */

static cell *find_cell(const void *p, size_t *left) {
  const unsigned char *b = (const unsigned char *)p, *s = (const unsigned char *)shim_shared();
  if (shim_in_shared(p)) {
    size_t offset = (size_t)(b - s);
    if (shared_cells.cells.size() < 65536) shared_cells.cells.resize(65536); /* more than any block has */
    *left = (size_t)-1;
    return &shared_cells.cells[offset / GRAIN];
  }
  uintptr_t at = (uintptr_t)p;
  if (last == nullptr || last_launch != shim_race_launch || at - last_start >= last->bytes) {
    size_t bytes = 0;
    uintptr_t start = shim_allocation_of(p, &bytes);
    if (start == 0) return nullptr;                                /* a thread's own */
    if (n_cells > MOST_CELLS && last_launch != shim_race_launch) { /* what earlier launches did is of no interest */
      regions.clear();
      n_cells = 0;
    }
    last_start = start;
    last_launch = shim_race_launch;
    last = &regions[start];
    if (last->bytes != bytes) {
      last->bytes = bytes;
      last->cells.assign(bytes / GRAIN + 1, cell());
      n_cells += bytes / GRAIN + 1;
    }
  }
  *left = last->bytes - (at - last_start);
  return &last->cells[(at - last_start) / GRAIN];
}

__attribute__((noreturn)) static void found(const void *p, const char *mine, const char *theirs, const access *a, void *pc) {
  Dl_info info;
  const char *base = dladdr(pc, &info) != 0 ? (const char *)info.dli_fbase : nullptr;
  char where[100];
  bool shared = shim_in_shared(p);
  size_t offset = (size_t)((uintptr_t)p - (shared ? (uintptr_t)shim_shared() : last_start));
  (void)snprintf(where, sizeof where, shared ? "shared memory at offset %zu" : "device memory at offset %zu of an allocation", offset);
  char who[100];
  if (a->block != shim_race_block) (void)snprintf(who, sizeof who, "block number %u", a->block);
  else if (a->thread == MANY) (void)snprintf(who, sizeof who, "several threads of its block");
  else (void)snprintf(who, sizeof who, "thread %d", a->thread);
  shim_report("%s %s, which %s has %s with no barrier between (addr2line -e the program: 0x%zx)", mine, where, who, theirs,
              (size_t)((const char *)pc - base));
}

/* Whether an access of another thread is not separated from this thread's. Every block has a shared memory of its own. */
static bool races(const access *a, int thread, bool shared) {
  if (a->launch != shim_race_launch) return false;
  if (a->block != shim_race_block) return !shared;
  if (a->phase != shim_race_phase || a->thread == thread) return false;
  if (a->warp != thread / 32) return true;
  return a->warp_epoch == shim_race_warp_epoch[thread / 32];
}

static void note(const void *p, size_t bytes, shim_access kind, void *pc) {
  if (shim_race_launch == 0) return;
  int thread = (int)shim_thread_idx.x;
  access now = {shim_race_launch,       shim_race_phase, shim_race_block,    shim_race_warp_epoch[thread / 32],
                (int16_t)(thread / 32), (int16_t)thread, kind == SHIM_ATOMIC};
  bool shared = shim_in_shared(p);
  size_t left = 0;
  cell *c = find_cell(p, &left);
  if (c == nullptr) return;
  if (bytes > left) bytes = left; /* asan's business */
  for (size_t i = 0; i < (bytes + GRAIN - 1) / GRAIN; i++, c++) {
    if (races(&c->write, thread, shared) && !(kind == SHIM_ATOMIC && c->write.atomic))
      found((const char *)p + i * GRAIN, kind == SHIM_READ ? "reads" : "writes", "written", &c->write, pc);
    if (kind != SHIM_READ) {
      if (races(&c->read, thread, shared)) found((const char *)p + i * GRAIN, "writes", "read", &c->read, pc);
      c->write = now;
      continue;
    }
    access *r = &c->read;
    bool same_block = r->launch == now.launch && r->block == now.block;
    if (r->launch == now.launch && !same_block && !shared) {
      r->block = (uint32_t)MANY;
    } else if (!same_block || r->phase != now.phase) {
      *r = now;
    } else if (r->warp != now.warp) {
      r->warp = r->thread = MANY;
    } else if (r->warp_epoch != now.warp_epoch) {
      *r = now;
    } else if (r->thread != now.thread) {
      r->thread = MANY;
    }
  }
}

/* Notes the accesses of operations that are not the kernel's own code: asynchronous copies, ldmatrix, atomics. */
static bool installed = (shim_race_note = [](const void *p, size_t bytes, shim_access kind) {
                          note(p, bytes, kind, __builtin_return_address(0));
                        }) != nullptr;

extern "C" {
#define HOOK(name, bytes, kind) \
  void name(const void *p);     \
  void name(const void *p) { note(p, bytes, kind, __builtin_return_address(0)); }
#define HOOKS(bytes)                                  \
  HOOK(__tsan_read##bytes, bytes, SHIM_READ)          \
  HOOK(__tsan_write##bytes, bytes, SHIM_WRITE)        \
  HOOK(__tsan_volatile_read##bytes, bytes, SHIM_READ) \
  HOOK(__tsan_volatile_write##bytes, bytes, SHIM_WRITE)
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
HOOK(__tsan_unaligned_read2, 2, SHIM_READ)
HOOK(__tsan_unaligned_read4, 4, SHIM_READ)
HOOK(__tsan_unaligned_read8, 8, SHIM_READ)
HOOK(__tsan_unaligned_read16, 16, SHIM_READ)
HOOK(__tsan_unaligned_write2, 2, SHIM_WRITE)
HOOK(__tsan_unaligned_write4, 4, SHIM_WRITE)
HOOK(__tsan_unaligned_write8, 8, SHIM_WRITE)
HOOK(__tsan_unaligned_write16, 16, SHIM_WRITE)
void __tsan_read_range(const void *p, size_t bytes);
void __tsan_read_range(const void *p, size_t bytes) { note(p, bytes, SHIM_READ, __builtin_return_address(0)); }
void __tsan_write_range(const void *p, size_t bytes);
void __tsan_write_range(const void *p, size_t bytes) { note(p, bytes, SHIM_WRITE, __builtin_return_address(0)); }
void __tsan_init(void);
void __tsan_init(void) { (void)installed; }
void __tsan_func_entry(void *pc);
void __tsan_func_entry(void *) {}
void __tsan_func_exit(void);
void __tsan_func_exit(void) {}
}
