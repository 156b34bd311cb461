/* Pooled vectors as .npz: one file a snapshot and reference as Activation Lab's README describes them, and all poolings in one. */
#include <stdio.h>
#include <stdlib.h>

#include "base/convert.h"
#include "base/file.h"
#include "scan/output_impl.h"
#include "store/npz.h"

static const float *vector(const scan *s, int source, int pooling, int layer, int32_t item) {
  return scan_vectors(s, lct_worker_pool(s->worker), source, pooling, layer) + (size_t)item * (size_t)s->subject->cfg.hidden;
}

static lct_status put_vector(scan *s, lct_npz *z, int entry, const float *v, uint16_t *half, lct_error *err) {
  size_t n = (size_t)s->subject->cfg.hidden;
  if (s->scenario->capture.store_dtype != LCT_STORE_F16) return lct_npz_put(z, entry, v, n * sizeof *v, err);
  lct_f32_to_f16_array(v, half, n, &s->result->saturated);
  return lct_npz_put(z, entry, half, n * sizeof *half, err);
}

/* layer_NN/SOURCE (hidden,): the last token's vector. */
static lct_status fill_item(scan *s, lct_npz *z, int32_t item, int *entries, uint16_t *half, lct_error *err) {
  lct_npy_dtype dtype = s->scenario->capture.store_dtype == LCT_STORE_F16 ? LCT_NPY_F16 : LCT_NPY_F32;
  int64_t dims[] = {s->subject->cfg.hidden};
  for (int l = 0; l < s->subject->cfg.n_layers; l++) {
    for (int src = 0; src < LCT_N_RESIDUAL && s->layers[l]; src++) {
      char name[64];
      (void)snprintf(name, sizeof name, "layer_%02d/%s", l, lct_source_name(LCT_RESIDUAL_SOURCES[src]));
      LCT_TRY(lct_npz_declare(z, name, dtype, 1, dims, &entries[l * LCT_N_RESIDUAL + src], err));
    }
  }
  for (int l = 0; l < s->subject->cfg.n_layers; l++) {
    for (int src = 0; src < LCT_N_RESIDUAL && s->layers[l]; src++) {
      LCT_TRY(put_vector(s, z, entries[l * LCT_N_RESIDUAL + src], vector(s, src, LCT_AT_LAST, l, item), half, err));
      s->result->tensor_bytes += dims[0] * (dtype == LCT_NPY_F16 ? 2 : 4);
    }
  }
  return LCT_OK;
}

static lct_status write_item(scan *s, int32_t item, lct_error *err) {
  int *entries = NULL;
  uint16_t *half = NULL;
  lct_npz *z = NULL;
  LCT_TRY(lct_calloc(&entries, (size_t)s->subject->cfg.n_layers * LCT_N_RESIDUAL, sizeof *entries, "entries", err));
  lct_status status = lct_calloc(&half, (size_t)s->subject->cfg.hidden, sizeof *half, "vector", err);
  if (status == LCT_OK) status = lct_npz_create(s->items[item].path, &z, err);
  if (status == LCT_OK) status = fill_item(s, z, item, entries, half, err);
  if (status == LCT_OK) status = lct_npz_finish(z, false, err);
  else lct_npz_abort(z);
  free(entries);
  free(half);
  return status;
}

/* NAME: (items, pooling, layer, hidden) f32 of one source. */
static lct_status put_source(scan *s, lct_npz *z, int entry, int source, int32_t first, int32_t n, lct_error *err) {
  for (int32_t i = first; i < first + n; i++) {
    if (!s->unit->items[i].done) continue;
    for (int p = 0; p < LCT_N_DEFAULT_POSITIONS; p++) {
      for (int l = 0; l < s->subject->cfg.n_layers; l++) {
        if (!s->layers[l]) continue;
        LCT_TRY(lct_npz_put(z, entry, vector(s, source, p, l, i), (size_t)s->subject->cfg.hidden * sizeof(float), err));
        s->result->tensor_bytes += (int64_t)s->subject->cfg.hidden * 4;
      }
    }
  }
  return LCT_OK;
}

static int64_t count_done(const scan *s, int32_t first, int32_t n) {
  int64_t done = 0;
  for (int32_t i = first; i < first + n; i++) done += s->unit->items[i].done;
  return done;
}

static lct_status fill_pooled(scan *s, const scan_prompt *p, lct_npz *z, lct_error *err) {
  int32_t first[2] = {p->first_item, 0}, count[2] = {(int32_t)p->n_messages + 1, s->n_references};
  int entries[2][LCT_N_RESIDUAL];
  int64_t n_layers = 0;
  for (int l = 0; l < s->subject->cfg.n_layers; l++) n_layers += s->layers[l];
  for (int k = 0; k < 2; k++) {
    for (int src = 0; src < LCT_N_RESIDUAL; src++) {
      char name[64];
      (void)snprintf(name, sizeof name, "%s%s", k == 1 ? "ref/" : "", lct_source_name(LCT_RESIDUAL_SOURCES[src]));
      int64_t dims[] = {count_done(s, first[k], count[k]), LCT_N_DEFAULT_POSITIONS, n_layers, s->subject->cfg.hidden};
      LCT_TRY(lct_npz_declare(z, name, LCT_NPY_F32, 4, dims, &entries[k][src], err));
    }
  }
  for (int k = 0; k < 2; k++) {
    for (int src = 0; src < LCT_N_RESIDUAL; src++) LCT_TRY(put_source(s, z, entries[k][src], src, first[k], count[k], err));
  }
  return LCT_OK;
}

static lct_status write_pooled(scan *s, const scan_prompt *p, lct_error *err) {
  char *path = scan_printf(s, err, "%s/%s/pooled.npz", s->run_dir, p->label);
  if (path == NULL) return LCT_E_NOMEM;
  lct_npz *z = NULL;
  LCT_TRY(lct_npz_create(path, &z, err));
  lct_status status = fill_pooled(s, p, z, err);
  if (status == LCT_OK) return lct_npz_finish(z, false, err);
  lct_npz_abort(z);
  return status;
}

lct_status scan_write_vectors(scan *s, lct_error *err) {
  for (int32_t i = 0; i < s->unit->n_items; i++) {
    if (s->unit->items[i].done) LCT_TRY(write_item(s, i, err));
  }
  for (size_t i = 0; i < s->n_prompts; i++) LCT_TRY(write_pooled(s, &s->prompts[i], err));
  return LCT_OK;
}
