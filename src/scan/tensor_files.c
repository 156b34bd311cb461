/* Files of whole tensors: one an item, and one a step of each prompt; step_000 has the rows of the prompt's last snapshot. */
#include "scan/scan_impl.h"

/* Of the batch: the items, then the generations that are shown. */
static size_t count_files(const lct_stage *stage) { return (size_t)stage->n_items + (size_t)stage->n_active; }

static lct_status describe_item(scan *s, const lct_stage *stage, int32_t item, lct_file_spec *f, lct_error *err) {
  LCT_TRY(lct_stage_rows(stage, item, &s->arena, &f->ranges, &f->n_ranges, err));
  f->n_tokens = f->n_keys = stage->unit->items[item].n_tokens;
  return LCT_OK;
}

/* The file of one step of active[i]. */
static lct_status describe_step(scan *s, const lct_stage *stage, int32_t i, lct_file_spec *f, lct_error *err) {
  const lct_generation *g = stage->active[i];
  const scan_prompt *p = &s->prompts[g - stage->unit->generations];
  *f = (lct_file_spec){.sources = s->sources};
  f->path = scan_printf(s, err, "%s/%s/tensors/step_%03d.npz", s->run_dir, p->label, stage->step);
  if (f->path == NULL) return LCT_E_NOMEM;
  if (stage->kind == LCT_STAGE_PREFILL) return describe_item(s, stage, g->item, f, err);
  lct_row_range *row = lct_arena_alloc(&s->arena, sizeof *row);
  if (row == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a step's file");
  *row = (lct_row_range){i, 1};
  f->ranges = row;
  f->n_ranges = f->n_tokens = 1;
  f->n_keys = stage->batch->positions[i] + 1;
  return LCT_OK;
}

lct_status scan_files_begin(scan *s, const lct_stage *stage, lct_pass *pass, lct_error *err) {
  scan_files *files = &s->files;
  if (files->open == NULL) return LCT_OK;
  if (stage->kind == LCT_STAGE_PREFILL) {
    files->first_item = stage->items[0];
    files->bytes = lct_files_bytes(files->open);
    files->saturated = lct_files_saturated(files->open);
  }
  lct_file_spec *specs = lct_arena_alloc(&s->arena, count_files(stage) * sizeof *specs);
  if (specs == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for %zu files", count_files(stage));
  bool qkv = s->scenario->capture.qkv;
  for (int32_t i = 0; i < stage->n_items; i++) {
    lct_file_spec *f = &specs[i];
    *f = (lct_file_spec){.path = s->items[stage->items[i]].path, .sources = s->sources & ~LCT_SOURCE_BIT(LCT_SOURCE_V), .qkv_last = qkv};
    LCT_TRY(describe_item(s, stage, stage->items[i], f, err));
  }
  for (int32_t i = 0; i < stage->n_active; i++) LCT_TRY(describe_step(s, stage, i, &specs[stage->n_items + i], err));
  LCT_TRY(lct_files_begin(files->open, specs, count_files(stage), stage->batch, err));
  lct_taker taker = lct_files_taker(files->open);
  return lct_pass_add(pass, &taker, err);
}

static lct_status take_index(scan *s, size_t file, char **out, lct_error *err) {
  lct_buf text = {0};
  lct_status status = lct_files_index(s->files.open, file, &text, err);
  if (status != LCT_OK) lct_buf_free(&text);
  else *out = text.data;
  return status;
}

lct_status scan_files_end(scan *s, const lct_stage *stage, lct_error *err) {
  if (s->files.open == NULL) return LCT_OK;
  for (int32_t i = 0; i < stage->n_items; i++) LCT_TRY(take_index(s, (size_t)i, &s->items[stage->items[i]].index, err));
  for (int32_t i = 0; i < stage->n_active; i++) {
    scan_prompt *p = &s->prompts[stage->active[i] - stage->unit->generations];
    LCT_TRY(take_index(s, (size_t)stage->n_items + (size_t)i, &p->indexes[stage->step], err));
  }
  return lct_files_finish(s->files.open, err);
}

/* Files that the batch finished are written over when it runs again; of a batch that never began nothing is there. */
lct_status scan_files_undo(scan *s, const int32_t *items, int32_t n, lct_error *err) {
  scan_files *files = &s->files;
  if (files->open == NULL) return LCT_OK;
  bool begun = n > 0 && items[0] == files->first_item;
  s->result->tensor_bytes += begun ? files->bytes : lct_files_bytes(files->open);
  s->result->saturated += begun ? files->saturated : lct_files_saturated(files->open);
  lct_files_free(files->open);
  *files = (scan_files){.first_item = -1};
  return lct_files_new(&s->subject->cfg, s->scenario->capture.store_dtype, s->layers, s->subject->threads, &files->open, err);
}

void scan_files_close(scan *s) {
  if (s->files.open == NULL) return;
  s->result->saturated += lct_files_saturated(s->files.open);
  s->result->tensor_bytes += lct_files_bytes(s->files.open);
  lct_files_free(s->files.open);
  s->files.open = NULL;
}
