/* The input of a sweep: several files, zstd, a pipe; what is rejected and why. */
#include "test_support.h"

#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "scenario/ids.h"
#include "scenario/input.h"

#define USER(text) "[{\"role\": \"user\", \"content\": \"" text "\"}]"
#define LINE(id) "{\"id\": \"" id "\", \"messages\": " USER("x") "}\n"

static char folder[] = "input_XXXXXX";

static int make_folder(void **state) {
  (void)state;
  return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state) {
  (void)state;
  return rmdir(folder);
}

/* folder/NAME holding the bytes; the test unlinks it. */
static const char *file(char path[64], const char *name, const void *bytes, size_t n) {
  (void)snprintf(path, 64, "%s/%s", folder, name);
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(bytes, 1, n, f), n);
  assert_int_equal(fclose(f), 0);
  return path;
}

static const char *text_file(char path[64], const char *name, const char *text) { return file(path, name, text, strlen(text)); }

/* A frame of zstd, with a checksum, appended to out. */
static void add_frame(lct_buf *out, const char *text) {
  ZSTD_CCtx *z = ZSTD_createCCtx();
  size_t n = strlen(text), cap = ZSTD_compressBound(n);
  char *bytes = malloc(cap);
  assert_true(z != NULL && bytes != NULL);
  assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1)));
  size_t made = ZSTD_compress2(z, bytes, cap, text, n);
  assert_false(ZSTD_isError(made));
  assert_int_equal(lct_buf_append(out, bytes, made, NULL), LCT_OK);
  free(bytes);
  (void)ZSTD_freeCCtx(z);
}

/* One line an item: "+FILE:LINE ID N-MESSAGES FIRST-CONTENT" or "-FILE:LINE ID REASON", the file's name without the folder. */
static lct_status describe(const char *const *paths, size_t n, lct_buf *out, lct_error *err) {
  lct_input *in = NULL;
  lct_input_item item;
  LCT_TRY(lct_input_open(paths, n, &in, err));
  lct_status s = LCT_OK;
  for (;;) {
    s = lct_input_next(in, &item, err);
    if (s != LCT_OK || item.kind == LCT_INPUT_END) break;
    const char *slash = strrchr(item.file, '/'), *name = slash ? slash + 1 : item.file;
    lct_conversation *c = item.conversation;
    if (item.kind == LCT_INPUT_REJECTED) {
      assert_null(c);
      assert_int_equal(LCT_OK, lct_buf_printf(out, NULL, "-%s:%zu %s %s\n", name, item.line, item.id, item.reason));
      continue;
    }
    assert_int_equal(LCT_OK,
                     lct_buf_printf(out, NULL, "+%s:%zu %s %zu %s\n", name, item.line, c->id, c->n_messages, c->messages[0].content));
    lct_conversation_free(c);
  }
  if (s == LCT_OK) {
    assert_int_equal(lct_input_next(in, &item, NULL), LCT_OK); /* and it stays at its end */
    assert_int_equal(item.kind, LCT_INPUT_END);
  }
  lct_input_free(in);
  return s;
}

static void check(const char *const *paths, size_t n, const char *want) {
  lct_error err = {0};
  lct_buf got = {0};
  assert_ok(describe(paths, n, &got, &err));
  assert_string_equal(got.data ? got.data : "", want);
  lct_buf_free(&got);
}

static void test_several_files(void **state) {
  (void)state;
  char a[64], b[64], c[64];
  text_file(a, "a.jsonl", "\xef\xbb\xbf" LINE("a") "\n  \t\r\n{\"messages\": " USER("y") "}");
  text_file(b, "b.jsonl", "");
  text_file(c, "c.jsonl", LINE("c") "{\"messages\": " USER("z") "}\r\n"
            "{\"id\": 7, \"conversations\": [{\"from\": \"human\", \"value\": \"h\"}, {\"from\": \"gpt\", \"value\": \"g\"}]}\n");
  const char *const paths[] = {a, b, c};
  char want[512];
  (void)snprintf(want, sizeof want,
                 "+a.jsonl:1 a 1 x\n+a.jsonl:4 %s:line-4 1 y\n+c.jsonl:1 c 1 x\n+c.jsonl:2 %s:line-2 1 z\n+c.jsonl:3 7 2 h\n", a, c);
  check(paths, 3, want);
  check(paths, 1, "+a.jsonl:1 a 1 x\n+a.jsonl:4 line-4 1 y\n");
  check(paths + 1, 1, "");
  for (size_t i = 0; i < 3; i++) (void)unlink(paths[i]);
}

