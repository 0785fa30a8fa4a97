#!/usr/bin/env bash
# What the build needs beside Rust: a C compiler and cmake, for libopus. Installs what is missing, says so, and is silent
# otherwise. Sourced by quickstart.sh and test.sh.
set -euo pipefail

missing=()
command -v cc >/dev/null || missing+=(build-essential)
command -v cmake >/dev/null || missing+=(cmake)
if ((${#missing[@]})); then
    echo "installing ${missing[*]} (libopus is built from source)" >&2
    if command -v apt-get >/dev/null; then
        sudo=$([ "$(id -u)" = 0 ] || echo sudo)
        $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    elif command -v brew >/dev/null; then
        brew install cmake
    else
        echo "please install: ${missing[*]}, then run this again" >&2
        exit 1
    fi
fi
if ! command -v cargo >/dev/null; then
    echo "please install Rust 1.95 or newer (rustup.rs), then run this again" >&2
    exit 1
fi
