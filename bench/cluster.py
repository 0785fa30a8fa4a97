"""A cluster of processes on this machine: two executors against one, what units of 20 s cost beside their work, 10,000 units queued, random
kills.

    python3 bench/cluster.py PROGRAM [scale|overhead|queue|kills]... [--folder F] [--clips N] [--rounds N] [--kills N]

Writes nothing but its folder; prints a line of JSON for each figure. Wall time means something on a machine that does nothing else:
each executor is bound to a core of its own, and one and two take turns.
"""
import argparse
import filecmp
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GRAPH = """pipeline: bench
stages:
  - {{ id: clips, type: source_manifest, path: {folder}/clips.csv }}
  - {{ type: decode }}
  - {{ type: resample, rate_hz: 32000 }}
  - {{ id: mel, type: log_mel, preset: code-225b816 }}
  - {{ type: sink_shards, path: {folder}/out, dtype: f16 }}
resources: {{ memory: 512MiB, clips_per_shard: {per_shard} }}
"""


class Cluster:
    """Scheduler and executors; what they say goes to files."""

    def __init__(self, program, folder, executors, slots=1, address="127.0.0.1:0"):
        self.program, self.folder, self.slots, self.executors = program, folder, slots, []
        self.scheduler = self.start("scheduler", "cluster", "scheduler", "--listen", address)
        self.address = self.says("scheduler", r"listening on (\S+)")
        for n in range(executors):
            self.executor(n)

    def start(self, name, *args, core=None):
        bind = (lambda: os.sched_setaffinity(0, {core})) if core is not None else None
        with open(self.folder / f"{name}.log", "w") as log:
            return subprocess.Popen([self.program, *args], stderr=log, stdout=log, preexec_fn=bind)

    def executor(self, n):
        core = sorted(os.sched_getaffinity(0))[n % os.cpu_count()]
        args = ("--scheduler", f"df://{self.address}", "--slots", str(self.slots), "--name", f"host{n}")
        process = self.start(f"executor{n}", "cluster", "executor", *args, core=core)
        self.says(f"executor{n}", "joined")
        self.executors[n:n + 1] = [process]

    def restart_scheduler(self):
        self.scheduler = self.start("scheduler", "cluster", "scheduler", "--listen", self.address)
        self.says("scheduler", "listening on")

    def says(self, name, pattern, patience_s=120):
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            found = re.search(pattern, (self.folder / f"{name}.log").read_text())
            if found:
                return found[1] if found.groups() else found[0]
            time.sleep(0.02)
        raise SystemExit(f"{name} does not say {pattern!r}")

    def run(self, graph, *more):
        return [self.program, "run", str(graph), "--cluster", f"df://{self.address}", "--progress", "off", *more]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in [*self.executors, self.scheduler]:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


def corpus(folder, n_rows, per_shard):
    """A manifest of ten-second windows of one noisy file, and the graph over it."""
    import array
    import wave
    with wave.open(str(folder / "noise.wav"), "wb") as out:
        out.setnchannels(1), out.setsampwidth(2), out.setframerate(44100)
        noise = random.Random(1)
        out.writeframes(array.array("h", [noise.randrange(-9000, 9000) for _ in range(44100 * 20)]).tobytes())
    rows = (f"c{n:07},noise.wav,{n % 1000 / 100},{n % 1000 / 100 + 10}" for n in range(n_rows))
    (folder / "clips.csv").write_text("clip_id,path,start_s,end_s\n" + "\n".join(rows) + "\n")
    (folder / "graph.yaml").write_text(GRAPH.format(folder=folder, per_shard=per_shard))
    return folder / "graph.yaml"