static void test_duplicate_ids(void **state) {
  (void)state;
  char a[64], b[64], want[512];
  text_file(a, "a.jsonl", LINE("one") LINE("two\\n\\u00e9") LINE("one"));
  text_file(b, "b.jsonl", LINE("three") LINE("two\\n\xc3\xa9") LINE("one"));
  const char *const paths[] = {a, b};
  (void)snprintf(want, sizeof want,
                 "+a.jsonl:1 one 1 x\n+a.jsonl:2 two\n\xc3\xa9 1 x\n-a.jsonl:3 one id \"one\" stands already at %s:1\n"
                 "+b.jsonl:1 three 1 x\n-b.jsonl:2 two\n\xc3\xa9 id \"two\\x0a\xc3\xa9\" stands already at %s:2\n"
                 "-b.jsonl:3 one id \"one\" stands already at %s:1\n",
                 a, a, a);
  check(paths, 2, want);
  (void)unlink(a);
  (void)unlink(b);
}

static void test_rejected(void **state) {
  (void)state;
  char a[64];
  text_file(a, "bad.jsonl",
            "nonsense\n"
            "{\"id\": \"r\", \"messages\": [{\"role\": \"robot\", \"content\": \"x\"}]}\n"
            "{\"id\": \"e\", \"messages\": [{\"role\": \"user\", \"content\": \"x\"}, {\"role\": \"user\", \"content\": \" \\t\\n\\u3000\\u00a0\"}]}\n"
            "{\"id\": \"e\", \"messages\": " USER("again") "}\n"
            "{\"id\": \"s\", \"conversations\": [{\"from\": \"human\", \"value\": \"\"}]}\n"
            "{\"id\": \"\", \"messages\": " USER("x") "}\n"
            "{\"id\": \"m\", \"messages\": []}\n"
            "[]\n"
            "{\"id\": \"fine\", \"messages\": " USER(" .") "}\n"
            "{\"id\": \"cut");
  const char *const paths[] = {a};
  char want[1024];
  (void)snprintf(want, sizeof want,
                 "-bad.jsonl:1  column 8: JSON: '[' or '{' expected near 'nonsense'\n"
                 "-bad.jsonl:2 r messages[0].role: expected \"system\" or \"user\" or \"assistant\", found \"robot\"\n"
                 "-bad.jsonl:3 e messages[1].content: empty\n"
                 "-bad.jsonl:4 e id \"e\" stands already at %s:3\n"
                 "-bad.jsonl:5 s conversations[0].value: empty\n"
                 "-bad.jsonl:6  id: expected a string (not empty, without NUL) or an integer, found \"\"\n"
                 "-bad.jsonl:7 m messages: expected an array of at least one message, found an empty array\n"
                 "-bad.jsonl:8  expected an object, found an empty array\n"
                 "+bad.jsonl:9 fine 1  .\n"
                 "-bad.jsonl:10  column 11: JSON: premature end of input near '\"cut'\n",
                 a);
  check(paths, 1, want);
  (void)unlink(a);
}

/* An id and a reason longer than the item has room for are cut between two characters. */
static void test_long_texts(void **state) {
  (void)state;
  char a[64];
  lct_error err = {0};
  lct_buf text = {0};
  lct_input *in = NULL;
  lct_input_item item;
  assert_ok(lct_buf_puts(&text, "{\"id\": \"", &err));
  for (int i = 0; i < 200; i++) assert_ok(lct_buf_puts(&text, "\xe2\x82\xac", &err));
  assert_ok(lct_buf_puts(&text, "\", \"messages\": " USER(" ") "}\n", &err));
  const char *const paths[] = {file(a, "long.jsonl", text.data, text.len)};
  assert_ok(lct_input_open(paths, 1, &in, &err));
  assert_ok(lct_input_next(in, &item, &err));
  assert_int_equal(item.kind, LCT_INPUT_REJECTED);
  assert_int_equal(strlen(item.id), 255);
  assert_memory_equal(item.id + 252, "\xe2\x82\xac", 4);
  assert_string_equal(item.reason, "messages[0].content: empty");
  lct_input_free(in);
  lct_buf_free(&text);
  (void)unlink(a);
}

