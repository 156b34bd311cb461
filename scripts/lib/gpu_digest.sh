#!/bin/bash
# gpu_digest.sh PACKAGE MODEL: a short whole-model pass on the GPU, for compute-sanitizer: two prompts together, one alone.
set -euo pipefail
ids() { for i in "$@"; do printf "\\x$(printf %02x $((i & 255)))\\x$(printf %02x $((i >> 8 & 255)))\\x$(printf %02x $((i >> 16 & 255)))\\x$(printf %02x $((i >> 24 & 255)))"; done; }
{
  ids $(seq 1 90) -1 $(seq 1 70) 200 201 -1 -2
  ids $(seq 300 370) -1 -2
} | "$1/bin/dump_taps" "$2" --device cuda:0 --digest
