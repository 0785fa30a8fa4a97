#!/usr/bin/env python3
"""Instructions that the hot kernels take, against those on record: what a noisy machine cannot blur.
usage: bench/instructions.py TIME_OPS [--update]

TIME_OPS is the built example `time_ops` of ajepa-ops. Each kernel is run once and four times under valgrind's callgrind; a
third of the difference is one call, with nothing of start-up in it. Kernels that take over TOLERANCE more than in
instructions.json fail the check; much less asks for a new record (--update). valgrind knows no AVX-512, so on x86-64 this
counts the AVX2 paths; other processors are not on record and are not checked."""
import argparse
import json
import math
import pathlib
import platform
import re
import struct
import subprocess
import sys
import tempfile
import wave

TOLERANCE = 0.03
ROOT = pathlib.Path(__file__).resolve().parent.parent
RECORD = ROOT / "bench/instructions.json"
SAMPLE = ROOT / "datasets/sample"


def tone_clip(folder, rate_hz):
    """Ten seconds of a chord that drifts, with a little noise, as 16-bit WAV."""
    path = pathlib.Path(folder) / f"clip_{rate_hz}.wav"
    state, samples = 1, []
    for i in range(10 * rate_hz):
        t = i / rate_hz
        state = (state * 1664525 + 1013904223) % 2**32
        chord = sum(math.sin(2 * math.pi * f * t * (1 + 0.01 * t)) for f in (220, 554.4, 1318.5, 5000)) / 8
        samples.append(int(32767 * (chord + (state / 2**32 - 0.5) / 50)))
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, rate_hz, len(samples), "NONE", ""))
        out.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return path


def kernels(folder):
    """Name of each kernel, and the request that runs it once."""
    at = {rate_hz: tone_clip(folder, rate_hz) for rate_hz in (16000, 32000, 44100, 48000)}
    requests = {
        "log_mel/512x96": f"mel\tcode-225b816\t{at[32000]}",
        "log_mel/256x128": f"mel\tpaper-2025\t{at[32000]}",
        "log_mel/base-2026": f"mel\tbase-2026\t{at[16000]}",
        "resample/44100-32000": f"resample\t32000\t{at[44100]}",
        "resample/48000-32000": f"resample\t32000\t{at[48000]}",
        "resample/44100-16000": f"resample\t16000\t{at[44100]}",
        "decode/wav": f"decode\t{at[44100]}",
    }
    for path in sorted(SAMPLE.glob("music/*")):
        kind = path.suffix.lstrip(".")
        if kind in ("flac", "mp3", "ogg", "webm", "m4a"):
            requests.setdefault(f"decode/{kind}", f"decode\t{path}")
    return requests


def instructions(time_ops, requests):
    """Instructions of one process that answers these requests."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", time_ops]
    done = subprocess.run(command, input="\n".join(requests) + "\n", capture_output=True, text=True, check=True)
    answers = done.stdout.split("\n")[: len(requests)]
    if any(not answer.isdigit() for answer in answers):
        sys.exit(f"time_ops: {answers}")
    return int(re.search(r"Collected : (\d+)", done.stderr).group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("time_ops")
    parser.add_argument("--update", action="store_true", help="put what is counted on record")
    args = parser.parse_args()
    if platform.machine() != "x86_64":
        print(f"instruction counts: none on record for {platform.machine()}; not checked")
        return
    with tempfile.TemporaryDirectory() as folder:
        found = {
            name: (instructions(args.time_ops, [request] * 4) - instructions(args.time_ops, [request])) // 3
            for name, request in kernels(folder).items()
        }
    if args.update:
        RECORD.write_text(json.dumps(found, indent=2) + "\n")
    record = json.loads(RECORD.read_text())
    slower = [name for name in found if found[name] > record.get(name, 0) * (1 + TOLERANCE)]
    print(f"{'kernel':<24}{'on record':>14}{'now':>14}{'ratio':>8}")
    for name, count in found.items():
        known = record.get(name, 0)
        print(f"{name:<24}{known:>14,}{count:>14,}{count / known if known else math.nan:>8.3f}")
    faster = [name for name in found if name not in slower and found[name] < record[name] * (1 - TOLERANCE)]
    if faster:
        print(f"faster than on record: {', '.join(faster)}; bench/instructions.py TIME_OPS --update keeps it so")
    if slower:
        sys.exit(f"more instructions than on record: {', '.join(slower)}")


if __name__ == "__main__":
    main()
