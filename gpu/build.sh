#!/usr/bin/env bash
# Builds ajepa-pipe with GPUs: gpu/dist/ajepa-pipe, stripped, and the same packed as ajepa-pipe.xz. Needs no CUDA and no GPU; takes
# half an hour of two cores the first time.
#
#   gpu/build.sh [OPTIONS OF cargo build]       such as --features fusion, or --no-default-features --features vulkan
#
# CUDARC_CUDA_VERSION: the oldest CUDA whose driver and libnvrtc the program is to run with, 12080 being 12.8.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ajepa-pipe
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
export CUDARC_CUDA_VERSION=${CUDARC_CUDA_VERSION:-12080}
cargo build --release --locked --manifest-path gpu/Cargo.toml "$@"
mkdir -p gpu/dist
strip -o gpu/dist/ajepa-pipe "$CARGO_TARGET_DIR/release/ajepa-pipe-gpu"
xz --keep --force --threads=0 gpu/dist/ajepa-pipe
ls -l gpu/dist
