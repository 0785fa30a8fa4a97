"""The same questions asked of `ajepa-pipe query` and of DuckDB, over the same files: same rows, wall and CPU time.

* a manifest of 1,000,000 rows (Parquet, written by pyarrow) and embeddings of 50,000 clips;
* shards of log-mel pictures in f32 (DuckDB has no halves), made by `ajepa-pipe run` from one-second windows of real clips, read by
  DuckDB through pyarrow's maps;
* `--large N`: as many pictures of ten seconds (half a megabyte each), of which only is asked what a filter on labels brings into memory.

`ajepa-pipe` is a process for every question, start included, and so is DuckDB's own program (`pip install duckdb-cli`) where it reads the
files: Parquet. Beside it DuckDB is asked in this process, its imports and its connection not counted; of shards only so. Turns
alternate; medians. Needs a Python with duckdb, duckdb-cli, pyarrow, numpy.

    bench/query.py --ajepa-pipe target/release/ajepa-pipe --audio FOLDER [--folder FOLDER] [--clips 20000] [--rounds 7] [--large 20000]
"""
import argparse
import csv
import ctypes
import io
import json
import math
import mmap
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

GRAPH = """pipeline: asked
stages:
  - {{ id: clips, type: source_manifest, path: {folder}/{name}.csv }}
  - {{ type: decode }}
  - {{ type: resample, rate_hz: 32000 }}
  - {{ type: log_mel, {mel} }}
  - {{ type: sink_shards, path: {folder}/{name}, dtype: f32 }}
on_error: {{ policy: quarantine, max_fraction: 0.5 }}
resources: {{ memory: 1GiB, clips_per_shard: 512 }}
"""
N_LABELS = 527

# name, tables, SQL of ours, SQL of DuckDB where it differs, columns that are compared to nine digits
QUESTIONS = [
    ("count labels", ["manifest"], "SELECT label, count(*) AS n FROM (SELECT unnest(labels) AS label FROM manifest) GROUP BY label ORDER BY n DESC, label", None),
    ("has a label", ["manifest"], "SELECT count(*) AS n, avg(duration_s) AS s FROM manifest WHERE array_has(labels, 'L17')",
     "SELECT count(*) AS n, avg(duration_s) AS s FROM manifest WHERE list_contains(labels, 'L17')"),
    ("group by split", ["manifest"], "SELECT split, count(*) AS n, avg(duration_s) AS s, max(rate_hz) AS r FROM manifest WHERE duration_s > 9 GROUP BY split ORDER BY split", None),
    ("longest", ["manifest"], "SELECT clip_id, duration_s FROM manifest ORDER BY duration_s DESC, clip_id LIMIT 100", None),
    ("one clip", ["manifest"], "SELECT clip_id, labels[1] AS l, duration_s FROM manifest WHERE clip_id = 'c0765432'", None),
    ("shards: count labels", ["mel"], "SELECT label, count(*) AS n FROM (SELECT unnest(labels) AS label FROM mel) GROUP BY label ORDER BY n DESC, label", None),
    ("shards: has a label", ["mel"], "SELECT clip_id, duration_s FROM mel WHERE array_has(labels, 'L17') ORDER BY clip_id",
     "SELECT clip_id, duration_s FROM mel WHERE list_contains(labels, 'L17') ORDER BY clip_id"),
    ("shards: not made", ["manifest", "mel"], "SELECT count(*) AS n FROM manifest a LEFT ANTI JOIN mel b ON a.clip_id = b.clip_id",
     "SELECT count(*) AS n FROM manifest a ANTI JOIN mel b ON a.clip_id = b.clip_id"),
    ("join and group", ["manifest", "mel"], "SELECT a.split, count(*) AS n, avg(b.n_frames) AS f FROM manifest a JOIN mel b ON a.clip_id = b.clip_id WHERE array_has(a.labels, 'L17') GROUP BY a.split ORDER BY a.split",
     "SELECT a.split, count(*) AS n, avg(b.n_frames) AS f FROM manifest a JOIN mel b ON a.clip_id = b.clip_id WHERE list_contains(a.labels, 'L17') GROUP BY a.split ORDER BY a.split"),
    ("pictures of a label", ["mel"], "SELECT clip_id, mel_mean_all(mel) AS level FROM mel WHERE array_has(labels, 'L17') ORDER BY clip_id",
     "SELECT clip_id, list_avg(mel::FLOAT[]) AS level FROM mel WHERE list_contains(labels, 'L17') ORDER BY clip_id"),
    ("nearest", ["emb"], "SELECT b.clip_id, cosine(a.embedding, b.embedding) AS near FROM emb a, emb b WHERE a.clip_id = 'c0000007' ORDER BY near DESC LIMIT 10",
     "SELECT b.clip_id, list_cosine_similarity(a.embedding, b.embedding) AS near FROM emb a, emb b WHERE a.clip_id = 'c0000007' ORDER BY near DESC LIMIT 10"),
]


