"""How a run grows: rows a second, memory, start-up, planning and resume time over the number of clips.

* 200, 2,000 and 20,000 clips: one-second FLAC files (hard links to a hundred of them), `source_folder` to log-mel shards;
* 20,000 to 2,000,000 rows: a manifest whose rows are windows of one file, `source_manifest` -> `filter` -> `sink_null`.

`bench/scale.sh` sets it up; `scale.json`, `scale.md` and `scale.svg` are written.
"""
import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

REAL, SYNTHETIC = (200, 2_000, 20_000), (20_000, 200_000, 2_000_000)
# Figure: (title, bounds of its axis).
FIGURES = {"rows_per_s": ("rows a second", (1e2, 1e6)), "peak_mb": ("peak memory, MB", (1e1, 1e3)),
           "plan_s": ("planning, s", (1e-3, 1e1)), "start_s": ("to the first shard, s", (1e-3, 1e1)),
           "resume_s": ("resume of a finished run, s", (1e-3, 1e1))}

AUDIO = """pipeline: scale
stages:
  - {{ id: clips, type: source_folder, path: {folder}/clips }}
  - {{ type: decode }}
  - {{ type: resample, rate_hz: 16000 }}
  - {{ type: log_mel, rate_hz: 16000, n_mels: 64, seconds: 1 }}
  - {{ type: sink_shards, path: {folder}/shards, dtype: f16 }}
resources: {{ jobs: {jobs}, memory: 512MiB, clips_per_shard: {per_shard} }}
"""
ROWS = """pipeline: scale
stages:
  - {{ id: clips, type: source_manifest, path: {folder}/clips.csv }}
  - {{ type: filter, min_duration_s: 0.5 }}
  - {{ type: sink_null }}
resources: {{ jobs: {jobs}, memory: 512MiB, clips_per_shard: {per_shard} }}
"""


def run(*command):
    """Wall seconds, CPU seconds and the peak of resident memory of a process, as the kernel counts it."""
    started, peak_kb = time.monotonic(), 0
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        status = Path(f"/proc/{process.pid}/status")
        while True:
            # The figure that wait4 gives would count this Python's pages too, which the child starts from.
            try:
                lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
                peak_kb = max([peak_kb] + [int(line.split()[1]) for line in lines])
            except OSError:
                pass
            pid, code, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(0.005)
        wall_s = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(code)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{command}: {log.read().decode()}")
    return {"wall_s": wall_s, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": peak_kb / 1024}


def link_clips(corpus, folder, n):
    """`n` names in folders of a thousand for a hundred or so files of one second."""
    seconds = folder / "second"
    if not seconds.exists():
        seconds.mkdir()
        for file in sorted((corpus / "flac").glob("*.flac")):
            for start in (2, 5):
                out = seconds / f"{file.stem}-{start}.flac"
                subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-ss", str(start), "-t", "1", "-i", file, out], check=True)
    files = sorted(seconds.iterdir())
    shutil.rmtree(folder / "clips", ignore_errors=True)
    for k in range(n):
        link = folder / f"clips/{k // 1000:04}/{k:07}.flac"
        link.parent.mkdir(parents=True, exist_ok=True)
        os.link(files[k % len(files)], link)


def list_rows(corpus, folder, n):
    """A manifest of `n` windows of one file."""
    file = next((corpus / "wav").glob("*.wav")).resolve()
    with open(folder / "clips.csv", "w") as table:
        table.write("clip_id,path,start,end,labels\n")
        for k in range(n):
            table.write(f"clip-{k:07},{file},{k % 9},{k % 9 + 1},speech;music\n")


def measure(program, folder, graph, n, jobs):
    """One size: planned, one unit of it, all of it, all of it again."""
    per_shard = 200 if n <= 20_000 else 2_000
    file = folder / "graph.yaml"
    file.write_text(graph.format(folder=folder, jobs=jobs, per_shard=per_shard))
    shutil.rmtree(folder / "shards", ignore_errors=True)
    report = folder / "report.json"
    plan = run(program, "check", file)
    # Start-up, the listing, and one unit.
    start = run(program, "run", file, "--part", f"1/{-(-n // per_shard)}")
    shutil.rmtree(folder / "shards", ignore_errors=True)
    whole = run(program, "run", file, "--report", report)
    written = sum(sink["rows"] for _, sink in json.loads(report.read_text())["sinks"])
    if written != n:
        raise RuntimeError(f"{written} rows of {n}")
    row = {"rows": n, "rows_per_s": n / whole["wall_s"], "cpu_us_per_row": whole["cpu_s"] / n * 1e6,
           "peak_mb": whole["peak_mb"], "plan_s": plan["wall_s"], "start_s": start["wall_s"], "whole_s": whole["wall_s"]}
    if (folder / "shards").exists():
        row["resume_s"] = run(program, "run", file)["wall_s"]
    return row


def plot(series, out):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(FIGURES), figsize=(3.2 * len(FIGURES), 3.4))
    for panel, (key, (title, bounds)) in zip(panels, FIGURES.items()):
        for name, rows in series.items():
            points = [(row["rows"], row[key]) for row in rows if key in row]
            if points:
                panel.plot(*zip(*points), marker="o", label=name)
        # Both axes in powers of ten: what is flat lies level, what is linear runs along the dotted lines.
        for k in range(-8, 8):
            panel.plot((1e2, 1e7), (10.0**k * 1e2, 10.0**k * 1e7), ":", color="0.85", zorder=0)
        panel.set(title=title, xlabel="clips", xscale="log", yscale="log", xlim=(1e2, 5e6), ylim=bounds)
    panels[0].legend()
    figure.tight_layout()
    figure.savefig(out)


def markdown(series):
    lines = ["| graph | clips | rows/s | CPU us a row | peak MB | plan s | first shard s | resume s |", "|---|" + "--:|" * 7]
    for name, rows in series.items():
        for row in rows:
            resume = f"{row['resume_s']:.3f}" if "resume_s" in row else "-"
            lines.append(f"| {name} | {row['rows']:,} | {row['rows_per_s']:,.0f} | {row['cpu_us_per_row']:.1f} | "
                         f"{row['peak_mb']:.0f} | {row['plan_s']:.3f} | {row['start_s']:.3f} | {resume} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--most", type=int, default=max(SYNTHETIC), help="leave larger sizes out")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--ajepa-pipe", required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    series = {"files to shards": [], "rows to nowhere": []}
    with tempfile.TemporaryDirectory(dir=args.out) as scratch:
        folder = Path(scratch).resolve()
        for name, sizes, prepare, graph in (("files to shards", REAL, link_clips, AUDIO),
                                            ("rows to nowhere", SYNTHETIC, list_rows, ROWS)):
            for n in (n for n in sizes if n <= args.most):
                prepare(args.corpus, folder, n)
                series[name].append(measure(args.ajepa_pipe, folder, graph, n, args.jobs))
                print(markdown({name: series[name][-1:]}).splitlines()[-1], flush=True)
    (args.out / "scale.json").write_text(json.dumps(series, indent=1) + "\n")
    (args.out / "scale.md").write_text(markdown(series) + "\n")
    plot(series, args.out / "scale.svg")


if __name__ == "__main__":
    main()