def memory_mb(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return round(int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024, 1)


def timed(command):
    started = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def scale(args, folder):
    """Two executors of one core each against one, in turn, and against a run of one worker without a cluster."""
    graph, out = corpus(folder, args.clips, args.per_shard), folder / "out"
    times = {"local": [], 1: [], 2: []}
    for _ in range(args.rounds):
        for n in (1, 2):
            with Cluster(args.program, folder, n) as cluster:
                shutil.rmtree(out, ignore_errors=True)
                times[n].append(timed(cluster.run(graph)))
        shutil.rmtree(out, ignore_errors=True)
        bound = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
        times["local"].append(timed([*bound, args.program, "run", graph, "--jobs", "1", "--progress", "off"]))
    ratios = [one / two for one, two in zip(times[1], times[2])]
    over = [one / local - 1 for one, local in zip(times[1], times["local"])]
    yield "two executors against one", {
        "ratio": round(statistics.median(ratios), 2), "one_over_local": round(statistics.median(over), 3),
        "units": -(-args.clips // args.per_shard), "s": {str(k): [round(t, 2) for t in v] for k, v in times.items()},
    }


def cpu_s(*processes):
    """CPU seconds of processes that live."""
    ticks = (Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split() for process in processes)
    return sum(int(of[11]) + int(of[12]) for of in ticks) / os.sysconf("SC_CLK_TCK")


def spent(command, *others):
    """Wall and CPU seconds of a command, and the CPU seconds that other processes took meanwhile."""
    before, mine = cpu_s(*others), os.times()
    wall_s, now = timed(command), os.times()
    own = now.children_user + now.children_system - mine.children_user - mine.children_system
    return wall_s, own + cpu_s(*others) - before


def overhead(args, folder):
    """One executor against a run of one worker without a cluster, in turn: units of about 20 s, and of a tenth of that."""
    out, bound = folder / "out", ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
    local = lambda graph: [*bound, args.program, "run", graph, "--jobs", "1", "--progress", "off"]
    n_warm = max(args.clips // 4, 1)
    a_clip_s = timed(local(corpus(folder, n_warm, n_warm))) / n_warm
    for unit_s, n_units in ((20, 3), (2, 20)):
        per_shard = round(unit_s / a_clip_s)
        graph, times = corpus(folder, n_units * per_shard, per_shard), []
        for _ in range(args.rounds):
            with Cluster(args.program, folder, 1) as cluster:
                shutil.rmtree(out, ignore_errors=True)
                one = spent(cluster.run(graph), cluster.scheduler, *cluster.executors)
            shutil.rmtree(out, ignore_errors=True)
            times.append((*one, *spent(local(graph))))
        shutil.rmtree(out, ignore_errors=True)
        over = lambda a, b: round(statistics.median(row[a] / row[b] for row in times) - 1, 4)
        yield f"{n_units} units of {unit_s} s: one executor over a local run", {
            "wall": over(0, 2), "cpu": over(1, 3), "clips_of_a_unit": per_shard,
            "s": [[round(t, 2) for t in row] for row in times],
        }


def queue(args, folder):
    """10,000 units, a task each, with an executor that is stopped: how long until all are queued, and what the scheduler takes."""
    graph = corpus(folder, 10_000, 1)
    with Cluster(args.program, folder, 1, slots=2000) as cluster:
        before = memory_mb(cluster.scheduler)
        cluster.executors[0].send_signal(signal.SIGSTOP)
        command = [word if word != "off" else "plain" for word in cluster.run(graph)]
        started = time.monotonic()
        client = cluster.start("client", *command[1:])
        line = cluster.says("client", r"job \S+: (.*)")
        queued_s = time.monotonic() - started
        after = memory_mb(cluster.scheduler)
        yield "10,000 units queued", {"said": line, "queued_s": round(queued_s, 2), "scheduler_mb": [before, after]}
        client.terminate()
        client.wait()


def same(one, other):
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file() and not path.name.startswith("."))
    others = sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file() and not path.name.startswith("."))
    return names == others and all(filecmp.cmp(one / name, other / name, shallow=False) for name in names)


def kills(args, folder):
    """Kill -9 of a part chosen at random, at a random moment; then the same command until it is done."""
    graph, out, local = corpus(folder, args.clips, 16), folder / "out", folder / "local"
    subprocess.run([args.program, "run", graph, "--progress", "off", "--set", f"stages.sink_shards.path={local}"], check=True, stdout=subprocess.DEVNULL)
    draw, wrong, again = random.Random(args.seed), 0, 0
    for _ in range(args.kills):
        shutil.rmtree(out, ignore_errors=True)
        with Cluster(args.program, folder, 2) as cluster:
            client = subprocess.Popen(cluster.run(graph), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(draw.uniform(0.2, args.span))
            victim = draw.choice(["executor", "client", "scheduler"])
            process = {"executor": cluster.executors[0], "client": client, "scheduler": cluster.scheduler}[victim]
            process.kill()
            process.wait()
            if victim == "scheduler":
                cluster.restart_scheduler()
            code = client.wait()
            while code != 0:
                again += 1
                code = subprocess.run(cluster.run(graph), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
        wrong += not same(local, out)
        print(f"  {victim}: {'wrong' if wrong else 'right'}", file=sys.stderr)
    yield "random kills", {"kills": args.kills, "wrong": wrong, "commands_given_again": again, "seed": args.seed}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    figures = {"scale": scale, "overhead": overhead, "queue": queue, "kills": kills}
    parser.add_argument("program", type=lambda path: str(Path(path).resolve()))
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=", ".join(figures))
    parser.add_argument("--folder", type=Path, help="where it works; a temporary one otherwise")
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--per-shard", type=int, default=512, help="clips of a unit, where two executors run against one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--span", type=float, default=4.0, help="a kill comes within so many seconds")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    for name in args.figures or figures:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            for title, figure in figures[name](args, Path(folder)):
                print(json.dumps({title: figure}), flush=True)


if __name__ == "__main__":
    main()
