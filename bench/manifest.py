#!/usr/bin/env python3
"""Lists in AudioSet's form read and joined with a listing of files: ours beside pandas.

    bench/manifest.py make DIR              2,000,000 rows and 1,900,000 files, seeded
    bench/manifest.py pandas DIR            one line of JSON; needs pandas
    bench/manifest.py compare DIR OURS      both in turn, five times; OURS is the built example read_corpus

What both do: read the lists (comments, a blank behind each comma, quoted labels) into names, times, lists of labels and of
their names; find the clip of every file (YTID, YYTID, YTID_start in seconds or milliseconds); weights of balanced labels.
Times are CPU seconds of the process; memory is its peak.
"""

import json
import os
import random
import resource
import string
import subprocess
import sys

N_ROWS, N_FILES, N_LABELS, SEED = 2_000_000, 1_900_000, 527, 5
LETTERS = string.ascii_letters + string.digits + "-_"
LISTS = [("balanced_train", 22_000), ("unbalanced_train", 1_958_000), ("eval", 20_000)]


def make(folder):
    rng = random.Random(SEED)
    os.makedirs(folder, exist_ok=True)
    labels = [f"/m/{''.join(rng.choices(string.ascii_lowercase + string.digits, k=rng.choice([4, 5, 6])))}" for _ in range(N_LABELS)]
    names = [f"Sound {i}" if i % 7 else f"Sounds, of kind {i}" for i in range(N_LABELS)]
    with open(f"{folder}/ontology.json", "w") as out:
        json.dump([{"id": l, "name": n, "child_ids": []} for l, n in zip(labels, names)], out, indent=1)
    with open(f"{folder}/class_labels_indices.csv", "w") as out:
        out.write("index,mid,display_name\n")
        out.writelines(f'{i},{l},"{n}"\n' for i, (l, n) in enumerate(zip(labels, names)))
    cumulative, total = [], 0.0
    for rank in range(N_LABELS):
        total += 1.0 / (rank + 1)
        cumulative.append(total)
    ids, starts = set(), []
    files = open(f"{folder}/files.txt", "w")
    n_left = N_FILES
    n_rows_left = N_ROWS
    for split, n in LISTS:
        with open(f"{folder}/{split}_segments.csv", "w") as out:
            out.write("# Segments csv created Sun Mar  5 10:54:31 2017\n")
            out.write(f"# num_ytids={n}, num_segs={n}, num_unique_labels={N_LABELS}, num_positive_labels=0\n")
            out.write("# YTID, start_seconds, end_seconds, positive_labels\n")
            for _ in range(n):
                name = "".join(rng.choices(LETTERS, k=11))
                while name in ids:
                    name = "".join(rng.choices(LETTERS, k=11))
                ids.add(name)
                start = 10 * rng.randrange(60)
                of = dict.fromkeys(rng.choices(labels, cum_weights=cumulative, k=rng.choice([1, 2, 2, 3, 3, 4])))
                out.write(f'{name}, {start}.000, {start + 10}.000, "{",".join(of)}"\n')
                if rng.random() * n_rows_left < n_left:
                    form = rng.randrange(5)
                    stem = [name, f"Y{name}", f"{name}_{start}.000", f"{name}_{start * 1000}", f"{name}_{start}"][form]
                    files.write(f"audio/{split}/{name[:2].replace('-', 'a')}/{stem}.m4a\n")
                    n_left -= 1
                n_rows_left -= 1
    files.close()


def with_pandas(folder):
    import pandas as pd

    def cpu():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    begin = cpu()
    frames = []
    for split, _ in LISTS:
        frame = pd.read_csv(
            f"{folder}/{split}_segments.csv", skiprows=3, header=None, names=["id", "start", "end", "labels"],
            skipinitialspace=True, dtype={"id": str, "labels": str}, keep_default_na=False,
        )
        frame["split"] = split
        frames.append(frame)
    wanted = pd.concat(frames, ignore_index=True)
    names = pd.read_csv(f"{folder}/class_labels_indices.csv").set_index("mid")["display_name"].to_dict()
    wanted["labels"] = wanted["labels"].str.split(",")
    wanted["label_names"] = [[names.get(l, l) for l in row] for row in wanted["labels"]]
    if wanted["id"].duplicated().any():
        raise SystemExit("an id twice")
    read = cpu()

    files = pd.read_csv(f"{folder}/files.txt", header=None, names=["path"], dtype=str, keep_default_na=False, sep="\0")
    stem = files["path"].str.rsplit("/", n=1).str[-1].str.replace(".m4a", "", regex=False)
    parts = stem.str.extract(r"^Y?([A-Za-z0-9_-]{11})(?:_([0-9.]+))?$")
    exact = stem.str.len() == 11
    files["id"] = parts[0].where(~exact, stem)
    files["held_start"] = pd.to_numeric(parts[1].where(~exact))
    joined = wanted.merge(files.drop_duplicates("id"), on="id", how="left")
    fits = (
        joined["held_start"].isna() | (joined["held_start"] == joined["start"])
        | (joined["held_start"] == joined["start"] * 1000)
    )
    joined.loc[~fits, "path"] = None
    joined["status"] = joined["path"].notna().map({True: "unchecked", False: "missing"})
    joined_at = cpu()

    usable = joined[joined["status"] == "unchecked"]
    exploded = usable["labels"].explode()
    weight = (1.0 / exploded.map(exploded.value_counts())).groupby(level=0).sum()
    end = cpu()
    print(json.dumps({
        "rows": len(wanted), "found": int((joined["status"] == "unchecked").sum()), "weight": round(float(weight.sum()), 6),
        "read_cpu_s": round(read - begin, 3), "join_cpu_s": round(joined_at - read, 3), "weights_cpu_s": round(end - joined_at, 3),
    }))


def timed(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(["/usr/bin/env", *command], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = json.loads(result.stdout)
    told["cpu_s"] = round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3)
    # The largest child so far: the two are asked in the order of their sizes.
    told["peak_mib"] = round(after.ru_maxrss / 1024)
    return told


def compare(folder, ours):
    runs = {"ours": [], "pandas": []}
    for _ in range(5):
        runs["ours"].append(timed([ours, folder, f"{folder}/files.txt"]))
        runs["pandas"].append(timed([sys.executable, __file__, "pandas", folder]))
    middle = {who: sorted(of, key=lambda run: run["cpu_s"])[2] for who, of in runs.items()}
    middle["ours"]["peak_mib"] = runs["ours"][0]["peak_mib"]
    for key in ["rows", "found", "weight"]:
        if len({run[key] for of in runs.values() for run in of}) != 1:
            raise SystemExit(f"they disagree on {key}: {middle}")
    print(json.dumps({**middle, "ratio": round(middle["pandas"]["cpu_s"] / middle["ours"]["cpu_s"], 2)}, indent=1))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", folder]:
            make(folder)
        case ["pandas", folder]:
            with_pandas(folder)
        case ["compare", folder, ours]:
            compare(folder, ours)
        case _:
            raise SystemExit(__doc__)
