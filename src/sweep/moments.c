/* Mean and spread of every vector element, by role. Rows of one shard are added one after the other (Welford); shards are merged in order
 * (Chan, Golub, LeVeque 1979), so that a resumed sweep, which reads finished shards back, gets the same bits. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sweep/sweep_impl.h"

size_t sweep_moments_values(const lct_axes *a, int stream) {
  const lct_stream *t = &a->streams[stream].s;
  return (size_t)a->n_positions * (size_t)t->n_planes * LCT_N_ROLES * (size_t)t->width;
}

lct_status sweep_moments_new(const lct_axes *a, sweep_moments *m, lct_error *err) {
  LCT_TRY(lct_calloc(&m->n, (size_t)a->n_positions, sizeof *m->n, "moments", err));
  LCT_TRY(lct_calloc(&m->mean, (size_t)a->n_streams, sizeof *m->mean, "moments", err));
  LCT_TRY(lct_calloc(&m->m2, (size_t)a->n_streams, sizeof *m->m2, "moments", err));
  for (int i = 0; i < a->n_streams; i++) {
    LCT_TRY(lct_calloc(&m->mean[i], sweep_moments_values(a, i), sizeof(double), "moments", err));
    LCT_TRY(lct_calloc(&m->m2[i], sweep_moments_values(a, i), sizeof(double), "moments", err));
  }
  return LCT_OK;
}

void sweep_moments_free(const lct_axes *a, sweep_moments *m) {
  for (int i = 0; a != NULL && i < a->n_streams; i++) {
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

typedef struct {
  const lct_axes *a;
  sweep_moments *m;
  const lct_unit *u;
  const lct_pool *pool;
  int stream;
  int64_t from, to; /* items */
} adding;

/* Every element of a vector is NaN, or none. */
static bool is_there(const adding *x, int position, int64_t item) {
  return !isnan(lct_pool_vectors(x->pool, 0, position, 0)[(size_t)item * (size_t)x->a->streams[0].s.width]);
}

static lct_role role_of(const lct_unit *u, int64_t item) { return u->items[item].roles[u->items[item].message]; }

static void add_plane(const adding *x, int position, int plane) {
  const lct_stream *t = &x->a->streams[x->stream].s;
  sweep_moments *m = x->m;
  size_t width = (size_t)t->width, base = ((size_t)position * (size_t)t->n_planes + (size_t)plane) * LCT_N_ROLES * width;
  const float *vectors = lct_pool_vectors(x->pool, x->stream, position, plane);
  int64_t n[LCT_N_ROLES];
  memcpy(n, m->n[position].n, sizeof n);
  for (int64_t i = x->from; i < x->to; i++) {
    if (!is_there(x, position, i)) continue;
    lct_role role = role_of(x->u, i);
    size_t at = base + (size_t)role * width;
    welford(vectors + (size_t)i * width, t->width, 1.0 / (double)++n[role], m->mean[x->stream] + at, m->m2[x->stream] + at);
  }
}

static lct_status add_planes(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  const adding *x = ctx;
  int n_planes = x->a->streams[x->stream].s.n_planes;
  (void)thread;
  (void)err;
  for (int64_t k = from; k < to; k++) add_plane(x, (int)(k / n_planes), (int)(k % n_planes));
  return LCT_OK;
}

lct_status sweep_moments_add(const lct_axes *a, sweep_moments *m, const lct_unit *u, const lct_pool *pool, lct_threads *threads,
                             int64_t from, int64_t to, lct_error *err) {
  adding x = {a, m, u, pool, 0, from, to};
  for (; x.stream < a->n_streams; x.stream++) {
    LCT_TRY(lct_threads_for(threads, (int64_t)a->n_positions * a->streams[x.stream].s.n_planes, 1, add_planes, &x, err));
  }
  for (int position = 0; position < a->n_positions; position++) {
    for (int64_t i = from; i < to; i++) m->n[position].n[role_of(u, i)] += is_there(&x, position, i);
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

void sweep_moments_merge(const lct_axes *axes, sweep_moments *into, sweep_moments *part) {
  for (int stream = 0; stream < axes->n_streams; stream++) {
    const lct_stream *t = &axes->streams[stream].s;
    for (int position = 0; position < axes->n_positions; position++) {
      for (int k = 0; k < t->n_planes * LCT_N_ROLES; k++) {
        int role = k % LCT_N_ROLES;
        double a = (double)into->n[position].n[role], b = (double)part->n[position].n[role];
        size_t at = ((size_t)position * (size_t)t->n_planes * LCT_N_ROLES + (size_t)k) * (size_t)t->width;
        if (b > 0) {
          merge_values((size_t)t->width, b / (a + b), a * b / (a + b), into->mean[stream] + at, into->m2[stream] + at,
                       part->mean[stream] + at, part->m2[stream] + at);
        }
      }
    }
    memset(part->mean[stream], 0, sweep_moments_values(axes, stream) * sizeof(double));
    memset(part->m2[stream], 0, sweep_moments_values(axes, stream) * sizeof(double));
  }
  for (int position = 0; position < axes->n_positions; position++) {
    for (int role = 0; role < LCT_N_ROLES; role++) into->n[position].n[role] += part->n[position].n[role];
    part->n[position] = (sweep_counts){0};
  }
}
