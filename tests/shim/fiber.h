/* Switching between stacks: a few lines of assembly for x86-64 and aarch64, ucontext elsewhere. asan is told of every switch. */
#ifndef LCT_SHIM_FIBER_H
#define LCT_SHIM_FIBER_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define SHIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SHIM_ASAN 1
#endif
#endif
#ifndef SHIM_ASAN
#define SHIM_ASAN 0
#endif

struct shim_stack {
  char *bottom; /* lowest address that may be used; below it lies a guard page */
  char *top;
  shim_stack *next;
};

/* A suspended computation; `stack` is NULL for the program's own. */
struct shim_context {
  void *sp;
  const shim_stack *stack;
  void *fake_stack;
};

shim_stack *shim_stack_new(size_t index);
/* `entry` runs on the stack at the first switch to c; it must never return, and must call shim_entered first */
void shim_context_init(shim_context *c, const shim_stack *stack, void (*entry)(void));
void shim_entered(void);
/* Suspends the running computation into *from; last: it will not be resumed. */
void shim_switch(shim_context *from, const shim_context *to, bool last);

#endif
