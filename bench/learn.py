"""What a training learns: probes on labelled tasks, for log-mel statistics, an untrained encoder, and trained ones.

    bench/learn.py --pipe target/release/ajepa-pipe --corpus DIR --tasks DIR --out DIR [--steps 12000] [--seeds 3]
                   [--variants default,latents:1500,...] [--only TASK,...]

--corpus holds the audio and `pretrain.csv` (a column `path`, relative to it); --tasks holds one CSV a task with the columns
path, offset_s, dur_s, label, split (train, valid, test). Needs numpy, pyarrow and scikit-learn. What is there is not done again.
"""
import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

# The stages of examples/learn.yaml. A training is not fed windows that are half silence; a task keeps every clip.
DATA = """pipeline: learn-data
stages:
  - {{ type: source_manifest, path: {table}, root: {root}, shuffle: {shuffle} }}
  - {{ type: decode }}
  - {{ type: resample, rate_hz: 16000 }}
  - {{ type: crop, seconds: 1, position: sliding, tail: {tail} }}
  - {{ type: log_mel, rate_hz: 16000, seconds: 1, frames: 96, n_mels: 64 }}
  - {{ type: standardize, mode: global, mean: [-6.4], std: [2.0] }}
  - {{ type: sink_shards, path: {out} }}
on_error: {{ policy: quarantine, max_fraction: 0.1 }}
"""
TRAIN = """pipeline: learn
seed: {seed}
stages:
  - {{ type: source_shards, path: {shards}, shape: [96, 64] }}
  - {{ id: model, type: sink_train, path: {out}, steps: {steps}, batch_clips: 32, model: {model}, mask: {mask} }}
"""
EMBED = """pipeline: learn-embed
stages:
  - {{ type: source_shards, path: {shards}, shape: [96, 64] }}
  - {{ type: encoder, checkpoint: {run}, width: {width}, patch: {patch} }}
  - {{ type: sink_embeddings, path: {out}, rows: window }}
"""

# examples/learn.yaml, and the objectives that are compared with it: what of its model differs.
SIZES = {"encoder": {"width": 192, "depth": 6, "n_heads": 3}, "predictor": {"width": 96, "depth": 3, "n_heads": 3}}
MODEL = {"preset": "tiny", **SIZES, "target": {"random_projection": {}}, "loss": "cross_entropy"}
MASK = {"strategy": "random", "ratio": [0.7, 0.7]}
LATENTS = {"target": {"moving_average": {"standardize": True}}, "loss": "mse"}
LAYERS = {"target": {"moving_average": {"mean_of_last": 6, "standardize": True}}, "loss": {"smooth_l1": {"beta": 1.0}}}
VARIANTS = {
    "default": {},
    "unregularised": {"regulariser": "none"},
    "sigreg": {"regulariser": {"sigreg": {}}},
    "blocks": {"mask": {"strategy": "inverse_block", "block_len": 3, "ratio": [0.7, 0.7]}},
    "latents": LATENTS,
    "cosine": {**LATENTS, "loss": "cosine"},
    "layers": LAYERS,
    "plain": {**LATENTS, "regulariser": "none"},
}


