/* Two models open in two threads at once give what each gives alone, and calls leave the process as it was. Usage: threads MODEL_A MODEL_B */
#include <llmct/llmct.h>
#include <locale.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROUNDS = 20, FLOATS = 1 << 16 };

typedef struct {
  const char *path;
  float alone[FLOATS]; /* the vectors of every position, source and layer */
  size_t n;
  const char *what; /* went wrong */
} job;

static const char *observe(const char *path, int rounds, float *first, size_t *n) {
  static const lct_message messages[] = {{"system", "You are kind.", 13}, {"user", "What a lovely morning!", 22}};
  static _Thread_local lct_error err;
  lct_subject *model = NULL;
  lct_observer *o = NULL;
  if (lct_model_open(&(lct_model_options){.id = path, .device = "cpu", .threads = 2}, &model, &err) != LCT_OK) return err.message;
  lct_status s = lct_observer_new(model, NULL, NULL, &o, &err);
  const char *what = NULL;
  for (int i = 0; i < rounds && s == LCT_OK && what == NULL; i++) {
    lct_observation *x = NULL;
    s = lct_observe(o, messages, 1 + (size_t)(i % 2), &x, &err);
    if (s != LCT_OK) break;
    const lct_observer_axes *a = lct_observer_get_axes(o);
    *n = (size_t)a->n_positions * (size_t)a->n_layers * (size_t)a->widths[0];
    const float *v = lct_observation_get(x, 0)->vectors;
    if (rounds == 2) memcpy(first + (size_t)i * *n, v, *n * sizeof *v);
    else if (memcmp(first + (size_t)(i % 2) * *n, v, *n * sizeof *v) != 0) what = "other bits beside another model";
    lct_observation_free(x);
  }
  lct_observer_free(o);
  lct_model_free(model);
  return s != LCT_OK ? err.message : what;
}

static void *run(void *arg) {
  job *j = arg;
  omp_set_num_threads(3);
  j->what = observe(j->path, ROUNDS, j->alone, &j->n);
  if (j->what == NULL && omp_get_max_threads() != 3) j->what = "a thread's number of OpenMP threads is changed";
  return NULL;
}

static void on_signal(int number) { (void)number; }

/* What a call might change. */
typedef struct {
  char folder[4096], locale[256];
  void (*actions[32])(int);
  int flags[32];
  sigset_t blocked;
  int threads;
  mode_t mask;
} process;

static process look(void) {
  static process p;
  if (getcwd(p.folder, sizeof p.folder) == NULL) p.folder[0] = '\0';
  (void)snprintf(p.locale, sizeof p.locale, "%s", setlocale(LC_ALL, NULL));
  for (int i = 1; i < 32; i++) {
    struct sigaction a;
    if (sigaction(i, NULL, &a) != 0) continue;
    p.actions[i] = a.sa_handler;
    p.flags[i] = a.sa_flags;
  }
  (void)pthread_sigmask(SIG_SETMASK, NULL, &p.blocked);
  p.threads = omp_get_max_threads();
  p.mask = umask(0);
  (void)umask(p.mask);
  return p;
}

static int fail(const char *what) {
  fprintf(stderr, "%s\n", what);
  return 1;
}

int main(int argc, char **argv) {
  static job jobs[2];
  static process before, after;
  pthread_t threads[2];
  if (argc != 3) return 2;
  if (setlocale(LC_ALL, "C.UTF-8") == NULL && setlocale(LC_ALL, "C") == NULL) return 2;
  (void)signal(SIGPIPE, on_signal);
  (void)signal(SIGINT, on_signal);
  omp_set_num_threads(5);
  before = look();
  for (int i = 0; i < 2; i++) {
    jobs[i].path = argv[i + 1];
    const char *what = observe(jobs[i].path, 2, jobs[i].alone, &jobs[i].n);
    if (what != NULL) return fail(what);
  }
  for (int i = 0; i < 2; i++) {
    if (pthread_create(&threads[i], NULL, run, &jobs[i]) != 0) return fail("no thread");
  }
  for (int i = 0; i < 2; i++) {
    (void)pthread_join(threads[i], NULL);
    if (jobs[i].what != NULL) return fail(jobs[i].what);
  }
  after = look();
  if (strcmp(before.folder, after.folder) != 0) return fail("the folder is changed");
  if (strcmp(before.locale, after.locale) != 0) return fail("the locale is changed");
  if (memcmp(before.actions, after.actions, sizeof before.actions) != 0 || memcmp(before.flags, after.flags, sizeof before.flags) != 0)
    return fail("what signals do is changed");
  if (memcmp(&before.blocked, &after.blocked, sizeof before.blocked) != 0) return fail("which signals are blocked is changed");
  if (before.threads != after.threads) return fail("OpenMP's number of threads is changed");
  if (before.mask != after.mask) return fail("the umask is changed");
  puts("as alone");
  return 0;
}
