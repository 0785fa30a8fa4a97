"""Log-mel pictures of waveforms."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _ajepa
from ._samples import mono_bytes


class MelFrontend:
    """The stage `log_mel` as a function of numpy arrays: the same numbers, to the last bit.

    `preset` is `"paper-2025"`, `"code-225b816"` or `"base-2026"`; fields override it, or do without one:
    `MelFrontend(rate_hz=16000, n_mels=80, frame_shift_ms=10, frame_length_ms=25)`. `ajepa-pipe stages log_mel` lists
    them with units and ranges. It can be pickled and called from several threads.

    >>> import numpy as np
    >>> mel = MelFrontend("base-2026")
    >>> picture = mel(np.zeros(160_000, np.float32), rate_hz=16_000)
    >>> picture.shape, mel.axes
    ((128, 256), ('mels', 'frames'))
    """

    def __init__(self, preset: str | None = None, **fields: Any):
        self._config = json.dumps({**({} if preset is None else {"preset": preset}), **fields})
        self._core = _ajepa.FrontEnd(self._config)

    def __call__(self, samples: ArrayLike, rate_hz: int) -> NDArray[np.float32]:
        """The picture of one clip.

        samples: [n] floats about [-1, 1], mono; resampled (as the stage `resample` does) when `rate_hz`, their rate in Hz,
        is not the front end's. Returns float32 [frames, mels], or [mels, frames]: see `axes`. Natural logarithm of energy
        (Kaldi's form) or decibels (`base-2026`).
        """
        return self.with_frames(samples, rate_hz)[0]

    def with_frames(self, samples: ArrayLike, rate_hz: int) -> tuple[NDArray[np.float32], int]:
        """The picture, and how many of its frames see a sample of the clip; those behind them are padding."""
        return self._core.picture(*mono_bytes(samples, rate_hz))

    @property
    def rate_hz(self) -> int:
        """Rate that it works at, in Hz."""
        return self._core.rate_hz

    @property
    def shape(self) -> tuple[int | None, int | None]:
        """Shape of a picture; `None` for frames with `extent="clip"`."""
        return self._core.shape

    @property
    def axes(self) -> tuple[str, str]:
        """Names of the axes, in order."""
        return self._core.axes

    @property
    def frame_s(self) -> float:
        """Seconds from one frame to the next."""
        return self._core.frame_s

    @property
    def floor(self) -> float:
        """The value of silence."""
        return self._core.floor

    @property
    def mel_centres_hz(self) -> list[float]:
        """Peak of every band, in Hz."""
        return self._core.mel_centres_hz

    def __reduce__(self):
        return _front_end, (self._config,)

    def __repr__(self):
        return f"MelFrontend({self._config})"


def _front_end(config):
    return MelFrontend(**json.loads(config))
