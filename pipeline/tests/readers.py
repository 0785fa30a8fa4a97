"""Reads shard sets with pyarrow, polars and DuckDB, and compares them with the formula that the Rust test wrote.

Usage: readers.py FOLDER    with f16/, f32/ and zstd/ in it, written by shard::tests::readers.
"""

import json
import sys
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

FRAMES, MELS = 64, 96


def mel(clip: int) -> np.ndarray:
    at = np.arange(FRAMES * MELS, dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = (np.uint64(clip) << np.uint64(20) | at) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    noise = (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
    bins = (at % np.uint64(MELS)).astype(np.float32) / np.float32(48)
    value = np.float32(-8) + np.float32(6) * noise + bins
    return value.astype(np.float16).reshape(FRAMES, MELS)


def check_pyarrow(folder: Path, dtype: type) -> int:
    manifest = json.loads((folder / "manifest.json").read_text())
    n_rows = 0
    for part in manifest["parts"]:
        table = pa.ipc.open_file(pa.memory_map(str(folder / part["file"]))).read_all()
        table.validate(full=True)
        column = table.column("mel")
        assert isinstance(column.type, pa.FixedShapeTensorType), column.type
        assert column.type.shape == [FRAMES, MELS] and column.type.dim_names == ["frames", "mels"]
        tensor = np.concatenate([chunk.to_numpy_ndarray() for chunk in column.chunks])
        assert tensor.dtype == dtype and tensor.shape == (part["rows"], FRAMES, MELS)
        ids = table.column("clip_id").to_pylist()
        for row, (clip_id, labels) in enumerate(zip(ids, table.column("labels").to_pylist())):
            clip = int(clip_id.removeprefix("clip-"))
            assert np.array_equal(tensor[row].astype(np.float16), mel(clip)), clip_id
            assert labels == (None if clip % 3 == 0 else [f"label {i}" for i in range(clip % 3)])
        n_rows += table.num_rows
    assert n_rows == manifest["rows"] == 75
    stats = manifest["tensors"][0]
    assert len(stats["mean"]) == MELS and -7 < stats["mean"][0] < -3 and 2 < stats["variance"][0] < 4
    return n_rows


def check_polars(folder: Path, dtype: type) -> int:
    frame = pl.concat([pl.read_ipc(path) for path in sorted(folder.glob("part-*.arrow"))])
    storage = frame["mel"].ext.storage()
    number = pl.Float16 if dtype is np.float16 else pl.Float32
    assert storage.dtype == pl.Array(number, FRAMES * MELS), storage.dtype
    values = storage.to_numpy()
    for row, clip_id in enumerate(frame["clip_id"]):
        clip = int(clip_id.removeprefix("clip-"))
        assert np.array_equal(values[row].astype(np.float16), mel(clip).ravel()), clip_id
        assert frame["labels"].to_list()[row] == (None if clip % 3 == 0 else [f"label {i}" for i in range(clip % 3)])
    assert frame.height == 75
    return frame.height


def check_duckdb(folder: Path, dtype: type) -> int:
    tables = [pa.ipc.open_file(str(path)).read_all() for path in sorted(folder.glob("part-*.arrow"))]
    table = pa.concat_tables(tables)
    if dtype is np.float16:
        table = table.drop_columns(["mel"])
        what = "NULL"
    else:
        column = table.column("mel").combine_chunks()
        storage = column.storage if isinstance(column, pa.ExtensionArray) else pa.concat_arrays([c.storage for c in column.chunks])
        table = table.set_column(table.schema.get_field_index("mel"), "mel", storage)
        what = "mel[1]"
    connection = duckdb.connect()
    connection.register("shards", table)
    query = f"SELECT clip_id, {what} FROM shards WHERE list_contains(labels, 'label 1') ORDER BY clip_id"
    found = connection.execute(query).fetchall()
    clips = [clip for unit, n in ((0, 70), (1, 5)) for clip in range(unit * 1000, unit * 1000 + n) if clip % 3 == 2]
    assert [int(row[0].removeprefix("clip-")) for row in found] == clips
    if dtype is np.float32:
        assert all(row[1] == float(mel(clip)[0, 0]) for row, clip in zip(found, clips))
    return len(found)


def main() -> None:
    root = Path(sys.argv[1])
    for name, dtype in (("f16", np.float16), ("f32", np.float32), ("zstd", np.float16)):
        for check in (check_pyarrow, check_polars, check_duckdb):
            print(f"{name}: {check.__name__} ok, {check(root / name, dtype)} rows")
    print("versions:", pa.__version__, pl.__version__, duckdb.__version__)


if __name__ == "__main__":
    main()
