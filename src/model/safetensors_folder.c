/* A folder's model.safetensors, or its shards through model.safetensors.index.json. */
#include <stdlib.h>
#include <string.h>

#include "model/jsonio.h"
#include "model/tensors.h"

#define MAX_INDEX_BYTES ((size_t)64 << 20)
#define MAX_DEPTH 16
#define SHOW 80

typedef struct {
  const char *name;
  const lct_st_tensor *tensor;
  const char *file;
} entry;

/* All tensors of all files by name. */
typedef struct {
  lct_model *m;
  entry *entries; /* (n), sorted by name */
  size_t n, cap;
} table;

static int by_name(const void *a, const void *b) { return strcmp(((const entry *)a)->name, ((const entry *)b)->name); }

static const entry *lookup(const table *t, const char *name) {
  entry key = {name, NULL, NULL};
  return t->n == 0 ? NULL : bsearch(&key, t->entries, t->n, sizeof *t->entries, by_name);
}

/* Maps one file (maps and map_paths have room) and adds its tensors. */
static lct_status add_file(table *t, const char *path, lct_error *err) {
  lct_model *m = t->m;
  char *kept = lct_arena_strndup(&m->arena, path, strlen(path));
  if (kept == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for %s", path);
  LCT_TRY(lct_map_open(path, &m->maps[m->n_maps], err));
  m->map_paths[m->n_maps] = kept;
  const lct_map *map = &m->maps[m->n_maps++];
  lct_st_file f;
  LCT_TRY(lct_safetensors_parse(map->data, map->size, kept, &m->arena, &f, err));
  LCT_TRY(lct_grow(&t->entries, &t->cap, t->n + f.n_tensors, sizeof *t->entries, "the tensor table", err));
  for (size_t i = 0; i < f.n_tensors; i++) t->entries[t->n++] = (entry){f.tensors[i].name, &f.tensors[i], kept};
  return LCT_OK;
}

static lct_status sort_entries(table *t, lct_error *err) {
  if (t->n > 0) qsort(t->entries, t->n, sizeof *t->entries, by_name);
  for (size_t i = 1; i < t->n; i++) {
    if (strcmp(t->entries[i - 1].name, t->entries[i].name) == 0) {
      return lct_fail(err, LCT_E_FORMAT, "tensor \"%.128s\" is in both %s and %s", t->entries[i].name, t->entries[i - 1].file,
                      t->entries[i].file);
    }
  }
  return LCT_OK;
}

static lct_status make_room(lct_model *m, size_t n_files, lct_error *err) {
  LCT_TRY(lct_calloc(&m->maps, n_files, sizeof *m->maps, "the file table", err));
  m->map_paths = lct_arena_alloc(&m->arena, n_files * sizeof *m->map_paths);
  if (m->map_paths == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the file table");
  return LCT_OK;
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* The distinct file names of weight_map, sorted; the strings are the JSON's. */
static lct_status shard_names(const json_t *map, const char *index, const char ***out, size_t *n_out, lct_error *err) {
  size_t n = json_object_size(map), kept = 0;
  const char **names = NULL, *tensor = NULL;
  json_t *v = NULL;
  LCT_TRY(lct_calloc(&names, n, sizeof *names, "the shard names", err));
  *out = names;
  n = 0;
  json_object_foreach(lct_unconst(map), tensor, v) {
    const char *name = json_string_value(v);
    char show[SHOW];
    if (name == NULL || name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL) {
      return lct_fail(err, LCT_E_FORMAT, "%s: weight_map: \"%.128s\": expected the name of a file in this folder, found %s", index, tensor,
                      lct_json_show(v, show, sizeof show));
    }
    names[n++] = name;
  }
  qsort(names, n, sizeof *names, by_text);
  for (size_t i = 0; i < n; i++) {
    if (kept == 0 || strcmp(names[kept - 1], names[i]) != 0) names[kept++] = names[i];
  }
  *n_out = kept;
  return LCT_OK;
}

/* Each tensor lies where the index says. */
static lct_status check_index(const table *t, const json_t *map, const char *index, lct_error *err) {
  const char *name = NULL;
  json_t *v = NULL;
  json_object_foreach(lct_unconst(map), name, v) {
    const entry *e = lookup(t, name);
    const char *slash = e == NULL ? NULL : strrchr(e->file, '/');
    if (e == NULL) {
      return lct_fail(err, LCT_E_FORMAT, "%s: tensor \"%.128s\": expected in %s, found nowhere", index, name, json_string_value(v));
    }
    if (strcmp(slash == NULL ? e->file : slash + 1, json_string_value(v)) != 0) {
      return lct_fail(err, LCT_E_FORMAT, "%s: tensor \"%.128s\": expected in %s, found in %s", index, name, json_string_value(v), e->file);
    }
  }
  return LCT_OK;
}

static lct_status add_shards(table *t, const char *dir, const json_t *map, const char *index, lct_error *err) {
  const char **names = NULL;
  size_t n = 0;
  lct_buf path = {0};
  lct_status s = LCT_OK;
  LCT_TRY_GOTO(s, shard_names(map, index, &names, &n, err), done);
  if (n == 0) {
    s = lct_fail(err, LCT_E_FORMAT, "%s: weight_map: expected tensors, found none", index);
    goto done;
  }
  LCT_TRY_GOTO(s, make_room(t->m, n, err), done);
  for (size_t i = 0; i < n; i++) {
    LCT_TRY_GOTO(s, lct_path_join(&path, dir, names[i], err), done);
    if (!lct_path_exists(path.data)) {
      s = lct_fail(err, LCT_E_IO, "%s names the shard %s, which is not in the folder: the download is incomplete", index, names[i]);
      goto done;
    }
    LCT_TRY_GOTO(s, add_file(t, path.data, err), done);
  }
  LCT_TRY_GOTO(s, sort_entries(t, err), done);
  s = check_index(t, map, index, err);
done:
  free(names);
  lct_buf_free(&path);
  return s;
}

static lct_status open_index(table *t, const char *dir, const char *index, lct_error *err) {
  lct_buf text = {0};
  json_t *root = NULL;
  lct_status s = LCT_OK;
  LCT_TRY_GOTO(s, lct_file_read(index, MAX_INDEX_BYTES, &text, err), done);
  LCT_TRY_GOTO(s, lct_json_parse(text.data, text.len, MAX_DEPTH, 0, index, &root, err), done);
  const json_t *map = json_object_get(root, "weight_map");
  if (!json_is_object(map)) {
    char show[SHOW];
    s = lct_fail(err, LCT_E_FORMAT, "%s: weight_map: expected an object, found %s", index, lct_json_show(map, show, sizeof show));
    goto done;
  }
  s = add_shards(t, dir, map, index, err);
done:
  json_decref(root);
  lct_buf_free(&text);
  return s;
}

static lct_status open_files(table *t, const char *dir, lct_error *err) {
  lct_buf path = {0};
  lct_status s = LCT_OK;
  LCT_TRY_GOTO(s, lct_path_join(&path, dir, "model.safetensors", err), done);
  if (lct_path_exists(path.data)) {
    LCT_TRY_GOTO(s, make_room(t->m, 1, err), done);
    LCT_TRY_GOTO(s, add_file(t, path.data, err), done);
    s = sort_entries(t, err);
    goto done;
  }
  LCT_TRY_GOTO(s, lct_path_join(&path, dir, "model.safetensors.index.json", err), done);
  if (lct_path_exists(path.data)) {
    s = open_index(t, dir, path.data, err);
    goto done;
  }
  LCT_TRY_GOTO(s, lct_path_join(&path, dir, "pytorch_model.bin", err), done);
  s = lct_fail(err, LCT_E_IO, "%s: expected model.safetensors or model.safetensors.index.json, found %s", dir,
               lct_path_exists(path.data) ? "pytorch_model.bin, which is not supported" : "neither");
done:
  lct_buf_free(&path);
  return s;
}

static lct_status find(void *ctx, const char *name, lct_tensor *out, lct_error *err) {
  const entry *e = lookup(ctx, name);
  if (e == NULL) return LCT_OK;
  const lct_st_tensor *t = e->tensor;
  if (t->dtype == LCT_DTYPE_COUNT) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: tensor \"%s\": type %s is not supported: expected F32, F16 or BF16", e->file, name,
                    t->dtype_name);
  }
  if (t->n_dims < 1 || t->n_dims > 2) {
    return lct_fail(err, LCT_E_FORMAT, "%s: tensor \"%s\": expected 1 or 2 dimensions, found %d", e->file, name, t->n_dims);
  }
  *out = (lct_tensor){.name = t->name,
                      .dtype = t->dtype,
                      .rows = t->n_dims == 2 ? t->dims[0] : 1,
                      .cols = t->dims[t->n_dims - 1],
                      .data = t->data};
  return LCT_OK;
}

lct_status lct_safetensors_load(const char *dir, lct_model *m, lct_error *err) {
  table t = {.m = m};
  lct_status s = open_files(&t, dir, err);
  if (s == LCT_OK) s = lct_model_bind(m, false, find, &t, err);
  free(t.entries);
  return s;
}
