#include "subject/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* On the CPU a GEMM is at its full rate with some hundred rows, and the workspace of 4096 is small beside any model. */
#define CPU_BATCH_ROWS 4096
/* A GPU hands out GEMM tiles of about 128 x 256 to some 130 multiprocessors at once. At 16384 rows and a width of 2048 those are 1024
 * tiles, eight rounds, so a last round that is not full idles at most an eighth of the time; and a pass's fixed cost, one launch an
 * op, is spread over four times the rows of the CPU's batch. The workspace is about 70 bytes a row and unit of hidden size over all
 * its buffers (counted at Qwen2.5-3B's shape): 2.3 GB at a width of 2048, which fits wherever such a model is scanned; where it does not, the scan halves it. */
#define GPU_BATCH_ROWS 16384

static const char *const PRECISION_NAMES[] = {"auto", "exact", "fast", "f16", "bf16"};

const char *lct_precision_name(lct_precision p) {
  return (unsigned)p < sizeof PRECISION_NAMES / sizeof *PRECISION_NAMES ? PRECISION_NAMES[p] : "unknown";
}

void lct_device_cpu_name(char *out, size_t n) {
  (void)snprintf(out, n, "unknown");
  lct_buf b = {0};
  if (lct_file_read("/proc/cpuinfo", 1 << 22, &b, NULL) == LCT_OK) {
    const char *line = strstr(b.data, "model name");
    const char *colon = line != NULL ? strchr(line, ':') : NULL;
    if (colon != NULL) (void)snprintf(out, n, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
  }
  lct_buf_free(&b);
}

lct_status lct_precision_resolve(bool gpu, lct_precision asked, lct_precision *out, lct_error *err) {
  static const lct_precision cpu[] = {LCT_PRECISION_EXACT, LCT_PRECISION_EXACT, LCT_PRECISION_FAST, LCT_PRECISION_AUTO,
                                      LCT_PRECISION_FAST}; /* AUTO: it cannot */
  static const lct_precision cuda[] = {LCT_PRECISION_F16, LCT_PRECISION_AUTO, LCT_PRECISION_F16, LCT_PRECISION_F16, LCT_PRECISION_BF16};
  if ((unsigned)asked >= sizeof cpu / sizeof *cpu) {
    return lct_fail(err, LCT_E_USAGE, "precision: expected auto, exact, fast, f16 or bf16, found number %d", (int)asked);
  }
  *out = (gpu ? cuda : cpu)[asked];
  if (*out != LCT_PRECISION_AUTO) return LCT_OK;
  return lct_fail(err, LCT_E_UNSUPPORTED, "%s",
                  gpu ? "precision exact: float32 throughout runs on the CPU only: --device cpu; a GPU computes in f16 (default) or bf16"
                      : "precision f16 runs on a GPU only; the CPU computes in exact (default), or fast, which is bf16");
}

void lct_device_describe(const lct_device *d, lct_device_used *out) {
  *out = (lct_device_used){.precision = d->precision};
  (void)snprintf(out->label, sizeof out->label, "%s", d->label);
  (void)snprintf(out->name, sizeof out->name, "%s", d->name);
}

int lct_device_auto(void) {
  int n = 0;
  lct_error ignored; /* no GPU is no failure here */
  if (lct_cuda_ops() == NULL || lct_cuda_count(&n, &ignored) != LCT_OK) return -1;
  for (int i = 0; i < n; i++) {
    lct_gpu gpu;
    if (lct_cuda_gpu(i, &gpu, &ignored) == LCT_OK && gpu.usable) return i;
  }
  return -1;
}

static lct_status use_gpu(int number, lct_device *out, lct_error *err) {
  int n = 0;
  lct_gpu gpu;
  if (lct_cuda_count(&n, err) != LCT_OK) return lct_fail_context(err, LCT_E_UNSUPPORTED, "cuda:%d cannot be used", number);
  if (number >= n) {
    if (n == 1) return lct_fail(err, LCT_E_UNSUPPORTED, "cuda:%d cannot be used: there is one GPU, cuda:0", number);
    return lct_fail(err, LCT_E_UNSUPPORTED, "cuda:%d cannot be used: there are %d GPUs, cuda:0 to cuda:%d", number, n, n - 1);
  }
  LCT_TRY(lct_cuda_gpu(number, &gpu, err));
  if (!gpu.usable) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "cuda:%d cannot be used: this build (%s) has no code for %s with compute capability %d.%d",
                    number, lct_cuda_build(), gpu.name, gpu.sm / 10, gpu.sm % 10);
  }
  *out = (lct_device){.gpu = true, .number = number, .ops = lct_cuda_ops(), .batch_rows = GPU_BATCH_ROWS};
  (void)snprintf(out->label, sizeof out->label, "cuda:%d", number);
  (void)snprintf(out->name, sizeof out->name, "%s", gpu.name);
  return LCT_OK;
}

static void use_cpu(lct_device *out) {
  *out = (lct_device){.label = "cpu", .ops = lct_cpu_ops(), .batch_rows = CPU_BATCH_ROWS};
  lct_device_cpu_name(out->name, sizeof out->name);
}

/* *number: of the GPU, -1: the CPU. */
static lct_status parse(const char *text, const char *from, int *number, lct_error *err) {
  *number = 0;
  if (strcmp(text, "auto") == 0) *number = lct_device_auto();
  else if (strcmp(text, "cpu") == 0) *number = -1;
  else if (strcmp(text, "cuda") != 0) {
    const char *digits = strncmp(text, "cuda:", 5) == 0 ? text + 5 : "";
    size_t n = strspn(digits, "0123456789");
    if (n == 0 || n > 4 || digits[n] != '\0') {
      return lct_fail(err, LCT_E_USAGE, "%s: expected auto, cpu, cuda or cuda:N, found \"%.100s\"", from, text);
    }
    *number = atoi(digits);
  }
  return LCT_OK;
}

lct_status lct_device_resolve(const char *text, lct_precision asked, lct_device *out, lct_error *err) {
  const char *from = "device";
  if (text == NULL) {
    text = getenv("LCT_DEVICE");
    if (text == NULL || text[0] == '\0') text = "auto";
    else from = "LCT_DEVICE";
  }
  int number = 0;
  LCT_TRY(parse(text, from, &number, err));
  if (number >= 0) LCT_TRY(use_gpu(number, out, err));
  else use_cpu(out);
  return lct_precision_resolve(out->gpu, asked, &out->precision, err);
}

lct_status lct_device_engine(const lct_device *d, const lct_model *m, lct_threads *threads, lct_engine **out, lct_error *err) {
  lct_backend_options o = {.precision = d->precision, .threads = threads, .device = d->number};
  lct_status s = lct_engine_new(m, d->ops, &o, out, err);
  if (s != LCT_E_NOMEM || !d->gpu) return s;
  lct_gpu gpu;
  lct_error ignored;
  if (lct_cuda_gpu(d->number, &gpu, &ignored) != LCT_OK) return s;
  return lct_fail_context(err, s, "%lld weights of 2 bytes do not fit %s (%s) with %.2f of %.2f GiB free", (long long)lct_model_n_params(m),
                          d->label, d->name, (double)gpu.bytes_free / (1 << 30), (double)gpu.bytes / (1 << 30));
}
