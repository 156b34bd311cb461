/* A scenario as JSON, with Activation Lab's names and order (internal to the library). */
#ifndef LCT_SCENARIO_SCENARIO_JSON_H
#define LCT_SCENARIO_SCENARIO_JSON_H

#include <jansson.h>

#include "scenario/scenario.h"

#define LCT_SCENARIO_ALL_PROMPTS SIZE_MAX

/* The scenario with all its defaults; with one prompt when prompt_index is not LCT_SCENARIO_ALL_PROMPTS (run.json's
 * "scenario"). New reference; NULL when memory is out. */
json_t *lct_scenario_json(const lct_scenario *s, size_t prompt_index);

#endif
