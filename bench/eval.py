"""`ajepa-pipe eval --mode xares` beside the stock package, on tasks made of real audio in X-ARES's own layout.

    bench/eval.py --pipe target/release/ajepa-pipe --corpus DIR --tasks DIR --checkpoint DIR --out DIR [--together 16,1] [--runs 3]

--corpus and --tasks are those of bench/learn.py. Needs xares==0.1.3, torch==torchaudio==2.8.0, soundfile and our wheel. The package's own
task files and its own encoding, training and scoring run; its encoder is that of `ajepa.xares`, so that both sides have the same encoder
and nothing else in common.

* cremad: one label, train, valid and test: five languages in the place of five emotions.
* esc50: five folds: ten soundtracks in the place of fifty sounds.
* librispeechmalefemale: crops of 5 s, whose keys collide: voices from --tasks voice_mf_fish.
* fsd50k: several labels a clip: clips of languages and soundtracks laid over each other.
* desed: frames: the same clips laid one after another over ten seconds.
"""
import argparse
import csv
import io
import json
import random
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio

RATE = 16000
EMOTIONS = "HSAFD"


def clips(corpus, table, most, most_s):
    """Samples, label, split and group of clips that can be read, at most `most` a label and split, evenly drawn."""
    rows = list(csv.DictReader(open(table)))
    random.Random(0).shuffle(rows)
    counts, found = {}, []
    for row in rows:
        key = (row["label"], row["split"])
        path = corpus / row["path"].replace(".g722", ".conv.wav")
        if counts.get(key, 0) >= most or not path.exists():
            continue
        try:
            with soundfile.SoundFile(path) as file:
                file.seek(int(float(row["offset_s"]) * file.samplerate))
                samples = file.read(int(min(float(row["dur_s"]), most_s) * file.samplerate), "float32", always_2d=True).mean(1)
        except soundfile.LibsndfileError:
            continue
        samples = torchaudio.functional.resample(torch.from_numpy(samples), file.samplerate, RATE).numpy()
        if len(samples) < RATE // 10:
            continue
        counts[key] = counts.get(key, 0) + 1
        found.append({"samples": samples, "label": row["label"], "split": row["split"], "group": row["group"]})
    return found


