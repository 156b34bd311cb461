#include <string.h>

#include "model/synth_internal.h"

/* name, architecture, layers, hidden, heads, kv heads, head size, intermediate, vocabulary, context, RMS epsilon, RoPE theta,
 * RoPE scaling factor (0: none) and original context, tied head. The tiny ones are ours: a Qwen3 whose heads are wider than its
 * hidden size together, a Llama whose scaled RoPE has unscaled, blended and scaled frequencies. */
#define PRESETS(X)                                                                               \
  X("qwen2.5-0.5b", QWEN2, 24, 896, 14, 2, 64, 4864, 151936, 32768, 1e-6f, 1e6, 0, 0, true)      \
  X("qwen2.5-1.5b", QWEN2, 28, 1536, 12, 2, 128, 8960, 151936, 32768, 1e-6f, 1e6, 0, 0, true)    \
  X("qwen2.5-3b", QWEN2, 36, 2048, 16, 2, 128, 11008, 151936, 32768, 1e-6f, 1e6, 0, 0, true)     \
  X("qwen2.5-7b", QWEN2, 28, 3584, 28, 4, 128, 18944, 152064, 32768, 1e-6f, 1e6, 0, 0, false)    \
  X("qwen3-0.6b", QWEN3, 28, 1024, 16, 8, 128, 3072, 151936, 40960, 1e-6f, 1e6, 0, 0, true)      \
  X("qwen3-1.7b", QWEN3, 28, 2048, 16, 8, 128, 6144, 151936, 40960, 1e-6f, 1e6, 0, 0, true)      \
  X("qwen3-4b", QWEN3, 36, 2560, 32, 8, 128, 9728, 151936, 40960, 1e-6f, 1e6, 0, 0, true)        \
  X("qwen3-8b", QWEN3, 36, 4096, 32, 8, 128, 12288, 151936, 40960, 1e-6f, 1e6, 0, 0, false)      \
  X("smollm2-135m", LLAMA, 30, 576, 9, 3, 64, 1536, 49152, 8192, 1e-5f, 1e5, 0, 0, true)         \
  X("smollm2-360m", LLAMA, 32, 960, 15, 5, 64, 2560, 49152, 8192, 1e-5f, 1e5, 0, 0, true)        \
  X("llama3.2-1b", LLAMA, 16, 2048, 32, 8, 64, 8192, 128256, 131072, 1e-5f, 5e5, 32, 8192, true) \
  X("tiny-qwen2", QWEN2, 4, 128, 4, 2, 32, 320, 600, 32768, 1e-6f, 1e6, 0, 0, true)              \
  X("tiny-qwen3", QWEN3, 4, 128, 4, 2, 64, 320, 600, 32768, 1e-6f, 1e6, 0, 0, true)              \
  X("tiny-llama", LLAMA, 4, 128, 4, 2, 32, 320, 600, 32768, 1e-5f, 1e4, 8, 512, false)

typedef struct {
  const char *name;
  lct_arch arch;
  int n_layers, hidden, n_heads, n_kv_heads, head_dim, intermediate, vocab, max_positions;
  float rms_eps;
  double theta, factor;
  int original;
  bool tied;
} preset;

static const preset presets[] = {
#define PRESET_ROW(name, arch, ...) {name, LCT_ARCH_##arch, __VA_ARGS__},
    PRESETS(PRESET_ROW)
#undef PRESET_ROW
};

const char *const *lct_synth_names(void) {
  static const char *const names[] = {
#define PRESET_NAME(name, ...) name,
      PRESETS(PRESET_NAME)
#undef PRESET_NAME
          NULL};
  return names;
}

bool lct_synth_preset(const char *like, lct_config *out, bool *tiny) {
  for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
    const preset *p = &presets[i];
    if (strcmp(p->name, like) != 0) continue;
    *out = (lct_config){.arch = p->arch,
                        .n_layers = p->n_layers,
                        .hidden = p->hidden,
                        .n_heads = p->n_heads,
                        .n_kv_heads = p->n_kv_heads,
                        .head_dim = p->head_dim,
                        .intermediate = p->intermediate,
                        .vocab = p->vocab,
                        .max_positions = p->max_positions,
                        .rms_eps = p->rms_eps,
                        .rope = {.theta = p->theta},
                        .tied_head = p->tied,
                        .qkv_bias = p->arch == LCT_ARCH_QWEN2,
                        .qk_norm = p->arch == LCT_ARCH_QWEN3,
                        .bos = -1};
    if (p->factor > 0) out->rope = (lct_rope){LCT_ROPE_LLAMA3, p->theta, p->factor, 1, 4, p->original};
    *tiny = strncmp(like, "tiny-", 5) == 0;
    return true;
  }
  return false;
}
