#!/usr/bin/env bash
# Builds the Python wheel `ajepa` into python/dist, installs it into a fresh environment of its own, and runs its tests there.
#
#   scripts/wheel.sh [OPTIONS OF pytest]                      AJEPA_PIPE names a program that is built already
#   scripts/wheel.sh --built LIBRARY [OPTIONS OF pytest]      the tests over a library that cargo has built, without a wheel
cd "$(dirname "$0")/.."
. scripts/setup.sh
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ajepa-pipe
environment() {
    if [ ! -x "$1/bin/python" ]; then
        python3 -m venv "$1"
    fi
    "$1/bin/python" -m pip install --quiet "${@:2}"
}
program() {
    if [ -z "${AJEPA_PIPE:-}" ]; then
        cargo build --release --quiet --workspace --all-features
        AJEPA_PIPE=${CARGO_TARGET_DIR:-target}/release/ajepa-pipe
    fi
    AJEPA_PIPE=$(realpath "$AJEPA_PIPE")
    export AJEPA_PIPE
}
if [ "${1:-}" = --built ]; then
    library=$2
    shift 2
    program
    "$cache/wheel-built/bin/python" -c 'import numpy, pyarrow, pytest' 2>/dev/null ||
        environment "$cache/wheel-built" 'numpy>=1.24' 'pytest>=8' 'pyarrow>=14'
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    cp -r python/ajepa "$folder/ajepa"
    cp "$library" "$folder/ajepa/_ajepa.abi3.so"
    PYTHONPATH=$folder PYTHONDONTWRITEBYTECODE=1 "$cache/wheel-built/bin/python" -m pytest -q -p no:cacheprovider python/tests "$@"
    exit
fi
environment "$cache/wheel-tools" 'maturin>=1.9,<2'
rm -rf python/dist
"$cache/wheel-tools/bin/maturin" build --release --quiet --manifest-path python/Cargo.toml --out python/dist
ls python/dist
program
rm -rf "$cache/wheel-fresh"
environment "$cache/wheel-fresh" python/dist/ajepa-*.whl 'pytest>=8' 'pyarrow>=14'
exec "$cache/wheel-fresh/bin/python" -m pytest -q python/tests "$@"
