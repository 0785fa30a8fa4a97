"""Our front end beside its peers: one run, one thread each, clip by clip in turn. `bench/compare.sh` sets it up.

Each figure is the CPU time of a ten-second clip: the median over the repetitions of each clip, then the mean over the
clips. In one repetition every contestant has its turn at a clip before the next clip comes, so that whatever else the
machine does hits them alike. Kernels (`mel`, `resample`) run once untimed right before, to be found in the caches.
"""
import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median

import peers
from engine import Engine
from table import write_tables

RATE = {"wav": 44_100, "flac": 44_100, "mp3": 44_100, "ogg": 44_100, "m4a": 44_100, "opus": 48_000, "webm": 48_000,
        "wav32k": 32_000}
# How many times faster than the fastest Python pipeline a file must become a shard, by codec.
FEATURES_WANTED = {"wav": 8.5, "flac": 2.8, "m4a": 2.4, "ogg": 2.1, "mp3": 2.0, "opus": 1.6, "webm": 1.6, "wav32k": 7.0}
PICTURES = {"512x96": ("code-225b816", peers.Mel(32_000, 512, 96)), "256x128": ("paper-2025", peers.Mel(32_000, 256, 128))}
BASE_2026 = peers.Mel(16_000, 256, 128, window_s=0.128, low_hz=0.0)
OURS, ENGINE = "ajepa", "ajepa-pipe run, to shards"


@dataclass
class Case:
    """One row of the comparison: what is done, by whom, and which ratio is asked for."""

    name: str
    ours: object
    peers: dict
    # The peers whose fastest is the yardstick.
    against: object = lambda name: True
    wanted: float = 1.0
    warm: bool = False
    engine: object = None
    seconds: dict = field(default_factory=dict)

    def contestants(self):
        return {OURS: self.ours, **self.peers}


class Ours:
    """`time_ops`, which is asked for one op on one file at a time and answers with its CPU time."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *request):
        self.process.stdin.write("\t".join(map(str, request)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer.isdigit():
            raise RuntimeError(f"{request}: {answer or 'time_ops ended'}")
        return int(answer) * 1e-9


def cpu_s():
    """CPU time of this process, all its threads, and of the children that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def turn(name, call, i, warm):
    """Seconds that one contestant takes for one clip; ours says so itself."""
    if warm:
        call(i)
    if name == OURS:
        return call(i)
    started = cpu_s()
    call(i)
    return cpu_s() - started


def measure(case, n_clips, reps):
    times = {}
    for rep in range(reps + 1):  # the first is not counted
        for i in range(n_clips if rep else 1):
            for name, call in case.contestants().items():
                try:
                    seconds = turn(name, call, i, case.warm)
                except Exception as error:
                    if name == OURS:
                        raise
                    peers.MISSING[f"{name} on {case.name}"] = str(error).splitlines()[0][:120]
                    case.peers.pop(name)
                    times.pop(name, None)
                    continue
                if rep:
                    times.setdefault(name, [[] for _ in range(n_clips)])[i].append(seconds)
        if rep and case.engine:
            times.setdefault(ENGINE, [[]])[0].append(case.engine())
    case.seconds = {name: mean(median(clip) for clip in clips if clip) for name, clips in times.items()}


def cases(ours, corpus, engine, only):
    if "mel" in only:
        files = corpus.files("wav32k")
        for picture, (preset, mel) in PICTURES.items():
            yield Case(f"log-mel {picture}", lambda i, p=preset: ours.ask("mel", p, files[i]),
                       peers.log_mels(corpus, "wav32k", mel, False), lambda name: "kaldi.fbank" in name, 12.0, True)
        base = corpus.files("wav16k")
        yield Case("log-mel base-2026", lambda i: ours.ask("mel", "base-2026", base[i]),
                   peers.log_mels(corpus, "wav16k", BASE_2026, True), lambda name: "MelSpec" in name, 8.0, True)
    if "resample" in only:
        for codec, rate_in in (("flac", 44_100), ("opus", 48_000)):
            for rate_out in (32_000, 16_000):
                files = corpus.files(codec)
                yield Case(f"resample {rate_in / 1000:g} -> {rate_out / 1000:g} kHz",
                           lambda i, f=files, r=rate_out: ours.ask("resample", r, f[i]),
                           peers.resamplers(corpus, codec, rate_in, rate_out), lambda name: name == "soxr HQ", 2.0, True)
    if "decode" in only:
        for codec in RATE:
            files = corpus.files(codec)
            yield Case(f"decode {codec}", lambda i, f=files: ours.ask("decode", f[i]), peers.decoders(corpus, codec))
    if "features" in only:
        preset, mel = PICTURES["512x96"]
        for codec, rate in RATE.items():
            files = corpus.files(codec)
            yield Case(f"file to 512x96 {codec}", lambda i, f=files: ours.ask("features", preset, f[i]),
                       peers.pipelines(corpus, codec, rate, mel), lambda name: "kaldi" in name or "DALI" in name,
                       FEATURES_WANTED[codec], engine=lambda f=files: engine.cpu_s_per_clip(f))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=20, help="clips of each codec")
    parser.add_argument("--reps", type=int, default=5, help="repetitions that count")
    parser.add_argument("--only", default="mel,resample,decode,features,workers", help="parts, comma-separated")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder of the tables")
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--time-ops", required=True)
    parser.add_argument("--ajepa-pipe", required=True)
    args = parser.parse_args()
    only = set(args.only.split(","))
    every_core = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(every_core)})
    corpus = peers.Corpus(args.corpus, args.clips)
    ours = Ours(args.time_ops)
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.out) as scratch:
        engine = Engine(args.ajepa_pipe, Path(scratch))
        done = []
        for case in cases(ours, corpus, engine, only):
            started = time.monotonic()
            measure(case, len(corpus.names), args.reps)
            print(f"{case.name}: {len(case.seconds)} contestants, {time.monotonic() - started:.0f} s", file=sys.stderr)
            done.append(case)
        workers = engine.workers(corpus.files("flac"), every_core, args.reps) if "workers" in only else None
    print(write_tables(args, done, workers, peers.MISSING, (OURS, ENGINE)))


if __name__ == "__main__":
    main()