static void test_huge_line(void **state) {
  (void)state;
  char a[64];
  text_file(a, "huge.jsonl", LINE("a"));
  FILE *f = fopen(a, "r+b");
  assert_non_null(f);
  assert_int_equal(fseeko(f, (off_t)LCT_CONVERSATION_MAX_BYTES + 1, SEEK_END), 0);
  assert_true(fputs("\n" LINE("b"), f) >= 0);
  assert_int_equal(fclose(f), 0);
  const char *const paths[] = {a};
  check(paths, 1, "+huge.jsonl:1 a 1 x\n-huge.jsonl:2  expected a line of at most 67108864 bytes, found 67108865\n+huge.jsonl:3 b 1 x\n");
  (void)unlink(a);
}

/* Frames that end within a line, an empty and a skippable one; with the suffix and without. */
static void test_zstd(void **state) {
  (void)state;
  static const char skippable[] = "\x53\x2a\x4d\x18\x05\0\0\0hello";
  char a[64], b[64], want[256];
  lct_buf bytes = {0};
  add_frame(&bytes, LINE("a") "{\"id\": \"b\", ");
  add_frame(&bytes, "");
  assert_int_equal(lct_buf_append(&bytes, skippable, sizeof skippable - 1, NULL), LCT_OK);
  add_frame(&bytes, "\"messages\": " USER("y") "}\n" LINE("a"));
  const char *const paths[] = {file(a, "a.jsonl.zst", bytes.data, bytes.len), file(b, "b.jsonl", bytes.data, bytes.len)};
  (void)snprintf(want, sizeof want, "+a.jsonl.zst:1 a 1 x\n+a.jsonl.zst:2 b 1 y\n-a.jsonl.zst:3 a id \"a\" stands already at %s:1\n", a);
  check(paths, 1, want);
  (void)snprintf(want, sizeof want, "+b.jsonl:1 a 1 x\n+b.jsonl:2 b 1 y\n-b.jsonl:3 a id \"a\" stands already at %s:1\n", b);
  check(paths + 1, 1, want);
  lct_buf_free(&bytes);
  (void)unlink(a);
  (void)unlink(b);
}

/* Much more text than one buffer holds, so that a frame's output is taken in parts. */
static void test_large_zstd(void **state) {
  (void)state;
  enum { N = 20000 };
  char a[64];
  lct_error err = {0};
  lct_buf text = {0}, bytes = {0};
  lct_input *in = NULL;
  lct_input_item item;
  int64_t read = 0, total = 0, last = 0;
  for (int i = 0; i < N; i++) assert_ok(lct_buf_printf(&text, &err, "{\"id\": %d, \"messages\": " USER("the same words") "}\n", i));
  add_frame(&bytes, text.data);
  assert_true(bytes.len * 10 < text.len);
  const char *const paths[] = {file(a, "large.zst", bytes.data, bytes.len)};
  assert_ok(lct_input_open(paths, 1, &in, &err));
  for (int i = 0; i < N; i++) {
    char id[16];
    assert_ok(lct_input_next(in, &item, &err));
    assert_int_equal(item.kind, LCT_INPUT_CONVERSATION);
    (void)snprintf(id, sizeof id, "%d", i);
    assert_string_equal(item.conversation->id, id);
    lct_conversation_free(item.conversation);
    lct_input_progress(in, &read, &total);
    assert_true(read >= last && read <= total);
    last = read;
  }
  assert_ok(lct_input_next(in, &item, &err));
  assert_int_equal(item.kind, LCT_INPUT_END);
  lct_input_progress(in, &read, &total);
  assert_int_equal(read, bytes.len);
  assert_int_equal(total, bytes.len);
  lct_input_free(in);
  lct_buf_free(&text);
  lct_buf_free(&bytes);
  (void)unlink(a);
}

/* Cut at every length: whole lines before the end, then an error that names file and byte. */
static void test_cut_zstd(void **state) {
  (void)state;
  char a[64], want[256];
  lct_buf bytes = {0};
  add_frame(&bytes, LINE("a") LINE("b"));
  for (size_t n = 0; n < bytes.len; n++) {
    lct_error err = {0};
    lct_buf got = {0};
    const char *const paths[] = {file(a, "cut.zst", bytes.data, n)};
    assert_int_equal(describe(paths, 1, &got, &err), LCT_E_FORMAT);
    if (n == 0) (void)snprintf(want, sizeof want, "%s: zstd: expected a frame, found an empty file", a);
    else (void)snprintf(want, sizeof want, "%s: zstd: expected the rest of a frame, found the end of the file at byte %zu", a, n);
    assert_string_equal(err.message, want);
    lct_buf_free(&got);
  }
  (void)unlink(a);
  lct_buf_free(&bytes);
}

