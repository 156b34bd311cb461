# Shared by the scripts: words to the user, retries, folders. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/llmct-gpu

say() { printf '== %s\n' "$*"; }
warn() { printf '== warning: %s\n' "$*" >&2; }
die() {
  printf '== error: %s\n' "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# retry COMMAND...: up to three times, a registry may be slow or briefly away.
retry() {
  local try
  for try in 1 2 3; do
    "$@" && return 0
    [ "$try" = 3 ] || { warn "try $try of 3 failed: $*"; sleep $((try * 3)); }
  done
  return 1
}

has_sha256() { [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$2" ]; }

# build PRESET: configures and builds one of CMakePresets.json.
build() {
  local preset=$1
  shift
  (cd "$root" && cmake --preset "$preset" "$@" && cmake --build --preset "$preset" -j "$(nproc)")
}
