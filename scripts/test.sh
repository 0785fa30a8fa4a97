#!/usr/bin/env bash
# All tests. The ones that read with pyarrow, polars, DuckDB and TensorBoard, and those that keep audio in an S3 server (moto), make a
# Python environment of their own; the one that loads exported weights in PyTorch runs where AJEPA_TORCH_PYTHON names an interpreter with
# torch 2.
cd "$(dirname "$0")/.."
. scripts/setup.sh
if [ -z "${AJEPA_PYTHON:-}" ] && command -v python3 >/dev/null; then
    venv=${XDG_CACHE_HOME:-$HOME/.cache}/ajepa-pipe/readers
    if [ ! -x "$venv/bin/python" ]; then
        python3 -m venv "$venv"
    fi
    "$venv/bin/python" -c 'import pyarrow, polars, duckdb, numpy, tensorboard, moto, flask_cors' 2>/dev/null ||
        "$venv/bin/python" -m pip install --quiet 'pyarrow>=26' 'polars>=2.1' 'duckdb>=2.0' numpy 'tensorboard>=2.20' 'moto[s3,server]>=5.2'
    export AJEPA_PYTHON=$venv/bin/python
fi
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --release --workspace --all-features "$@"
    exec cargo test --release --workspace --all-features --doc --quiet
fi
exec cargo test --release --workspace --all-features "$@"