class Bench:
    def __init__(self, args):
        self.args, self.out = args, Path(args.out).resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self.root = Path(args.corpus).resolve()

    def pipe(self, *command):
        print("+", *map(str, command), file=sys.stderr, flush=True)
        return subprocess.run([self.args.pipe, *map(str, command)], check=True, stdout=subprocess.PIPE, text=True).stdout

    def graph(self, name, text):
        path = self.out / f"{name}.yaml"
        path.write_text(text)
        self.pipe("run", path, "--progress", "plain")

    def shards(self, table, name, tail, shuffle):
        out = self.out / name
        self.graph(name, DATA.format(table=table, root=self.root, out=out, tail=tail, shuffle=str(shuffle).lower()))
        return out

    def task(self, source):
        """Shards of the clips that are there; label and split of each."""
        table, rows = self.out / f"{source.stem}.csv", {}
        with open(table, "w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["clip_id", "path", "offset_s", "duration_s"])
            for k, row in enumerate(csv.DictReader(open(source))):
                # G.722 is kept beside its conversion: ffmpeg reads it, we do not.
                path = row["path"].replace(".g722", ".conv.wav")
                if (self.root / path).exists():
                    out.writerow([f"{k:06}", path, row["offset_s"], row["dur_s"]])
                    rows[f"{k:06}"] = (row["label"], row["split"])
        return self.shards(table, f"task-{source.stem}", "keep", False), rows

    def train(self, name, variant, seed, steps):
        out = self.out / name
        model = {**MODEL, "regulariser": {"variance_covariance": {}}, **VARIANTS[variant]}
        mask = model.pop("mask", MASK)
        self.graph(name, TRAIN.format(seed=seed, shards=self.out / "mel", out=out, steps=steps, model=json.dumps(model),
                                      mask=json.dumps(mask)))
        return out

    def embed(self, run, shards):
        """The mean over a clip's windows, each weighed by the frames that hold sound."""
        out = self.out / "embeddings" / f"{run.name}-{shards.name}.parquet"
        if not out.exists():
            out.parent.mkdir(exist_ok=True)
            recipe = json.loads(self.pipe("checkpoint", "show", run, "--json"))["recipe"]
            self.graph("embed", EMBED.format(shards=shards, run=run, width=recipe["encoder"]["width"],
                                             patch=json.dumps(recipe["patch"]), out=out))
        read = pq.read_table(out)
        return mean_of_clips(read["clip_id"].to_pylist(), np.stack(read["embedding"].to_numpy(zero_copy_only=False)),
                             read["n_frames"].to_numpy())

    def statistics(self, shards):
        """Mean and deviation of each mel band over the frames of a clip that hold sound."""
        frames = {}
        for part in json.load(open(shards / "manifest.json"))["parts"]:
            file = pa.ipc.open_file(pa.memory_map(str(shards / part["file"])))
            for batch in (file.get_batch(i) for i in range(file.num_record_batches)):
                mels = batch.column("mel").to_numpy_ndarray().astype(np.float32)
                for k, clip in enumerate(batch.column("clip_id").to_pylist()):
                    frames.setdefault(clip, []).append(mels[k][:batch.column("n_frames")[k].as_py()])
        whole = {clip: np.concatenate(parts) for clip, parts in frames.items()}
        return {clip: np.concatenate([mel.mean(0), mel.std(0)]) for clip, mel in whole.items()}


def mean_of_clips(clips, vectors, weights):
    parts = {}
    for clip, vector, weight in zip(clips, vectors.astype(np.float64), weights):
        parts.setdefault(clip, []).append((vector, weight))
    return {clip: np.average([v for v, _ in part], axis=0, weights=[w for _, w in part]) for clip, part in parts.items()}


def probes(vectors, rows):
    """Balanced test accuracy of 5 neighbours by cosine, and of one linear layer."""
    def of(*names):
        ids = [clip for clip in vectors if rows[clip][1] in names]
        return np.stack([vectors[clip] for clip in ids]), [rows[clip][0] for clip in ids]
    (train, train_labels), (test, test_labels) = of("train", "valid"), of("test")
    scaler = StandardScaler().fit(train)
    near = KNeighborsClassifier(5, metric="cosine").fit(normalize(scaler.transform(train)), train_labels)
    knn = balanced_accuracy_score(test_labels, near.predict(normalize(scaler.transform(test))))
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(train, train_labels)
    return knn, balanced_accuracy_score(test_labels, linear.predict(test))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("pipe", "corpus", "tasks", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", default="default", help=f"with :STEPS where they are others; {', '.join(VARIANTS)}")
    parser.add_argument("--only", help="tasks, parted by commas")
    args = parser.parse_args()
    bench = Bench(args)
    bench.shards(bench.root / "pretrain.csv", "mel", "drop", True)
    runs = {"untrained": [bench.train(f"untrained-{seed}", "default", seed, 1) for seed in range(args.seeds)]}
    for named in args.variants.split(","):
        variant, _, steps = named.partition(":")
        steps = int(steps or args.steps)
        runs[named] = [bench.train(f"{variant}-{steps}-{seed}", variant, seed, steps) for seed in range(args.seeds)]
    sources = [s for s in sorted(Path(args.tasks).glob("*.csv")) if not args.only or s.stem in args.only.split(",")]
    table = {}
    for source in sources:
        shards, rows = bench.task(source)
        if len(rows) < 100:
            continue
        table[source.stem] = {"log-mel": [probes(bench.statistics(shards), rows)]}
        for variant, folders in runs.items():
            table[source.stem][variant] = [probes(bench.embed(folder, shards), rows) for folder in folders]
        shown = {variant: " ".join("%.3f" % x for x in np.mean(scores, 0)) for variant, scores in table[source.stem].items()}
        print(source.stem, shown, file=sys.stderr, flush=True)
    (bench.out / "table.json").write_text(json.dumps(table, indent=1))
    print("| task (kNN / linear) |", " | ".join(next(iter(table.values()))), "|")
    print("|---" * (1 + len(next(iter(table.values())))) + "|")
    for name, row in table.items():
        cells = [" / ".join(f"{m:.3f} +- {s:.3f}" if len(scores) > 1 else f"{m:.3f}"
                            for m, s in zip(np.mean(scores, 0), np.std(scores, 0))) for scores in row.values()]
        print(f"| {name} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
