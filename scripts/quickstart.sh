#!/usr/bin/env bash
# Builds ajepa-pipe and turns the shipped clips into mel shards under out/quickstart. Run again: it has nothing left to do.
cd "$(dirname "$0")/.."
. scripts/setup.sh
exec cargo run --release --quiet -p ajepa-pipe -- run examples/quickstart.yaml "$@"
