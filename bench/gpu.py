"""Training on a GPU: first that its steps agree with the CPU's, then how fast they are, beside PyTorch. Run by bench/gpu.sh.

    bench/gpu.py --program ajepa-pipe --work DIR --out DIR [--device cuda] [--checks-only] [--size base|tiny] [--batch 256] [--steps 60]
"""
import argparse
import json
import math
import random
import shutil
import statistics
import struct
import subprocess
import sys
import time
import wave
from pathlib import Path

# Loss and norm of the gradient on the GPU over those on the CPU. Products of f32 may be rounded as TF32 there, to three digits.
NEAR = {"f32": 0.01, "bf16": 0.03}
FRONT_END = """
pipeline: gpu
seed: 1
stages:
  - {{ id: clips, type: source_folder, path: {work}/audio }}
  - {{ type: decode }}
  - {{ type: crop, seconds: 10, position: sliding, hop_seconds: {hop} }}
  - {{ id: mel, type: log_mel, preset: base-2026 }}
  - {{ type: standardize, mode: global, mean: [-6.4], std: [6.2] }}
"""
TRAIN = """
pipeline: gpu
seed: 1
stages:
  - {{ type: source_shards, path: {work}/mel, shape: {shape} }}
  - type: sink_train
    path: {out}
    device: {device}
    model:
      preset: tiny
      compute: {compute}
      encoder: {encoder}
      predictor: {predictor}
    mask: {{ ratio: [0.5, 0.5] }}
    steps: {steps}
    batch_clips: {batch}
    workers: 2
    log_every: {log_every}
    health_every: 10000
    save_every: 1000000
"""
# Width, depth, heads of the encoder and of the predictor.
SIZES = {"base": ((768, 12, 12), (384, 6, 12)), "tiny": ((192, 12, 3), (96, 6, 3))}
TOKENS, SEEN = 128, 64


def part(width, depth, heads):
    return f"{{ width: {width}, depth: {depth}, n_heads: {heads} }}"


