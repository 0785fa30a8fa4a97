#!/usr/bin/env bash
# Our front end beside the peers people use, in one run: one table, and the same as out/bench/compare.{md,json}.
# usage: bench/compare.sh [--clips 20] [--reps 5] [--only mel,resample,decode,features,workers] [--out FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/setup.sh
cargo build --release --quiet -p ajepa-pipe
cargo build --release --quiet -p ajepa-ops --example time_ops
built=${CARGO_TARGET_DIR:-target}/release
exec "$peers" bench/compare.py --corpus "$BENCH_CORPUS" --time-ops "$built/examples/time_ops" \
    --ajepa-pipe "$built/ajepa-pipe" "$@"
