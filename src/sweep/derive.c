/* What --derive residual asks of the other options: that what is stored adds up to the residual stream, bit for bit. */
#include "sweep/sweep_impl.h"

static bool has_source(const lct_axes *a, lct_source x) {
  for (int i = 0; i < a->n_sources; i++) {
    if (a->sources[i].source == x) return true;
  }
  return false;
}

lct_status sweep_check_derive(const lct_axes *a, const lct_sweep_options *o, const lct_device *d, lct_error *err) {
  if (!o->derive_residual) return LCT_OK;
  if (!has_source(a, LCT_SOURCE_ATTN_OUT) || !has_source(a, LCT_SOURCE_MLP_DOWN_OUT)) {
    return lct_fail(err, LCT_E_USAGE, "--derive residual needs attn_out and mlp_down_out among --sources: they are what is stored");
  }
  if (a->n_layers != a->layers[a->n_layers - 1] + 1) {
    return lct_fail(err, LCT_E_USAGE, "--derive residual adds up layers from the first: --layers must be 0-N");
  }
  lct_stored exact = d->gpu && d->precision == LCT_PRECISION_F16    ? LCT_STORED_F16
                     : d->gpu && d->precision == LCT_PRECISION_BF16 ? LCT_STORED_BF16
                                                                    : LCT_STORED_F32;
  if (o->store_dtype != exact && o->store_dtype != LCT_STORED_F32) {
    return lct_fail(err, LCT_E_USAGE,
                    "--derive residual gives the same bits only where what is added is stored as it is added: here that is "
                    "--store-dtype %s",
                    lct_stored_name(exact));
  }
  for (int i = 0; i < a->n_positions && o->keep != LCT_KEEP_SCORES; i++) {
    if (a->positions[i].at == LCT_AT_LAST || a->positions[i].at == LCT_AT_CONTENT_LAST) continue;
    return lct_fail(err, LCT_E_USAGE,
                    "--derive residual: the mean at position %s cannot be derived bit for bit; give --positions last,content_last",
                    a->positions[i].name);
  }
  return LCT_OK;
}
