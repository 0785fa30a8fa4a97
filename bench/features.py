#!/usr/bin/env python3
"""Features of clips: the wheel's encoder beside the same ViT in PyTorch, as `ajepa-pipe checkpoint export` writes it.

    bench/features.py --checkpoint CHECKPOINT --export FOLDER --audio FOLDER [--clips 8] [--seconds 10] [--rounds 5]

Both get the same samples of real audio (WAV files, taken as if they were at the model's rate) and give one vector a clip: log-mel,
encoder, mean over tokens. PyTorch runs eager, in inference mode, with its fused attention, on as many threads as there are cores.
Turns alternate; medians of wall and processor time a clip, one clip at a time and all together: PyTorch as one batch in memory, ours
from files. Wants numpy, torch and the wheel.
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
import wave
from pathlib import Path

import numpy as np


def clips_of(folder, n, n_samples):
    """`n` pieces of the 16-bit WAV files there, short ones put behind each other; as integers, [n, samples]."""
    pieces, n_left = [], n * n_samples
    for path in sorted(Path(folder).rglob("*.wav")):
        with wave.open(str(path)) as file:
            if file.getsampwidth() != 2:
                continue
            channels = np.frombuffer(file.readframes(n_left), "<i2").reshape(-1, file.getnchannels())
        pieces.append(channels[:n_left, 0])
        n_left -= len(pieces[-1])
        if n_left == 0:
            return np.concatenate(pieces).reshape(n, n_samples)
    raise SystemExit(f"{folder} has too little 16-bit WAV for {n} clips")


def timed(work):
    def processor():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    wall, used = time.perf_counter(), processor()
    made = work()
    return np.asarray(made, np.float32), time.perf_counter() - wall, processor() - used


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--export", required=True, help="the same checkpoint as `ajepa-pipe checkpoint export` wrote it")
    parser.add_argument("--audio", required=True)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    sys.path.insert(0, args.export)
    import ajepa
    import torch
    from audio_jepa import AudioJepaEncoder

    torch.set_num_threads(os.cpu_count())
    ours = ajepa.Encoder.from_pretrained(args.checkpoint)
    theirs = AudioJepaEncoder.from_pretrained(args.export).eval()
    stored = clips_of(args.audio, args.clips, args.seconds * ours.rate_hz)
    clips = stored.astype(np.float32) / 32768
    folder = tempfile.TemporaryDirectory()
    files = [Path(folder.name) / f"{at:04}.wav" for at in range(len(clips))]
    for path, samples in zip(files, stored):
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, ours.rate_hz, len(samples), "NONE", ""))
            file.writeframes(samples.tobytes())

    def torch_one():
        with torch.inference_mode():
            return torch.cat([theirs.embed(torch.from_numpy(clip)[None]) for clip in clips])

    def torch_all():
        with torch.inference_mode():
            return theirs.embed(torch.from_numpy(clips))

    ways = {
        "ours, clip by clip": lambda: np.stack([ours.clip(clip, ours.rate_hz) for clip in clips]),
        "ours, from files": lambda: ours.embed(files)["embedding"],
        "PyTorch, clip by clip": torch_one,
        "PyTorch, all together": torch_all,
    }
    made, times = {}, {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, work in ways.items():
            made[name], *of = timed(work)
            times[name].append(of)
    expected = made["PyTorch, clip by clip"]
    print(f"{len(clips)} clips of {args.seconds} s, vectors of {expected.shape[1]}, {os.cpu_count()} cores")
    for name, of in times.items():
        wall, used = (statistics.median(column) / len(clips) * 1e3 for column in zip(*of))
        apart = np.abs(made[name] - expected).max() / np.abs(expected).max()
        print(f"{name}: {wall:.0f} ms a clip, {used:.0f} ms of processor, differs from PyTorch by {apart:.1e}")


if __name__ == "__main__":
    main()
