"""Frozen encoders: from waveforms and files to vectors."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _ajepa, _fork
from ._samples import mono_bytes


class Encoder:
    """An encoder of a checkpoint behind the front end that it was trained with.

    Audio of any length is cut into windows as long as a training picture, the last one filled up; what is said of a window
    counts only the frames of tokens that hold sound. The numbers are those of `ajepa-pipe embed`.

    >>> encoder = Encoder.from_pretrained("out/model")
    >>> encoder(samples, rate_hz=44_100).shape        # 25 s
    (3, 768)
    """

    def __init__(self, path: str | os.PathLike[str], encoder: str | None = None, device: str = "cpu"):
        """See `from_pretrained`."""
        _fork.computes()
        self._args = (str(path), encoder, device)
        self._core = _ajepa.Encoder(Path(path), encoder, device)

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike[str], encoder: str | None = None, device: str = "cpu") -> Encoder:
        """Loads the checkpoint `path`, or the best one (by probe, else the newest) of the training in `path`.

        encoder: `"target"`, the moving average, or `"context"`; the average where there is one. device: `"cpu"`; `"cuda:0"` in a
        build with GPUs.
        """
        return cls(path, encoder, device)

    def __call__(self, audio: ArrayLike, rate_hz: int) -> NDArray[np.float32]:
        """A vector per window.

        audio: [n] floats about [-1, 1], mono, at `rate_hz` Hz; resampled when that is another rate than the encoder's.
        Returns float32 [windows, width].
        """
        return self._encode(audio, rate_hz, "windows")

    def clip(self, audio: ArrayLike, rate_hz: int) -> NDArray[np.float32]:
        """One vector: the mean over all frames that hold sound. float32 [width]."""
        return self._encode(audio, rate_hz, "clip")

    def frames(self, audio: ArrayLike, rate_hz: int) -> NDArray[np.float32]:
        """A vector per frame of tokens (mean over frequency), without those of padding. float32 [frames, width], `hop_s` apart."""
        return self._encode(audio, rate_hz, "frames")

    def tokens(self, audio: ArrayLike, rate_hz: int) -> NDArray[np.float32]:
        """All tokens of every window, row-major over the patch grid. float32 [windows, tokens, width]."""
        return self._encode(audio, rate_hz, "tokens")

    def _encode(self, audio, rate_hz, rows):
        _fork.computes()
        return self._core.encode(*mono_bytes(audio, rate_hz), rows)

    def embed(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        out: str | os.PathLike[str] | None = None,
        rows: str = "clip",
    ) -> dict[str, Any] | Path:
        """Embeds files, folders and tables (.csv, .parquet, .jsonl) of clips, on all cores.

        rows: `"clip"`, `"layers"`, `"windows"`, `"frames"` or `"tokens"`. Returns `{"clip_id": [...], "embedding": float32 [rows, width], ...}`; with
        `out` (.parquet or .npy) the file is written and kept, and its path is returned instead. Clips that cannot be read are left
        out: `last_report` has their number and the first of them (`reject_counts`, `first_rejects`).
        """
        _fork.computes()
        paths = [paths] if isinstance(paths, (str, os.PathLike)) else paths
        paths = [Path(path) for path in paths]
        if out is not None:
            self.last_report = json.loads(self._core.embed_to(paths, Path(out), rows))
            return Path(out)
        with tempfile.TemporaryDirectory(prefix="ajepa-") as folder:
            file = Path(folder) / "embeddings.parquet"
            self.last_report = json.loads(self._core.embed_to(paths, file, rows))
            return _ajepa.read_table(file)

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self._core.width

    @property
    def rate_hz(self) -> int:
        """Rate that audio is brought to, in Hz."""
        return self._core.rate_hz

    @property
    def window_s(self) -> float:
        """Seconds of a window."""
        return self._core.window_s

    @property
    def frames_per_window(self) -> int:
        """Frames of tokens in a window."""
        return self._core.frames_per_window

    @property
    def hop_s(self) -> float:
        """Seconds from one frame of tokens to the next."""
        return self.window_s / self.frames_per_window

    @property
    def digest(self) -> str:
        """Names the numbers of the checkpoint's encoders: equal weights, equal digest."""
        return self._core.digest

    def __reduce__(self):
        return Encoder, self._args

    def __repr__(self):
        return f"Encoder({self._args[0]!r}, width={self.width}, digest={self.digest})"
