/* Weights and the embedding on the device.
 *
 * Two pinned pieces take turns: while threads fill one from the mapped file, the other travels and is converted, behind each other on
 * the stream. F32, F16 and BF16 travel as they lie in the file; everything else is dequantised to f32 on the way into the piece. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define PIECE_BYTES ((size_t)16 << 20)
#define BLOCK_BYTES ((int64_t)1 << 18) /* of a thread's turn at filling a piece */

struct lct_weight {
  int64_t in, out;
  void *w;    /* (out, in) be->t */
  void *bias; /* (out) be->t, or NULL */
};

struct lct_embedding {
  lct_dtype type; /* F32, F16 or BF16 */
  int64_t rows, cols;
  void *table; /* (rows, cols) */
};

typedef struct {
  void *host, *device; /* PIECE_BYTES each */
  cudaEvent_t done;    /* both may be used again */
} piece;

struct lct_upload {
  piece pieces[2];
  int next;
};

/* Where elements go: dst of type `to`, counted in be->d_counts, or as they are. */
typedef struct {
  char *dst;
  lct_dtype to;
  bool convert;
} target;

void lct_cuda_upload_free(struct lct_upload *u) {
  if (u == NULL) return;
  for (int i = 0; i < 2; i++) {
    (void)cudaFreeHost(u->pieces[i].host);
    (void)cudaFree(u->pieces[i].device);
    if (u->pieces[i].done != NULL) (void)cudaEventDestroy(u->pieces[i].done);
  }
  free(u);
}

static lct_status upload_open(lct_backend *be, lct_error *err) {
  if (be->upload != NULL) return LCT_OK;
  struct lct_upload *u = NULL;
  LCT_TRY(lct_calloc(&u, 1, sizeof *u, "staging of weights", err));
  lct_status status = LCT_OK;
  for (int i = 0; i < 2 && status == LCT_OK; i++) {
    piece *p = &u->pieces[i];
    status = lct_cuda_check(be, cudaMallocHost(&p->host, PIECE_BYTES), "pinned host memory for weights", err);
    if (status == LCT_OK) status = lct_cuda_alloc(be, PIECE_BYTES, "staging of weights", &p->device, err);
    if (status == LCT_OK) status = lct_cuda_check(be, cudaEventCreateWithFlags(&p->done, cudaEventDisableTiming), "cudaEventCreate", err);
  }
  if (status != LCT_OK) {
    lct_cuda_upload_free(u);
    return status;
  }
  be->upload = u;
  return LCT_OK;
}

/* The next piece, once the device is done with it. (An event that was never recorded counts as done.) */
static lct_status take_piece(lct_backend *be, piece **out, lct_error *err) {
  struct lct_upload *u = be->upload;
  *out = &u->pieces[u->next];
  u->next = 1 - u->next;
  return lct_cuda_check(be, cudaEventSynchronize((*out)->done), "waiting for a piece of a weight", err);
}

/* Sends the n elements of type `from` that lie in the piece to element `at` of the target. */
static lct_status send(lct_backend *be, const piece *p, lct_dtype from, int64_t n, const target *to, int64_t at, lct_error *err) {
  size_t bytes = lct_dtype_row_bytes(from, n);
  char *dst = to->dst + (size_t)at * lct_dtype_row_bytes(to->to, 1);
  void *arrive = to->convert ? p->device : dst;
  LCT_TRY(lct_cuda_check(be, cudaMemcpyAsync(arrive, p->host, bytes, cudaMemcpyHostToDevice, be->stream), "copy of a weight", err));
  if (to->convert) {
    LCT_TRY(lct_cuda_launched(be, lct_k_convert(from, p->device, n, to->to, dst, be->d_counts, be->stream, err), "convert", err));
  }
  return lct_cuda_check(be, cudaEventRecord(p->done, be->stream), "cudaEventRecord", err);
}

/* Bytes on their way into a piece. */
typedef struct {
  char *dst;
  const char *src;
} copying;

static lct_status copy_some(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread, (void)err;
  const copying *c = ctx;
  memcpy(c->dst + from, c->src + from, (size_t)(to - from));
  return LCT_OK;
}

static bool is_raw(const lct_tensor *t) {
  return t->perm_head_dim == 0 && (t->dtype == LCT_DTYPE_F32 || t->dtype == LCT_DTYPE_F16 || t->dtype == LCT_DTYPE_BF16);
}

/* Elements from `at` on of the target become the tensor's, row after row. */
static lct_status upload_raw(lct_backend *be, const lct_tensor *t, const target *to, int64_t at, lct_error *err) {
  size_t size = lct_dtype_row_bytes(t->dtype, 1);
  int64_t total = t->rows * t->cols, per_piece = (int64_t)(PIECE_BYTES / size);
  for (int64_t i = 0; i < total; i += per_piece) {
    int64_t n = total - i < per_piece ? total - i : per_piece;
    piece *p = NULL;
    LCT_TRY(take_piece(be, &p, err));
    copying c = {p->host, (const char *)t->data + (size_t)i * size};
    LCT_TRY(lct_threads_for(be->threads, n * (int64_t)size, BLOCK_BYTES, copy_some, &c, err));
    LCT_TRY(send(be, p, t->dtype, n, to, at + i, err));
  }
  return LCT_OK;
}