def make(folder, audio, ours, n_rows, n_clips, n_large):
    """Files that are not there yet."""
    rng = np.random.default_rng(5)
    if not (folder / "manifest.parquet").exists():
        n_of_clip = rng.integers(1, 5, n_rows)
        # A few labels are on many clips, most on few.
        drawn = np.minimum((N_LABELS * rng.random(n_of_clip.sum()) ** 3).astype(int), N_LABELS - 1)
        labels = pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(n_of_clip)]), pa.int32()),
                                          pa.array([f"L{n}" for n in range(N_LABELS)]).take(pa.array(drawn)))
        table = pa.table({
            "clip_id": [f"c{n:07}" for n in range(n_rows)], "labels": labels,
            "duration_s": np.round(rng.random(n_rows) * 10, 3),
            "rate_hz": pa.array(rng.choice([16000, 44100, 48000], n_rows), pa.int32()),
            "split": np.array(["train", "valid", "eval"])[np.minimum(rng.integers(0, 20, n_rows), 2)],
        })
        pq.write_table(table, folder / "manifest.parquet")
    if not (folder / "emb.parquet").exists():
        numbers = pa.array(rng.standard_normal(50_000 * 256).astype(np.float32))
        pq.write_table(pa.table({"clip_id": [f"c{n:07}" for n in range(50_000)],
                                 "embedding": pa.FixedSizeListArray.from_arrays(numbers, 256)}), folder / "emb.parquet")
    make_shards(folder, "mel", audio, ours, n_clips, 1, "preset: code-225b816")
    if n_large:
        make_shards(folder, "large", audio, ours, n_large, 10, "rate_hz: 32000, seconds: 10, frames: 1024, n_mels: 128")


