/* The journal of a sweep: which shards of its arrays stand. JSON lines: a head with what was asked, a line a committed shard, and "finishing"
 * before the partly filled last ones. A line is one write; a last line without its newline was torn and does not count. */
#ifndef LCT_ARCHIVE_JOURNAL_H
#define LCT_ARCHIVE_JOURNAL_H

#include <jansson.h>
#include <pthread.h>

#include "base/status.h"

/* Shards of one array in a row from 0. What is behind a gap does not count: the sweep makes it again. */
typedef struct {
  char *array;
  int64_t *bytes; /* (n) */
  size_t n, cap;
} lct_journal_array;

/* A journal as it was read. Zero-initialise. */
typedef struct {
  lct_journal_array *arrays;
  size_t n_arrays, cap_arrays;
  json_t *config; /* of the head; NULL: there was none */
  size_t length;  /* bytes of the lines that count */
} lct_journal;

/* name: of the file in messages. all: shards behind "finishing" count too, as in a sweep that is done; else the lines end before it. A file
 * without a whole line is empty. `out` is to be freed in any case. */
lct_status lct_journal_read(const char *path, const char *name, bool all, lct_journal *out, lct_error *err) LCT_CHECKED;
void lct_journal_free(lct_journal *j);
const lct_journal_array *lct_journal_find(const lct_journal *j, const char *array); /* NULL: no shard */

/* A journal that is written; shards may be committed from several threads. Zero-initialise. */
typedef struct {
  char path[4200];
  int fd;
  bool open, sync;
  pthread_mutex_t lock;
  lct_journal stood; /* before: of a sweep that is resumed */
} lct_journal_out;

/* DIR/journal, locked against other processes. config: object of what a resumed sweep must have in common, borrowed. resume: what stands is read,
 * what does not count is cut off; LCT_E_USAGE names what differs. To be closed in any case. */
lct_status lct_journal_open(lct_journal_out *j, const char *dir, json_t *config, bool resume, bool sync, lct_error *err) LCT_CHECKED;
int64_t lct_journal_stood(const lct_journal_out *j, const char *array); /* shards in a row from 0 */
lct_status lct_journal_shard(lct_journal_out *j, const char *array, int64_t shard, int64_t bytes, lct_error *err) LCT_CHECKED;
/* Shards that come later are the partly filled last ones: a resumed sweep makes them again. */
lct_status lct_journal_finishing(lct_journal_out *j, int64_t rows, lct_error *err) LCT_CHECKED;
void lct_journal_close(lct_journal_out *j);

#endif
