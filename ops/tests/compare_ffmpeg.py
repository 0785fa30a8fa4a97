#!/usr/bin/env python3
"""Decodes every audio file of a folder with this crate and with ffmpeg (Ogg Vorbis: oggdec); prints differences of length and level.

    cargo build --release --example decode_raw
    ops/tests/compare_ffmpeg.py target/release/examples/decode_raw FOLDER [--all]

A file is listed when it is refused, differs in length, or differs by more than -75 dB below full scale over the part
both have. --all lists every file. Exit status 1 when something is listed that is not a refusal. Needs numpy, ffmpeg, oggdec.
"""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

SUFFIXES = set(".wav .flac .ogg .oga .opus .mp3 .mp2 .m4a .mp4 .aac .aiff .aif .caf .webm .mka .mkv".split())


def samples(command, dtype="<f4"):
    done = subprocess.run(command, capture_output=True)
    size = np.dtype(dtype).itemsize
    data = np.frombuffer(done.stdout[: len(done.stdout) // size * size], dtype).astype("f8")
    return data / (32768 if dtype == "<i2" else 1), done.stderr.decode(), done.returncode


def reference(path, codec):
    # Reference decoders where ffmpeg is none: its own Opus differs from libopus by -20 dB in the SILK modes, and ffmpeg
    # 5.1 ends Ogg Vorbis 128 samples before or up to 1,000 behind the end granule, which oggdec (libvorbis) keeps.
    if codec == "vorbis" and path.suffix in (".ogg", ".oga"):
        return samples(["oggdec", "-Q", "-R", "-b", "16", "-o", "-", str(path)], "<i2")
    decoder = ["-c:a", "libopus"] if codec == "opus" else []
    return samples(["ffmpeg", "-v", "error", "-nostdin", *decoder, "-i", str(path), "-f", "f32le", "-"])


def channels_of(path):
    probe = "ffprobe -v error -select_streams a:0 -show_entries stream=channels,codec_name -of csv=p=0".split()
    fields = subprocess.run([*probe, path], capture_output=True, text=True).stdout.strip().split("\n")[0].split(",")
    return (fields[0], int(fields[1])) if len(fields) > 1 and fields[1].isdigit() else ("?", 1)


def main():
    binary, folder = sys.argv[1:3]
    n_files, n_listed, worst = defaultdict(int), 0, defaultdict(lambda: -300.0)
    for path in sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES):
        codec, channels = channels_of(path)
        ours, error, status = samples([binary, str(path)])
        theirs, _, _ = reference(path, codec)
        n_files[codec] += 1
        if status != 0:
            n_listed += "unsupported" not in error
            print(f"{path}: {error.strip()}")
            continue
        n = min(len(ours), len(theirs))
        db = 10 * np.log10(np.mean((ours[:n] - theirs[:n]) ** 2) + 1e-30) if n else 0.0
        worst[codec] = max(worst[codec], db)
        if db > -75 or len(ours) != len(theirs):
            n_listed += 1
            print(f"{path}: {codec}, {len(ours) // channels} - {len(theirs) // channels} frames, {db:.1f} dB")
        elif "--all" in sys.argv:
            print(f"{path}: {codec}, {db:.1f} dB")
    for codec in sorted(n_files):
        print(f"{codec}: {n_files[codec]} files, worst {worst[codec]:.1f} dB")
    sys.exit(n_listed > 0)


main()
