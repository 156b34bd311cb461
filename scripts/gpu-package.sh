#!/bin/bash
# Everything a machine with a GPU needs to check and measure this version, in one folder that can be carried there: the program, the
# tests of tests/cuda against the real backend, the tools of scripts/gpu-check.sh and the libraries they load. That machine needs a
# checkout of the same commit, glibc no older than this one's, a driver and cuBLASLt.
# Usage: scripts/gpu-package.sh [FOLDER]       (build-gpu; its build folder is FOLDER-obj)
# LCT_CUDA_ARCHS: architectures to make machine code for ("90a"; separated by ";"). PTX for newer ones is always in it.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

[ $# -le 1 ] && [[ "${1:-}" != -* ]] || { echo "usage: scripts/gpu-package.sh [FOLDER]" >&2; exit 2; }
cd "$root"
package=${1:-build-gpu}
objects=$package-obj
limit_mb=48 # with a checkout of 7 MB below the 64 MB that a small transfer may have

say "building into $objects (log: $objects/build.log)"
mkdir -p "$objects"
# DT_RPATH, not DT_RUNPATH: it also holds for what the libraries load themselves
if ! {
  cmake -S . -B "$objects" -G Ninja -DCMAKE_BUILD_TYPE=Release -DLCT_CUDA=ON -DLCT_CUDA_ARCHS="${LCT_CUDA_ARCHS:-90a}" -DLCT_TESTS=ON \
    -DLCT_EXPORT_ALL=ON -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON "-DCMAKE_INSTALL_RPATH=\$ORIGIN/../lib" \
    -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags -DCMAKE_SHARED_LINKER_FLAGS=-Wl,--disable-new-dtags &&
    cmake --build "$objects" -j "$(nproc)" --target gpu_programs
} >"$objects/build.log" 2>&1; then
  tail -n 40 "$objects/build.log" >&2
  die "the build failed; the whole log is $objects/build.log"
fi

rm -rf "$package"
mkdir -p "$package/bin" "$package/lib"
cp "$objects"/llmct-gpu "$objects"/tests/tools/dump_taps "$objects"/gpu/* "$package/bin/"
cp -L "$objects"/libllmct.so.0 "$package/lib/"

# What the dynamic loader finds outside the package, but for glibc, which belongs to the machine.
outside() {
  ldd "$package"/bin/* | awk '$2 == "=>" && $3 ~ "^/" { print $3 }' | sort -u |
    grep -v '/\.\./lib/' | grep -vE '/(libc|libm|libdl|librt|libpthread|libutil|libresolv|ld-linux[^/]*)\.so[^/]*$' || true
}
while read -r library; do cp -L "$library" "$package/lib/"; done < <(outside) # with what these load in turn
[ -z "$(outside)" ] || die "libraries outside of $package are loaded: $(outside | tr '\n' ' ')"
if missing=$(ldd "$package"/bin/* | grep 'not found'); then die "not found: $missing"; fi
strip --strip-unneeded "$package"/bin/* "$package"/lib/*

# The largest library travels packed; scripts/gpu-check.sh unpacks it.
find "$package/lib" -type f -size +16M -exec gzip -9 {} +

commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain --untracked-files=no 2>/dev/null)" ] || commit="$commit with changes"
printf '%s\n' "$commit" >"$package/commit"
bash scripts/ptxas.sh "$objects" >"$package/ptxas.txt" || die "a kernel spills registers"
mb=$(($(du -sk "$package" | cut -f1) / 1024 + 1))
[ "$mb" -lt "$limit_mb" ] || die "$package is $mb MB; a package has less than $limit_mb MB"
say "$package: $mb MB, $(find "$package/bin" -type f | wc -l) programs, $(find "$package/lib" -type f | wc -l) libraries, commit $commit"
