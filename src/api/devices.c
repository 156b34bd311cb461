/* What there is to compute on, for people and for programs. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "cpu/cpu.h"
#include "subject/device.h"

typedef struct {
  char cpu[256];
  lct_buf backend; /* the CPU's: kernels and libraries */
  lct_gpu *gpus;
  int n_gpus;
  lct_error reason; /* why there are none */
  int chosen;       /* by auto, -1: the CPU */
} machine;

static lct_status look(machine *m, lct_error *err) {
  lct_device_cpu_name(m->cpu, sizeof m->cpu);
  LCT_TRY(lct_cpu_describe(&m->backend, err));
  m->chosen = lct_device_auto();
  if (lct_cuda_count(&m->n_gpus, &m->reason) != LCT_OK) m->n_gpus = 0;
  LCT_TRY(lct_calloc(&m->gpus, (size_t)m->n_gpus, sizeof *m->gpus, "list of GPUs", err));
  for (int i = 0; i < m->n_gpus; i++) LCT_TRY(lct_cuda_gpu(i, &m->gpus[i], err));
  return LCT_OK;
}

static json_t *gpu_json(const lct_gpu *g, int number) {
  char device[24], capability[24];
  (void)snprintf(device, sizeof device, "cuda:%d", number);
  (void)snprintf(capability, sizeof capability, "%d.%d", g->sm / 10, g->sm % 10);
  return json_pack("{s:s, s:s, s:I, s:I, s:i, s:s, s:I, s:I, s:I, s:b}", "device", device, "name", g->name, "bytes", (json_int_t)g->bytes,
                   "bytes_free", (json_int_t)g->bytes_free, "multiprocessors", g->n_sm, "compute_capability", capability, "clock_khz",
                   (json_int_t)g->clock_khz, "memory_clock_khz", (json_int_t)g->memory_clock_khz, "bus_bits", (json_int_t)g->bus_bits,
                   "usable", g->usable);
}

static char *as_json(const machine *m) {
  char chosen[24] = "cpu";
  if (m->chosen >= 0) (void)snprintf(chosen, sizeof chosen, "cuda:%d", m->chosen);
  json_t *gpus = json_array();
  for (int i = 0; i < m->n_gpus; i++) json_array_append_new(gpus, gpu_json(&m->gpus[i], i));
  json_t *root = json_pack("{s:s, s:s, s:{s:s, s:i, s:s}, s:o}", "auto", chosen, "cuda", lct_cuda_build(), "cpu", "name", m->cpu, "threads",
                           lct_processors(), "backend", m->backend.data, "gpus", gpus);
  if (root != NULL && m->reason.message[0] != '\0') json_object_set_new(root, "no_gpu", json_string(m->reason.message));
  char *text = root != NULL ? json_dumps(root, JSON_INDENT(2)) : NULL;
  json_decref(root);
  return text;
}

static lct_status gpu_line(const machine *m, int i, lct_buf *b, lct_error *err) {
  const lct_gpu *g = &m->gpus[i];
  char device[24];
  (void)snprintf(device, sizeof device, "cuda:%d", i);
  return lct_buf_printf(b, err, "%-8s %-5s %s: %.1f of %.1f GiB free, %d multiprocessors, compute capability %d.%d%s\n", device,
                        m->chosen == i ? "auto" : "", g->name, (double)g->bytes_free / (1 << 30), (double)g->bytes / (1 << 30), g->n_sm,
                        g->sm / 10, g->sm % 10, g->usable ? "" : "; this build has no code for it");
}

static lct_status as_text(const machine *m, lct_buf *b, lct_error *err) {
  int threads = lct_processors();
  LCT_TRY(lct_buf_printf(b, err, "%-8s %-5s %s: %d thread%s, %s\n", "cpu", m->chosen < 0 ? "auto" : "", m->cpu, threads,
                         threads == 1 ? "" : "s", m->backend.data));
  for (int i = 0; i < m->n_gpus; i++) LCT_TRY(gpu_line(m, i, b, err));
  return m->reason.message[0] != '\0' ? lct_buf_printf(b, err, "no GPU can be used: %s\n", m->reason.message) : LCT_OK;
}

lct_status lct_devices(bool json, char **text, lct_error *err) {
  machine m = {0};
  lct_buf b = {0};
  *text = NULL;
  lct_status s = look(&m, err);
  if (s == LCT_OK && json) {
    *text = as_json(&m);
    if (*text == NULL) s = lct_fail(err, LCT_E_NOMEM, "could not make the JSON of the devices");
  } else if (s == LCT_OK) {
    s = as_text(&m, &b, err);
  }
  if (s == LCT_OK && !json) *text = b.data;
  else lct_buf_free(&b);
  lct_buf_free(&m.backend);
  free(m.gpus);
  return s;
}
