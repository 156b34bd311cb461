/* Inside an archive. */
#ifndef LCT_ARCHIVE_IMPL_H
#define LCT_ARCHIVE_IMPL_H

#include <jansson.h>

#include "base/file.h"
#include "archive/archive.h"
#include "archive/journal.h"

typedef struct {
  const char *name;
  lct_zarr_meta meta;
  const json_t *axes;               /* the attributes' "llmct" */
  const lct_journal_array *journal; /* NULL: no shard */
  lct_zarr *z;                      /* opened when it is first read */
} archive_array;

/* A residual stream added up so far: x is what enters `layer`. */
typedef struct {
  bool valid, tokens;
  char position[64];
  int64_t first;
  size_t n;
  int layer;
  float *x, *addend; /* (cap) values */
  size_t cap;
} archive_derived;

typedef struct {
  uint64_t hash;
  int64_t row; /* first of the conversation; -1: an empty slot */
} archive_id;

struct lct_archive {
  lct_archive_info info;
  char *dir, *data_dir; /* DIR, DIR/data.zarr */
  json_t *root;
  lct_arena arena;
  lct_journal journal;
  archive_array *arrays;
  size_t n_arrays;
  lct_map messages;
  uint64_t *offsets; /* (n_messages) of lines */
  size_t cap_offsets;
  archive_id *ids; /* (n_ids_slots), a power of two */
  size_t n_id_slots;
  json_t *line;           /* of the row last asked for */
  archive_array rescored; /* stands for "scores" when it is open */
  json_t *rescored_attributes;
  archive_derived derived;
  void *raw; /* stored values before they are converted */
  float *scales;
  size_t raw_cap, scales_cap;
};

/* facts.c: what sweep.json says: its facts; its arrays, as far as journal and messages.jsonl go; the axes of scores. */
lct_status archive_read_facts(lct_archive *a, lct_error *err) LCT_CHECKED;
lct_status archive_read_arrays(lct_archive *a, lct_error *err) LCT_CHECKED;
lct_status archive_read_score_axes(lct_archive *a, lct_error *err) LCT_CHECKED;
bool archive_name_ok(const char *name); /* a path below data.zarr and nothing else */
/* rows.c: one pass over messages.jsonl. */
lct_status archive_index_rows(lct_archive *a, lct_error *err) LCT_CHECKED;
/* archive.c: NULL when there is none; "FOLDER/SOURCE". */
archive_array *archive_find(lct_archive *a, const char *name);
archive_array *archive_find_in(lct_archive *a, const char *folder, const char *source, const char *suffix);
/* Opens it: with its own zarr.json when the sweep is done, which must say what sweep.json says. */
lct_status archive_open_array(lct_archive *a, archive_array *array, lct_error *err) LCT_CHECKED;
/* Index of a number or a name in a list of the array's axes; -1: not there. */
int archive_axis_number(const archive_array *array, const char *axis, int64_t value);
int archive_axis_name(const archive_array *array, const char *axis, const char *name);

#endif
