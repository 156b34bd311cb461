/* Mean and deviation of a whole sweep from the sums it kept by role. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "archive/archive_impl.h"

enum { N_ROLES = 3 };

/* Sums of one plane at one position: (role, width). */
typedef struct {
  int64_t n[N_ROLES];
  double *mean, *m2;
} sums;

static lct_status find(lct_archive *a, const char *source, const char *what, archive_array **out, lct_error *err) {
  char name[256];
  (void)snprintf(name, sizeof name, "moments/%.200s/%s", source, what);
  *out = archive_find(a, name);
  if (*out == NULL) return lct_fail(err, LCT_E_USAGE, "%s holds no moments of %s", a->dir, source);
  if ((*out)->meta.dtype != LCT_ZARR_F64 || (*out)->meta.n_dims != 4 || (*out)->meta.shape[2] != N_ROLES) {
    return lct_fail(err, LCT_E_FORMAT, "%s/sweep.json: %s: expected float64 (position, layer, role, hidden)", a->dir, name);
  }
  return archive_open_array(a, *out, err);
}

static lct_status read_sums(lct_archive *a, archive_array *mean, archive_array *m2, int position, int plane, int64_t width, sums *s,
                            lct_error *err) {
  archive_array *n = archive_find(a, "moments/n");
  if (n == NULL || n->meta.dtype != LCT_ZARR_I64 || n->meta.n_dims != 2 || n->meta.shape[1] != N_ROLES) {
    return lct_fail(err, LCT_E_FORMAT, "%s/sweep.json: moments/n: expected int64 (position, role)", a->dir);
  }
  LCT_TRY(archive_open_array(a, n, err));
  LCT_TRY(lct_zarr_read(n->z, (int64_t[]){position, 0}, (int64_t[]){1, N_ROLES}, s->n, err));
  const int64_t start[] = {position, plane, 0, 0}, count[] = {1, 1, N_ROLES, width};
  LCT_TRY(lct_zarr_read(mean->z, start, count, s->mean, err));
  return lct_zarr_read(m2->z, start, count, s->m2, err);
}

static void combine(const sums *s, int64_t width, double *mean, double *sigma, int64_t *count) {
  *count = s->n[0] + s->n[1] + s->n[2];
  for (int64_t i = 0; i < width; i++) {
    double sum = 0, m2 = 0;
    for (int r = 0; r < N_ROLES; r++) sum += s->n[r] > 0 ? (double)s->n[r] * s->mean[r * width + i] : 0;
    mean[i] = *count > 0 ? sum / (double)*count : 0;
    for (int r = 0; r < N_ROLES; r++) {
      double d = s->mean[r * width + i] - mean[i];
      m2 += s->n[r] > 0 ? s->m2[r * width + i] + (double)s->n[r] * d * d : 0;
    }
    sigma[i] = *count > 1 ? sqrt(m2 / (double)(*count - 1)) : 0;
  }
}

lct_status lct_archive_moments(lct_archive *a, const char *source, const char *position, int layer, double *mean, double *sigma,
                               int64_t *count, lct_error *err) {
  if (!a->info.done) return lct_fail(err, LCT_E_USAGE, "%s is not done: its moments are not there yet", a->dir);
  bool leaving = strcmp(source, "hidden_out") == 0, stream = leaving || strcmp(source, "hidden_in") == 0;
  char name[256];
  (void)snprintf(name, sizeof name, "moments/%.200s/mean", source);
  bool own = archive_find(a, name) != NULL || !stream;
  archive_array *means, *m2;
  LCT_TRY(find(a, own ? source : "residual", "mean", &means, err));
  LCT_TRY(find(a, own ? source : "residual", "m2", &m2, err));
  int plane = own ? archive_axis_number(means, "layers", layer) : archive_axis_number(means, "planes", (int64_t)layer + leaving);
  int at = archive_axis_name(means, "positions", position);
  if (plane < 0 || at < 0)
    return lct_fail(err, LCT_E_USAGE, "%s holds no moments of %s at layer %d, position \"%s\"", a->dir, source, layer, position);
  int64_t width = means->meta.shape[3];
  sums s = {0};
  lct_status status = lct_alloc_aligned(&s.mean, (size_t)width * N_ROLES, sizeof *s.mean, "moments", err);
  if (status == LCT_OK) status = lct_alloc_aligned(&s.m2, (size_t)width * N_ROLES, sizeof *s.m2, "moments", err);
  if (status == LCT_OK) status = read_sums(a, means, m2, at, plane, width, &s, err);
  if (status == LCT_OK) combine(&s, width, mean, sigma, count);
  free(s.mean);
  free(s.m2);
  return status;
}
