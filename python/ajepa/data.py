"""Shards as a dataset: rows by number, and random batches for a trainer."""

from __future__ import annotations

import json
import operator
import os
import re
from numbers import Integral
from pathlib import Path
from typing import Any, Iterable, Iterator, Sequence

import numpy as np

from . import _ajepa


class ShardDataset:
    """The rows of a folder that `sink_shards` wrote; indexable, without a copy.

    path: the folder. columns: those of a row, all by default. verify: checksums of pages when they are first touched.
    masks: what `batches` draws for every clip, as the stage `mask` writes it, such as
    `{"mask": {"ratio": [0.4, 0.6]}}`; `{}` is the reference's.

    `ds[i]` is a dict: tensors are read-only float16 or float32 arrays over the mapped file, texts are `str`, labels lists of
    `str`. `ds[[3, 7]]` and `ds[2:5]` are lists of such dicts. It works as a map-style dataset of
    `torch.utils.data.DataLoader` (workers open the folder themselves) and beside it has `batches`, which needs no
    DataLoader and is many times as fast.

    >>> ds = ShardDataset("out/quickstart")
    >>> ds[0]["mel"].shape, ds[0]["labels"]
    ((512, 96), ['animals'])
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: Sequence[str] | None = None,
        masks: dict[str, Any] | None = None,
        verify: bool = True,
    ):
        self.path = Path(path)
        self.masks = masks
        self.verify = verify
        self._core = _ajepa.Shards(self.path, verify, True)
        self._pid = os.getpid()
        self.columns = list(self._core.columns if columns is None else columns)
        unknown = [name for name in self.columns if name not in self._core.columns]
        if unknown:
            raise ValueError(f"no column {unknown[0]!r} in {self.path}; there are {', '.join(self._core.columns)}")

    @property
    def _shards(self):
        # A forked child opens its own: a lock that another thread held at the fork would be held there for ever.
        if self._pid != os.getpid():
            self._core = _ajepa.Shards(self.path, self.verify, True)
            self._pid = os.getpid()
        return self._core

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self._row(row) for row in range(*index.indices(len(self)))]
        if isinstance(index, np.ndarray) and index.dtype == bool:
            if index.shape != (len(self),):
                raise IndexError(f"a mask of shape {index.shape} for {len(self)} rows")
            index = np.flatnonzero(index)
        if isinstance(index, (list, tuple)) or isinstance(index, np.ndarray) and index.ndim == 1:
            return [self._row(row) for row in index]
        return self._row(index)

    def __getitems__(self, indices):
        return [self._row(row) for row in indices]

    def __iter__(self):
        return (self._row(row) for row in range(len(self)))

    def _row(self, row):
        return self._shards.row(operator.index(row), self.columns)

    def gather(self, rows: Iterable[int], columns: Iterable[str]) -> dict[str, Any]:
        """Columns beside the tensors, of many rows: {name: array or list} in the order of `rows` (ints). Touches no picture."""
        return self._shards.gather([int(row) for row in rows], list(columns))

    @property
    def manifest(self) -> dict[str, Any]:
        """What `manifest.json` says: graph, front end, mean and variance per mel band, parts."""
        return json.loads(self._shards.manifest())

    def batches(
        self,
        batch_clips: int = 256,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        workers: int = 1,
        *,
        masks: dict[str, Any] | None = None,
        columns: Sequence[str] = (),
        column: str = "mel",
        shuffle: bool = True,
        keep_last: bool = False,
        epochs: int | None = None,
        buffers: int = 4,
        read_ahead: int = 2,
    ) -> Batches:
        """Random batches for a trainer: see `Batches`, where each argument is explained."""
        return Batches([self.path], batch_clips, seed, rank, world, workers, masks=self.masks if masks is None else masks,
                       columns=columns, column=column, shuffle=shuffle, keep_last=keep_last, epochs=epochs, buffers=buffers,
                       read_ahead=read_ahead, verify=self.verify)

    def __reduce__(self):
        return ShardDataset, (str(self.path), self.columns, self.masks, self.verify)

    def __repr__(self):
        return f"ShardDataset({str(self.path)!r}, {len(self)} rows)"


class Batches:
    """Batches of shard sets in an order that is a function of (shards, seed, batch size) alone; one pass over it is one epoch.

    paths: folders of shards, their rows numbered one folder behind the other. batch_clips: clips of a global batch, over all
    ranks. rank of world: this process' share of every batch. workers: threads that fill buffers; 0 fills when asked.
    masks: as for `ShardDataset`. columns: further columns (`["clip_id", "labels"]`). column: the tensor. shuffle, keep_last:
    an order of its own for each epoch; whether the rows behind the last whole batch make a shorter one. epochs: after which
    there is no more. buffers: batches that may be alive at once, those that you hold counted. read_ahead: batches that the
    system is asked to read from disk beforehand.

    A batch is a dict: `column` [clips, ...shape] float16 or float32, writable, in a buffer that is filled again once you have
    dropped every view of it (copy what you keep); `rows` int64 [clips]; `epoch`, `step`; with masks `context` and `target`
    int64 [clips, tokens] (`context_1`, ... for further masks of a clip, lists where lengths differ; `blocks` [clips, blocks,
    tokens] where a strategy has several).

    `state_dict()` is the place of the next batch that you have not been given; `load_state_dict` goes on exactly there, in
    another process and with another number of workers or ranks too. With several DataLoader-like prefetchers behind it, take
    the state that belongs to the batch you trained on. Works as a `train_dataloader` of Lightning.

    >>> for batch in Batches("out/quickstart", batch_clips=16, seed=7, epochs=1):
    ...     print(batch["step"], batch["mel"].shape)
    0 (16, 512, 96)
    1 (16, 512, 96)
    """

    def __init__(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        batch_clips: int = 256,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        workers: int = 1,
        *,
        masks: dict[str, Any] | None = None,
        columns: Sequence[str] = (),
        column: str = "mel",
        shuffle: bool = True,
        keep_last: bool = False,
        epochs: int | None = None,
        buffers: int = 4,
        read_ahead: int = 2,
        verify: bool = True,
    ):
        self._paths = [Path(paths)] if isinstance(paths, (str, os.PathLike)) else [Path(path) for path in paths]
        self._config = {
            "column": column, "batch_clips": batch_clips, "seed": seed, "shuffle": shuffle, "keep_last": keep_last,
            "epochs": epochs, "rank": rank, "ranks": world, "masks": masks, "buffers": buffers, "workers": workers,
            "read_ahead": read_ahead, "verify": verify,
        }
        self._columns = list(columns)
        self._sets = [_ajepa.Shards(path, verify, True) for path in self._paths]
        self._starts = np.cumsum([0] + [len(shards) for shards in self._sets])
        self._fingerprints = [json.loads(shards.manifest())["fingerprint"] for shards in self._sets]
        self._open((0, 0))

    def _open(self, place):
        config = {key: value for key, value in self._config.items() if value is not None}
        try:
            self._feed = _ajepa.Feed(json.dumps(config, default=_plain), self._paths, *place)
        except ValueError as error:
            # The feed's own word for it is another.
            raise ValueError(re.sub("^ranks:", "world:", str(error))) from None
        self._pid = os.getpid()

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._feed.steps_per_epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return _Epoch(self)

    @property
    def place(self) -> tuple[int, int]:
        """(epoch, step) of the next batch."""
        return self._feed.place()

    @property
    def metrics(self) -> dict[str, Any]:
        """What it has done: batches, clips, bytes, seconds that the consumer waited and the workers waited."""
        return json.loads(self._feed.metrics())

    def next(self) -> dict[str, Any] | None:
        """The next batch, over the ends of epochs; `None` behind the last. A batch that cannot be read raises `AjepaError` naming
        part and clip; the call after it goes on behind it."""
        if self._pid != os.getpid():
            raise RuntimeError("these batches were opened before a fork: their threads are not in this process (open them here)")
        batch = self._feed.next()
        if batch is not None and self._columns:
            batch.update(self._beside(batch["rows"]))
        return batch

    def _beside(self, rows):
        if len(self._sets) == 1:
            return self._sets[0].gather(rows.tolist(), self._columns)
        of = np.searchsorted(self._starts, rows, side="right") - 1
        cells = {name: [None] * len(rows) for name in self._columns}
        for number in np.unique(of):
            at = np.flatnonzero(of == number)
            found = self._sets[number].gather((rows[at] - self._starts[number]).tolist(), self._columns)
            for name, values in found.items():
                for place, value in zip(at, values):
                    cells[name][place] = value
        return {name: np.array(values) if isinstance(values[0], np.generic) else values for name, values in cells.items()}

    def state_dict(self) -> dict[str, Any]:
        """The place of the next batch, and what its meaning hangs on; plain ints and strings."""
        epoch, step = self.place
        return {"format": 1, "epoch": epoch, "step": step, **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken. Refuses one of other shards, another seed or another batch size."""
        for key, ours in {"format": 1, **self._identity()}.items():
            if state.get(key) != ours:
                raise ValueError(f"the state has {key} = {state.get(key)!r}, these batches {ours!r}: the order is another one "
                                 "(open the shards with the state's settings)")
        for key, end in (("epoch", 2**63), ("step", len(self))):
            if not isinstance(state.get(key), Integral) or not 0 <= state[key] < end:
                raise ValueError(f"the state has {key} = {state.get(key)!r}: not an int from 0 to {end - 1} "
                                 f"(an epoch of these batches has {len(self)} steps; take a state that state_dict() gave)")
        self._open((int(state["epoch"]), int(state["step"])))

    def _identity(self):
        rows = [len(shards) for shards in self._sets]
        same = ("column", "batch_clips", "seed", "shuffle", "keep_last", "masks")
        return {"fingerprints": self._fingerprints, "rows": rows, **{key: self._config[key] for key in same}}

    def __reduce__(self):
        return _batches, (self._paths, self._config, self._columns, self.place)


class _Epoch:
    """What is left of the current epoch. An error does not end it."""

    def __init__(self, batches):
        self._batches = batches
        self._epoch = batches.place[0]

    def __iter__(self):
        return self

    def __next__(self):
        if self._batches.place[0] != self._epoch:
            raise StopIteration
        batch = self._batches.next()
        if batch is None:
            raise StopIteration
        return batch


def _plain(number):
    """numpy's numbers as Python's."""
    return number.item()


def _batches(paths, config, columns, place):
    config = dict(config)
    positional = [config.pop(key) for key in ("batch_clips", "seed", "rank", "ranks", "workers")]
    batches = Batches(paths, *positional, columns=columns, **config)
    batches._open(place)
    return batches
