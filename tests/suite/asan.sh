#!/bin/bash
# The suite again under AddressSanitizer and UndefinedBehaviorSanitizer, in a build without CUDA, which is a complete program: all that parses
# and indexes. Its lines are marked, they are not this run's own. What it leaves to the release build, where it runs all the same:
#   structure      looks at no code that runs
#   shim.engine, shim.parity, shim.sweep, shim.scan_states, shim.pool_pass, shim.observe, shim.cli, shim.programs
#                  whole models over kernels that the other shim tests run here one by one, each access checked; what is the host's of them
#                  runs here over the CPU's backend (unit.test_engine, unit.test_pool_pass, unit.test_sweep, cli.*)
#   unit.test_sampler_draw
#                  statistics of a million draws: unit.test_sampler and shim.sampler run the same code here
#   cli.sweep_kill ends programs with SIGKILL, before a sanitizer can say anything; going on with what they leave is cli.sweep_faults, which
#                  tries fewer of each kind of fault here
set -euo pipefail
export LCT_FEWER=1
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
left_out='^(shim\.(engine|parity|sweep|scan_states|pool_pass|observe|cli|programs)|unit\.test_sampler_draw|cli\.sweep_kill)$'
cmake --preset asan -DLCT_SUITE=OFF -DLCT_CUDA=OFF | grep -x -- '-- CUDA: switched off: building the complete CPU program'
cmake --build --preset asan -j "$(nproc)" | tail -n 1
build-asan/llmct-gpu --version | grep 'no CUDA'
ctest --preset asan -LE structure -E "$left_out" -j "$(nproc)" 2>&1 | sed 's/^/asan: /'
