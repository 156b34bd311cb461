/* Mean and spread of every vector element, by role. Rows of one shard are added one after the other (Welford); shards are merged in order
 * (Chan, Golub, LeVeque 1979), so that a resumed sweep, which reads finished shards back, gets the same bits. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sweep/sweep_impl.h"

size_t sweep_moments_values(const sweep *s, int stream) {
  const lct_stream *t = &s->streams[stream].s;
  return (size_t)s->n_positions * (size_t)t->n_planes * LCT_N_ROLES * (size_t)t->width;
}

lct_status sweep_moments_new(sweep *s, sweep_moments *m, lct_error *err) {
  LCT_TRY(lct_calloc(&m->n, (size_t)s->n_positions, sizeof *m->n, "moments", err));
  LCT_TRY(lct_calloc(&m->mean, (size_t)s->n_streams, sizeof *m->mean, "moments", err));
  LCT_TRY(lct_calloc(&m->m2, (size_t)s->n_streams, sizeof *m->m2, "moments", err));
  for (int i = 0; i < s->n_streams; i++) {
    LCT_TRY(lct_calloc(&m->mean[i], sweep_moments_values(s, i), sizeof(double), "moments", err));
    LCT_TRY(lct_calloc(&m->m2[i], sweep_moments_values(s, i), sizeof(double), "moments", err));
  }
  return LCT_OK;
}

void sweep_moments_free(const sweep *s, sweep_moments *m) {
  for (int i = 0; i < s->n_streams; i++) {
    if (m->mean != NULL) free(m->mean[i]);
    if (m->m2 != NULL) free(m->m2[i]);
  }
  free(m->n);
  free(m->mean);
  free(m->m2);
  *m = (sweep_moments){0};
}

static inline __attribute__((always_inline)) void welford_body(const float *v, int n, double inverse, double *mean, double *m2) {
  for (int i = 0; i < n; i++) {
    double x = (double)v[i], d = x - mean[i];
    mean[i] += d * inverse;
    m2[i] += d * (x - mean[i]);
  }
}

#pragma GCC push_options
#pragma GCC optimize("O3")
static void welford_base(const float *v, int n, double inverse, double *mean, double *m2) { welford_body(v, n, inverse, mean, m2); }
#if defined(__x86_64__)
__attribute__((target("avx512f,prefer-vector-width=512"))) static void welford_avx512(const float *v, int n, double inverse, double *mean,
                                                                                       double *m2) {
  welford_body(v, n, inverse, mean, m2);
}
#endif
#pragma GCC pop_options

static void welford(const float *v, int n, double inverse, double *mean, double *m2) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    welford_avx512(v, n, inverse, mean, m2);
    return;
  }
#endif
  welford_base(v, n, inverse, mean, m2);
}

/* Every element of a vector is NaN, or none. */
static bool is_there(const sweep *s, int position, int64_t item) {
  return !isnan(lct_pool_vectors(s->pool, 0, position, 0)[(size_t)item * (size_t)s->streams[0].s.width]);
}

static void add_plane(const sweep *s, const sweep_unit *u, sweep_moments *m, int stream, int position, int plane, int64_t from, int64_t to) {
  const lct_stream *t = &s->streams[stream].s;
  size_t width = (size_t)t->width, base = ((size_t)position * (size_t)t->n_planes + (size_t)plane) * LCT_N_ROLES * width;
  const float *vectors = lct_pool_vectors(s->pool, stream, position, plane);
  int64_t n[LCT_N_ROLES];
  memcpy(n, m->n[position].n, sizeof n);
  for (int64_t i = from; i < to; i++) {
    if (!is_there(s, position, i)) continue;
    int role = u->items[i].role;
    size_t at = base + (size_t)role * width;
    welford(vectors + (size_t)i * width, t->width, 1.0 / (double)++n[role], m->mean[stream] + at, m->m2[stream] + at);
  }
}

