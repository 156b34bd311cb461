/* Places that fill up: a tmpfs of one mebibyte where mounting is allowed, and a file size limit everywhere. */
#ifndef LCT_TEST_FULLFS_H
#define LCT_TEST_FULLFS_H

#include <errno.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "test_support.h"

/* A fresh directory with a tmpfs of `bytes` mounted on it; false (and why, printed) where that is not allowed. */
static inline bool fullfs_mount(char dir[64], size_t bytes) {
  char options[64];
  (void)snprintf(dir, 64, "/tmp/lct-fullfs-XXXXXX");
  (void)snprintf(options, sizeof options, "size=%zu", bytes);
  if (mkdtemp(dir) == NULL) {
    print_message("skipped: no temporary directory: %s\n", strerror(errno));
    return false;
  }
  if (mount("tmpfs", dir, "tmpfs", 0, options) != 0) {
    print_message("skipped: a small tmpfs cannot be mounted here: %s\n", strerror(errno));
    (void)rmdir(dir);
    return false;
  }
  return true;
}

static inline void fullfs_unmount(const char *dir) {
  (void)umount(dir);
  (void)rmdir(dir);
}

/* No file of this process may grow beyond `bytes` (EFBIG) until fullfs_unlimit. */
static inline void fullfs_limit(size_t bytes) {
  (void)signal(SIGXFSZ, SIG_IGN);
  struct rlimit limit;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
  limit.rlim_cur = bytes;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static inline void fullfs_unlimit(void) {
  struct rlimit limit;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

#endif
