/* Finding cuBLASLt at run time. */
#include "cublaslt.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OLDEST_MAJOR 12

_Static_assert(sizeof(lct_lt_algo) == 64 && sizeof(lct_lt_result) == 96, "the layout that check_cublaslt.c compares with the real one");

/* Where was looked and what was wrong, for the message. */
typedef struct {
  char text[1600];
  size_t len;
} notes;

static void note(notes *n, const char *path, const char *why) {
  int written = snprintf(n->text + n->len, sizeof n->text - n->len, "%s%s: %s", n->len == 0 ? "" : "; ", path, why);
  if (written > 0) n->len += (size_t)written;
  if (n->len >= sizeof n->text) n->len = sizeof n->text - 1;
}

static bool bind_functions(lct_cublaslt *lt, notes *n, const char *path) {
#define BIND(member, name, result, params)                      \
  {                                                             \
    void *f = dlsym(lt->library, #name);                        \
    if (f == NULL) {                                            \
      note(n, path, "it has no " #name);                        \
      return false;                                             \
    }                                                           \
    _Static_assert(sizeof lt->member == sizeof f, "a pointer"); \
    memcpy(&lt->member, &f, sizeof f);                          \
  }
  LCT_LT_FUNCTIONS(BIND)
#undef BIND
  size_t version = lt->version(); /* 120805, 130100 */
  if (version / 10000 >= OLDEST_MAJOR) return true;
  char why[80];
  (void)snprintf(why, sizeof why, "version number %zu, needed is %d or newer", version, OLDEST_MAJOR);
  note(n, path, why);
  return false;
}

static bool try_library(lct_cublaslt *lt, notes *n, const char *path) {
  if (path[0] == '/' && access(path, F_OK) != 0) {
    note(n, path, "no such file");
    return false;
  }
  /* not unloaded before the program ends: its kernels and threads do not like to go */
  lt->library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (lt->library == NULL) {
    const char *why = dlerror();
    size_t own = strlen(path);
    if (why == NULL) why = "cannot be loaded";
    if (strncmp(why, path, own) == 0 && strncmp(why + own, ": ", 2) == 0) why += own + 2; /* or it is named twice */
    note(n, path, strcmp(why, "cannot open shared object file: No such file or directory") == 0 ? "not found" : why);
    return false;
  }
  if (bind_functions(lt, n, path)) return true;
  lct_cublaslt_close(lt);
  return false;
}

/* Folder of the running program, with the slash; empty when unknown. */
static void program_folder(char out[PATH_MAX]) {
  ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
  out[n > 0 ? n : 0] = '\0';
  char *slash = strrchr(out, '/');
  if (slash != NULL) slash[1] = '\0';
}

lct_status lct_cublaslt_open(lct_cublaslt *lt, lct_error *err) {
  static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"};
  enum { N = sizeof names / sizeof *names };
  *lt = (lct_cublaslt){0};
  notes n = {{0}, 0};
  const char *given = getenv("LCT_CUBLASLT");
  if (given != NULL && given[0] != '\0') {
    if (try_library(lt, &n, given)) return LCT_OK;
    return lct_fail(err, LCT_E_UNSUPPORTED, "cuBLASLt (the GPU's matrix products) cannot be used; LCT_CUBLASLT says %s", n.text);
  }
  char program[PATH_MAX], path[PATH_MAX + 64];
  program_folder(program);
  for (int i = 0; i < N; i++) {
    if (try_library(lt, &n, names[i])) return LCT_OK;
  }
  for (int i = 0; i < N; i++) {
    (void)snprintf(path, sizeof path, "/usr/local/cuda/lib64/%s", names[i]);
    if (try_library(lt, &n, path)) return LCT_OK;
  }
  for (int i = 0; i < N && program[0] != '\0'; i++) {
    (void)snprintf(path, sizeof path, "%slib/%s", program, names[i]);
    if (try_library(lt, &n, path)) return LCT_OK;
  }
  return lct_fail(err, LCT_E_UNSUPPORTED,
                  "cuBLASLt (the GPU's matrix products) was not found: install it, or set LCT_CUBLASLT to the path of libcublasLt.so; "
                  "tried %s",
                  n.text);
}

void lct_cublaslt_close(lct_cublaslt *lt) {
  if (lt->library != NULL) (void)dlclose(lt->library);
  *lt = (lct_cublaslt){0};
}

const char *lct_cublaslt_status(int status) {
  switch (status) {
  case 0: return "SUCCESS";
  case 1: return "NOT_INITIALIZED";
  case 3: return "ALLOC_FAILED";
  case 7: return "INVALID_VALUE";
  case 8: return "ARCH_MISMATCH";
  case 11: return "MAPPING_ERROR";
  case 13: return "EXECUTION_FAILED";
  case 14: return "INTERNAL_ERROR";
  case 15: return "NOT_SUPPORTED";
  case 16: return "LICENSE_ERROR";
  default: return "unknown status";
  }
}
