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

# names, circles, structs, casts
mkdir -p "$t"/src/cpu/kernels "$t/cuda"
for file in src/base/twin.c src/model/twin.c src/cpu/attention.c src/cpu/kernels/attention.c cuda/attention.c; do : >"$t/$file"; done
printf '#include "base/b.h"\n' >"$t/src/base/a.h"
printf '#include "base/c.h"\n' >"$t/src/base/b.h"
printf '#include "base/a.h"\n' >"$t/src/base/c.h"
{ printf '/* struct of { int a, b; }; */\ntypedef struct {\n  int a, b, (*f)(int x, int y);\n  struct { int in, out; } c[3];\n'
  times 20 '  int m; /* one, more; */'; printf '} fine;\nstruct large {\n  int a, b;\n'; times 24 '  char *m;'; printf '};\n'; } >"$t/src/model/structs.h"
cat >"$t/src/model/enums.h" <<'END'
typedef enum { RED_ONE, RED_TWO } red;
#define BLUES(X) X(ONE, 1) X(TWO, 2)
typedef enum {
#define BLUE_ENUM(id, n) BLUE_##id,
  BLUES(BLUE_ENUM)
} blue;
typedef struct {
  blue inner;
  int number;
} both;
blue make_blue(void);
END
cat >"$t/src/model/casts.c" <<'END'
red f(blue b, const both *x, int i) {
  red r = (red)b;
  r = (red)x->inner; /* (red)b */
  r = (red)make_blue();
  r = (red)BLUE_ONE;
  r = (red)i + (red)x->number + (red)r;
  blue i2 = (blue)(r);
  return (red)i2;
}
END
sed 's/f(/g(/' "$t/src/model/casts.c" >"$t/src/model/asserted.c"
printf '_Static_assert((int)RED_TWO == (int)BLUE_TWO, "the same numbers");\n' >>"$t/src/model/asserted.c"

expect() { # expect RULE CODE [BUILD]: standard input is what it prints
  local code=0 got
  got=$(bash "$here/check.sh" "$1" "$t" ${3:+"$3"}) || code=$?
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
expect names 1 <<END
src/model/twin.c:1: the name is taken by src/base/twin.c
END
expect circles 1 <<END
src/base/a.h:1: includes itself by way of src/base/b.h, src/base/c.h
END
expect structs 1 <<END
src/model/structs.h:26: a struct has at most 25 members, this one has 26
END
expect casts 1 <<END
src/model/casts.c:2: b of blue is cast to red without a _Static_assert that names both
src/model/casts.c:3: x->inner of blue is cast to red without a _Static_assert that names both
src/model/casts.c:4: make_blue of blue is cast to red without a _Static_assert that names both
src/model/casts.c:5: BLUE_ONE of blue is cast to red without a _Static_assert that names both
src/model/casts.c:7: r of red is cast to blue without a _Static_assert that names both
src/model/casts.c:8: i2 of blue is cast to red without a _Static_assert that names both
END
rm -r "$t/src" "$t/cuda"
for rule in includes sizes words names circles structs casts; do expect $rule 0 </dev/null; done

# calls: a build of two folders, one of which calls what comes later, and a circle of files in each; what has no source any more is passed over
command -v nm >/dev/null || { echo "skipped: no nm here, so nothing looks at objects"; exit 0; }
mkdir -p "$t"/src/{base,model} "$t"/b/CMakeFiles/llmct_objects.dir/src/{base,model}
printf 'int later(void);\nint early(void);\nint early(void) { return later(); }\n' >"$t/src/base/early.c"
printf 'int early(void);\nint later(void);\nint back(void);\nint later(void) { return early() + back(); }\n' >"$t/src/model/later.c"
printf 'int later(void);\nint back(void);\nint back(void) { return later(); }\n' >"$t/src/model/back.c"
cp "$t/src/base/early.c" "$t/src/base/gone.c"
for file in base/early base/gone model/later model/back; do
  "${CC:-cc}" -c "$t/src/$file.c" -o "$t/b/CMakeFiles/llmct_objects.dir/src/$file.c.o"
done
rm "$t/src/base/gone.c"
sed 's/^MAX_CIRCLED = .*/MAX_CIRCLED = 1/' "$here/objects.py" >"$t/objects.py"
cp "$here"/{check.sh,source_rules.py} "$t"
here=$t
expect calls 1 b <<END
src/base/early.c:1: src/base comes before src/model, which defines later (src/model/later.c)
src/model/back.c:1: calls itself by way of src/model/later.c
2 files stand in 1 circles of calls within their folders, at most 1 may
END
printf 'int early(void);\nint early(void) { return 1; }\n' >"$t/src/base/early.c"
"${CC:-cc}" -c "$t/src/base/early.c" -o "$t/b/CMakeFiles/llmct_objects.dir/src/base/early.c.o"
sed -i 's/^MAX_CIRCLED = .*/MAX_CIRCLED = 2/' "$t/objects.py"
expect calls 0 b </dev/null 2>/dev/null
