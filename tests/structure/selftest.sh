#!/bin/bash
# check.sh must find what it is there to find: a tree with one breach of each kind, and the exact lines it prints.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
times() { for ((i = 0; i < $1; i++)); do printf '%s\n' "$2"; done; }
mkdir -p "$t"/src/{base,model,scan,cli,odd}
printf '#include "base/x.h"\n#include "model/y.h"\n' >"$t/src/base/early.c"
printf '#include <cuda_runtime.h>\n#include "llmct/llmct.h"\n#include "other.h"\n' >"$t/src/scan/cuda.c"
printf '#include "cli/cli.h"\n#include "base/x.h"\n' >"$t/src/cli/main.c"
printf '// TODO: later\n' >"$t/src/odd/odd.c"
{ printf 'int f(void) {\n'; times 59 '  g();'; printf '}\n'; times 440 ''; } >"$t/src/model/long.c"
{ printf 'const int t[] = {\n'; times 100 '  1,'; printf '};\nint f(void) {\n  const int u[] = {\n'; times 80 '    1,'
  printf '  };\n'; times 58 '  g();'; printf '}\n'; } >"$t/src/model/fine.c"

expect() { # expect RULE CODE: standard input is what it prints
  local code=0 got
  got=$(bash "$here/check.sh" "$1" "$t") || code=$?
  if [ "$got" != "$(cat)" ] || [ "$code" != "$2" ]; then
    printf 'check.sh %s: exit code %s, printed:\n%s\n' "$1" "$code" "$got"
    exit 1
  fi
}
expect includes 1 <<END
src/base/early.c:2: src/base comes before src/model: model/y.h
src/cli/main.c:2: src/cli includes only its own headers and llmct/llmct.h: base/x.h
src/odd/odd.c:1: folder src/odd has no place in the order: base model text scenario plan engine cpu score store archive capture subject run analysis report fingerprint rescore scan sweep api
src/scan/cuda.c:1: src/ includes nothing of CUDA: #include <cuda_runtime.h>
src/scan/cuda.c:3: not a path from src/ or include/: other.h
END
expect sizes 1 <<END
src/model/long.c:1: a function has at most 60 lines, this one has 61
src/model/long.c:501: a file has at most 500 lines
END
expect words 1 <<END
src/odd/odd.c:1:// TODO: later
END
rm -r "$t/src"
for rule in includes sizes words; do expect $rule 0 </dev/null; done
