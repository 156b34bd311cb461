/* A sweep as sweep.json says it. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "sweep/sweep_impl.h"

/* A list of n names, which are filled in by the caller; the arena's. */
static lct_status new_names(sweep *s, int n, const char ***names, lct_names *out, lct_error *err) {
  *names = lct_arena_alloc(&s->arena, ((size_t)n + 1) * sizeof **names);
  *out = (lct_names){*names, n};
  return *names != NULL ? LCT_OK : lct_fail(err, LCT_E_NOMEM, "out of memory for what was asked");
}

lct_status sweep_describe(sweep *s, lct_error *err) {
  const lct_sweep_options *o = s->o;
  const char **names;
  s->asked = (lct_sweep_asked){.model_hash = s->model->hash, .template_name = lct_template_name(s->template.kind),
                               .template_hash = s->template.hash, .precision = lct_precision_name(s->device.precision), .gpu = s->device.gpu,
                               .inputs = {o->inputs, (int)o->n_inputs}, .keep = o->keep, .store_dtype = o->store_dtype,
                               .derive_residual = o->derive_residual, .layers = s->layers, .n_layers = s->n_layers,
                               .fingerprints = o->fingerprints, .fingerprints_hash = s->fingerprints_hash, .shard_rows = s->shard_rows,
                               .token_shard = s->token_shard, .too_long = o->too_long, .max_tokens = s->max_tokens};
  if (s->fingerprints != NULL) s->asked.labels = (lct_names){(const char *const *)s->fingerprints->labels, s->fingerprints->n_labels};
  LCT_TRY(new_names(s, s->n_positions, &names, &s->asked.positions, err));
  for (int i = 0; i < s->n_positions; i++) names[i] = s->positions[i].name;
  LCT_TRY(new_names(s, s->n_sources, &names, &s->asked.sources, err));
  for (int i = 0; i < s->n_sources; i++) names[i] = lct_source_name(s->sources[i].source);
  LCT_TRY(new_names(s, s->n_metrics, &names, &s->asked.metrics, err));
  for (int i = 0; i < s->n_metrics; i++) names[i] = lct_any_metric_name(s->metrics[i]);
  return LCT_OK;
}

json_t *sweep_layers_json(const sweep *s) {
  json_t *a = json_array();
  for (int i = 0; i < s->n_layers; i++) json_array_append_new(a, json_integer(s->layers[i]));
  return a;
}

static json_t *model_json(const sweep *s) {
  const lct_config *c = &s->cfg;
  return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:I, s:s}", "path", s->model_path, "id", s->o->model, "arch",
                   lct_arch_name(c->arch), "format", s->model->format, "n_layers", c->n_layers, "hidden", c->hidden, "n_heads", c->n_heads,
                   "n_kv_heads", c->n_kv_heads, "vocab", c->vocab, "n_params", (json_int_t)lct_model_n_params(s->model), "hash",
                   s->model->hash);
}

static json_t *machine_json(const sweep *s) {
  char cpu[256];
  lct_device_cpu_name(cpu, sizeof cpu);
  return json_pack("{s:s, s:i, s:s, s:s}", "cpu", cpu, "threads", s->o->threads, "device", s->device.label, "device_name", s->device.name);
}

/* Of what this run stored: relative L2 error and largest absolute error of the stored type. */
static lct_status store_errors(const sweep *s, lct_store_error **out, int *n, lct_error *err) {
  LCT_TRY(lct_calloc(out, (size_t)s->n_streams, sizeof **out, "errors", err));
  for (int i = 0; i < s->n_streams; i++) {
    if (!s->streams[i].stored || s->value2 == NULL || s->value2[i] <= 0) continue;
    (*out)[(*n)++] = (lct_store_error){s->streams[i].name, sqrt(s->error2[i] / s->value2[i]), s->error_max[i]};
  }
  return LCT_OK;
}

lct_status sweep_write_state(const sweep *s, const char *state, const char *error, lct_error *err) {
  lct_sweep_result now = *s->result;
  now.rows = s->rows;
  now.tokens_stored = s->tokens;
  now.seconds_total = lct_seconds() - s->t_start;
  lct_store_error *errors = NULL;
  int n_errors = 0;
  LCT_TRY(store_errors(s, &errors, &n_errors, err));
  json_t *model = model_json(s), *machine = machine_json(s);
  const lct_sweep_facts f = {.asked = &s->asked, .result = &now, .state = state, .error = error, .llmct_version = lct_version(), .model = model,
                             .machine = machine, .arrays = s->arrays, .errors = errors, .n_errors = n_errors};
  lct_status st = lct_sweep_facts_write(s->o->output, &f, err);
  json_decref(model);
  json_decref(machine);
  free(errors);
  return st;
}