/* Every byte changed, and bytes behind the frame: an error (the checksum sees to that) or, in what is not read, no harm. */
static void test_damaged_zstd(void **state) {
  (void)state;
  char a[64];
  lct_buf bytes = {0};
  add_frame(&bytes, LINE("a") LINE("b"));
  for (size_t i = 0; i < bytes.len; i++) {
    lct_error err = {0};
    lct_buf got = {0};
    bytes.data[i] ^= 0x41;
    const char *const changed[] = {file(a, "damaged.zst", bytes.data, bytes.len)};
    lct_status s = describe(changed, 1, &got, &err);
    if (s != LCT_E_FORMAT || strstr(err.message, "damaged.zst: zstd: ") == NULL) fail_msg("byte %zu: %d %s", i, s, err.message);
    bytes.data[i] ^= 0x41;
    lct_buf_free(&got);
  }
  lct_error err = {0};
  lct_buf got = {0};
  assert_int_equal(lct_buf_puts(&bytes, "more", NULL), LCT_OK);
  const char *const paths[] = {file(a, "damaged.zst", bytes.data, bytes.len)};
  assert_int_equal(describe(paths, 1, &got, &err), LCT_E_FORMAT);
  assert_non_null(strstr(err.message, "damaged.zst: zstd: damaged at about byte "));
  assert_string_equal(got.data, "+damaged.zst:1 a 1 x\n+damaged.zst:2 b 1 x\n");
  lct_buf_free(&got);
  const char *const plain[] = {text_file(a, "damaged.zst", LINE("a"))};
  assert_int_equal(describe(plain, 1, &got, &err), LCT_E_FORMAT);
  assert_non_null(strstr(err.message, "Unknown frame descriptor"));
  (void)unlink(a);
  lct_buf_free(&bytes);
}

/* Standard input is a pipe, with a file behind it. */
static void check_pipe(const void *bytes, size_t n, const char *file_after, const char *want) {
  int ends[2], saved = dup(STDIN_FILENO);
  assert_int_equal(pipe(ends), 0);
  assert_true(n < 4096); /* fits a pipe, so nobody has to read meanwhile */
  assert_int_equal(write(ends[1], bytes, n), n);
  close(ends[1]);
  assert_true(dup2(ends[0], STDIN_FILENO) >= 0);
  close(ends[0]);
  lct_error err = {0};
  lct_input *in = NULL;
  int64_t read_bytes = 0, total = -1;
  const char *const paths[] = {"-", file_after};
  assert_ok(lct_input_open(paths, 2, &in, &err));
  lct_input_progress(in, &read_bytes, &total);
  assert_int_equal(total, 0); /* a pipe's length is not known */
  lct_input_free(in);
  check(paths, 2, want);
  if (saved >= 0) {
    assert_true(dup2(saved, STDIN_FILENO) >= 0);
    close(saved);
  }
}

static void test_standard_input(void **state) {
  (void)state;
  char a[64];
  lct_buf bytes = {0};
  text_file(a, "after.jsonl", LINE("a") LINE("b"));
  static const char plain[] = LINE("a") "x\n{\"messages\": " USER("y") "}";
  static const char want[] =
      "+-:1 a 1 x\n--:2  column 1: JSON: '[' or '{' expected near 'x'\n+-:3 stdin:line-3 1 y\n"
      "-after.jsonl:1 a id \"a\" stands already at -:1\n+after.jsonl:2 b 1 x\n";
  check_pipe(plain, sizeof plain - 1, a, want);
  add_frame(&bytes, plain);
  check_pipe(bytes.data, bytes.len, a, want);
  lct_buf_free(&bytes);
  (void)unlink(a);
}

