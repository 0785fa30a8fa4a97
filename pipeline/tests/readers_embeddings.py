"""Reads files of embeddings and an exported encoder with pyarrow, polars, DuckDB and numpy.

Usage: readers_embeddings.py FOLDER    with e.parquet, e.npy, frames.npy, tokens.parquet and exported/, written by it::embed.
"""

import csv
import json
import struct
import sys
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

WIDTH = 32


def safetensors(path: Path) -> dict[str, np.ndarray]:
    """The format by hand: length of a JSON header, the header, the numbers."""
    data = path.read_bytes()
    (n,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + n]), data[8 + n :]
    header.pop("__metadata__", None)
    tensors = {}
    for name, about in header.items():
        assert about["dtype"] == "F32"
        start, end = about["data_offsets"]
        tensors[name] = np.frombuffer(body[start:end], "<f4").reshape(about["shape"])
    try:
        from safetensors.numpy import load_file
    except ImportError:
        return tensors
    theirs = load_file(path)
    assert theirs.keys() == tensors.keys() and all(np.array_equal(theirs[k], tensors[k]) for k in theirs)
    return tensors


def main() -> None:
    root = Path(sys.argv[1])
    table = pq.read_table(root / "e.parquet")
    assert table.column("embedding").type == pa.list_(pa.field("item", pa.float32(), nullable=False), WIDTH)
    vectors = np.stack(table.column("embedding").to_numpy())
    assert vectors.shape == (2, WIDTH) and np.isfinite(vectors).all()
    assert table.column("clip_id").to_pylist() == ["a", "b"] and table.column("fold").to_pylist() == ["1", "2"]
    assert table.column("labels").to_pylist() == [["x", "y"], ["z"]]
    about = json.loads(pq.read_metadata(root / "e.parquet").metadata[b"ajepa.embeddings"])
    assert about["rows"] == 2 and about["rows_of"] == "clip" and about["shape"] == [WIDTH] and about["hop_s"] == 0.25

    frame = pl.read_parquet(root / "e.parquet")
    assert frame["embedding"].dtype == pl.Array(pl.Float32, WIDTH), frame["embedding"].dtype
    assert np.array_equal(frame["embedding"].to_numpy(), vectors)

    rows = duckdb.execute(f"SELECT clip_id, embedding[1] FROM '{root / 'e.parquet'}' WHERE list_contains(labels, 'z')").fetchall()
    assert rows == [("b", float(vectors[1, 0]))], rows

    assert np.array_equal(np.load(root / "e.npy"), vectors)
    lines = list(csv.DictReader((root / "e.csv").open()))
    assert [line["clip_id"] for line in lines] == ["a", "b"] and lines[0]["labels"] == "x;y" and lines[1]["fold"] == "2"

    frames, lines = np.load(root / "frames.npy", mmap_mode="r"), list(csv.DictReader((root / "frames.csv").open()))
    assert frames.shape == (len(lines), WIDTH) and frames.dtype == np.float32
    for at, clip_id in enumerate("ab"):
        of_clip = [row for row, line in zip(frames, lines) if line["clip_id"] == clip_id]
        assert np.allclose(np.mean(of_clip, axis=0), vectors[at], atol=1e-5)
    assert json.loads((root / "frames.json").read_text())["hop_s"] == 0.25

    tokens = np.stack(pq.read_table(root / "tokens.parquet").column("embedding").to_numpy())
    assert tokens.shape[1] == 8 * 4 * WIDTH

    weights = safetensors(root / "exported/model.safetensors")
    config = json.loads((root / "exported/config.json").read_text())
    assert weights["patch_embed.proj.weight"].shape == (WIDTH, 1, *config["patch_size"])
    assert weights["blocks.1.attn.Wqkv.weight"].shape == (3 * WIDTH, WIDTH)
    assert sum(w.size for w in weights.values()) == config["parameters"]
    print("versions:", pa.__version__, pl.__version__, duckdb.__version__, np.__version__)


if __name__ == "__main__":
    main()
