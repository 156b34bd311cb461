/* The engine: one model on one backend. */
#ifndef LCT_ENGINE_ENGINE_H
#define LCT_ENGINE_ENGINE_H

#include "engine/sources.h"
#include "engine/ops.h"

typedef struct lct_engine lct_engine;

/* KV cache of all layers, for decoding after a prefill. */
typedef struct lct_kv lct_kv;

lct_status lct_engine_new(const lct_model *m, const lct_ops *ops, const lct_backend_options *o, lct_engine **out,
                          lct_error *err) LCT_CHECKED;
void lct_engine_free(lct_engine *e);
const lct_config *lct_engine_config(const lct_engine *e);
const lct_ops *lct_engine_ops(const lct_engine *e);
lct_backend *lct_engine_backend(const lct_engine *e);
lct_threads *lct_engine_threads(const lct_engine *e); /* those it was made with */
/* What was lost when the engine's weights were converted to the backend's type. */
lct_status lct_engine_conversion(const lct_engine *e, lct_conversion *out, lct_error *err) LCT_CHECKED;

/* Wall time spent in matrix products so far; 0 on a device. */
double lct_engine_seconds_linear(const lct_engine *e);
/* Bytes a row (a token) of a batch takes in the workspace, and one KV slot of all layers. */
size_t lct_engine_row_bytes(const lct_engine *e);
size_t lct_engine_slot_bytes(const lct_engine *e);

lct_status lct_kv_new(lct_engine *e, int32_t n_slots, lct_kv **out, lct_error *err) LCT_CHECKED;
void lct_kv_free(lct_engine *e, lct_kv *kv);

#endif
