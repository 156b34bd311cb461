/* What makes a folder of shards a store: zarr.json of every array, then of the groups, the outermost last. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "store/zarr_write_impl.h"

static lct_status write_json(const lct_zarr_writer *w, const char *name, const lct_buf *text, lct_error *err) {
  lct_buf folder = {0}, path = {0};
  lct_status s = name[0] != '\0' ? lct_path_join(&folder, w->dir, name, err) : lct_buf_puts(&folder, w->dir, err);
  if (s == LCT_OK) s = lct_mkdirs(folder.data, err);
  if (s == LCT_OK) s = lct_path_join(&path, folder.data, "zarr.json", err);
  if (s == LCT_OK) s = lct_file_write_atomic(path.data, text->data, text->len, err);
  if (s == LCT_OK && w->o.fsync != LCT_FSYNC_OFF) s = lct_zarr_sync_folders(path.data, w->dir, err);
  lct_buf_free(&folder);
  lct_buf_free(&path);
  return s;
}

static lct_status write_array(const lct_zarr_writer *w, const lct_zarr_out *a, lct_error *err) {
  lct_buf text = {0};
  lct_status s = lct_zarr_check(&a->meta, a->name, err);
  if (s == LCT_OK) s = lct_zarr_meta_print(&a->meta, a->attributes, &text, err);
  if (s == LCT_OK) s = write_json(w, a->name, &text, err);
  lct_buf_free(&text);
  return s;
}

/* The first n bytes of name, unless an earlier array has them as a group, too. */
static lct_status write_group(const lct_zarr_writer *w, size_t array, size_t n, const lct_buf *text, lct_error *err) {
  const char *name = w->outs[array]->name;
  for (size_t i = 0; i < array; i++) {
    if (strncmp(w->outs[i]->name, name, n + 1) == 0) return LCT_OK;
  }
  lct_buf group = {0};
  lct_status s = lct_buf_append(&group, name, n, err);
  if (s == LCT_OK) s = write_json(w, group.data, text, err);
  lct_buf_free(&group);
  return s;
}

static lct_status sync_all(const lct_zarr_writer *w, lct_error *err) {
  int fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return lct_fail_errno(err, errno, "cannot open %s", w->dir);
  lct_status s = LCT_OK;
  if (syncfs(fd) != 0) s = lct_fail_errno(err, errno, "cannot sync the disk of %s", w->dir);
  (void)close(fd);
  return s;
}

lct_status lct_zarr_write_texts(const lct_zarr_writer *w, lct_error *err) {
  if (w->o.fsync == LCT_FSYNC_END) LCT_TRY(sync_all(w, err));
  for (size_t i = 0; i < w->n_outs; i++) LCT_TRY(write_array(w, w->outs[i], err));
  lct_buf text = {0};
  lct_status s = lct_zarr_group_print(NULL, &text, err);
  for (size_t i = 0; i < w->n_outs && s == LCT_OK; i++) {
    const char *name = w->outs[i]->name;
    for (const char *slash = strchr(name, '/'); slash != NULL && s == LCT_OK; slash = strchr(slash + 1, '/')) {
      s = write_group(w, i, (size_t)(slash - name), &text, err);
    }
  }
  if (s == LCT_OK) s = write_json(w, "", &text, err);
  lct_buf_free(&text);
  return s;
}
