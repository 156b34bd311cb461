#include "engine/sources.h"

typedef struct {
  const char *name;
  lct_source_group group;
} source_info;

static const source_info table[LCT_N_SOURCES] = {
#define SOURCE_INFO(id, name, width, group, where) {name, LCT_GROUP_##group},
    LCT_SOURCES(SOURCE_INFO)
#undef SOURCE_INFO
};

const lct_source LCT_RESIDUAL_SOURCES[LCT_N_RESIDUAL] = {LCT_SOURCE_HIDDEN_IN, LCT_SOURCE_HIDDEN_OUT, LCT_SOURCE_ATTN_OUT,
                                                         LCT_SOURCE_MLP_DOWN_OUT};

const char *lct_source_name(lct_source s) { return table[s].name; }
lct_source_group lct_source_get_group(lct_source s) { return table[s].group; }

int lct_source_width(lct_source s, const lct_config *c) {
  switch (s) {
#define SOURCE_WIDTH(id, name, width, group, where) \
  case LCT_SOURCE_##id: return width;
    LCT_SOURCES(SOURCE_WIDTH)
#undef SOURCE_WIDTH
  default: return 0;
  }
}

bool lct_source_is_global(lct_source s) { return s == LCT_SOURCE_EMBEDDINGS || s == LCT_SOURCE_LOGITS; }
