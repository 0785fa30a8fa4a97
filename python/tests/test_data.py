import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys

import ajepa
import numpy as np
import pyarrow as pa
import pytest


def by_pyarrow(folder):
    """All rows as pyarrow reads them: pictures, ids, labels."""
    parts = json.loads((folder / "manifest.json").read_text())
    parts = parts.get("body", parts)["parts"]
    mels, ids, labels = [], [], []
    for part in parts:
        for batch in pa.ipc.open_file(pa.memory_map(str(folder / part["file"]))).read_all().to_batches():
            mels.append(batch.column("mel").to_numpy_ndarray())
            ids += batch.column("clip_id").to_pylist()
            labels += batch.column("labels").to_pylist()
    return np.concatenate(mels), ids, labels


def test_rows_are_those_that_others_read(shards):
    mels, ids, labels = by_pyarrow(shards)
    ds = ajepa.ShardDataset(shards)
    assert len(ds) == len(ids) > 80
    for row, got in enumerate(ds):
        assert got["mel"].dtype == np.float16 and got["mel"].shape == (64, 32)
        np.testing.assert_array_equal(got["mel"].view(np.uint16), mels[row].view(np.uint16))
        assert (got["clip_id"], got["labels"]) == (ids[row], labels[row])
    assert ds[-1]["clip_id"] == ids[-1] and len(ds[3:6]) == 3
    assert [row["clip_id"] for row in ds[[5, 2]]] == [ids[5], ids[2]]
    assert ds.gather([7, 7, 1], ["clip_id"]) == {"clip_id": [ids[7], ids[7], ids[1]]}
    assert ds.manifest["rows"] == len(ds)


def test_a_row_is_not_copied(shards):
    ds = ajepa.ShardDataset(shards, columns=["mel"])
    one, again = ds[3]["mel"], ds[3]["mel"]
    assert np.shares_memory(one, again) and not one.flags.writeable
    held = one.copy()
    del ds, again
    # The map lives as long as a view of it.
    np.testing.assert_array_equal(one, held)
    np.testing.assert_array_equal(np.from_dlpack(one), held)


def test_what_is_not_there_is_said(shards, tmp_path):
    ds = ajepa.ShardDataset(shards)
    with pytest.raises(IndexError):
        ds[len(ds)]
    with pytest.raises(ValueError, match="clip_id"):
        ajepa.ShardDataset(shards, columns=["clip"])
    with pytest.raises(KeyError, match="clip_id"):
        ds.gather([0], ["clip"])
    with pytest.raises(ajepa.AjepaError):
        ajepa.ShardDataset(tmp_path)
    for wrong in [{"batch_clips": 0}, {"batch_clips": 15, "world": 2}, {"rank": 2, "world": 2}, {"column": "labels"}]:
        with pytest.raises((ValueError, ajepa.AjepaError)):
            ds.batches(**wrong)
    with pytest.raises(ValueError, match="mask"):
        ds.batches(16, masks={"maks": {}})


def digest(batch):
    hashed = hashlib.sha256()
    for key in sorted(batch):
        value = batch[key]
        hashed.update(key.encode() + (value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()))
    return hashed.hexdigest()


def test_a_batch_is_its_rows_and_an_epoch_a_permutation(shards):
    ds = ajepa.ShardDataset(shards)
    batches = ds.batches(16, seed=5, columns=["clip_id", "n_frames"])
    for epoch in range(2):
        seen = []
        for step, batch in enumerate(batches):
            assert (batch["epoch"], batch["step"]) == (epoch, step)
            assert batch["mel"].shape == (16, 64, 32) and batch["mel"].flags.writeable
            for at, row in enumerate(batch["rows"]):
                np.testing.assert_array_equal(batch["mel"][at].view(np.uint16), ds[row]["mel"].view(np.uint16))
                assert batch["clip_id"][at] == ds[row]["clip_id"] and batch["n_frames"][at] == ds[row]["n_frames"]
            seen += batch["rows"].tolist()
        assert len(seen) == len(set(seen)) == len(ds) // 16 * 16 == len(batches) * 16


def test_the_same_batches_for_any_workers_and_buffers(shards):
    ds = ajepa.ShardDataset(shards, masks={})
    once = [digest(batch) for batch in ds.batches(16, seed=1, epochs=2)]
    assert len(once) == len(ds) // 16
    for workers, buffers in [(0, 2), (2, 4), (4, 8)]:
        batches = ds.batches(16, seed=1, workers=workers, buffers=buffers, epochs=2)
        assert [digest(batch) for batch in batches] == once
        assert batches.place == (1, 0)
    assert [digest(batch) for batch in ds.batches(16, seed=2)] != once


def test_ranks_share_each_batch(shards):
    ds = ajepa.ShardDataset(shards, masks={})
    ranks = [ds.batches(16, seed=3, rank=rank, world=4) for rank in range(4)]
    for whole, *shares in zip(ds.batches(16, seed=3), *ranks):
        for key in ("mel", "rows", "context", "target"):
            np.testing.assert_array_equal(np.concatenate([share[key] for share in shares]), whole[key])


def test_masks_split_the_tokens(shards):
    for batch in ajepa.ShardDataset(shards).batches(16, masks={"patch": {"patch_frames": 16, "patch_mels": 16}}):
        for context, target in zip(batch["context"], batch["target"]):
            assert context.dtype == np.int64
            assert sorted([*context, *target]) == list(range(4 * 2))


