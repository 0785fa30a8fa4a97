"""Waveforms on their way to Rust."""

import numpy as np


def mono_bytes(samples, rate_hz):
    """`samples` as the bytes of contiguous float32, and the rate as an int.

    Takes numpy arrays, lists and CPU tensors of torch, one channel of floats about [-1, 1].
    """
    array = np.asarray(samples)
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if array.ndim != 1:
        mix = f" (mix them first: samples.mean(axis={int(np.argmin(array.shape))}))" if array.ndim == 2 else ""
        raise ValueError(f"samples of shape {array.shape}: an array of one channel is needed{mix}")
    if array.dtype.kind in "iu":
        raise ValueError(f"samples of {array.dtype}: floats about [-1, 1] are needed (samples / {np.iinfo(array.dtype).max + 1})")
    if array.dtype.kind != "f":
        raise ValueError(f"samples of {array.dtype}: floats about [-1, 1] are needed")
    rate = int(rate_hz)
    if rate != rate_hz or rate <= 0 or rate > 0xFFFF_FFFF:
        raise ValueError(f"rate_hz = {rate_hz}: a whole number of Hz is needed, such as 32000")
    return np.ascontiguousarray(array, dtype=np.float32).tobytes(), rate