/* A unit's items [from, to) of one stream; planes are position * n_planes + plane. */
typedef struct {
  sweep *s;
  const sweep_unit *u;
  int stream;
  int64_t from, to;
} adding;

static lct_status add_planes(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread, (void)err;
  const adding *a = ctx;
  int n_planes = a->s->streams[a->stream].s.n_planes;
  for (int64_t i = from; i < to; i++) {
    add_plane(a->s, a->u, &a->s->part, a->stream, (int)(i / n_planes), (int)(i % n_planes), a->from, a->to);
  }
  return LCT_OK;
}

lct_status sweep_moments_add(sweep *s, const sweep_unit *u, int64_t from, int64_t to, lct_error *err) {
  for (int stream = 0; stream < s->n_streams; stream++) {
    adding a = {.s = s, .u = u, .stream = stream, .from = from, .to = to};
    LCT_TRY(lct_threads_for(s->threads, (int64_t)s->n_positions * s->streams[stream].s.n_planes, 1, add_planes, &a, err));
  }
  for (int position = 0; position < s->n_positions; position++) {
    for (int64_t i = from; i < to; i++) s->part.n[position].n[u->items[i].role] += is_there(s, position, i);
  }
  return LCT_OK;
}

static void merge_values(size_t n, double share, double weight, double *mean, double *m2, const double *mean_b, const double *m2_b) {
  for (size_t i = 0; i < n; i++) {
    double d = mean_b[i] - mean[i];
    mean[i] += d * share;
    m2[i] += m2_b[i] + d * d * weight;
  }
}

void sweep_moments_merge(const sweep *s, sweep_moments *into, sweep_moments *part) {
  for (int stream = 0; stream < s->n_streams; stream++) {
    const lct_stream *t = &s->streams[stream].s;
    for (int position = 0; position < s->n_positions; position++) {
      for (int k = 0; k < t->n_planes * LCT_N_ROLES; k++) {
        int role = k % LCT_N_ROLES;
        double a = (double)into->n[position].n[role], b = (double)part->n[position].n[role];
        size_t at = ((size_t)position * (size_t)t->n_planes * LCT_N_ROLES + (size_t)k) * (size_t)t->width;
        if (b > 0) {
          merge_values((size_t)t->width, b / (a + b), a * b / (a + b), into->mean[stream] + at, into->m2[stream] + at, part->mean[stream] + at,
                       part->m2[stream] + at);
        }
      }
    }
    memset(part->mean[stream], 0, sweep_moments_values(s, stream) * sizeof(double));
    memset(part->m2[stream], 0, sweep_moments_values(s, stream) * sizeof(double));
  }
  for (int position = 0; position < s->n_positions; position++) {
    for (int role = 0; role < LCT_N_ROLES; role++) into->n[position].n[role] += part->n[position].n[role];
    part->n[position] = (sweep_counts){0};
  }
}

/* n (position, role); mean and m2 (position, plane, role, width) of every stream. */
lct_status sweep_moments_write(sweep *s, lct_error *err) {
  for (int position = 0; position < s->n_positions; position++) {
    for (int stream = -1; stream < s->n_streams; stream++) {
      size_t bytes = stream < 0 ? sizeof(sweep_counts) : sweep_moments_values(s, stream) / (size_t)s->n_positions * sizeof(double);
      for (int k = 0; k < (stream < 0 ? 1 : 2); k++) {
        lct_zarr_out *out = stream < 0 ? s->moments_n : k == 0 ? s->moments_mean[stream] : s->moments_m2[stream];
        const void *from = stream < 0 ? (const void *)s->whole.n : k == 0 ? s->whole.mean[stream] : s->whole.m2[stream];
        void *to = NULL;
        int64_t n = 0;
        LCT_TRY(lct_zarr_reserve(out, 1, &to, &n, err));
        memcpy(to, (const char *)from + (size_t)position * bytes, bytes);
        LCT_TRY(lct_zarr_commit(out, 1, err));
      }
    }
  }
  return LCT_OK;
}
