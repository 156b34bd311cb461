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

# configure PRESET [OPTION...], build PRESET [OPTION...]: one of CMakePresets.json.
configure() { (cd "$root" && cmake --preset "$@"); }
build() { (cd "$root" && cmake --build --preset "$@" -j "$(nproc)"); }
