/* CSV: a line a vector, or a line of metrics a score. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/export_impl.h"
#include "base/csv.h"

static lct_status put_text(FILE *out, const char *text, lct_error *err) {
  lct_buf b = {0};
  lct_status s = lct_csv_put(&b, text, err);
  if (s == LCT_OK) (void)fwrite(b.data, 1, b.len, out);
  lct_buf_free(&b);
  return s;
}

static void put_number(FILE *out, float v) {
  if (isnan(v)) return;
  (void)fprintf(out, "%.9g", (double)v);
}

/* "row,conversation,message,role,label," of a row. */
static lct_status put_row(exporter *e, int64_t row, FILE *out, lct_error *err) {
  lct_archive_row_info r;
  LCT_TRY(lct_archive_row(e->a, row, &r, err));
  (void)fprintf(out, "%" PRId64 ",", r.row);
  LCT_TRY(put_text(out, r.id, err));
  (void)fprintf(out, ",%d,", r.message);
  LCT_TRY(put_text(out, r.role, err));
  (void)putc(',', out);
  LCT_TRY(put_text(out, r.label != NULL ? r.label : "", err));
  (void)putc(',', out);
  return LCT_OK;
}

static lct_status scores_of_row(exporter *e, int64_t i, const float *v, FILE *out, lct_error *err) {
  for (int p = 0; p < e->s.n_positions; p++) {
    for (int k = 0; k < e->s.n_sources; k++) {
      for (int l = 0; l < e->s.n_layers; l++) {
        for (int r = 0; r < e->f->scores.references.n; r++) {
          LCT_TRY(put_row(e, e->s.first + i, out, err));
          (void)fprintf(out, "%s,%s,%d,", export_position(e, p), export_source(e, k), export_layer(e, l));
          LCT_TRY(put_text(out, e->f->scores.references.names[r], err));
          for (int m = 0; m < e->f->scores.metrics.n; m++) {
            (void)putc(',', out);
            put_number(out, *v++);
          }
          (void)putc('\n', out);
          e->values += e->f->scores.metrics.n;
        }
      }
    }
  }
  return LCT_OK;
}

static lct_status write_scores(exporter *e, FILE *out, lct_error *err) {
  float *all = NULL, *some = NULL;
  (void)fputs("row,conversation,message,role,label,position,source,layer,reference", out);
  for (int m = 0; m < e->f->scores.metrics.n; m++) {
    (void)putc(',', out);
    LCT_TRY(put_text(out, e->f->scores.metrics.names[m], err));
  }
  (void)putc('\n', out);
  lct_status s = lct_alloc_aligned(&all, (size_t)e->f->scores.n, sizeof *all, "scores", err);
  if (s == LCT_OK) s = lct_alloc_aligned(&some, (size_t)e->f->scores.n, sizeof *some, "scores", err);
  for (int64_t i = 0; i < e->s.n_rows && s == LCT_OK; i++) {
    s = export_read_scores(e, i, 1, all, some, err);
    if (s == LCT_OK) s = scores_of_row(e, i, some, out, err);
  }
  free(all);
  free(some);
  return s;
}

static lct_status write_plane(exporter *e, const char *source, const char *position, int layer, int width, size_t block, float *v,
                              FILE *out, lct_error *err) {
  bool tokens = e->o->what == LCT_EXPORT_TOKENS;
  for (int64_t i = 0; i < e->s.n_rows; i += (int64_t)block) {
    size_t n = (size_t)(e->s.n_rows - i) < block ? (size_t)(e->s.n_rows - i) : block;
    LCT_TRY(export_read(e, source, position, layer, i, n, v, err));
    for (size_t r = 0; r < n; r++) {
      int64_t row = e->s.first + i + (int64_t)r;
      int32_t id = 0;
      if (tokens) {
        LCT_TRY(lct_archive_token_ids(e->a, row, 1, &id, err));
        (void)fprintf(out, "%" PRId64 ",%d,%s,%d", row, id, source, layer);
      } else {
        LCT_TRY(put_row(e, row, out, err));
        (void)fprintf(out, "%s,%s,%d", position, source, layer);
      }
      for (int k = 0; k < width; k++) {
        (void)putc(',', out);
        put_number(out, v[r * (size_t)width + (size_t)k]);
      }
      (void)putc('\n', out);
    }
    e->values += (int64_t)n * width;
  }
  return LCT_OK;
}

static lct_status write_source(exporter *e, const char *source, int width, FILE *out, lct_error *err) {
  bool tokens = e->o->what == LCT_EXPORT_TOKENS;
  size_t block = export_block(e, source, width);
  float *v = NULL;
  if (block == 0) return LCT_OK;
  LCT_TRY(lct_alloc_aligned(&v, block * (size_t)width, sizeof *v, "vectors", err));
  lct_status s = LCT_OK;
  for (int p = 0; p < (tokens ? 1 : e->s.n_positions) && s == LCT_OK; p++) {
    for (int l = 0; l < e->s.n_layers && s == LCT_OK; l++) {
      s = write_plane(e, source, tokens ? "" : export_position(e, p), export_layer(e, l), width, block, v, out, err);
    }
  }
  free(v);
  return s;
}

/* Sources of several widths make lines of several lengths: refused, since no reader of tables takes them. */
static lct_status write_vectors(exporter *e, FILE *out, lct_error *err) {
  bool tokens = e->o->what == LCT_EXPORT_TOKENS;
  int width = 0;
  for (int i = 0; i < e->s.n_sources; i++) {
    int own = 0;
    LCT_TRY(lct_archive_width(e->a, tokens, export_source(e, i), &own, err));
    if (i > 0 && own != width) {
      return lct_fail(err, LCT_E_USAGE, "%s has %d values and %s %d: one CSV file takes sources of one width (--sources)",
                      export_source(e, 0), width, export_source(e, i), own);
    }
    width = own;
  }
  (void)fputs(tokens ? "token,id,source,layer" : "row,conversation,message,role,label,position,source,layer", out);
  for (int k = 0; k < width; k++) (void)fprintf(out, ",v%d", k);
  (void)putc('\n', out);
  for (int i = 0; i < e->s.n_sources; i++) LCT_TRY(write_source(e, export_source(e, i), width, out, err));
  return LCT_OK;
}

lct_status export_csv(exporter *e, lct_error *err) {
  lct_buf tmp = {0};
  LCT_TRY(lct_buf_printf(&tmp, err, "%s.tmp", e->o->path));
  FILE *out = fopen(tmp.data, "w");
  if (out == NULL) {
    lct_status s = lct_fail_errno(err, errno, "cannot create %s", e->o->path);
    lct_buf_free(&tmp);
    return s;
  }
  lct_status s = e->o->what == LCT_EXPORT_SCORES ? write_scores(e, out, err) : write_vectors(e, out, err);
  if (s == LCT_OK && (ferror(out) || fflush(out) != 0 || fsync(fileno(out)) != 0))
    s = lct_fail_errno(err, errno, "cannot write %s", e->o->path);
  if (fclose(out) != 0 && s == LCT_OK) s = lct_fail_errno(err, errno, "cannot write %s", e->o->path);
  if (s == LCT_OK && rename(tmp.data, e->o->path) != 0) s = lct_fail_errno(err, errno, "cannot rename to %s", e->o->path);
  if (s != LCT_OK) (void)unlink(tmp.data);
  lct_buf_free(&tmp);
  return s;
}
