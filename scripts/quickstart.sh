#!/usr/bin/env bash
# Builds ajepa-pipe and turns the shipped clips into mel shards under out/quickstart. Run again: it has nothing left to do.
#
#   scripts/quickstart.sh [OPTIONS OF run]      AJEPA_PIPE names a program that is built already
cd "$(dirname "$0")/.."
if [ -n "${AJEPA_PIPE:-}" ]; then
    exec "$AJEPA_PIPE" run examples/quickstart.yaml "$@"
fi
. scripts/setup.sh
exec cargo run --release --quiet -p ajepa-pipe -- run examples/quickstart.yaml "$@"
