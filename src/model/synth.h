/* Random weights in a real model's shape: a Hugging Face folder that transformers loads. */
#ifndef LCT_MODEL_SYNTH_H
#define LCT_MODEL_SYNTH_H

#include "model/model.h"

/* The numbers. Element i of tensor NAME (Hugging Face's name) is mean + std * z, where
 *   key = mix(seed ^ mix(FNV-1a-64(NAME))), mix = the finaliser of splitmix64,
 *   a = mix(key + (2i+1)*G), b = mix(key + (2i+2)*G), G = 0x9e3779b97f4a7c15,
 *   z = (sum of the eight 16-bit lanes of a and b, centred) / its standard deviation.
 * Integers but for one multiplication: every machine, compiler and number of threads makes the same bytes.
 *
 * The scales: norms 1 +- 0.1, the final one 2 +- 0.2; projections 1/sqrt(fan-in), o_proj divided by sqrt(2*n_layers),
 * down_proj by a third of that; q and k biases 0.5, v 0.1, o 0.02; embeddings 1, or 1/sqrt(hidden) where they are the head
 * too; a separate head 1/sqrt(hidden). So the residual stream stays of order 1 at any depth, logits have a standard
 * deviation of about 2, and greedy decoding wanders: a tied head with larger embeddings repeats the last token, and beside a
 * weaker MLP the text so far outweighs it.
 *
 * lct_synth_options, lct_synth and lct_synth_names are public: llmct/llmct.h. lct_synth writes into DIR.partial.PID and renames it at
 * the end: DIR is there whole or not at all. */

#endif
