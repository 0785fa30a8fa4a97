"""Audio-JEPA from Python: log-mel front ends, memory-mapped shards as batches, frozen encoders, and YAML graphs.

>>> import ajepa, numpy as np
>>> mel = ajepa.MelFrontend("code-225b816")
>>> mel(np.zeros(320_000, np.float32), rate_hz=32_000).shape
(512, 96)

Whatever computes or waits lets go of the GIL. Faults are exceptions that say the cure: `ValueError` for arguments and configs,
`AjepaError` for files that are damaged and runs that failed.
"""

from ._ajepa import AjepaError, __version__
from .data import Batches, ShardDataset
from .encoder import Encoder
from .mel import MelFrontend
from .pipeline import Pipeline

__all__ = ["AjepaError", "Batches", "Encoder", "MelFrontend", "Pipeline", "ShardDataset", "__version__"]