def make_shards(folder, name, audio, ours, n_clips, seconds, mel):
    """Pictures of windows of `seconds`, each ten milliseconds behind the last of its file."""
    if (folder / name / "manifest.json").exists():
        return
    files = sorted(str(path.resolve()) for path in Path(audio).rglob("*.wav"))
    labels = pq.read_table(folder / "manifest.parquet", columns=["labels"]).column(0)
    with open(folder / f"{name}.csv", "w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["clip_id", "path", "start", "end", "labels"])
        for n in range(n_clips):
            start = 0 if seconds == 10 else n // len(files) * 0.01
            row = [f"c{n * 7:07}", files[n % len(files)], round(start, 2), round(start + seconds, 2)]
            rows.writerow([*row, ";".join(labels[n * 7].as_py())])
    (folder / f"{name}.yaml").write_text(GRAPH.format(folder=folder, name=name, mel=mel))
    subprocess.run([ours, "run", folder / f"{name}.yaml", "--progress", "off"], check=True)


def ask_ours(ours, folder, tables, sql, *options):
    at = [part for name in tables for part in ("--at", folder / (f"{name}.parquet" if name in ("manifest", "emb") else name))]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run([ours, "query", sql, *at, "--format", "csv", *options], capture_output=True, text=True)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{sql}\n{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, [row for row in csv.reader(io.StringIO(done.stdout))][1:]


def ask_duckdb(base, folder, tables, sql):
    started, before = time.monotonic(), time.process_time()
    for name in tables:
        if name == "mel":
            parts = json.load(open(folder / "mel" / "manifest.json"))["parts"]
            mel = pa.concat_tables([pa.ipc.open_file(pa.memory_map(str(folder / "mel" / part["file"]))).read_all() for part in parts])
            base.register("mel", mel)
        else:
            base.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * FROM '{folder / name}.parquet'")
    rows = base.execute(sql).fetchall()
    return time.monotonic() - started, time.process_time() - before, rows


def ask_duckdb_program(folder, tables, sql):
    """Seconds."""
    views = "".join(f"CREATE TEMP VIEW {name} AS SELECT * FROM '{folder / name}.parquet';" for name in tables)
    started = time.monotonic()
    subprocess.run([Path(sys.executable).parent / "duckdb", "-csv", "-c", views + sql], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def same(ours, theirs):
    """Whether the rows are the same, numbers to seven digits."""
    def cell(a, b):
        if isinstance(b, float):
            return math.isclose(float(a), b, rel_tol=2e-7, abs_tol=1e-6)
        return a == ("" if b is None else str(b))
    return len(ours) == len(theirs) and all(len(a) == len(b) and all(map(cell, a, b)) for a, b in zip(ours, theirs))


def resident(shards):
    """Pages of the parts that are in memory, and all of them."""
    libc = ctypes.CDLL(None, use_errno=True)
    inside = total = 0
    for part in sorted(shards.glob("part-*.arrow")):
        with open(part, "rb") as file:
            view = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
            n_pages = -(-len(view) // mmap.PAGESIZE)
            state = (ctypes.c_ubyte * n_pages)()
            address = ctypes.addressof(ctypes.c_char.from_buffer(view))
            if libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(len(view)), state):
                sys.exit(f"mincore: {os.strerror(ctypes.get_errno())}")
            inside, total = inside + sum(byte & 1 for byte in state), total + n_pages
    return inside, total


def forget(shards):
    """Takes the parts out of the page cache."""
    for part in shards.glob("part-*.arrow"):
        file = os.open(part, os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--ajepa-pipe", required=True)
    options.add_argument("--audio", required=True, help="a folder of WAV files of ten seconds")
    options.add_argument("--folder", help="kept; a temporary one that goes when it is left away")
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--clips", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--large", type=int, default=0, metavar="N")
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.folder or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        make(folder, args.audio, args.ajepa_pipe, args.rows, args.clips, args.large)
        for name in ("mel", "large") if args.large else ("mel",):
            tables, sql = next((tables, sql) for asked, tables, sql, _ in QUESTIONS if asked == "join and group")
            for how in ([], ["--unverified"]):
                forget(folder / name)
                before, total = resident(folder / name)
                wall, *_ = ask_ours(args.ajepa_pipe, folder, [name if table == "mel" else table for table in tables], sql.replace("mel b", f"{name} b"), *how)
                after, _ = resident(folder / name)
                print(f"a filter on labels over the manifest and {total * mmap.PAGESIZE / 1e9:.2f} GB of shards {' '.join(how)} from a cold cache: {1e3 * wall:.0f} ms, "
                      f"{(after - before) * mmap.PAGESIZE / 1e6:.1f} MB of the shards came into memory, {100 * (after - before) / total:.3f} %")
        print()
        base = duckdb.connect()
        print("| question | rows | ours ms (CPU) | unverified | DuckDB program | ours / it | DuckDB in process (CPU) | ours / it |\n|---|--:|--:|--:|--:|--:|--:|--:|")
        for name, tables, sql, theirs in QUESTIONS:
            turns = []
            for _ in range(args.rounds):
                ours = ask_ours(args.ajepa_pipe, folder, tables, sql)
                trusted = ask_ours(args.ajepa_pipe, folder, tables, sql, "--unverified") if "mel" in tables else ours
                program = math.nan if "mel" in tables else ask_duckdb_program(folder, tables, theirs or sql)
                duck = ask_duckdb(base, folder, tables, theirs or sql)
                if not same(ours[2], duck[2]):
                    sys.exit(f"{name}: other rows\n{ours[2][:5]}\n{duck[2][:5]}")
                turns.append((*ours[:2], trusted[0], program, *duck[:2]))
            wall, cpu, trusted, program, duck_wall, duck_cpu = (1e3 * statistics.median(column) for column in zip(*turns))
            print(f"| {name} | {len(ours[2])} | {wall:.0f} ({cpu:.0f}) | {trusted:.0f} | {program:.0f} | {wall / program:.2f} "
                  f"| {duck_wall:.0f} ({duck_cpu:.0f}) | {wall / duck_wall:.2f} |", flush=True)


if __name__ == "__main__":
    main()
