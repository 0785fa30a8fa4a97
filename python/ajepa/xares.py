"""An encoder that X-ARES accepts.

X-ARES builds the one class of a file whose name ends in `Encoder`. One file per checkpoint:

    # enc/my_encoder.py
    from ajepa.xares import encoder_class
    MyEncoder = encoder_class("out/model", "MyEncoder")

    python -m xares.run --max-jobs 0 enc/my_encoder.py src/tasks/esc50_task.py

or, without a file, `AJEPA_CHECKPOINT=out/model python -m xares.run --max-jobs 0 ajepa/xares.py ...`. X-ARES keeps embeddings under the name of the class alone, so another checkpoint needs another name. torch is imported when a class is asked for.
"""

from __future__ import annotations

import os
from typing import Any, Callable

from . import encoder as _frozen

_MOST_S = 600


def encoder_class(
    checkpoint: str | os.PathLike[str] | Callable[[], str],
    name: str = "AudioJepaEncoder",
    encoder: str | None = None,
    device: str = "cpu",
) -> type[Any]:
    """A `torch.nn.Module` for X-ARES, built without arguments, that embeds by `checkpoint`.

    `forward`: float32 [clips, samples] or [samples] at `sampling_rate` Hz, up to ten minutes -> [clips, frames, output_dim], one
    vector every `hop_size_in_ms`. Windows do not overlap; the last one is filled up, and its frames behind the sound are left out.
    """
    import torch

    class _Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            path = checkpoint() if callable(checkpoint) else checkpoint
            self.frozen = _frozen.Encoder.from_pretrained(path, encoder, device)
            self.sampling_rate = self.frozen.rate_hz
            self.output_dim = self.frozen.width
            self.hop_size_in_ms = self.frozen.hop_s * 1000

        def forward(self, audio):
            audio = audio[None] if audio.ndim == 1 else audio
            if audio.ndim != 2:
                raise ValueError(f"audio of shape {tuple(audio.shape)}: [clips, samples] is needed")
            if audio.shape[1] > _MOST_S * self.sampling_rate:
                raise ValueError(f"audio of {audio.shape[1] / self.sampling_rate:.0f} s: at most {_MOST_S} s")
            clips = audio.detach().to("cpu", torch.float32).numpy()
            frames = [torch.from_numpy(self.frozen.frames(clip, self.sampling_rate)) for clip in clips]
            return torch.stack(frames).to(audio.device)

    _Encoder.__name__ = _Encoder.__qualname__ = name
    return _Encoder


def _named_checkpoint() -> str:
    path = os.environ.get("AJEPA_CHECKPOINT")
    if not path:
        raise ValueError("AJEPA_CHECKPOINT is not set: name the folder of a checkpoint or of a training")
    return path


def __dir__() -> list[str]:
    # X-ARES looks for the one name that ends in `Encoder`.
    return ["AudioJepaEncoder", "encoder_class"]


def __getattr__(name: str) -> Any:
    if name == "AudioJepaEncoder":
        made = encoder_class(_named_checkpoint, name)
        made.__module__ = __name__
        globals()[name] = made
        return made
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
