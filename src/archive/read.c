/* Vectors as float32: from the source's own array, from the residual stream's planes, or added up. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/convert.h"
#include "archive/archive_impl.h"

enum { DEFAULT_GROUP = 128 };

/* Where vectors lie: in one plane of an array. */
typedef struct {
  archive_array *array;
  int position; /* -1: an array of tokens */
  int plane;
} place;

static const char *folder(bool tokens) { return tokens ? "tokens" : "pooled"; }

/* The array and plane that hold the source's layer as they are; array NULL: there is none. */
static place find_plane(lct_archive *a, const char *in, const char *source, int layer) {
  archive_array *x = archive_find_in(a, in, source, "");
  int plane = x != NULL ? archive_axis_number(x, "layers", layer) : -1;
  if (plane >= 0) return (place){x, -1, plane};
  bool entering = strcmp(source, "hidden_in") == 0, leaving = strcmp(source, "hidden_out") == 0;
  x = entering || leaving ? archive_find_in(a, in, "residual", "") : NULL;
  plane = x != NULL ? archive_axis_number(x, "planes", (int64_t)layer + leaving) : -1;
  return plane >= 0 ? (place){x, -1, plane} : (place){NULL, -1, -1};
}

static bool is_residual(const char *source) { return strcmp(source, "hidden_in") == 0 || strcmp(source, "hidden_out") == 0; }

static lct_status no_such(const lct_archive *a, bool tokens, const char *source, int layer, lct_error *err) {
  lct_buf have = {0};
  char prefix[16];
  size_t n = (size_t)snprintf(prefix, sizeof prefix, "%s/", folder(tokens));
  lct_status s = LCT_OK;
  for (size_t i = 0; i < a->n_arrays && s == LCT_OK; i++) {
    if (strncmp(a->arrays[i].name, prefix, n) == 0) s = lct_buf_printf(&have, err, "%s%s", have.len > 0 ? ", " : "", a->arrays[i].name);
  }
  if (s == LCT_OK) {
    s = lct_fail(err, LCT_E_USAGE, "%s holds no %s of %s at layer %d; there are %s", a->dir, tokens ? "tokens" : "vectors", source, layer,
                 have.len > 0 ? have.data : "none");
  }
  lct_buf_free(&have);
  return s;
}

/* Axes of a stored array are what its folder says: (row, position, plane, width) or (token, plane, width). */
static lct_status check_array(const lct_archive *a, const archive_array *x, bool tokens, lct_error *err) {
  const lct_zarr_meta *m = &x->meta;
  int n = tokens ? 3 : 4;
  bool ok = m->n_dims == n && m->shape[n - 1] <= INT32_MAX;
  if (ok && !tokens) ok = (size_t)m->shape[1] == json_array_size(json_object_get(x->axes, "positions"));
  if (ok) {
    ok = (size_t)m->shape[n - 2] ==
         json_array_size(json_object_get(x->axes, json_object_get(x->axes, "planes") != NULL ? "planes" : "layers"));
  }
  return ok ? LCT_OK : lct_fail(err, LCT_E_FORMAT, "%s/sweep.json: %s: its shape is not what its axes say", a->dir, x->name);
}

static lct_status room(void *ptr_to_ptr, size_t *cap, size_t n, size_t size, lct_error *err) {
  void *p;
  memcpy(&p, ptr_to_ptr, sizeof p);
  if (p != NULL && n <= *cap) return LCT_OK;
  free(p);
  p = NULL;
  memcpy(ptr_to_ptr, &p, sizeof p);
  *cap = 0;
  LCT_TRY(lct_alloc_aligned(ptr_to_ptr, n, size, "stored vectors", err));
  *cap = n;
  return LCT_OK;
}

/* One plane's rows of an array, as they are stored. */
static lct_status read_raw(archive_array *x, const place *p, int64_t first, size_t n, int64_t last_axis, void *out, lct_error *err) {
  int64_t start[LCT_ZARR_MAX_DIMS] = {first}, count[LCT_ZARR_MAX_DIMS] = {(int64_t)n};
  int d = 1;
  if (p->position >= 0) {
    start[d] = p->position;
    count[d++] = 1;
  }
  start[d] = p->plane;
  count[d++] = 1;
  start[d] = 0;
  count[d] = last_axis;
  return lct_zarr_read(x->z, start, count, out, err);
}