static void test_open_errors(void **state) {
  (void)state;
  lct_error err = {0};
  lct_input *in = NULL;
  char a[64], pipe_path[64], want[256];
  text_file(a, "a.jsonl", LINE("a"));
  const char *const missing[] = {a, "nowhere.jsonl"}, *const twice[] = {"-", a, "-"}, *const directory[] = {folder};
  assert_fails(lct_input_open(NULL, 0, &in, &err), LCT_E_USAGE,
               "no conversations are given: expected at least one file, or - for standard input");
  assert_fails(lct_input_open(missing, 2, &in, &err), LCT_E_IO, "cannot open nowhere.jsonl: No such file or directory");
  assert_fails(lct_input_open(twice, 3, &in, &err), LCT_E_USAGE, "standard input (-) is given twice");
  (void)snprintf(want, sizeof want, "cannot read %s: Is a directory", folder);
  assert_fails(lct_input_open(directory, 1, &in, &err), LCT_E_IO, want);
  assert_null(in);
  /* a pipe is not opened (that would wait for a writer) */
  (void)snprintf(pipe_path, sizeof pipe_path, "%s/pipe", folder);
  assert_int_equal(mkfifo(pipe_path, 0600), 0);
  const char *const named[] = {a, pipe_path};
  assert_ok(lct_input_open(named, 2, &in, &err));
  lct_input_free(in);
  lct_input_free(NULL);
  /* a file that goes away meanwhile */
  char b[64];
  const char *const gone[] = {a, text_file(b, "b.jsonl", LINE("b"))};
  lct_input_item item;
  assert_ok(lct_input_open(gone, 2, &in, &err));
  (void)unlink(b);
  assert_ok(lct_input_next(in, &item, &err));
  lct_conversation_free(item.conversation);
  (void)snprintf(want, sizeof want, "cannot open %s: No such file or directory", b);
  assert_fails(lct_input_next(in, &item, &err), LCT_E_IO, want);
  lct_input_free(in);
  (void)unlink(pipe_path);
  (void)unlink(a);
}

static void test_progress(void **state) {
  (void)state;
  char a[64], b[64];
  lct_error err = {0};
  lct_input *in = NULL;
  lct_input_item item;
  int64_t read = 0, total = 0;
  const char *const paths[] = {text_file(a, "a.jsonl", LINE("a")), text_file(b, "b.jsonl", LINE("b") LINE("c"))};
  int64_t size = (int64_t)strlen(LINE("a"));
  assert_ok(lct_input_open(paths, 2, &in, &err));
  for (int i = 0; i < 4; i++) {
    lct_input_progress(in, &read, &total);
    assert_int_equal(total, 3 * size);
    assert_int_equal(read, i * size);
    assert_ok(lct_input_next(in, &item, &err));
    lct_conversation_free(item.conversation);
  }
  lct_input_free(in);
  (void)unlink(a);
  (void)unlink(b);
}

static void test_ids(void **state) {
  (void)state;
  lct_error err = {0};
  lct_ids ids = {0};
  lct_id_place first;
  bool added = false;
  for (size_t round = 0; round < 2; round++) {
    for (size_t i = 0; i < 100000; i++) {
      char id[32];
      size_t n = (size_t)snprintf(id, sizeof id, "conversation-%zu", i);
      assert_ok(lct_ids_add(&ids, id, n, (lct_id_place){.file = i % 7 + round, .line = i + 1 + round}, &added, &first, &err));
      assert_int_equal(added, round == 0);
      assert_int_equal(first.file, i % 7);
      assert_int_equal(first.line, i + 1);
    }
  }
  assert_int_equal(ids.n_ids, 100000);
  assert_int_equal(sizeof *ids.slots, 24);
  assert_true(ids.n_slots <= 100000 * 8 / 3);
  lct_id_place far = {.file = ((size_t)1 << 20) - 1, .line = ((size_t)1 << 44) - 1};
  assert_ok(lct_ids_add(&ids, "far", 3, far, &added, &first, &err));
  assert_true(first.file == far.file && first.line == far.line);
  far.line++;
  assert_int_equal(lct_ids_add(&ids, "far", 3, far, &added, &first, &err), LCT_E_LIMIT);
  lct_ids_free(&ids);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_several_files), cmocka_unit_test(test_duplicate_ids),
      cmocka_unit_test(test_rejected),      cmocka_unit_test(test_long_texts),
      cmocka_unit_test(test_huge_line),     cmocka_unit_test(test_zstd),
      cmocka_unit_test(test_large_zstd),    cmocka_unit_test(test_cut_zstd),
      cmocka_unit_test(test_damaged_zstd),  cmocka_unit_test(test_standard_input),
      cmocka_unit_test(test_open_errors),   cmocka_unit_test(test_progress),
      cmocka_unit_test(test_ids),
  };
  return cmocka_run_group_tests_name("input", tests, make_folder, remove_folder);
}
