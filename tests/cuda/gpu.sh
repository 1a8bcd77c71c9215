#!/usr/bin/env bash
# What a machine with a GPU is for (./dev gpu): the check programs, compute-sanitizer over small slices of them, and times.
#
#   gpu.sh ready                  exits 1 and says what is missing here
#   gpu.sh pack BUILD LIBRARIES   gathers what the steps need into build/gpu, to be carried where nothing can be built: from a build
#                                 folder, and the wheel's libraries
#   gpu.sh run [STEP...]          all steps, or those that are named; a table after each; logs in build/gpu/logs
#   gpu.sh step STEP              one, as it is
#
# RAGDOT_GPU_SECONDS (150) ends a step that takes longer. RAGDOT_GPU_ARCHIVE names a file that holds table and logs, written anew
# after each step: what is left of a machine that goes away.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

folder=build/gpu
logs=$folder/logs
here=tests/cuda
# What has never run and takes seconds first, what watches other people's kernels too last.
steps=(calls products edges torch quantisers jax memcheck racecheck synccheck product-times quantiser-times initcheck)
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
  local build=$1 libraries=$2 tbb
  mkdir -p "$folder"
  cp -L "$build/libragdot.so.0" "$build/tests/quantize_check" "$folder/"
  cp -L "$libraries"/libragdot.so "$libraries"/libragdot_cuda.so "$libraries"/libragdot_jax.so "$folder/"
  tbb=$(ldd "$build/libragdot.so.0" | sed -n 's/.*libtbb\.so\.12 => \([^ ]*\) .*/\1/p')
  [ -z "$tbb" ] || cp -L "$tbb" "$folder/"
  git describe --always --dirty >"$folder/commit"
}

# sanitized TOOL: that tool over a few random quantisations and over a product of every family. Only our kernels are watched,
# except where the tool has to see who wrote what they read.
sanitized() {
  local watch=("$sanitizer" --tool "$1" --error-exitcode 9 --report-api-errors no --kernel-name kns=ragdot) result=0
  [ "$1" != initcheck ] || watch=("$sanitizer" --tool "$1" --error-exitcode 9 --report-api-errors no)
  [ -x "$sanitizer" ] || { echo "compute-sanitizer is missing; install it with the CUDA toolkit"; return 1; }
  "${watch[@]}" "$folder/quantize_check" 8 1 checks || result=1
  PYTORCH_NO_CUDA_MEMORY_CACHING=1 "${watch[@]}" python3 "$here/sanitize.py" "$folder/libragdot_cuda.so" || result=1
  return $result
}

# door FILE: a check of a framework's door, from this source tree with the libraries of the folder.
door() { RAGDOT_LIBRARY="$PWD/$folder/libragdot.so" PYTHONPATH="$PWD/python" python3 "python/tools/gpu/$1"; }

step() {
  case $1 in
    quantisers) "$folder/quantize_check" 1500 1 checks ;;
    products) python3 "$here/check.py" "$folder/libragdot_cuda.so" ;;
    edges) python3 "$here/edges.py" "$folder/libragdot_cuda.so" ;;
    calls) python3 "$here/calls.py" "$folder" ;;
    torch | jax) door "$1_check.py" ;;
    memcheck | racecheck | initcheck | synccheck) sanitized "$1" ;;
    quantiser-times) "$folder/quantize_check" 0 1 ;;
    product-times)
      rm -f "$logs/products.json"
      python3 "$here/timing.py" "$folder/libragdot_cuda.so" "$logs/products.json"
      ;;
    *) echo "there is no step $1; steps are: ${steps[*]}"; return 2 ;;
  esac
}

run() {
  local name start result failed=0 seconds=${RAGDOT_GPU_SECONDS:-150} packed here_now
  [ $# -gt 0 ] || set -- "${steps[@]}"
  [ -x "$folder/quantize_check" ] || die "$folder has no binaries; run ./dev gpu pack where nvcc is and bring the folder"
  packed=$(cat "$folder/commit")
  here_now=$(git describe --always --dirty 2>/dev/null) || here_now=$packed
  [ "$packed" = "$here_now" ] || printf 'gpu: %s holds binaries of %s, and this tree is %s; ./dev gpu pack makes them anew\n' "$folder" "$packed" "$here_now" >&2
  export LD_LIBRARY_PATH="$PWD/$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
  mkdir -p "$logs"
  : >"$logs/steps.tsv"
  for name in "$@"; do
    printf 'gpu: %s\n' "$name" >&2
    start=$SECONDS
    result=0
    timeout -k 5 "$seconds" bash "$here/gpu.sh" step "$name" >"$logs/$name.log" 2>&1 || result=$?
    case $result in
      0) result=passed ;;
      124 | 137) result="FAILED (ended: $seconds s, or memory)" ;;
      *) result=FAILED ;;
    esac
    if [ "$result" != passed ]; then
      failed=1
      tail -n 30 "$logs/$name.log" >&2
    fi
    printf '%s\t%s\t%s\t%s\n' "$name" "$result" $((SECONDS - start)) "$logs/$name.log" >>"$logs/steps.tsv"
    python3 "$here/table.py" "$logs" "$packed" >"$logs/table.md"
    [ -z "${RAGDOT_GPU_ARCHIVE:-}" ] || tar -czf "$RAGDOT_GPU_ARCHIVE" -C "$folder" logs
  done
  cat "$logs/table.md"
  return $failed
}

case ${1:-} in
  ready) ready ;;
  pack) pack "$2" "$3" ;;
  step) step "$2" ;;
  run)
    shift
    run "$@"
    ;;
  *) die "say ready, pack BUILD LIBRARIES, run [STEP...] or step STEP" ;;
esac
