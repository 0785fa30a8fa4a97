"""YAML graphs as iterators."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Iterator, Sequence

from . import _ajepa, _fork


class Pipeline:
    """The rows that would reach a graph's sink, as batches; nothing is written.

    path: the YAML. set: values laid over it, `["stages.mel.n_mels=96"]`. sink: the `id` of the sink whose rows are taken,
    where there are several. jobs: worker threads. part: `(i, n)`, every n-th unit from the i-th, for n processes.
    format: `"numpy"`, dicts of arrays and lists as `ShardDataset` has them, or `"arrow"`, `pyarrow.RecordBatch`.

    Every `iter` runs the graph from its beginning, on threads of the engine, at most a few batches ahead. Order and content
    are the same for any number of workers. A graph that does not fit together is a `ValueError` with line, column and cure,
    raised here; clips that cannot be used are counted in `report`.

    >>> for batch in Pipeline("examples/quickstart.yaml"):
    ...     print(batch["clip_id"][0], batch["mel"].shape)
    animals/bison (16, 512, 96)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        set: Sequence[str] = (),
        sink: str | None = None,
        jobs: int | None = None,
        part: tuple[int, int] | None = None,
        format: str = "numpy",
    ):
        if format not in ("numpy", "arrow"):
            raise ValueError(f"format = {format!r}: \"numpy\" or \"arrow\"")
        self._args = (Path(path), list(set), sink, jobs, part)
        self._format = format
        self.report: dict[str, Any] | None = None
        _ajepa.check(self._args[0], self._args[1], sink)

    def __iter__(self) -> Iterator[Any]:
        _fork.computes()
        run = _ajepa.Run(*self._args)
        try:
            while (rows := run.next()) is not None:
                yield self._formed(rows)
                _fork.computes()
        finally:
            if run.is_here():
                run.stop()
                report = run.report()
                self.report = None if report is None else json.loads(report)

    def _formed(self, rows):
        if self._format == "numpy":
            return rows.columns()
        import pyarrow as pa

        return pa.ipc.open_stream(pa.py_buffer(rows.ipc())).read_next_batch()
