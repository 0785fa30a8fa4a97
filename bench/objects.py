"""A bucket against a disk: the same graph over the same clips, the bucket behind a line on which every answer is late.

    python3 bench/objects.py PROGRAM FOLDER_OF_AUDIO [--python PYTHON] [--clips N] [--late-ms MS] [--rounds N] [--jobs N]

PYTHON has moto[s3,server]. The server and the line want a core of their own: ask for one worker less than there are cores. Prints a line
of JSON: clips per second from a disk and from the bucket, medians of turns that take turns, requests by kind, and what a program that
asks for one clip after another would reach at this latency.
"""
import argparse
import asyncio
import collections
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

GRAPH = """pipeline: bench
stages:
  - {{ type: source_folder, path: "{audio}" }}
  - {{ type: decode }}
  - {{ type: resample, rate_hz: 32000 }}
  - {{ id: mel, type: log_mel, preset: code-225b816 }}
  - {{ type: sink_shards, path: "{out}", dtype: f16 }}
resources: {{ memory: 1GiB, clips_per_shard: 128 }}
"""


class Line:
    """A TCP line on which what comes back is late."""

    def __init__(self, server, late_s):
        self.server, self.late_s, self.asked = server, late_s, collections.Counter()
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.serve(ready)), daemon=True).start()
        ready.wait()

    async def serve(self, ready):
        server = await asyncio.start_server(self.one, "127.0.0.1", 0)
        self.address = "%s:%d" % server.sockets[0].getsockname()
        ready.set()
        async with server:
            await server.serve_forever()

    async def one(self, reader, writer):
        host, port = self.server.split(":")
        up_reader, up_writer = await asyncio.open_connection(host, int(port))

        async def ask():
            while data := await reader.read(1 << 16):
                for word in re.findall(rb"^(GET|PUT|POST|HEAD|DELETE) ", data, re.M):
                    self.asked[word.decode()] += 1
                up_writer.write(data)
                await up_writer.drain()

        async def answer():
            late = True
            while data := await up_reader.read(1 << 18):
                # The first bytes of an answer are late; the rest of it follows.
                if late or data.startswith(b"HTTP/1.1"):
                    await asyncio.sleep(self.late_s)
                late = False
                writer.write(data)
                await writer.drain()

        try:
            await asyncio.gather(ask(), answer())
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            up_writer.close()


def put(address, key, data):
    request = urllib.request.Request(f"http://{address}/{key}", data=data, method="PUT")
    request.add_header("Content-Type", "application/octet-stream")
    urllib.request.urlopen(request).read()


def run(program, graph, env, jobs):
    begun = time.perf_counter()
    done = subprocess.run([program, "run", graph, "--progress", "off", "--fresh", "--jobs", str(jobs)], env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return time.perf_counter() - begun


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("program")
    parse.add_argument("audio", type=Path)
    parse.add_argument("--python", default=os.environ.get("AJEPA_PYTHON", sys.executable))
    parse.add_argument("--clips", type=int, default=512)
    parse.add_argument("--late-ms", type=float, default=30)
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--jobs", type=int, default=1)
    args = parse.parse_args()
    program = str(Path(args.program).resolve())
    folder = Path(tempfile.mkdtemp(prefix="objects-"))
    server = subprocess.Popen([args.python, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        address = next(m.group(1) for m in (re.search(r"http://(\S+)", line) for line in server.stderr) if m)
        threading.Thread(target=lambda: collections.deque(server.stderr, maxlen=0), daemon=True).start()
        put(address, "corpus", b"")
        kinds = {".flac", ".wav", ".ogg", ".mp3", ".m4a", ".opus"}
        found = sorted(path for path in args.audio.rglob("*") if path.suffix in kinds and path.is_file())
        n_bytes = 0
        for i in range(args.clips):
            path = found[i % len(found)]
            data = path.read_bytes()
            n_bytes += len(data)
            (folder / "audio").mkdir(exist_ok=True)
            (folder / "audio" / f"{i:05}{path.suffix}").write_bytes(data)
            put(address, f"corpus/audio/{i:05}{path.suffix}", data)
        line = Line(address, args.late_ms / 1000)
        env = os.environ | {"AWS_ENDPOINT_URL": f"http://{line.address}", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}
        (folder / "near.yaml").write_text(GRAPH.format(audio=folder / "audio", out=folder / "out"))
        (folder / "far.yaml").write_text(GRAPH.format(audio="s3://corpus/audio", out="s3://corpus/out"))
        took = {"near": [], "far": []}
        for turn in range(args.rounds):
            for name in ("near", "far") if turn % 2 else ("far", "near"):
                before = dict(line.asked)
                took[name].append(run(program, str(folder / f"{name}.yaml"), env, args.jobs))
                if name == "far":
                    asked = {kind: n - before.get(kind, 0) for kind, n in line.asked.items()}
        near, far = (statistics.median(took[name]) for name in ("near", "far"))
        one_by_one = near + args.clips * args.late_ms / 1000 / args.jobs
        print(json.dumps({
            "clips": args.clips, "bytes_a_clip": n_bytes // args.clips, "late_ms": args.late_ms, "jobs": args.jobs,
            "disk_clips_per_s": round(args.clips / near, 1), "bucket_clips_per_s": round(args.clips / far, 1),
            "one_by_one_clips_per_s": round(args.clips / one_by_one, 1), "bucket_of_disk": round(near / far, 3), "requests": asked,
        }))
    finally:
        server.kill()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
