/* Threads that work behind the ones the user waits for. */
#ifndef LCT_BASE_THREAD_H
#define LCT_BASE_THREAD_H

#include <sys/resource.h>

/* The calling thread gets the processor only where others of its kind leave it idle: Linux keeps niceness per thread. One that is waited
 * for has the processor to itself anyway. */
static inline void lct_thread_give_way(void) { (void)setpriority(PRIO_PROCESS, 0, PRIO_MAX - 1); }

#endif
