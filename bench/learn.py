"""What a training learns: probes on labelled tasks, for log-mel statistics, an untrained encoder, and trained ones.

    bench/learn.py --pipe target/release/ajepa-pipe --corpus DIR --tasks DIR --out DIR [--steps 4000] [--seeds 3]
                   [--variants default,codes,...] [--only TASK,...]

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

FRONT_END = """  - {{ type: decode }}
  - {{ type: resample, rate_hz: 16000 }}
  - {{ type: crop, seconds: 2, position: sliding, hop_seconds: 2, tail: pad }}
  - {{ id: mel, type: log_mel, rate_hz: 16000, seconds: 2, frames: 160, n_mels: 64 }}
  - {{ type: standardize, mode: global, mean: [-6.4], std: [6.2] }}
"""
DATA = """pipeline: learn-data
stages:
  - {{ id: clips, type: source_manifest, path: {table}, root: {root}, shuffle: {shuffle} }}
""" + FRONT_END + """  - {{ type: sink_shards, path: {out} }}
on_error: {{ policy: quarantine, max_fraction: 0.05 }}
"""
TRAIN = """pipeline: learn
seed: {seed}
stages:
  - {{ type: source_shards, path: {shards}, shape: [160, 64] }}
  - {{ id: model, type: sink_train, path: {out}, steps: {steps}, batch_clips: 32, model: {model}, mask: {mask} }}
"""

# The objectives that are compared: what differs from the tiny preset with patches of 200 ms and a quarter of the bands.
PATCH = {"patch_frames": 16, "patch_mels": 16}
VARIANTS = {
    "default": {},
    "cosine": {"loss": "cosine"},
    "layers": {"target": {"moving_average": {"mean_of_last": 8, "standardize": True}}, "loss": {"smooth_l1": {"beta": 1.0}}},
    "codes": {"target": {"random_projection": {}}, "loss": "cross_entropy"},
    "variance": {"regulariser": {"variance_covariance": {}}},
    "sigreg": {"regulariser": {"sigreg": {}}},
}


def run(*command):
    print("+", *map(str, command), file=sys.stderr, flush=True)
    subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL)


class Bench:
    def __init__(self, args):
        self.args, self.out = args, Path(args.out).resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self.root = Path(args.corpus).resolve()

    def graph(self, name, text):
        path = self.out / f"{name}.yaml"
        path.write_text(text)
        run(self.args.pipe, "run", path, "--progress", "plain")

    def task(self, source):
        """A table that `source_manifest` reads, of the clips that are there; the split of each."""
        table, splits = self.out / f"{source.stem}.csv", {}
        with open(table, "w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["clip_id", "path", "offset_s", "duration_s", "labels"])
            for k, row in enumerate(csv.DictReader(open(source))):
                if (self.root / row["path"]).exists():
                    out.writerow([f"{k:06}", row["path"], row["offset_s"], row["dur_s"], row["label"]])
                    splits[f"{k:06}"] = row["split"]
        return table, splits

    def shards(self, table, name, shuffle):
        out = self.out / name
        self.graph(name, DATA.format(table=table, root=self.root, out=out, shuffle=str(shuffle).lower()))
        return out

    def train(self, name, variant, seed, steps):
        out = self.out / name
        model = {"preset": "tiny", "patch": PATCH, **VARIANTS[variant]}
        self.graph(name, TRAIN.format(seed=seed, shards=self.out / "mel", out=out, steps=steps, model=json.dumps(model),
                                      mask="{}"))
        return out

    def embed(self, run_dir, table, task):
        out = self.out / "embeddings" / f"{run_dir.name}-{task}.parquet"
        if not out.exists():
            out.parent.mkdir(exist_ok=True)
            rooted = self.out / f"{task}.rooted.csv"
            with open(rooted, "w", newline="") as file:
                rows = csv.DictReader(open(table))
                writer = csv.DictWriter(file, rows.fieldnames)
                writer.writeheader()
                writer.writerows({**row, "path": self.root / row["path"]} for row in rows)
            run(self.args.pipe, "embed", "--checkpoint", run_dir, "--out", out, "--progress", "plain", rooted)
        read = pq.read_table(out)
        vectors = np.stack(read["embedding"].to_numpy(zero_copy_only=False))
        return dict(zip(read["clip_id"].to_pylist(), vectors)), dict(
            zip(read["clip_id"].to_pylist(), (labels[0] for labels in read["labels"].to_pylist())))

    def statistics(self, shards):
        """Mean and deviation of each mel band over the frames of a clip that hold sound."""
        frames, labels = {}, {}
        for part in json.load(open(shards / "manifest.json"))["parts"]:
            file = pa.ipc.open_file(pa.memory_map(str(shards / part["file"])))
            for batch in (file.get_batch(i) for i in range(file.num_record_batches)):
                mels = batch.column("mel").to_numpy_ndarray().astype(np.float32)
                for k, clip in enumerate(batch.column("clip_id").to_pylist()):
                    frames.setdefault(clip, []).append(mels[k][:batch.column("n_frames")[k].as_py()])
                    labels[clip] = batch.column("labels")[k].as_py()[0]
        whole = {clip: np.concatenate(parts) for clip, parts in frames.items()}
        return {clip: np.concatenate([mel.mean(0), mel.std(0)]) for clip, mel in whole.items()}, labels


def probes(vectors, labels, splits):
    """Balanced test accuracy of 5 neighbours by cosine, and of one linear layer."""
    def of(*names):
        ids = [clip for clip in vectors if splits[clip] in names]
        return np.stack([vectors[clip] for clip in ids]), [labels[clip] for clip in ids]
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
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", default="default", help=", ".join(VARIANTS))
    parser.add_argument("--only", help="tasks, parted by commas")
    args = parser.parse_args()
    bench = Bench(args)
    bench.shards(bench.root / "pretrain.csv", "mel", True)
    runs = {"untrained": [bench.train(f"untrained-{seed}", "default", seed, 1) for seed in range(args.seeds)]}
    for variant in args.variants.split(","):
        runs[variant] = [bench.train(f"{variant}-{seed}", variant, seed, args.steps) for seed in range(args.seeds)]
    sources = [s for s in sorted(Path(args.tasks).glob("*.csv")) if not args.only or s.stem in args.only.split(",")]
    table = {}
    for source in sources:
        name = source.stem
        task, splits = bench.task(source)
        if len(splits) < 100:
            continue
        vectors, labels = bench.statistics(bench.shards(task, f"task-{name}", False))
        table[name] = {"log-mel": [probes(vectors, labels, splits)]}
        for variant, folders in runs.items():
            table[name][variant] = [probes(*bench.embed(folder, task, name), splits) for folder in folders]
        shown = {variant: " ".join("%.3f" % x for x in np.mean(scores, 0)) for variant, scores in table[name].items()}
        print(name, shown, flush=True)
    (bench.out / "table.json").write_text(json.dumps(table, indent=1))
    print("| task (kNN / linear) |", " | ".join(next(iter(table.values()))), "|")
    for name, row in table.items():
        cells = [" / ".join(f"{m:.3f} +- {s:.3f}" if len(scores) > 1 else f"{m:.3f}"
                            for m, s in zip(np.mean(scores, 0), np.std(scores, 0))) for scores in row.values()]
        print(f"| {name} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