/* Rows from `first` on, dequantised. */
typedef struct {
  const lct_tensor *t;
  int64_t first;
  float *rows;
} reading;

static lct_status read_some(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread, (void)err;
  const reading *r = ctx;
  for (int64_t i = from; i < to; i++) lct_tensor_row_f32(r->t, r->first + i, r->rows + i * r->t->cols);
  return LCT_OK;
}

static lct_status upload_rows(lct_backend *be, const lct_tensor *t, const target *to, int64_t at, lct_error *err) {
  int64_t per_piece = (int64_t)(PIECE_BYTES / sizeof(float)) / t->cols;
  if (per_piece == 0) {
    return lct_fail(err, LCT_E_LIMIT, "tensor %s: [%lld, %lld]: a row is wider than %zu values", t->name, (long long)t->rows,
                    (long long)t->cols, PIECE_BYTES / sizeof(float));
  }
  for (int64_t r0 = 0; r0 < t->rows; r0 += per_piece) {
    int64_t n = t->rows - r0 < per_piece ? t->rows - r0 : per_piece;
    piece *p = NULL;
    LCT_TRY(take_piece(be, &p, err));
    reading r = {t, r0, p->host};
    LCT_TRY(lct_threads_for(be->threads, n, BLOCK_BYTES / (int64_t)sizeof(float) / t->cols, read_some, &r, err));
    LCT_TRY(send(be, p, LCT_DTYPE_F32, n * t->cols, to, at + r0 * t->cols, err));
  }
  return LCT_OK;
}

static lct_status upload(lct_backend *be, const lct_tensor *t, const target *to, int64_t at, lct_error *err) {
  return is_raw(t) ? upload_raw(be, t, to, at, err) : upload_rows(be, t, to, at, err);
}

static lct_status alloc_for(lct_backend *be, const lct_tensor *t, size_t n, size_t size, void **out, lct_error *err) {
  char what[512];
  size_t bytes = 0;
  (void)snprintf(what, sizeof what, "tensor %s", t->name);
  if (!lct_mul_ok(n, size, &bytes)) return lct_fail(err, LCT_E_FORMAT, "%s: %zu values do not fit into an address space", what, n);
  return lct_cuda_alloc(be, bytes, what, out, err);
}

static lct_status check_parts(lct_weight *w, const lct_tensor *const *parts, int n_parts, lct_error *err) {
  if (n_parts < 1) return lct_fail(err, LCT_E_USAGE, "a weight needs at least one matrix");
  w->in = parts[0]->cols;
  for (int i = 0; i < n_parts; i++) {
    const lct_tensor *t = parts[i];
    if (t->cols != w->in || t->rows < 1 || t->cols < 1 || t->cols > INT32_MAX || t->rows > INT32_MAX) {
      return lct_fail(err, LCT_E_FORMAT, "tensor %s: [%lld, %lld] cannot be stacked below [.., %lld]", t->name, (long long)t->rows,
                      (long long)t->cols, (long long)w->in);
    }
    w->out += t->rows;
    if (t->cols % 8 != 0 || w->out % 8 != 0) {
      return lct_fail(err, LCT_E_UNSUPPORTED,
                      "tensor %s: [%lld, %lld]: the GPU multiplies matrices whose rows and columns are multiples of 8", t->name,
                      (long long)t->rows, (long long)t->cols);
    }
  }
  return LCT_OK;
}

static bool has_bias(const lct_tensor *const *biases, int i) { return biases != NULL && biases[i] != NULL && biases[i]->data != NULL; }

static lct_status upload_bias(lct_backend *be, lct_weight *w, const lct_tensor *const *parts, const lct_tensor *const *biases, int n_parts,
                              lct_error *err) {
  bool any = false;
  for (int i = 0; i < n_parts; i++) {
    if (!has_bias(biases, i)) continue;
    const lct_tensor *b = biases[i];
    any = true;
    if (b->rows != 1 || b->cols != parts[i]->rows) {
      return lct_fail(err, LCT_E_FORMAT, "tensor %s: [%lld, %lld]: expected [1, %lld], the rows of %s", b->name, (long long)b->rows,
                      (long long)b->cols, (long long)parts[i]->rows, parts[i]->name);
    }
  }
  if (!any) return LCT_OK;
  LCT_TRY(alloc_for(be, parts[0], (size_t)w->out, 2, &w->bias, err));
  LCT_TRY(lct_cuda_check(be, cudaMemsetAsync(w->bias, 0, (size_t)w->out * 2, be->stream), "cudaMemset", err));
  target to = {w->bias, be->t, true};
  int64_t at = 0;
  for (int i = 0; i < n_parts; at += parts[i]->rows, i++) {
    if (has_bias(biases, i)) LCT_TRY(upload(be, biases[i], &to, at, err));
  }
  return LCT_OK;
}

