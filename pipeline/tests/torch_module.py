"""What the exported module makes of a picture and of audio.

    python torch_module.py FOLDER PICTURE AUDIO OUT

PICTURE and AUDIO are raw f32; OUT gets tokens.f32, picture.f32 (of the audio's first window) and vector.f32.
"""

import importlib.util
import sys
from pathlib import Path

import torch

folder, picture, audio, out = map(Path, sys.argv[1:])
spec = importlib.util.spec_from_file_location("audio_jepa", folder / "audio_jepa.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)


def read(path):
    return torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.float32)


def write(name, tensor):
    (out / name).write_bytes(tensor.float().contiguous().numpy().tobytes())


encoder = module.AudioJepaEncoder.from_pretrained(folder)
write("tokens.f32", encoder(read(picture).reshape(1, *encoder.config["image_size"])))
audio = read(audio)[None]
write("picture.f32", encoder.pictures(audio[:, : encoder.mel.n["n_samples"]]))
write("vector.f32", encoder.embed(audio))