/* value = q * scale of its group. */
static lct_status read_int8(lct_archive *a, const place *p, bool tokens, int64_t first, size_t n, float *out, lct_error *err) {
  archive_array *s = archive_find_in(a, folder(tokens), strchr(p->array->name, '/') + 1, "_scale");
  int d = p->array->meta.n_dims - 1;
  int64_t width = p->array->meta.shape[d], group = json_integer_value(json_object_get(p->array->axes, "group"));
  if (group <= 0) group = DEFAULT_GROUP;
  int64_t n_groups = (width + group - 1) / group;
  if (s == NULL || s->meta.dtype != LCT_ZARR_F32 || s->meta.n_dims != d + 1 || s->meta.shape[d] != n_groups ||
      s->meta.shape[d - 1] != p->array->meta.shape[d - 1]) {
    return lct_fail(err, LCT_E_FORMAT, "%s/sweep.json: %s: no scales for groups of %" PRId64, a->dir, p->array->name, group);
  }
  LCT_TRY(archive_open_array(a, s, err));
  LCT_TRY(room(&a->scales, &a->scales_cap, n * (size_t)n_groups, sizeof *a->scales, err));
  LCT_TRY(read_raw(s, p, first, n, n_groups, a->scales, err));
  LCT_TRY(read_raw(p->array, p, first, n, width, a->raw, err));
  const int8_t *q = a->raw;
  for (size_t i = 0; i < n; i++) {
    for (int64_t k = 0; k < width; k++)
      out[(int64_t)i * width + k] = (float)q[(int64_t)i * width + k] * a->scales[(int64_t)i * n_groups + k / group];
  }
  return LCT_OK;
}

/* At most a row of chunks: what is held in between stays as small as a chunk. */
static lct_status read_block(lct_archive *a, const place *p, bool tokens, int64_t first, size_t n, float *out, lct_error *err) {
  archive_array *x = p->array;
  int64_t width = x->meta.shape[x->meta.n_dims - 1];
  size_t n_values = n * (size_t)width;
  if (x->meta.dtype == LCT_ZARR_F32) return read_raw(x, p, first, n, width, out, err);
  LCT_TRY(room(&a->raw, &a->raw_cap, n_values * lct_zarr_dtype_bytes(x->meta.dtype), 1, err));
  if (x->meta.dtype == LCT_ZARR_I8) return read_int8(a, p, tokens, first, n, out, err);
  const char *as = json_string_value(json_object_get(x->axes, "dtype"));
  bool bfloat = x->meta.dtype == LCT_ZARR_U16 && as != NULL && strcmp(as, "bfloat16") == 0;
  if (x->meta.dtype != LCT_ZARR_F16 && !bfloat) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: vectors of type %s", x->name, lct_zarr_dtype_name(x->meta.dtype));
  }
  LCT_TRY(read_raw(x, p, first, n, width, a->raw, err));
  if (bfloat) lct_bf16_to_f32_array(a->raw, out, n_values);
  else lct_f16_to_f32_array(a->raw, out, n_values);
  return LCT_OK;
}

static lct_status read_stored(lct_archive *a, const place *p, bool tokens, int64_t first, size_t n, float *out, lct_error *err) {
  LCT_TRY(check_array(a, p->array, tokens, err));
  LCT_TRY(archive_open_array(a, p->array, err));
  int64_t chunk = p->array->meta.chunk[0], width = p->array->meta.shape[p->array->meta.n_dims - 1];
  for (size_t done = 0; done < n;) {
    int64_t at = first + (int64_t)done;
    size_t left = (size_t)(chunk - at % chunk), now = n - done < left ? n - done : left;
    LCT_TRY(read_block(a, p, tokens, at, now, out + done * (size_t)width, err));
    done += now;
  }
  return LCT_OK;
}

/* A stored addend of the residual stream. */
static lct_status read_addend(lct_archive *a, const char *source, const char *position, int layer, bool tokens, int64_t first, size_t n,
                              float *out, lct_error *err) {
  place p = find_plane(a, folder(tokens), source, layer);
  if (p.array == NULL || p.array->meta.shape[p.array->meta.n_dims - 1] != a->info.model.hidden) {
    return no_such(a, tokens, source, layer, err);
  }
  if (!tokens) p.position = archive_axis_name(p.array, "positions", position);
  if (!tokens && p.position < 0) return lct_fail(err, LCT_E_USAGE, "%s: %s has no position \"%s\"", a->dir, p.array->name, position);
  return read_stored(a, &p, tokens, first, n, out, err);
}

static lct_status derive_begin(lct_archive *a, const char *position, bool tokens, int64_t first, size_t n, lct_error *err) {
  archive_derived *d = &a->derived;
  size_t values = n * (size_t)a->info.model.hidden, cap = d->cap;
  d->valid = false;
  LCT_TRY(room(&d->addend, &cap, values, sizeof(float), err));
  LCT_TRY(room(&d->x, &d->cap, values, sizeof(float), err));
  LCT_TRY(read_addend(a, "embeddings", position, -1, tokens, first, n, d->x, err));
  d->tokens = tokens;
  (void)snprintf(d->position, sizeof d->position, "%s", position);
  d->first = first;
  d->n = n;
  d->layer = 0;
  d->valid = true;
  return LCT_OK;
}

