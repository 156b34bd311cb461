#!/bin/bash
# nvcc.sh LOG COMMAND...: runs the compiler, keeps what ptxas says of registers and spills in LOG, and shows it only when the compiler fails.
log=$1
shift
if ! "$@" >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
