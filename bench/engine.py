"""The real engine, as a process: `ajepa-pipe run` from a manifest of files to committed shards with checksums."""
import json
import os
import shutil
import subprocess
import time
from statistics import median

# Each file is listed so many times under names of its own, so that start-up is a small part, as it is for a corpus.
ROWS = 240

GRAPH = """pipeline: compare
stages:
  - {{ type: source_manifest, path: {folder}/clips.csv }}
  - {{ type: decode }}
  - {{ type: resample, rate_hz: 32000 }}
  - {{ type: normalize, preset: code-225b816 }}
  - {{ type: crop, seconds: 10 }}
  - {{ type: log_mel, preset: code-225b816 }}
  - {{ type: sink_shards, path: {folder}/shards, dtype: f16 }}
resources: {{ jobs: 1, memory: 512MiB, clips_per_shard: 64 }}
"""


class Engine:
    """Runs of `program` in `folder`, each from nothing to a complete set of shards."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder.resolve()
        (self.folder / "graph.yaml").write_text(GRAPH.format(folder=self.folder))

    def run(self, files, jobs=1, cores=None):
        """CPU seconds (user and system, all threads), wall seconds and rows of one run."""
        rows = [files[k % len(files)] for k in range(max(ROWS, len(files)))]
        table = "clip_id,path\n" + "".join(f"{k},{os.path.abspath(file)}\n" for k, file in enumerate(rows))
        (self.folder / "clips.csv").write_text(table)
        shutil.rmtree(self.folder / "shards", ignore_errors=True)
        report = self.folder / "report.json"
        command = [self.program, "run", self.folder / "graph.yaml", "--jobs", str(jobs), "--report", report]
        if cores:
            command = ["taskset", "-c", ",".join(map(str, sorted(cores))), *command]
        started = time.monotonic()
        with open(self.folder / "log", "wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.monotonic() - started
        if process.returncode:
            raise RuntimeError((self.folder / "log").read_text())
        written = sum(sink["rows"] for _, sink in json.loads(report.read_text())["sinks"])
        if written != len(rows):
            raise RuntimeError(f"{written} rows were written of {len(rows)}")
        return usage.ru_utime + usage.ru_stime, wall_s, written

    def cpu_s_per_clip(self, files):
        cpu_s, _, rows = self.run(files)
        return cpu_s / rows

    def workers(self, files, cores, reps):
        """One worker and two in turn: clips per second, and what the second worker costs in CPU time."""
        runs = {1: [], 2: []}
        for _ in range(reps):
            for jobs, done in runs.items():
                done.append(self.run(files, jobs, cores))
        wall, cpu = ({jobs: median(run[k] for run in done) for jobs, done in runs.items()} for k in (1, 0))
        rows = runs[1][0][2]
        # Two workers that were not given two cores, because others had them, have not been measured.
        cores_got = median(run[0] / run[1] for run in runs[2])
        return {"one_clips_per_s": rows / wall[1], "two_clips_per_s": rows / wall[2], "speed_up": wall[1] / wall[2],
                "cpu_of_two_over_one": cpu[2] / cpu[1], "wanted": 1.95, "cores": len(cores),
                "cores_got": cores_got}
