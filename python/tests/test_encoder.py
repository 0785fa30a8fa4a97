import pickle

import ajepa
import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import graph, run

CLIPS = ["datasets/sample/animals", "datasets/sample/music"]


@pytest.fixture(scope="module")
def encoder(model):
    return ajepa.Encoder.from_pretrained(model)


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    """Decoded clips by their id in the folder of samples."""
    found = {}
    for batch in ajepa.Pipeline(graph(tmp_path_factory.mktemp("audio"), "{ type: decode }")):
        found.update(zip(batch["clip_id"], batch["audio"]))
    return found


@pytest.mark.parametrize("rows, flag", [("clip", []), ("windows", ["--windows"]), ("frames", ["--frames"])])
def test_arrays_files_and_the_program_agree_to_the_last_bit(encoder, model, audio, tmp_path, rows, flag):
    out = tmp_path / "program.parquet"
    run("embed", "-c", model, "-o", out, *flag, *CLIPS)
    table = pq.read_table(out)
    want = np.stack(table["embedding"].to_numpy()) if rows else None
    got = encoder.embed(CLIPS, rows=rows)
    assert got["clip_id"] == table["clip_id"].to_pylist()
    np.testing.assert_array_equal(got["embedding"], want)
    assert encoder.last_report is not None
    by_array = []
    for clip_id in dict.fromkeys(got["clip_id"]):
        clip = audio[clip_id.removeprefix("datasets/sample/")]
        call = {"clip": encoder.clip, "windows": encoder, "frames": encoder.frames}[rows]
        by_array.append(np.atleast_2d(call(clip["samples"], clip["rate_hz"])))
    np.testing.assert_array_equal(np.concatenate(by_array), want)


def test_it_says_what_it_is(encoder, model, tmp_path):
    assert (encoder.width, encoder.rate_hz, encoder.window_s, encoder.frames_per_window) == (96, 16_000, 2.0, 20)
    assert encoder.hop_s == pytest.approx(0.1)
    tone = np.sin(np.arange(80_000) / 20).astype(np.float32)
    assert encoder(tone, 16_000).shape == (3, 96)
    assert encoder.frames(tone, 16_000).shape == (50, 96)
    assert encoder.tokens(tone, 16_000).shape == (3, 20 * 4, 96)
    assert encoder.clip(tone, 16_000).shape == (96,)
    copy = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(copy.clip(tone, 16_000), encoder.clip(tone, 16_000))
    assert copy.digest == encoder.digest and len(encoder.digest) == 16
    context = ajepa.Encoder.from_pretrained(model, encoder="context")
    assert not np.array_equal(context.clip(tone, 16_000), encoder.clip(tone, 16_000))
    path = encoder.embed(CLIPS[0], out=tmp_path / "kept.npy")
    assert np.load(path).shape[1] == 96


def test_what_does_not_fit_is_said(encoder, tmp_path):
    with pytest.raises(ajepa.AjepaError):
        ajepa.Encoder.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="target"):
        ajepa.Encoder.from_pretrained(tmp_path, encoder="teacher")
    with pytest.raises(ValueError, match="cuda"):
        ajepa.Encoder.from_pretrained(encoder._args[0], device="cuda:0")
    with pytest.raises(ValueError, match="no samples"):
        encoder(np.zeros(0), 16_000)
    with pytest.raises(ValueError, match="clip, layers, windows"):
        encoder.embed(CLIPS, rows="rows")
    with pytest.raises(ValueError, match="no such file"):
        encoder.embed("nowhere.wav")


def test_xares_gets_what_it_wants(encoder, model, monkeypatch):
    torch = pytest.importorskip("torch")
    import ajepa.xares

    assert [name for name in dir(ajepa.xares) if name.endswith("Encoder")] == ["AudioJepaEncoder"]
    monkeypatch.setenv("AJEPA_CHECKPOINT", str(model))
    made = ajepa.xares.AudioJepaEncoder()
    assert isinstance(made, torch.nn.Module) and type(made).__name__ == "AudioJepaEncoder"
    assert (made.sampling_rate, made.output_dim, made.hop_size_in_ms) == (16_000, 96, pytest.approx(100.0))
    audio = torch.randn(2, 50_000)
    out = made(audio)
    assert out.shape == (2, 32, 96) and out.dtype == torch.float32
    np.testing.assert_array_equal(out[1].numpy(), encoder.frames(audio[1].numpy(), 16_000))
    assert made(audio[0]).shape == (1, 32, 96)
