#include "fiber.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#if SHIM_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__) || defined(__aarch64__)
extern "C" void shim_swap(void **save_sp, void *sp);
#else
#include <ucontext.h>
#endif

/* mxcsr and the x87 control word are not saved: no kernel changes them */
#if defined(__x86_64__)
__asm__(
    ".text\n"
    ".p2align 4\n"
    ".globl shim_swap\n"
    ".hidden shim_swap\n"
    ".type shim_swap,@function\n"
    "shim_swap:\n"
    "  pushq %rbp\n"
    "  pushq %rbx\n"
    "  pushq %r12\n"
    "  pushq %r13\n"
    "  pushq %r14\n"
    "  pushq %r15\n"
    "  movq %rsp, (%rdi)\n"
    "  movq %rsi, %rsp\n"
    "  popq %r15\n"
    "  popq %r14\n"
    "  popq %r13\n"
    "  popq %r12\n"
    "  popq %rbx\n"
    "  popq %rbp\n"
    "  ret\n"
    ".size shim_swap,.-shim_swap\n");

void shim_context_init(shim_context *c, const shim_stack *stack, void (*entry)(void)) {
  void **top = (void **)stack->top;
  *--top = nullptr; /* where entry would return to: leaves the stack as after a call */
  *--top = (void *)entry;
  for (int i = 0; i < 6; i++) *--top = nullptr;
  *c = shim_context{top, stack, nullptr};
}
#elif defined(__aarch64__)
__asm__(
    ".text\n"
    ".p2align 4\n"
    ".globl shim_swap\n"
    ".hidden shim_swap\n"
    ".type shim_swap,@function\n"
    "shim_swap:\n"
    "  sub sp, sp, #160\n"
    "  stp x19, x20, [sp, #0]\n"
    "  stp x21, x22, [sp, #16]\n"
    "  stp x23, x24, [sp, #32]\n"
    "  stp x25, x26, [sp, #48]\n"
    "  stp x27, x28, [sp, #64]\n"
    "  stp x29, x30, [sp, #80]\n"
    "  stp d8, d9, [sp, #96]\n"
    "  stp d10, d11, [sp, #112]\n"
    "  stp d12, d13, [sp, #128]\n"
    "  stp d14, d15, [sp, #144]\n"
    "  mov x9, sp\n"
    "  str x9, [x0]\n"
    "  mov sp, x1\n"
    "  ldp x19, x20, [sp, #0]\n"
    "  ldp x21, x22, [sp, #16]\n"
    "  ldp x23, x24, [sp, #32]\n"
    "  ldp x25, x26, [sp, #48]\n"
    "  ldp x27, x28, [sp, #64]\n"
    "  ldp x29, x30, [sp, #80]\n"
    "  ldp d8, d9, [sp, #96]\n"
    "  ldp d10, d11, [sp, #112]\n"
    "  ldp d12, d13, [sp, #128]\n"
    "  ldp d14, d15, [sp, #144]\n"
    "  add sp, sp, #160\n"
    "  ret\n"
    ".size shim_swap,.-shim_swap\n");

void shim_context_init(shim_context *c, const shim_stack *stack, void (*entry)(void)) {
  void **sp = (void **)(stack->top - 160);
  for (int i = 0; i < 20; i++) sp[i] = nullptr;
  sp[11] = (void *)entry; /* x30 */
  *c = shim_context{sp, stack, nullptr};
}
#else
/* sp points to a ucontext_t: on the fiber's own stack for a new one, on the suspended stack afterwards */
void shim_context_init(shim_context *c, const shim_stack *stack, void (*entry)(void)) {
  size_t room = (sizeof(ucontext_t) + 63) & ~(size_t)63;
  ucontext_t *u = (ucontext_t *)(stack->top - room);
  (void)getcontext(u);
  u->uc_stack.ss_sp = stack->bottom;
  u->uc_stack.ss_size = (size_t)(stack->top - room - stack->bottom);
  u->uc_link = nullptr;
  makecontext(u, entry, 0);
  *c = shim_context{u, stack, nullptr};
}
static void shim_swap(void **save_sp, void *sp) {
  ucontext_t own;
  *save_sp = &own;
  (void)swapcontext(&own, (ucontext_t *)sp);
}
#endif

#if SHIM_ASAN
static const void *own_bottom; /* the program's own stack, as asan knows it */
static size_t own_size;
static bool from_own;

__attribute__((no_sanitize("address"))) static void finished(void *fake_stack) {
  const void *bottom = nullptr;
  size_t size = 0;
  __sanitizer_finish_switch_fiber(fake_stack, &bottom, &size);
  if (from_own) {
    own_bottom = bottom;
    own_size = size;
  }
}

__attribute__((no_sanitize("address"))) void shim_entered(void) { finished(nullptr); }

__attribute__((no_sanitize("address"))) void shim_switch(shim_context *from, const shim_context *to, bool last) {
  const void *bottom = to->stack != nullptr ? to->stack->bottom : own_bottom;
  size_t size = to->stack != nullptr ? (size_t)(to->stack->top - to->stack->bottom) : own_size;
  from_own = from->stack == nullptr;
  __sanitizer_start_switch_fiber(last ? nullptr : &from->fake_stack, bottom, size);
  shim_swap(&from->sp, to->sp);
  finished(from->fake_stack);
}
#else
void shim_entered(void) {}
void shim_switch(shim_context *from, const shim_context *to, bool) { shim_swap(&from->sp, to->sp); }
#endif

/* Address space, not memory: only what is touched becomes memory. Stack tops are spread over the cache's sets. */
shim_stack *shim_stack_new(size_t index) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  size_t bytes = (SHIM_ASAN ? 512u : 128u) << 10;
  bytes = (bytes + page - 1) / page * page + page;
  char *p = (char *)mmap(nullptr, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == (char *)MAP_FAILED || mprotect(p, page, PROT_NONE) != 0) {
    perror("shim: no memory for a fiber's stack");
    abort();
  }
  shim_stack *s = (shim_stack *)malloc(sizeof *s);
  if (s == nullptr) abort();
  *s = shim_stack{p + page, p + page + bytes - index * 448 % 4096 / 64 * 64, nullptr};
  return s;
}
