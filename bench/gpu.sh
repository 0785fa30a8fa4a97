#!/usr/bin/env bash
# What training does on this machine's GPU: whether its steps agree with the CPU's, and how fast they are beside PyTorch's.
#
#   bench/gpu.sh [OPTIONS OF gpu.py]      PROGRAM (default: gpu/dist/ajepa-pipe, or the .xz beside it) is what `gpu/build.sh` made,
#                                         OUT (default: out/gpu) gets gpu.json; about six minutes
#
# Needs python3 alone; PyTorch is timed too where it is there. Finds libnvrtc and CUDA's headers where a toolkit or pip put them.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${OUT:-out/gpu}")
program=${PROGRAM:-gpu/dist/ajepa-pipe}
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ ! -x "$program" ]; then
    python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), open(sys.argv[2], "wb"))' "$program.xz" "$work/ajepa-pipe"
    chmod +x "$work/ajepa-pipe"
    program=$work/ajepa-pipe
fi

# A toolkit, else what pip has brought; the library under the one name that every build of the program looks for.
pip() { python3 -c 'import glob, site, sys; [print(f) for s in site.getsitepackages() for f in sorted(glob.glob(s + sys.argv[1]))]' "$1" | head -1; }
if [ -z "${CUDA_PATH:-}" ] && [ ! -e /usr/local/cuda/include/cuda_bf16.h ]; then
    headers=$(pip '/nvidia/*/include/cuda_bf16.h')
    [ -z "$headers" ] || export CUDA_PATH=${headers%/include/cuda_bf16.h}
fi
nvrtc=$(ls "${CUDA_PATH:-/usr/local/cuda}"/lib*/libnvrtc.so* "${CUDA_PATH:-/usr/local/cuda}"/targets/*/lib/libnvrtc.so* 2>/dev/null | head -1)
[ -n "$nvrtc" ] || nvrtc=$(pip '/nvidia/*/lib/libnvrtc.so*')
if [ -n "$nvrtc" ]; then
    ln -s "$(realpath "$nvrtc")" "$work/libnvrtc.so"
    export LD_LIBRARY_PATH=$work:$(dirname "$(realpath "$nvrtc")")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
echo "CUDA_PATH=${CUDA_PATH:-/usr/local/cuda}, libnvrtc ${nvrtc:-not found}" >&2
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader >&2 || echo 'no nvidia-smi' >&2

python3 bench/gpu.py --program "$program" --work "$work" --out "$out" "$@"
