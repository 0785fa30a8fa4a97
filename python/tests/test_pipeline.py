import threading

import ajepa
import numpy as np
import pyarrow as pa
import pytest
from conftest import ROOT, graph


def test_the_rows_are_those_of_the_shards(low_yaml, shards):
    ds = ajepa.ShardDataset(shards)
    for jobs in (1, 4):
        pipeline = ajepa.Pipeline(low_yaml, jobs=jobs)
        row = 0
        for batch in pipeline:
            for clip_id, mel, offset_s in zip(batch["clip_id"], batch["mel"], batch["offset_s"]):
                assert (clip_id, offset_s) == (ds[row]["clip_id"], ds[row]["offset_s"])
                np.testing.assert_array_equal(mel.view(np.uint16), ds[row]["mel"].view(np.uint16))
                row += 1
        assert row == len(ds)
        assert pipeline.report["outcome"] == "done"
    assert not (ROOT / "out" / "low").exists()


def test_pyarrow_gets_record_batches(low_yaml):
    whole = list(ajepa.Pipeline(low_yaml, format="arrow"))
    assert all(isinstance(batch, pa.RecordBatch) for batch in whole)
    as_numpy = next(iter(ajepa.Pipeline(low_yaml)))
    np.testing.assert_array_equal(whole[0].column("mel").to_numpy_ndarray(), as_numpy["mel"])


def test_it_can_be_left_and_begun_again(low_yaml):
    before = threading.active_count()
    pipeline = ajepa.Pipeline(low_yaml, set=["stages.mel.n_mels=16"])
    first = [next(iter(pipeline))["mel"] for _ in range(3)]
    assert first[0].shape[1:] == (64, 16)
    np.testing.assert_array_equal(first[0], first[2])
    assert threading.active_count() == before


def test_parts_are_disjoint(low_yaml, shards):
    ids = [[], []]
    for number in (0, 1):
        for batch in ajepa.Pipeline(low_yaml, part=(number, 2)):
            ids[number] += batch["clip_id"]
    assert ids[0] and ids[1] and not set(ids[0]) & set(ids[1])
    assert len(ids[0]) + len(ids[1]) == len(ajepa.ShardDataset(shards))


def test_faults_say_line_and_cure(tmp_path, low_yaml):
    with pytest.raises(ValueError, match="n_mels") as caught:
        ajepa.Pipeline(graph(tmp_path, "{ type: decode }", "{ type: log_mel, preset: base-2026, n_mel: 3 }"))
    assert "graph-0.yaml:4" in str(caught.value)
    with pytest.raises(ValueError, match="no sink"):
        ajepa.Pipeline(low_yaml, sink="model")
    with pytest.raises(ValueError, match="no such file"):
        ajepa.Pipeline(tmp_path / "none.yaml")
    missing = graph(tmp_path, "{ type: decode }")
    missing.write_text(missing.read_text().replace("datasets/sample", "datasets/nowhere"))
    with pytest.raises(ValueError, match="nowhere"):
        list(ajepa.Pipeline(missing))
    failing = graph(tmp_path, "{ type: decode, max_seconds: 0.001 }")
    failing.write_text(failing.read_text() + "\non_error: { policy: fail }\n")
    with pytest.raises(ajepa.AjepaError):
        list(ajepa.Pipeline(failing))