static lct_status build_weight(lct_backend *be, lct_weight *w, const lct_tensor *const *parts, const lct_tensor *const *biases, int n_parts,
                               lct_error *err) {
  LCT_TRY(check_parts(w, parts, n_parts, err));
  LCT_TRY(upload_open(be, err));
  LCT_TRY(alloc_for(be, parts[0], (size_t)w->out * (size_t)w->in, 2, &w->w, err));
  target to = {w->w, be->t, true};
  int64_t at = 0;
  for (int i = 0; i < n_parts; at += parts[i]->rows * parts[i]->cols, i++) LCT_TRY(upload(be, parts[i], &to, at, err));
  LCT_TRY(upload_bias(be, w, parts, biases, n_parts, err));
  lct_status status = lct_gemm_prepare(be->gemm, w->w, w->bias, w->in, w->out, err);
  return lct_cuda_launched(be, status, "choosing a matrix product", err);
}

lct_status lct_cuda_weight_new(lct_backend *be, const lct_tensor *const *parts, const lct_tensor *const *biases, int n_parts,
                               lct_weight **out, lct_error *err) {
  lct_weight *w = NULL;
  *out = NULL;
  LCT_TRY(lct_cuda_alive(be, err));
  LCT_TRY(lct_calloc(&w, 1, sizeof *w, "weight", err));
  lct_status status = build_weight(be, w, parts, biases, n_parts, err);
  if (status != LCT_OK) {
    lct_cuda_weight_free(be, w);
    return status;
  }
  *out = w;
  return LCT_OK;
}

void lct_cuda_weight_free(lct_backend *be, lct_weight *w) {
  if (w == NULL) return;
  (void)cudaSetDevice(be->device);
  (void)cudaFree(w->w);
  (void)cudaFree(w->bias);
  free(w);
}

static lct_status build_embedding(lct_backend *be, lct_embedding *e, const lct_tensor *t, lct_error *err) {
  if (t->rows < 1 || t->cols < 1 || t->rows > INT32_MAX || t->cols > INT32_MAX) {
    return lct_fail(err, LCT_E_FORMAT, "tensor %s: [%lld, %lld] is no embedding", t->name, (long long)t->rows, (long long)t->cols);
  }
  *e = (lct_embedding){is_raw(t) ? t->dtype : LCT_DTYPE_F32, t->rows, t->cols, NULL};
  LCT_TRY(upload_open(be, err));
  LCT_TRY(alloc_for(be, t, (size_t)t->rows * (size_t)t->cols, lct_dtype_row_bytes(e->type, 1), &e->table, err));
  target to = {e->table, e->type, false};
  return upload(be, t, &to, 0, err);
}

lct_status lct_cuda_embedding_new(lct_backend *be, const lct_tensor *t, lct_embedding **out, lct_error *err) {
  lct_embedding *e = NULL;
  *out = NULL;
  LCT_TRY(lct_cuda_alive(be, err));
  LCT_TRY(lct_calloc(&e, 1, sizeof *e, "embedding", err));
  lct_status status = build_embedding(be, e, t, err);
  if (status != LCT_OK) {
    lct_cuda_embedding_free(be, e);
    return status;
  }
  *out = e;
  return LCT_OK;
}

void lct_cuda_embedding_free(lct_backend *be, lct_embedding *e) {
  if (e == NULL) return;
  (void)cudaSetDevice(be->device);
  (void)cudaFree(e->table);
  free(e);
}

lct_status lct_cuda_linear(lct_backend *be, const lct_weight *w, const void *x, int64_t ldx, int n, void *y, int64_t ldy, lct_error *err) {
  LCT_TRY(lct_cuda_alive(be, err));
  lct_status status = lct_gemm_run(be->gemm, be->work.decode, w->w, w->bias, w->in, w->out, x, ldx, n, y, ldy, err);
  return lct_cuda_launched(be, status, "linear", err);
}

lct_status lct_cuda_embed(lct_backend *be, const lct_embedding *e, const int32_t *tokens, int n, float *x, lct_error *err) {
  LCT_TRY(lct_cuda_alive(be, err));
  size_t bytes = (size_t)n * sizeof *tokens;
  LCT_TRY(lct_cuda_reserve(be, &be->ids, bytes, "token ids", err));
  LCT_TRY(lct_cuda_check(be, cudaMemcpyAsync(be->ids.p, tokens, bytes, cudaMemcpyHostToDevice, be->stream), "copy of token ids", err));
  lct_status status = lct_k_embed(e->type, e->table, be->ids.p, n, (int)e->cols, x, be->stream, err);
  return lct_cuda_launched(be, status, "embed", err);
}

lct_status lct_cuda_conversion(lct_backend *be, lct_conversion *out, lct_error *err) {
  uint64_t counts[3] = {0};
  LCT_TRY(lct_cuda_alive(be, err));
  LCT_TRY(lct_cuda_check(be, cudaMemcpyAsync(counts, be->d_counts, sizeof counts, cudaMemcpyDeviceToHost, be->stream), "copy of counters",
                         err));
  LCT_TRY(lct_cuda_check(be, cudaStreamSynchronize(be->stream), "loading weights", err));
  *out = (lct_conversion){(int64_t)counts[0], (int64_t)counts[1], (int64_t)counts[2]};
  return LCT_OK;
}
