#!/bin/bash
# Installs the Debian packages that building needs, and with --test those that the tests need. Idempotent: says so and leaves apt
# alone when everything is there.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

usage="usage: scripts/setup.sh [--test]"
test=no
for arg in "$@"; do
  case $arg in
  --test) test=yes ;;
  -h | --help) echo "$usage"; exit 0 ;;
  *) echo "$usage" >&2; exit 2 ;;
  esac
done

have apt-get && have dpkg-query || die "no apt-get here: this script knows Debian only; install the packages it names by hand, then run cmake --preset release"

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing=()
# need_tool COMMAND PACKAGE: any installation of the tool will do.
need_tool() { have "$1" || missing+=("$2"); }
need_library() { installed "$1" || missing+=("$1"); }

build_needs() {
  need_tool gcc gcc
  if have nvcc || [ -x /usr/local/cuda/bin/nvcc ]; then need_tool g++ g++; fi # nvcc compiles with it
  need_tool cmake cmake
  need_tool ninja ninja-build
  need_tool pkg-config pkg-config
  need_tool python3 python3
  python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
  local library
  for library in libc6-dev ca-certificates libdnnl-dev libyaml-dev libjansson-dev libpcre2-dev zlib1g-dev \
    libdeflate-dev libmd-dev libzstd-dev; do
    need_library "$library"
  done
}

# clang's packages carry their version in their names: the one at hand, else the distribution's own.
clang_version() {
  local v
  for v in 14 15 16 17 18 19 20 21; do have "clang-$v" && { echo "$v"; return; }; done
  v=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p')
  echo "${v:-14}"
}

test_needs() {
  local v
  v=$(clang_version)
  need_tool g++ g++ # the CUDA kernels on the host shim
  need_library libcmocka-dev
  need_tool "clang-$v" "clang-$v"
  need_library "libclang-rt-$v-dev"
  need_library "libomp-$v-dev"
  have clang-format-14 || need_tool clang-format clang-format # scripts/format.sh
  need_tool npm npm
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1; }

needs() {
  missing=()
  build_needs
  [ "$test" = no ] || test_needs
}

needs
if [ ${#missing[@]} = 0 ]; then
  say "set-up: all packages are there"
  exit 0
fi
sudo=()
if [ "$(id -u)" != 0 ]; then
  have sudo || die "run as root, or install sudo: apt-get install ${missing[*]}"
  sudo=(sudo)
fi
retry apt update || warn "apt-get update failed; going on with the package lists at hand"
needs # the lists may name another clang
say "set-up: apt-get install ${missing[*]}"
retry apt install -y --no-install-recommends "${missing[@]}" || { tail -n 20 "$log" >&2; die "set-up: apt-get could not install: ${missing[*]}"; }
say "set-up: done"
