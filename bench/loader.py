#!/usr/bin/env python3
"""Random batches in Python: `ajepa.ShardDataset.batches` beside PyTorch's DataLoader over a numpy map and over HDF5.

    bench/loader.py [--clips 20000] [--rounds 3] [--epochs 2] [--folder DIR]

Wants numpy, torch, h5py and the wheel in the interpreter it runs in, and the example `make_mels` of the pipeline crate (it is
looked for beside $AJEPA_PIPE, else in target/release). Clips of 256 x 128 halves (64 KiB), batches of 256, warm page cache, one
contestant a process, interleaved. The first epoch of each is not timed: there every batch is compared, number for number, with the
rows it says it has. Then processor time a clip, workers included, and clips a second; the table has medians and ratios of medians.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np

BATCH = 256
SHAPE = (256, 128)
ROOT = pathlib.Path(__file__).resolve().parent.parent


def data_loader(dataset, workers, **more):
    import torch

    return torch.utils.data.DataLoader(
        dataset, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=True,
        prefetch_factor=4, **more,
    )


class Rows:
    """A map-style dataset: one clip and its number."""

    def __init__(self, folder):
        self.folder = folder
        self.clips = None
        self.n = len(np.load(folder / "mel.npy", mmap_mode="r"))

    def __len__(self):
        return self.n

    def __getitem__(self, row):
        import torch

        if self.clips is None:
            self.clips = self.open()
        return torch.from_numpy(np.array(self.clips[row])), row


class NumpyRows(Rows):
    def open(self):
        return np.load(self.folder / "mel.npy", mmap_mode="r")


class Hdf5Rows(Rows):
    def open(self):
        import h5py

        return h5py.File(self.folder / "mel.h5", "r")["mel"]


class NumpyBatches(NumpyRows):
    """The best that a DataLoader is known to do: a whole batch at a time, into shared memory."""

    def __getitems__(self, rows):
        import torch

        if self.clips is None:
            self.clips = self.open()
        out = torch.empty((len(rows), *SHAPE), dtype=torch.float16).share_memory_()
        np.take(self.clips, rows, axis=0, out=out.numpy(), mode="clip")
        return out, torch.tensor(rows)


def memmap(folder, workers):
    return data_loader(NumpyRows(folder), workers)


def memmap_batched(folder, workers):
    return data_loader(NumpyBatches(folder), workers, collate_fn=lambda batch: batch)


def hdf5(folder, workers):
    return data_loader(Hdf5Rows(folder), workers)


def ours(folder, workers):
    import ajepa

    batches = ajepa.ShardDataset(folder / "mels").batches(BATCH, workers=workers)

    class Epochs:
        def __iter__(self):
            return ((batch["mel"], batch["rows"]) for batch in batches)

    return Epochs()


def ours_in_data_loader(folder, workers):
    """Rows of ours through a DataLoader: what the DataLoader itself costs."""
    import ajepa

    dataset = ajepa.ShardDataset(folder / "mels", columns=["mel"])

    class Numbered:
        def __len__(self):
            return len(dataset)

        def __getitem__(self, row):
            import torch

            return torch.from_numpy(dataset[row]["mel"].copy()), row

    return data_loader(Numbered(), workers)


CONTESTANTS = {f.__name__: f for f in (ours, memmap, memmap_batched, hdf5, ours_in_data_loader)}


def processor_s():
    """Processor time of this process and all below it, dead or alive."""
    parents, used = {}, {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = pathlib.Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            fields = text[text.rindex(")") + 2 :].split()
            parents[int(entry)] = int(fields[1])
            used[int(entry)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    total = 0.0
    for pid in parents:
        above = pid
        while above and above != os.getpid():
            above = parents.get(above, 0)
        total += used[pid] if above else 0.0
    return total


def measure(name, folder, workers, epochs):
    """One contestant in this process; prints one line of JSON."""
    clips = np.load(folder / "mel.npy", mmap_mode="r")
    loader = CONTESTANTS[name](folder, workers)
    seen = np.zeros(len(clips), bool)
    for mel, rows in loader:
        mel, rows = np.asarray(mel), np.asarray(rows)
        assert mel.shape == (BATCH, *SHAPE) and mel.dtype == np.float16 and mel.flags.c_contiguous
        assert (mel.view(np.uint16) == clips[rows].view(np.uint16)).all(), f"{name}: a batch is not its rows"
        assert not seen[rows].any(), f"{name}: a row came twice"
        seen[rows] = True
        del mel
    assert seen.sum() == len(clips) // BATCH * BATCH
    times = []
    for _ in range(epochs):
        n, began, used = 0, time.monotonic(), processor_s()
        for mel, rows in loader:
            n += len(rows)
            del mel
        times.append(((processor_s() - used) / n * 1e6, n / (time.monotonic() - began)))
    print(json.dumps(times), flush=True)
    os._exit(0)


def prepare(folder, n_clips):
    """The shards, and the same numbers in a .npy and an HDF5 file."""
    import h5py

    import ajepa

    target = pathlib.Path(os.environ["AJEPA_PIPE"]).parent if "AJEPA_PIPE" in os.environ else ROOT / "target/release"
    subprocess.run([target / "examples/make_mels", folder / "mels", str(n_clips)], check=True)
    if (folder / "mel.h5").exists():
        return
    dataset = ajepa.ShardDataset(folder / "mels", columns=["mel"])
    clips = np.lib.format.open_memmap(folder / "mel.npy", mode="w+", dtype=np.float16, shape=(n_clips, *SHAPE))
    for row, clip in enumerate(dataset):
        clips[row] = clip["mel"]
    clips.flush()
    with h5py.File(folder / "mel.h5", "w") as file:
        file.create_dataset("mel", data=clips)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--clips", type=int, default=20_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--epochs", type=int, default=2)
    arguments.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("out/bench-loader"))
    arguments.add_argument("--one", nargs=2, metavar=("NAME", "WORKERS"), help="measure one, in this process")
    given = arguments.parse_args()
    if given.one:
        return measure(given.one[0], given.folder, int(given.one[1]), given.epochs)
    given.folder.mkdir(parents=True, exist_ok=True)
    prepare(given.folder, given.clips)
    found = {}
    for _ in range(given.rounds):
        for workers in (1, 2):
            for name in CONTESTANTS:
                command = [sys.executable, __file__, "--folder", given.folder, "--epochs", str(given.epochs), "--one", name, str(workers)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                found.setdefault((name, workers), []).extend(json.loads(done.stdout))
    print(f"{'':<22}{'workers':>8}{'CPU us/clip':>13}{'x ours':>8}{'clips/s':>11}{'ours x':>8}")
    for workers in (1, 2):
        median = {name: [statistics.median(column) for column in zip(*found[name, workers])] for name in CONTESTANTS}
        for name, (cpu, rate) in median.items():
            print(f"{name:<22}{workers:>8}{cpu:>13.1f}{cpu / median['ours'][0]:>8.1f}{rate:>11,.0f}{median['ours'][1] / rate:>8.1f}")


if __name__ == "__main__":
    main()
