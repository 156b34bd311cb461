/* Names of models to paths: as they are, or through the local Hugging Face cache. Nothing is downloaded. */
#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"

#define MAX_REF_BYTES 4096

static bool word_char(char c) { return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.'; }

/* "NAME" or "ORG/NAME" of letters, digits, - _ . */
static bool is_hub_id(const char *id) {
  int slashes = 0;
  size_t part = 0;
  if (strstr(id, "..") != NULL || strstr(id, "--") != NULL) return false;
  for (const char *p = id; *p != '\0'; p++) {
    if (*p == '/') {
      if (part == 0 || ++slashes > 1) return false;
      part = 0;
    } else if (!word_char(*p) || (part == 0 && *p == '.')) {
      return false;
    } else {
      part++;
    }
  }
  return part > 0;
}

static const char *env(const char *name) {
  const char *v = getenv(name);
  return v != NULL && v[0] != '\0' ? v : NULL;
}

/* value/tail with a leading "~/" expanded, as huggingface_hub does. */
static lct_status cache_path(lct_buf *out, const char *value, const char *tail, lct_error *err) {
  out->len = 0;
  const char *home = env("HOME");
  if (value[0] == '~' && value[1] == '/' && home != NULL) return lct_buf_printf(out, err, "%s%s%s", home, value + 1, tail);
  return lct_buf_printf(out, err, "%s%s", value, tail);
}

static lct_status hub_cache(lct_buf *out, lct_error *err) {
  if (env("HF_HUB_CACHE") != NULL) return cache_path(out, env("HF_HUB_CACHE"), "", err);
  if (env("HF_HOME") != NULL) return cache_path(out, env("HF_HOME"), "/hub", err);
  if (env("XDG_CACHE_HOME") != NULL) return cache_path(out, env("XDG_CACHE_HOME"), "/huggingface/hub", err);
  return cache_path(out, "~/.cache", "/huggingface/hub", err);
}

static int visible(const struct dirent *e) { return e->d_name[0] != '.'; }

/* Appends the hash of the snapshot to use; leaves `hash` empty when there is none. */
static lct_status snapshot_name(const char *repo, lct_buf *hash, lct_error *err) {
  lct_buf path = {0};
  lct_status s = lct_path_join(&path, repo, "refs/main", err);
  if (s == LCT_OK && lct_path_exists(path.data)) {
    s = lct_file_read(path.data, MAX_REF_BYTES, hash, err);
    while (s == LCT_OK && hash->len > 0 && isspace((unsigned char)hash->data[hash->len - 1])) hash->data[--hash->len] = '\0';
    if (s == LCT_OK && (hash->len == 0 || strlen(hash->data) != hash->len || strchr(hash->data, '/') != NULL || hash->data[0] == '.')) {
      s = lct_fail(err, LCT_E_FORMAT, "%s: expected the name of a snapshot, found \"%.80s\"", path.data, hash->data);
    }
    lct_buf_free(&path);
    return s;
  }
  if (s == LCT_OK) s = lct_path_join(&path, repo, "snapshots", err);
  struct dirent **list = NULL;
  int n = s == LCT_OK ? scandir(path.data, &list, visible, alphasort) : 0;
  if (n == 1) s = lct_buf_puts(hash, list[0]->d_name, err);
  if (n > 1) s = lct_fail(err, LCT_E_IO, "%s holds %d snapshots and there is no refs/main: name one of these folders", path.data, n);
  for (int i = 0; i < n; i++) free(list[i]);
  free(list);
  lct_buf_free(&path);
  return s;
}

/* Fills *dir with the snapshot folder of a Hub id, or leaves it empty. *cache: where it was looked for. */
static lct_status find_snapshot(const char *id, lct_buf *cache, lct_buf *dir, lct_error *err) {
  lct_buf repo = {0}, hash = {0};
  lct_status s = LCT_OK;
  LCT_TRY_GOTO(s, hub_cache(cache, err), done);
  LCT_TRY_GOTO(s, lct_buf_printf(&repo, err, "%s/models--", cache->data), done);
  for (const char *p = id; *p != '\0'; p++) LCT_TRY_GOTO(s, lct_buf_append(&repo, *p == '/' ? "--" : p, *p == '/' ? 2 : 1, err), done);
  LCT_TRY_GOTO(s, snapshot_name(repo.data, &hash, err), done);
  if (hash.len > 0) LCT_TRY_GOTO(s, lct_buf_printf(dir, err, "%s/snapshots/%s", repo.data, hash.data), done);
  if (dir->len > 0 && !lct_path_is_dir(dir->data)) dir->len = 0;
done:
  lct_buf_free(&repo);
  lct_buf_free(&hash);
  return s;
}

/* The folder (or file) itself, or the file inside it. */
static lct_status finish(const char *id, const char *path, const char *gguf_file, bool from_hub, char **out, lct_error *err) {
  lct_buf b = {0};
  lct_status s = LCT_OK;
  if (gguf_file == NULL || !lct_path_is_dir(path)) {
    LCT_TRY_GOTO(s, lct_buf_puts(&b, path, err), failed);
  } else {
    LCT_TRY_GOTO(s, lct_path_join(&b, path, gguf_file, err), failed);
    if (!lct_path_exists(b.data)) {
      s = from_hub ? lct_fail(err, LCT_E_IO, "%s is not in %s: download it with: hf download %s %s", gguf_file, path, id, gguf_file)
                   : lct_fail(err, LCT_E_IO, "%s is not in %s", gguf_file, path);
      goto failed;
    }
  }
  *out = b.data;
  return LCT_OK;
failed:
  lct_buf_free(&b);
  return s;
}

lct_status lct_model_resolve(const char *id, const char *gguf_file, char **out, lct_error *err) {
  *out = NULL;
  if (id[0] == '\0')
    return lct_fail(err, LCT_E_USAGE, "the model's name is empty: expected a folder, a .gguf file or a Hub id like ORG/NAME");
  if (lct_path_exists(id)) return finish(id, id, gguf_file, false, out, err);
  if (!is_hub_id(id)) return lct_fail(err, LCT_E_IO, "no such model folder or file: %s", id);
  lct_buf cache = {0}, dir = {0};
  lct_status s = find_snapshot(id, &cache, &dir, err);
  if (s == LCT_OK && dir.len == 0) {
    s = lct_fail(err, LCT_E_IO, "%s is neither a folder nor a file here, nor in the local cache %s: download it with: hf download %s%s%s",
                 id, cache.data, id, gguf_file != NULL ? " " : "", gguf_file != NULL ? gguf_file : "");
  } else if (s == LCT_OK) {
    s = finish(id, dir.data, gguf_file, true, out, err);
  }
  lct_buf_free(&cache);
  lct_buf_free(&dir);
  return s;
}
