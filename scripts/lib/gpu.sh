# What scripts/gpu-check.sh asks of the machine. Sourced after common.sh.

# json WHAT [KEY VALUE]...: one line; values are strings, or numbers where they look like one
json() {
  local line text
  line=$(printf '{"what": "%s"' "$1")
  shift
  while [ $# -ge 2 ]; do
    if [[ $2 =~ ^[0-9]+$ ]]; then
      line+=$(printf ', "%s": %s' "$1" "$2")
    else
      text=$(tr -d '\000-\010\013-\037' <<<"$2" | tr '\t\n' '  ' | sed 's/\\/\\\\/g; s/"/\\"/g; s/ *$//')
      line+=", \"$1\": \"$text\""
    fi
    shift 2
  done
  printf '%s}\n' "$line"
}

# Sets gpu_name and gpu_driver, or gpu_error.
find_gpu() {
  gpu_name="" gpu_driver="" gpu_error=""
  local smi
  if ! smi=$(find_tool nvidia-smi); then
    gpu_error="no nvidia-smi in PATH: no NVIDIA driver"
  elif ! gpu_name=$("$smi" --query-gpu=name --format=csv,noheader 2>&1) || [ -z "$gpu_name" ]; then
    gpu_error="nvidia-smi says: $(head -n 1 <<<"$gpu_name")"
  else
    gpu_name=$(head -n 1 <<<"$gpu_name")
    gpu_driver=$("$smi" --query-gpu=driver_version --format=csv,noheader | head -n 1)
  fi
  [ -z "$gpu_error" ]
}

# find_tool NAME: its path, from PATH or the usual folders of toolkit and driver
find_tool() {
  local folder
  command -v "$1" && return 0
  for folder in /usr/local/cuda/bin /usr/local/cuda/compute-sanitizer /usr/local/cuda/extras/compute-sanitizer /opt/cuda/bin /usr/local/nvidia/bin; do
    [ -x "$folder/$1" ] && { echo "$folder/$1"; return 0; }
  done
  return 1
}

toolkit_version() {
  local nvcc
  if nvcc=$(find_tool nvcc); then "$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p'; else echo none; fi
}

# Sets LCT_CUBLASLT, unless it is set, to the cuBLASLt that torch would load, else the toolkit's; left unset the program looks for itself.
find_cublaslt() {
  [ -z "${LCT_CUBLASLT:-}" ] || return 0
  local found
  found=$("${PYTHON:-python3}" - 2>/dev/null <<'PYTHON'
import glob, importlib.util
spec = importlib.util.find_spec("nvidia")
folders = list(spec.submodule_search_locations) if spec else []
found = [f for folder in folders for f in glob.glob(folder + "/*/lib/libcublasLt.so.1[23]")]
print(max(found, default="", key=lambda f: f.rsplit(".", 1)[1]))
PYTHON
  ) || true
  if [ -z "$found" ]; then
    found=$(ls -d /usr/local/cuda/lib64/libcublasLt.so.1[23] /usr/local/cuda/targets/*/lib/libcublasLt.so.1[23] 2>/dev/null | tail -n 1) || true
  fi
  [ -z "$found" ] || export LCT_CUBLASLT=$found
}

# gpu_ids ID...: little-endian 32-bit numbers on stdout
gpu_ids() {
  local i
  for i in "$@"; do printf "$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' $((i & 255)) $((i >> 8 & 255)) $((i >> 16 & 255)) $((i >> 24 & 255)))"; done
}
# What dump_taps --digest reads, for a short whole-model pass: two prompts that begin alike together, one alone.
gpu_digest_ids() {
  gpu_ids $(seq 1 90) -1 $(seq 1 70) 200 201 -1 -2
  gpu_ids $(seq 300 370) -1 -2
}