def test_a_state_is_the_rest(shards):
    ds = ajepa.ShardDataset(shards, masks={})
    batches = ds.batches(16, seed=9, columns=["labels"], epochs=3)
    whole = []
    states = []
    for _ in range(3):
        for batch in batches:
            whole.append(digest(batch))
            states.append(json.loads(json.dumps(batches.state_dict())))
            del batch
    assert batches.next() is None
    for n in (1, 5, len(batches), len(batches) + 2, len(whole) - 1):
        # Another number of workers, and in pieces.
        rest = ds.batches(16, seed=9, columns=["labels"], epochs=3, workers=2)
        rest.load_state_dict(states[n - 1])
        assert list(map(digest, iter(rest.next, None))) == whole[n:]
    with pytest.raises(ValueError, match="seed"):
        ds.batches(16, seed=8).load_state_dict(states[0])
    for wrong in ({"step": 999}, {"step": len(batches)}, {"step": -1}, {"epoch": -1}, {"epoch": "0"}, {"step": 0.5}):
        place = rest.place
        with pytest.raises(ValueError, match=rf"{next(iter(wrong))} = .*not an int from 0 to \d+ .*has {len(batches)} steps"):
            rest.load_state_dict({**states[0], **wrong})
        assert rest.place == place
    copy = pickle.loads(pickle.dumps(batches))
    assert copy.place == batches.place


@pytest.mark.parametrize("name, value", [("batch_clips", "8"), ("seed", -1), ("world", 0.5), ("workers", [1]), ("masks", {"mask": 3})])
def test_an_argument_of_another_type_is_named(shards, name, value):
    with pytest.raises(ValueError, match=f"^{name}: invalid (type|value)"):
        ajepa.ShardDataset(shards).batches(**{name: value})


KILLED = """
import sys, json, hashlib, ajepa
sys.path.insert(0, {tests!r})
from test_data import digest
batches = ajepa.ShardDataset({shards!r}, masks={{}}).batches(8, seed=4, workers=2, epochs=50)
state = open({log!r}).read().splitlines() if {resume} else []
if state:
    batches.load_state_dict(json.loads(state[-1])["state"])
with open({log!r}, "a") as log:
    while (batch := batches.next()) is not None:
        line = json.dumps({{"digest": digest(batch), "state": batches.state_dict()}})
        del batch
        log.write(line + "\\n")
        log.flush()
        print(".", flush=True)
"""


def test_killed_and_resumed_it_delivers_exactly_the_rest(shards, tmp_path):
    def start(log, resume):
        script = KILLED.format(tests=os.path.dirname(__file__), shards=str(shards), log=str(log), resume=resume)
        return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)

    whole, torn = tmp_path / "whole", tmp_path / "torn"
    uninterrupted = start(whole, False)
    uninterrupted.communicate()
    assert uninterrupted.returncode == 0
    for n, resume in [(7, False), (30, True), (2, True)]:
        child = start(torn, resume)
        for _ in range(n):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
    child = start(torn, True)
    child.communicate()
    assert child.returncode == 0
    assert torn.read_text() == whole.read_text() and len(whole.read_text().splitlines()) == 500


def test_damage_costs_the_batch_and_is_named(shards, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(shards, folder)
    part = sorted(folder.glob("part-*.arrow"))[0]
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    batches = ajepa.ShardDataset(folder).batches(8, epochs=1)
    good, bad = 0, []
    iterator = iter(batches)
    while True:
        try:
            next(iterator)
            good += 1
        except StopIteration:
            break
        except ajepa.AjepaError as error:
            bad.append(str(error))
    assert good + len(bad) == len(batches) and bad
    assert all(part.name in words for words in bad)


def test_torch_reads_them(shards):
    torch = pytest.importorskip("torch")
    ds = ajepa.ShardDataset(shards, columns=["mel", "n_frames"])
    for workers in (0, 2):
        loader = torch.utils.data.DataLoader(ds, batch_size=8, num_workers=workers)
        for at, batch in enumerate(loader):
            assert batch["mel"].shape[1:] == (64, 32)
            np.testing.assert_array_equal(batch["mel"][0].numpy(), ds[at * 8]["mel"])
    for batch in ds.batches(8):
        assert torch.from_numpy(batch["mel"]).data_ptr() == batch["mel"].ctypes.data


FORKED = """
import os, sys, numpy as np
sys.path.insert(0, {tests!r})
import ajepa

def in_child(work):
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except RuntimeError as error:
            os._exit(7 if "spawn" in str(error) or "fork" in str(error) else 8)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

batches = ajepa.ShardDataset({shards!r}).batches(4)
batches.next()
def drops():
    global batches
    del batches
assert in_child(drops) == 0
assert in_child(lambda: batches.next()) == 7
encoder = ajepa.Encoder.from_pretrained({model!r})
sound = np.sin(np.arange(40_000, dtype=np.float32))
encoder.clip(sound, 16_000)
assert in_child(lambda: encoder.clip(sound, 16_000)) == 7
rows = iter(ajepa.Pipeline("examples/quickstart.yaml"))
next(rows)
assert in_child(lambda: list(rows)) == 7
assert len(list(rows)) > 0
print("whole")
"""


def test_a_forked_child_is_told_and_does_not_hang(shards, model):
    script = FORKED.format(tests=os.path.dirname(__file__), shards=str(shards), model=str(model))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout == "whole\n" and done.returncode == 0, done.stderr
    assert "panicked" not in done.stderr, done.stderr


def test_rows_are_asked_for_by_whole_numbers_and_masks(shards):
    ds = ajepa.ShardDataset(shards)
    few = np.arange(len(ds)) < 3
    assert [row["clip_id"] for row in ds[few]] == [row["clip_id"] for row in ds[:3]]
    with pytest.raises(TypeError):
        ds[1.7]
    with pytest.raises(IndexError, match="mask"):
        ds[np.array([True])]
    assert next(iter(ds.batches(np.int64(4), np.int64(3))))["mel"].shape[0] == 4
