/* A user's program against the installed library: argv[1] is a folder to make a model in. */
#include <llmct/llmct.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
  if (argc != 2 || strncmp(lct_version(), LCT_VERSION " (", strlen(LCT_VERSION) + 2) != 0) return 1;
  lct_error err = {0};
  char *text = NULL;
  lct_synth_options o = {.like = "tiny-qwen2", .seed = 1, .dir = argv[1]};
  if (lct_synth(&o, &err) != LCT_OK || lct_inspect(argv[1], true, true, &text, &err) != LCT_OK) {
    fprintf(stderr, "%s\n", err.message);
    return 1;
  }
  int found = strstr(text, "\"arch\": \"qwen2\"") != NULL;
  lct_text_free(text);
  if (lct_inspect("./nowhere", false, false, &text, &err) != LCT_E_IO) return 1;
  puts(err.message);
  return found ? 0 : 1;
}