def write_tar(path, samples):
    """Adjacent KEY.wav and KEY.json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, (audio, label) in samples.items():
            buffer = io.BytesIO()
            soundfile.write(buffer, np.clip(audio, -1, 1), RATE, format="WAV", subtype="PCM_16")
            for name, data in ((f"{key}.wav", buffer.getvalue()), (f"{key}.json", json.dumps(label).encode())):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def keyed(samples, prefix):
    return {f"{prefix}{k:05}": sample for k, sample in enumerate(samples)}


def make_cremad(env, args):
    found = clips(args.corpus, args.tasks / "langid5.csv", 90, 6)
    letters = {label: EMOTIONS[k] for k, label in enumerate(sorted({c["label"] for c in found}))}
    for split in ("train", "valid", "test"):
        own = [(c["samples"], {"label": letters[c["label"]]}) for c in found if c["split"] == split]
        write_tar(env / "cremad" / f"wds-audio-{split}-0000000.tar", keyed(own, split))


def make_esc50(env, args):
    found = clips(args.corpus, args.tasks / "soundtrack10.csv", 60, 5)
    numbers = {label: k for k, label in enumerate(sorted({c["label"] for c in found}))}
    groups = sorted({c["group"] for c in found})
    for fold in range(1, 6):
        own = [(c["samples"], {"label": numbers[c["label"]]}) for c in found if groups.index(c["group"]) % 5 == fold - 1]
        write_tar(env / "esc50" / f"wds-audio-fold-{fold}-0000000.tar", keyed(own, f"f{fold}-"))


def make_librispeechmalefemale(env, args):
    found = clips(args.corpus, args.tasks / "voice_mf_fish.csv", 150, 12)
    rng = random.Random(1)
    for split, tar in (("train", "train-clean-100"), ("valid", "dev-clean"), ("test", "test-clean")):
        of = {label: [c["samples"] for c in found if c["split"] == split and c["label"] == label] for label in ("male", "female")}
        own = []
        for label, samples in of.items():
            # Some files of one crop, most of several.
            while samples:
                n = rng.randint(1, 6)
                own.append((np.concatenate(samples[:n]), {"gender": label[0].upper()}))
                samples = samples[n:]
        rng.shuffle(own)
        write_tar(env / "librispeechmalefemale" / f"{tar}-0000000.tar", keyed(own, split))


def mixtures(args, n, seed):
    """Several clips a scene: which, and from which second on."""
    found = clips(args.corpus, args.tasks / "langid5.csv", 60, 3) + clips(args.corpus, args.tasks / "soundtrack10.csv", 20, 3)
    scenes = {split: [] for split in ("train", "valid", "test")}
    for split, rows in scenes.items():
        own, rng = [c for c in found if c["split"] == split], random.Random(seed)
        for _ in range(n if split == "train" else n // 3):
            rows.append([(c, rng.uniform(0, 10 - len(c["samples"]) / RATE)) for c in rng.sample(own, rng.randint(1, 4))])
    return scenes


def scene(parts):
    audio = np.zeros(10 * RATE, np.float32)
    for clip, start in parts:
        at = int(start * RATE)
        audio[at:at + len(clip["samples"])] += 0.5 * clip["samples"]
    return audio


def make_fsd50k(env, args, names):
    scenes = mixtures(args, 240, 2)
    labels = {label: names[k] for k, label in enumerate(sorted({c["label"] for rows in scenes.values() for row in rows for c, _ in row}))}
    for split, tar in (("train", "fsd50k_train"), ("valid", "fsd50k_validation"), ("test", "fsd50k_eval")):
        own = [(scene(row), {"soundevent": ";".join(sorted({labels[c["label"]] for c, _ in row}))}) for row in scenes[split]]
        write_tar(env / "fsd50k" / f"{tar}_0000000.tar", keyed(own, split))


def make_desed(env, args, names):
    scenes = mixtures(args, 240, 3)
    all_labels = sorted({c["label"] for rows in scenes.values() for row in rows for c, _ in row})
    labels = {label: names[k % len(names)] for k, label in enumerate(all_labels)}
    for split, tar in (("train", "wds-audio-train"), ("test", "wds-audio-eval")):
        own = [(scene(row), [{"onset": s, "offset": s + len(c["samples"]) / RATE, "label": labels[c["label"]]} for c, s in row])
               for row in scenes[split]]
        write_tar(env / "desed" / f"{tar}-0000000.tar", keyed(own, split))


def stock(name, make_config, encoder, env, together, runs):
    """Scores of the package: by neighbours, and of `runs` trainings; seconds that encoding and probing took."""
    from xares.task import XaresTask
    config = make_config(encoder)
    config.env_root, config.batch_size_encode = str(env), together
    task = XaresTask(config)
    if together != 16:
        folder = Path(str(task.encoded_tar_dir) + f"-{together}")
        task.encoded_tar_path_of_split = {s: folder / p.name for s, p in task.encoded_tar_path_of_split.items()}
        task.encoded_ready_path = folder / task.encoded_ready_path.name
        task.ckpt_dir = Path(str(task.ckpt_dir) + f"-{together}")
        folder.mkdir(parents=True, exist_ok=True)
    (env / name / ".audio_tar_ready").touch()
    times = {}
    start = time.process_time()
    task.make_encoded_tar()
    times["encode"] = time.process_time() - start
    shutil.rmtree(task.ckpt_dir, ignore_errors=True)
    mlp = []
    start = time.time()
    for _ in range(runs):
        shutil.rmtree(task.ckpt_dir, ignore_errors=True)
        task.ckpt_dir.mkdir(parents=True)
        task.ckpt_path = task.ckpt_dir / task.config.ckpt_name
        mlp.append(float(task.run_mlp()[0]))
    times["mlp"] = (time.time() - start) / runs
    start = time.time()
    knn = float(task.run_knn()[0]) if config.do_knn else None
    times["knn"] = time.time() - start
    return knn, mlp, times


def ours(args, env, name, together):
    command = [args.pipe, "eval", "-c", args.checkpoint, env / name, "--mode", "xares", "--together", str(together), "--seeds", "5",
               "--cache", args.out / "cache", "--format", "json", "--progress", "off"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    start = time.time()
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    row = json.loads(out)["models"][0]["tasks"][0]
    scores = {score["probe"]: score for score in row["scores"]}
    seeds = {}
    for run in scores["mlp"]["runs"]:
        seeds.setdefault(run["seed"], []).append(run["score"])
    knn = scores["knn"]["score"] if "knn" in scores else None
    return knn, [float(np.mean(folds)) for folds in seeds.values()], time.time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("pipe", "corpus", "tasks", "checkpoint", "out"):
        parser.add_argument(f"--{name}", required=True, type=lambda path: Path(path).resolve())
    parser.add_argument("--together", default="16,1")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="cremad,esc50,librispeechmalefemale,fsd50k,desed")
    args = parser.parse_args()
    from ajepa.xares import encoder_class
    from loguru import logger
    from tasks import crema_d_task, desed_task, esc50_task, fsd50k_task, librispeech_male_female_task as mf_task
    torch.multiprocessing.set_start_method("spawn")
    encoder = encoder_class(args.checkpoint)()
    quiet = lambda: (logger.remove(), logger.add(sys.stderr, level="WARNING"))
    env = args.out / "env"
    event_names = ["Cat", "Speech", "Running_water", "Dishes", "Electric_shaver_toothbrush", "Vacuum_cleaner", "Blender",
                   "Alarm_bell_ringing", "Dog", "Frying"]
    sound_names = ["Accordion", "Acoustic_guitar", "Aircraft", "Alarm", "Animal", "Applause", "Bark", "Bass_drum", "Bass_guitar", "Bell",
                   "Bicycle", "Bird", "Boiling", "Boom", "Breathing", "Bus"]
    known = {
        "cremad": (make_cremad, crema_d_task.cremad_config),
        "esc50": (make_esc50, esc50_task.esc50_config),
        "librispeechmalefemale": (make_librispeechmalefemale, mf_task.librispeech_male_female_config),
        "fsd50k": (lambda env, args: make_fsd50k(env, args, sound_names), fsd50k_task.fsd50k_config),
        "desed": (lambda env, args: make_desed(env, args, event_names), desed_task.desed_config),
    }
    results = []
    for name in args.only.split(","):
        make, config = known[name]
        if not (env / name).exists():
            make(env, args)
        for together in map(int, args.together.split(",")):
            own = ours(args, env, name, together)
            quiet()
            theirs = stock(name, lambda e: (config(e), quiet())[0], encoder, env, together, args.runs)
            result = {"task": name, "together": together, "knn": own[0], "knn_stock": theirs[0], "mlp": own[1], "mlp_stock": theirs[1],
                      "s": own[2], "s_stock": theirs[2]}
            results.append(result)
            print(json.dumps(result), flush=True)
    (args.out / "xares.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
