#!/usr/bin/env bash
# How a run grows from 200 clips to 2,000,000 rows: a table and a plot, in out/bench/scale.{md,json,svg}.
# usage: bench/scale.sh [--jobs N] [--most ROWS] [--out FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/setup.sh
cargo build --release --quiet -p ajepa-pipe
exec "$peers" bench/scale.py --corpus "$BENCH_CORPUS" --ajepa-pipe "${CARGO_TARGET_DIR:-target}/release/ajepa-pipe" "$@"
