#!/bin/bash
# What the program says about itself, and what it says to a wrong command line.
. "$(dirname "$0")/lib.sh"

version=$("$LCT_CLI" --version)
[[ $version =~ ^llmct-gpu\ [0-9]+\.[0-9]+\.[0-9]+\ \(oneDNN\ [0-9]+\.[0-9]+\.[0-9]+,\ (no\ CUDA|CUDA\ [0-9]+\.[0-9]+)\)$ ]] || fail "--version: $version"

help="$version: an MRI machine for Qwen-family language models

usage: llmct-gpu COMMAND [options]

commands:
  scan        run a scenario through a model and score every layer against the references
  sweep       scan many conversations into one compressed store
  fingerprint make the vectors that a sweep scores against
  score       score a sweep's stored vectors again, without the model
  verify      read a sweep again and name every fault
  ls          list a sweep's rows or arrays
  cat         print one vector of a sweep
  export      write a sweep's vectors or scores as .npz, .safetensors or .csv
  report      make the HTML report of a run, or compare it with published numbers
  inspect     show what a model, a fingerprint file or a sweep is
  synth       write random weights in a real model's shape, for tests and benchmarks
  tokenize    show the tokens of a text
  bench       measure prefill and decode on this machine
  devices     show what there is to compute on, and what would be used

llmct-gpu COMMAND --help explains a command. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 finished but some failed."
run --help
expect 0 "$help" ""
run -h
expect 0 "$help" ""
run help
expect 0 "$help" ""
run
expect 2 "" "$help"

run scan --help
expect 0 "usage: llmct-gpu scan SCENARIO.yaml [options]

Runs every prefix of the scenario's conversation and its references through the model, once a distinct token,
and scores every layer of every snapshot against every reference.

options:
  -m, --model MODEL                  folder, .gguf file or Hub id (default: the scenario's model.id)
  -o, --output DIR                   parent of the run directory (default: the scenario's output.dir)
  --keep scores|pooled|tokens        what to store (default pooled; tokens: whole tensors as .npz)
  -f, --fingerprints FILE            score against these, too (llmct-gpu fingerprint makes them): fingerprint_scores.json, .csv
  --metrics LIST                     of --fingerprints: default cosine,mae,jaccard; also centered, standardized, ...
  -d, --device auto|cpu|cuda:N       auto: a GPU when there is one (default: LCT_DEVICE, else auto)
  --precision auto|exact|fast|f16|bf16 CPU: exact (default), fast or bf16; GPU: f16 (default, fast) or bf16
  --chat-template NAME               instead of the recognised one: chatml, qwen2, qwen2.5, qwen3, smollm2, llama3, ...
  --no-thinking                      Qwen3: render with enable_thinking=False
  -t, --threads N                    threads of the CPU (default: all)
  --no-report                        do not write report.html
  -q, --quiet                        print errors only
  --json                             print the summary as one JSON object" ""
for command in sweep score verify ls cat export fingerprint report inspect synth tokenize bench devices; do
  run $command --help
  [ "$code" = 0 ] && [[ $(head -n 1 out) == "usage: llmct-gpu $command "* ]] || fail "$command --help"
done

run dance
expect 2 "" "llmct-gpu: unknown command dance
try: llmct-gpu --help"

# wrong MESSAGE ARGS...: a wrong command line of the command ARGS begin with.
wrong() {
  local message=$1
  shift
  run "$@"
  expect 2 "" "llmct-gpu $1: $message
try: llmct-gpu $1 --help"
}
wrong "unknown option --colour" scan s.yaml --colour
wrong "unknown option -x" scan s.yaml -x
wrong "unknown option --colour=red" scan s.yaml --colour=red
wrong "missing argument; usage: SCENARIO.yaml [options]" scan
wrong "missing argument; usage: MODEL|FILE.safetensors|SWEEP_DIR [options]" inspect
wrong "missing argument; usage: RUN_DIR [options]" report
wrong "missing argument; usage: MODEL [TEXT] [options]" tokenize
wrong "missing argument; usage: MODEL [options]" bench
wrong "one argument too many: b.yaml" scan a.yaml b.yaml
wrong "needs a value: --model" scan s.yaml --model
wrong "needs a value: -o" scan s.yaml -o
wrong "takes no value: --json=yes" scan s.yaml --json=yes
wrong "--threads wants a whole number, not two" scan s.yaml --threads two
wrong "--threads wants a whole number, not -1" scan s.yaml --threads=-1
wrong "--threads wants a whole number, not " scan s.yaml --threads=
wrong "--threads wants a whole number, not 99999999999999999999" scan s.yaml -t 99999999999999999999
wrong "--keep is one of scores|pooled|tokens, not all" scan s.yaml --keep all
wrong "--keep is one of scores|pooled|tokens, not score" scan s.yaml --keep=score
wrong "--precision is one of auto|exact|fast|f16|bf16, not half" scan s.yaml --precision half
wrong "one argument too many: 0" devices 0
wrong "needs --like NAME and a directory" synth
wrong "needs --like NAME and a directory" synth folder
wrong "needs --like NAME and a directory" synth --like tiny-qwen2
finish
