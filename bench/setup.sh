#!/usr/bin/env bash
# What the comparisons need beside the build: ffmpeg, a Python environment with the peers, a corpus of ten-second clips.
# Installs what is missing, says so, and is silent otherwise. Sourced by compare.sh and scale.sh.
. scripts/setup.sh

cache=${XDG_CACHE_HOME:-$HOME/.cache}/ajepa-pipe
export BENCH_CORPUS=${BENCH_CORPUS:-$cache/bench-corpus}
peers=$cache/peers/bin/python
# One thread each, the BLAS kernels of this processor, and nothing that another project has set for old libraries.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1
unset OPENBLAS_CORETYPE
say() { printf '%s\n' "$*" >&2; }

missing=()
command -v ffmpeg >/dev/null || missing+=(ffmpeg)
[ -x "$peers" ] || python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
if [ ! -d "$BENCH_CORPUS" ] || ((${#missing[@]})); then
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    say "reading the package lists${missing[*]:+, installing ${missing[*]}}"
    $sudo apt-get update -qq
    ((${#missing[@]} == 0)) || $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# The pins belong together: torchcodec 0.7 is built for torch 2.8. `module=requirement`, one at a time, so that a peer
# that cannot be had here costs only itself; the tables name it.
wanted=(numpy=numpy matplotlib=matplotlib torch=torch==2.8.0 torchaudio=torchaudio==2.8.0 'torchcodec=torchcodec==0.7.*'
    soundfile=soundfile av=av soxr=soxr scipy=scipy librosa=librosa kaldi_native_fbank=kaldi-native-fbank lhotse=lhotse
    nvidia.dali=nvidia-dali-cuda120)
if [ ! -x "$peers" ]; then
    say "making a Python environment in $cache/peers"
    python3 -m venv "$cache/peers"
fi
for pair in "${wanted[@]}"; do
    module=${pair%%=*} requirement=${pair#*=}
    "$peers" -c "import importlib.util as u, sys; sys.exit(u.find_spec('$module') is None)" 2>/dev/null && continue
    say "installing $requirement"
    "$peers" -m pip install --quiet "$requirement" || say "  not to be had here: compared without it"
done

"$peers" bench/corpus.py "$BENCH_CORPUS"
