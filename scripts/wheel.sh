#!/usr/bin/env bash
# Builds the Python wheel `ajepa` into python/dist, installs it into a fresh environment of its own, and runs its tests there.
#
#   scripts/wheel.sh [OPTIONS OF pytest]      AJEPA_PIPE names a program that is built already
cd "$(dirname "$0")/.."
. scripts/setup.sh
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ajepa-pipe
tools=$cache/wheel-tools
if [ ! -x "$tools/bin/maturin" ]; then
    python3 -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet 'maturin>=1.9,<2'
fi
rm -rf python/dist
"$tools/bin/maturin" build --release --quiet --manifest-path python/Cargo.toml --out python/dist
ls python/dist
if [ -z "${AJEPA_PIPE:-}" ]; then
    cargo build --release --quiet --workspace --all-features
    export AJEPA_PIPE=${CARGO_TARGET_DIR:-target}/release/ajepa-pipe
fi
AJEPA_PIPE=$(realpath "$AJEPA_PIPE")
fresh=$cache/wheel-fresh
rm -rf "$fresh"
python3 -m venv "$fresh"
"$fresh/bin/python" -m pip install --quiet python/dist/ajepa-*.whl 'pytest>=8' 'pyarrow>=14'
exec "$fresh/bin/python" -m pytest -q python/tests "$@"