def run(program, graph, path):
    path.write_text(graph)
    began = time.monotonic()
    done = subprocess.run([program, "run", path, "--progress", "plain"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{path.name} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stderr, time.monotonic() - began


def make_audio(folder, files, seconds):
    """Noise that hisses and hums, so that pictures differ by clip and by frame."""
    folder.mkdir(parents=True)
    for number in range(files):
        rng = random.Random(number)
        samples, level, last = [], 0.1, 0.0
        for i in range(16_000 * seconds):
            if i % 4000 == 0:
                level, tone = rng.uniform(0.01, 0.4), rng.uniform(60, 5000)
            last = 0.5 * last + level * (rng.random() - 0.5)
            samples.append(int(16_000 * (last + 0.5 * level * math.sin(i * tone / 2546.0))))
        with wave.open(str(folder / f"{number:03}.wav"), "wb") as out:
            out.setparams((1, 2, 16_000, 0, "NONE", ""))
            out.writeframes(struct.pack(f"<{len(samples)}h", *(max(-32768, min(32767, x)) for x in samples)))


def train(args, name, device, compute, size, batch, steps, log_every):
    encoder, predictor = SIZES[size]
    out = args.work / name
    shutil.rmtree(out, ignore_errors=True)
    graph = TRAIN.format(
        work=args.work, out=out, device=device, compute=compute, encoder=part(*encoder), predictor=part(*predictor),
        steps=steps, batch=batch, log_every=log_every, shape=args.shape,
    )
    said, took_s = run(args.program, graph, args.work / f"{name}.yaml")
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return said.splitlines()[0], records, took_s


def check(args):
    """Twenty steps of the small model on both devices."""
    _, on_cpu, _ = train(args, "cpu", "cpu", "f32", "tiny", 16, 20, 1)
    agrees = {}
    for compute in ["f32", "bf16"]:
        said, there, took_s = train(args, f"gpu-{compute}", args.device, compute, "tiny", 16, 20, 1)
        off = {
            what: max(abs(a[what] / b[what] - 1) for a, b in zip(there, on_cpu, strict=True)) for what in ["loss", "grad_norm"]
        }
        agrees[compute] = off["loss"] <= NEAR[compute] and off["grad_norm"] <= 5 * NEAR[compute]
        print(f"{said}; {compute}: loss within {off['loss']:.2e}, norm of the gradient within {off['grad_norm']:.2e} of the CPU's over 20 steps:"
              f" {'agrees' if agrees[compute] else 'DOES NOT AGREE'} ({took_s:.0f} s)", flush=True)
    return agrees


def flops(size):
    """Of the products of one clip's step: context and predictor forward and back, target forward."""
    (w, depth, _), (p, p_depth, _) = SIZES[size]
    tower = lambda tokens, width, depth: tokens * depth * (24 * width**2 + 4 * tokens * width)
    return 3 * tower(SEEN, w, depth) + tower(TOKENS, w, depth) + 3 * tower(TOKENS, p, p_depth)


def speed(args, compute):
    said, records, took_s = train(args, f"speed-{compute}", args.device, compute, args.size, args.batch, args.steps, 5)
    # Kernels are compiled and chosen in the first third.
    speeds = [record["speed"] for record in records if record["step"] > args.steps // 3]
    step_s = statistics.median(speed["step_s"] for speed in speeds)
    result = {
        "what": f"ajepa-pipe {compute}", "on": said, "step_ms": 1e3 * step_s, "clips_per_s": args.batch / step_s,
        "data_wait": statistics.median(speed["data_wait"] for speed in speeds),
        "tflops": flops(args.size) * args.batch / step_s / 1e12, "first_third_and_all_s": took_s,
    }
    tell(result, args)
    return result


def tell(result, args):
    share = f", {result['tflops'] / args.peak:.1%} of {args.peak:.0f}" if args.peak else ""
    wait = f", data wait {result['data_wait']:.2%}" if "data_wait" in result else ""
    print(f"{result['what']:34} {result['step_ms']:8.1f} ms a step {result['clips_per_s']:8.0f} clips/s {result['tflops']:6.1f} TFLOP/s{share}{wait}", flush=True)


def torch_results(args):
    command = [sys.executable, str(Path(__file__).with_name("gpu_torch.py")), "--batch", str(args.batch), "--size", args.size]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0:
        print(f"PyTorch: ended with {done.returncode}")
    for result in results:
        if "words" in result:
            print(f"PyTorch: {result['words']}")
        elif "peak" in result:
            args.peak = result["peak"]
            print(f"PyTorch multiplies 8192 x 8192 in bf16 at {args.peak:.0f} TFLOP/s: what is called the peak")
        else:
            result["tflops"] = flops(args.size) * result["clips_per_s"] / 1e12
            tell(result, args)
    return [result for result in results if "step_ms" in result]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--checks-only", action="store_true")
    args = parser.parse_args()
    args.peak = None
    make_audio(args.work / "audio", 4, 30)
    # 4,000 pictures, or as many as the check takes.
    hop = 1 if args.checks_only else 0.02
    graph = FRONT_END.format(work=args.work, hop=hop) + f"  - {{ type: sink_shards, path: {args.work}/mel }}\n"
    _, took_s = run(args.program, graph, args.work / "mel.yaml")
    args.shape = json.loads((args.work / "mel/manifest.json").read_text())["tensors"][0]["shape"]
    print(f"pictures of {args.shape} made in {took_s:.0f} s", flush=True)
    agrees = check(args)
    results = []
    if not args.checks_only:
        results = torch_results(args) + [speed(args, compute) for compute in ["bf16", "f32"]]
        theirs = [r["clips_per_s"] for r in results if r["what"].startswith("PyTorch compiled")]
        if theirs:
            print(f"ajepa-pipe bf16 over PyTorch compiled, clips/s: {results[-2]['clips_per_s'] / max(theirs):.2f} (goal 1.0)")
    (args.out / "gpu.json").write_text(json.dumps({"agrees": agrees, "results": results}, indent=1))
    sys.exit(0 if all(agrees.values()) else 1)


main()