/* x becomes what enters `plane`. */
static lct_status derive(lct_archive *a, const char *position, int plane, bool tokens, int64_t first, size_t n, float *out,
                         lct_error *err) {
  archive_derived *d = &a->derived;
  size_t values = n * (size_t)a->info.model.hidden;
  bool same = d->valid && d->tokens == tokens && strcmp(d->position, position) == 0 && d->first == first && d->n == n && d->layer <= plane;
  if (!same) LCT_TRY(derive_begin(a, position, tokens, first, n, err));
  d->valid = false; /* while it is being changed */
  for (; d->layer < plane; d->layer++) {
    for (int k = 0; k < 2; k++) {
      LCT_TRY(read_addend(a, k == 0 ? "attn_out" : "mlp_down_out", position, d->layer, tokens, first, n, d->addend, err));
      for (size_t i = 0; i < values; i++) d->x[i] += d->addend[i];
    }
  }
  d->valid = true;
  memcpy(out, d->x, values * sizeof *out);
  return LCT_OK;
}

static lct_status read_vectors(lct_archive *a, const char *source, const char *position, int layer, bool tokens, int64_t first, size_t n,
                               float *out, lct_error *err) {
  int64_t have = tokens ? a->info.n_tokens : a->info.n_rows;
  if (first < 0 || first > have || n > (uint64_t)(have - first)) {
    return lct_fail(err, LCT_E_USAGE, "%s has %" PRId64 " %s, not %zu from %" PRId64 " on", a->dir, have, tokens ? "stored tokens" : "rows",
                    n, first);
  }
  place p = find_plane(a, folder(tokens), source, layer);
  if (p.array == NULL && a->info.derived && is_residual(source) && layer >= 0 && layer < a->info.model.n_layers) {
    if (archive_find_in(a, folder(tokens), "embeddings", "") == NULL) return no_such(a, tokens, source, layer, err);
    return derive(a, position, layer + (strcmp(source, "hidden_out") == 0), tokens, first, n, out, err);
  }
  if (p.array == NULL) return no_such(a, tokens, source, layer, err);
  if (!tokens) p.position = archive_axis_name(p.array, "positions", position);
  if (!tokens && p.position < 0) return lct_fail(err, LCT_E_USAGE, "%s: %s has no position \"%s\"", a->dir, p.array->name, position);
  return read_stored(a, &p, tokens, first, n, out, err);
}

lct_status lct_archive_vectors(lct_archive *a, const char *source, const char *position, int layer, int64_t first_row, size_t n, float *out,
                               lct_error *err) {
  return read_vectors(a, source, position, layer, false, first_row, n, out, err);
}

lct_status lct_archive_token_vectors(lct_archive *a, const char *source, int layer, int64_t first_token, size_t n, float *out,
                                     lct_error *err) {
  return read_vectors(a, source, "", layer, true, first_token, n, out, err);
}

lct_status lct_archive_width(lct_archive *a, bool tokens, const char *source, int *width, lct_error *err) {
  const archive_array *x = archive_find_in(a, folder(tokens), source, "");
  bool derived = a->info.derived && archive_find_in(a, folder(tokens), "embeddings", "") != NULL;
  if (x == NULL && is_residual(source)) x = archive_find_in(a, folder(tokens), derived ? "embeddings" : "residual", "");
  if (x == NULL) return no_such(a, tokens, source, a->info.n_layers > 0 ? a->info.layers[0] : 0, err);
  LCT_TRY(check_array(a, x, tokens, err));
  *width = (int)x->meta.shape[x->meta.n_dims - 1];
  return LCT_OK;
}

/* Rows of a whole array of one type. */
static lct_status read_rows(lct_archive *a, const char *name, lct_zarr_dtype dtype, int64_t first, size_t n, void *out, lct_error *err) {
  archive_array *x = archive_find(a, name);
  if (x == NULL || x->meta.dtype != dtype) return lct_fail(err, LCT_E_USAGE, "%s holds no %s", a->dir, name);
  LCT_TRY(archive_open_array(a, x, err));
  int64_t start[LCT_ZARR_MAX_DIMS] = {first}, count[LCT_ZARR_MAX_DIMS] = {(int64_t)n};
  for (int d = 1; d < x->meta.n_dims; d++) count[d] = x->meta.shape[d];
  return lct_zarr_read(x->z, start, count, out, err);
}

lct_status lct_archive_token_ids(lct_archive *a, int64_t first_token, size_t n, int32_t *out, lct_error *err) {
  const archive_array *x = archive_find(a, "tokens/ids");
  if (x != NULL && x->meta.n_dims != 1) return lct_fail(err, LCT_E_FORMAT, "%s/sweep.json: tokens/ids: one axis expected", a->dir);
  return read_rows(a, "tokens/ids", LCT_ZARR_I32, first_token, n, out, err);
}

lct_status lct_archive_scores(lct_archive *a, int64_t first_row, size_t n, float *out, lct_error *err) {
  return read_rows(a, "scores", LCT_ZARR_F32, first_row, n, out, err);
}
