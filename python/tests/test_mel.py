import pickle
from concurrent.futures import ThreadPoolExecutor

import ajepa
import numpy as np
import pytest
from conftest import graph


def rows(path, column):
    found = {}
    for batch in ajepa.Pipeline(path):
        found.update(zip(batch["clip_id"], batch[column]))
    return found


@pytest.mark.parametrize("preset, rate_hz", [("code-225b816", 32_000), ("paper-2025", 32_000), ("base-2026", 16_000)])
def test_the_numbers_are_those_of_the_stage(tmp_path, preset, rate_hz):
    pictures = rows(
        graph(tmp_path, "{ type: decode }", f"{{ type: resample, rate_hz: {rate_hz} }}", f"{{ type: log_mel, preset: {preset} }}"),
        "mel",
    )
    audio = rows(graph(tmp_path, "{ type: decode }"), "audio")
    assert len(pictures) == len(audio) == 45
    mel = ajepa.MelFrontend(preset)
    for clip_id, clip in audio.items():
        assert clip["channels"] == 1
        # As the file has it: the front end resamples.
        np.testing.assert_array_equal(mel(clip["samples"], clip["rate_hz"]), pictures[clip_id])


def test_a_front_end_says_what_it_is():
    mel = ajepa.MelFrontend("base-2026")
    assert (mel.rate_hz, mel.shape, mel.axes, mel.floor) == (16_000, (128, 256), ("mels", "frames"), -100.0)
    picture, n_valid = mel.with_frames(np.zeros(16_000), 16_000)
    assert picture.shape == (128, 256) and picture.dtype == np.float32 and picture.flags.writeable
    assert 25 < n_valid < 32 and (picture == -100.0).all()
    assert len(mel.mel_centres_hz) == 128
    clip = ajepa.MelFrontend(rate_hz=16_000, extent="clip")
    assert clip.shape == (None, 80) and clip(np.ones(16_000, np.float32), 16_000).shape == (98, 80)


def test_it_is_pickled_and_called_from_threads():
    noise = np.random.default_rng(0).standard_normal((8, 160_000)).astype(np.float32)
    mel = pickle.loads(pickle.dumps(ajepa.MelFrontend("base-2026", n_mels=64)))
    alone = [mel(clip, 16_000) for clip in noise]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda clip: mel(clip, 16_000), noise))
    assert alone[0].shape == (64, 256)
    np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: ajepa.MelFrontend("base-2027"), "base-2026"),
        (lambda: ajepa.MelFrontend("base-2026", n_mel=3), "n_mels"),
        (lambda: ajepa.MelFrontend("base-2026", n_mels=0), "n_mels"),
        (lambda: ajepa.MelFrontend("base-2026", n_mels="80"), "^n_mels: invalid type: string"),
        (lambda: ajepa.MelFrontend(), "rate_hz"),
        (lambda: ajepa.MelFrontend("base-2026")(np.zeros((2, 9)), 16_000), "mean"),
        (lambda: ajepa.MelFrontend("base-2026")(np.zeros(9, np.int16), 16_000), "32768"),
        (lambda: ajepa.MelFrontend("base-2026")(np.full(999, np.nan), 16_000), "0"),
        (lambda: ajepa.MelFrontend("base-2026")(np.zeros(0), 16_000), "no samples"),
        (lambda: ajepa.MelFrontend("base-2026")(np.zeros(9), 16_000.5), "whole number"),
        (lambda: ajepa.MelFrontend("base-2026")(np.zeros(9), 7), "sample rate"),
    ],
)
def test_what_does_not_fit_is_said_with_its_cure(make, words):
    with pytest.raises(ValueError, match=words):
        make()
