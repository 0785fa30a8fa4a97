#!/usr/bin/env python3
"""What a scan costs beside decoding alone: `dataset scan` and `run` of decode -> sink_null over the same clips, in turn.

    bench/scan.py --ajepa-pipe target/release/ajepa-pipe --audio FOLDER [--clips 3000] [--rounds 5] [--jobs 2]

A scan decodes, hashes, measures and fingerprints every clip and writes its table. Medians of wall seconds and of CPU seconds; the
share is decoding alone over the scan.
"""
import argparse
import os
import random
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

KINDS = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".webm"}
GRAPH = """pipeline: decoded
stages:
  - {{ id: clips, type: source_manifest, path: {folder}/clips.csv }}
  - {{ type: decode }}
  - {{ type: sink_null }}
on_error: {{ policy: quarantine, max_fraction: 1.0 }}
resources: {{ clips_per_shard: 512 }}
"""


def timed(command):
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ajepa-pipe", required=True)
    parser.add_argument("--audio", required=True)
    parser.add_argument("--clips", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    files = sorted({p.resolve() for p in Path(args.audio).rglob("*") if p.suffix.lower() in KINDS and p.is_file()})
    files = sorted(random.Random(5).sample(files, min(args.clips, len(files))))
    with tempfile.TemporaryDirectory() as folder:
        quoted = ('"' + str(path).replace('"', '""') + '"' for path in files)
        Path(folder, "clips.csv").write_text("path\n" + "\n".join(quoted) + "\n")
        Path(folder, "graph.yaml").write_text(GRAPH.format(folder=folder))
        jobs = ["--jobs", str(args.jobs), "--progress", "off"]
        decode = [args.ajepa_pipe, "run", f"{folder}/graph.yaml", "--fresh", *jobs]
        scan = [args.ajepa_pipe, "dataset", "scan", f"{folder}/clips.csv", "-o", f"{folder}/scan.parquet", "--fresh", *jobs]
        seconds = {"decode": [], "scan": []}
        for turn in range(args.rounds + 1):
            for name, command in (("decode", decode), ("scan", scan)):
                shutil.rmtree(f"{folder}/scan.parquet.parts", ignore_errors=True)
                Path(folder, "scan.parquet").unlink(missing_ok=True)
                spent = timed(command)
                # The first turn brings the files into memory.
                if turn > 0:
                    seconds[name].append(spent)
    medians = {name: [statistics.median(column) for column in zip(*turns)] for name, turns in seconds.items()}
    print(f"{len(files)} clips of {args.audio}, {args.jobs} workers, {args.rounds} turns")
    for name, (wall, cpu) in medians.items():
        print(f"{name:7} {wall:7.2f} s wall {cpu:7.2f} s CPU {len(files) / wall:8.0f} clips/s")
    shares = [medians["decode"][i] / medians["scan"][i] for i in range(2)]
    print(f"a scan goes at {shares[0]:.2f} of the rate of decoding by wall, {shares[1]:.2f} by CPU")


if __name__ == "__main__":
    main()
