#!/usr/bin/env bash
# Builds the Python wheel `ajepa` into python/dist, installs it into a fresh environment of its own, and runs its tests there.
#
#   scripts/wheel.sh [OPTIONS OF pytest]      AJEPA_BUILT names a folder in which cargo has built lib_ajepa and ajepa-pipe already
#
# The library is the workspace's, which shares all it is made of with the program; `pip install ./python`, by maturin, compiles both anew.
cd "$(dirname "$0")/.."
. scripts/setup.sh
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ajepa-pipe
if [ -z "${AJEPA_BUILT:-}" ]; then
    cargo build --release --quiet --workspace --all-features
    AJEPA_BUILT=${CARGO_TARGET_DIR:-target}/release
fi
AJEPA_PIPE=$(realpath "$AJEPA_BUILT/ajepa-pipe")
export AJEPA_PIPE

tools=$cache/wheel-tools
if ! "$tools/bin/python" -c 'import maturin, wheel' 2>/dev/null; then
    python3 -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet 'maturin>=1.9,<2' 'wheel>=0.45,<1'
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
PATH=$tools/bin:$PATH maturin pep517 write-dist-info --metadata-directory "$folder" --manifest-path python/Cargo.toml >"$folder/about" 2>&1 ||
    { cat "$folder/about" && exit 1; }
rm "$folder/about"
mkdir "$folder/ajepa"
cp python/ajepa/*.py python/ajepa/*.pyi python/ajepa/py.typed "$folder/ajepa"
for library in "$AJEPA_BUILT"/lib_ajepa.so "$AJEPA_BUILT"/lib_ajepa.dylib; do
    if [ -e "$library" ]; then
        strip -x -o "$folder/ajepa/_ajepa.abi3.so" "$library"
    fi
done
rm -rf python/dist && mkdir python/dist
"$tools/bin/python" -m wheel pack "$folder" --dest-dir python/dist

fresh=$cache/wheel-fresh
rm -rf "$fresh"
python3 -m venv "$fresh"
"$fresh/bin/python" -m pip install --quiet python/dist/ajepa-*.whl 'pytest>=8' 'pyarrow>=14'
"$fresh/bin/python" -m pytest -q -p no:cacheprovider python/tests "$@"
