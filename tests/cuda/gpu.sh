#!/usr/bin/env bash
# What a machine with a GPU is for (./dev gpu): the check programs, compute-sanitizer over small slices of them, and times.
#
#   gpu.sh ready              exits 1 and says what is missing here
#   gpu.sh pack BUILD         gathers what the steps need from a build folder into build/gpu, to be carried where nothing can be built
#   gpu.sh run [STEP...]      all steps, or those that are named; one table at the end; logs in build/gpu/logs
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

folder=build/gpu
logs=$folder/logs
here=tests/cuda
steps=(quantisers products calls memcheck racecheck initcheck synccheck quantiser-times product-times)
sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)

die() { printf 'gpu: %s\n' "$*" >&2; exit 1; }

ready() {
  local capability
  command -v nvidia-smi >/dev/null || die "there is no nvidia-smi, so no NVIDIA driver; run this on a machine with a Hopper GPU (H100, H200)"
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1) || true
  [ -n "$capability" ] || die "nvidia-smi sees no GPU; run this on a machine with a Hopper GPU (H100, H200)"
  case $capability in
    9.0) ;;
    *) die "the GPU has compute capability $capability and the kernels are for 9.0; run this on a Hopper GPU (H100, H200)" ;;
  esac
  python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null || die "python3 has no torch that sees the GPU; install torch with CUDA for the python3 on PATH"
}

pack() {
  local build=$1 tbb
  mkdir -p "$folder"
  cp -L "$build/libragdot.so.0" "$build/libragdot_cuda.so" "$build/tests/quantize_check" "$folder/"
  tbb=$(ldd "$build/libragdot.so.0" | sed -n 's/.*libtbb\.so\.12 => \([^ ]*\) .*/\1/p')
  [ -z "$tbb" ] || cp -L "$tbb" "$folder/"
  git describe --always --dirty >"$folder/commit"
}

# sanitized TOOL: that tool over a few random quantisations and over a product of every family. Only our kernels are watched,
# except where the tool has to see who wrote what they read.
sanitized() {
  local watched=(--kernel-name kns=ragdot)
  [ "$1" != initcheck ] || watched=()
  [ -x "$sanitizer" ] || { echo "compute-sanitizer is missing; install it with the CUDA toolkit"; return 1; }
  "$sanitizer" --tool "$1" --error-exitcode 9 "${watched[@]}" "$folder/quantize_check" 8 1 checks &&
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 "$sanitizer" --tool "$1" --error-exitcode 9 "${watched[@]}" python3 "$here/sanitize.py" "$folder/libragdot_cuda.so"
}

step() {
  case $1 in
    quantisers) "$folder/quantize_check" 1500 1 checks ;;
    products) python3 "$here/check.py" "$folder/libragdot_cuda.so" ;;
    calls) python3 "$here/calls.py" "$folder" ;;
    memcheck | racecheck | initcheck | synccheck) sanitized "$1" ;;
    quantiser-times) "$folder/quantize_check" 0 1 ;;
    product-times) python3 "$here/timing.py" "$folder/libragdot_cuda.so" "$logs/products.json" ;;
    *) echo "there is no step $1; steps are: ${steps[*]}"; return 2 ;;
  esac
}

run() {
  local name start result failed=0
  local -a rows=()
  [ $# -gt 0 ] || set -- "${steps[@]}"
  [ -x "$folder/quantize_check" ] || die "$folder has no binaries; run ./dev gpu pack where nvcc is and bring the folder"
  export LD_LIBRARY_PATH="$PWD/$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
  mkdir -p "$logs"
  for name in "$@"; do
    printf 'gpu: %s\n' "$name" >&2
    start=$SECONDS
    if step "$name" >"$logs/$name.log" 2>&1; then result=passed; else
      result=FAILED
      failed=1
      tail -n 30 "$logs/$name.log" >&2
    fi
    rows+=("$name"$'\t'"$result"$'\t'$((SECONDS - start))$'\t'"$logs/$name.log")
  done
  printf '%s\n' "${rows[@]}" >"$logs/steps.tsv"
  python3 "$here/table.py" "$logs" "$(cat "$folder/commit")" | tee "$logs/table.md"
  return $failed
}

case ${1:-} in
  ready) ready ;;
  pack) pack "$2" ;;
  run)
    shift
    run "$@"
    ;;
  *) die "say ready, pack BUILD or run [STEP...]" ;;
esac
