"""An Audio-JEPA encoder in PyTorch. One file that needs torch alone; `ajepa-pipe checkpoint export` writes it beside the weights.

    from audio_jepa import AudioJepaEncoder

    encoder = AudioJepaEncoder.from_pretrained("folder")
    vectors = encoder.embed(audio)           # [clips, samples] at encoder.rate_hz -> [clips, width]
    frames = encoder.frames(audio)           # -> [clips, frames, width], the mean over frequency
    tokens = encoder(encoder.pictures(audio))  # -> [clips, tokens, width], row-major over the grid of patches

Audio longer than a picture is cut into pictures, one after another; the last is filled up with silence, which is left out of
`frames` and `embed`. Resample before: nothing here does.
"""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class Attention(nn.Module):
    def __init__(self, width, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.Wqkv = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x, turn):
        clips, tokens, width = x.shape
        q, k, v = self.Wqkv(x).reshape(clips, tokens, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        if turn is not None:
            q, k = rotated(q, *turn), rotated(k, *turn)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(mixed.transpose(1, 2).reshape(clips, tokens, width))


class Mlp(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width, hidden, n_heads, eps):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps)
        self.attn = Attention(width, n_heads)
        self.norm2 = nn.LayerNorm(width, eps)
        self.mlp = Mlp(width, hidden)

    def forward(self, x, turn):
        x = x + self.attn(self.norm1(x), turn)
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, width, patch):
        super().__init__()
        self.proj = nn.Conv2d(1, width, patch, patch)

    def forward(self, pictures):
        return self.proj(pictures.unsqueeze(1))


class AudioJepaEncoder(nn.Module):
    """Pictures to tokens, and audio to pictures where the front end is one that this file knows."""

    def __init__(self, config):
        super().__init__()
        width, n_heads, eps = config["hidden_size"], config["num_attention_heads"], config["layer_norm_eps"]
        self.config = config
        self.width = width
        self.patch_embed = PatchEmbed(width, tuple(config["patch_size"]))
        blocks = (Block(width, config["intermediate_size"], n_heads, eps) for _ in range(config["num_hidden_layers"]))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width, eps)
        made_by = config.get("input") or {}
        self.level = made_by.get("level")
        self.mel = LogMel(made_by["mel"]) if made_by.get("mel") else None
        self.standardize = made_by.get("standardize")
        self.rate_hz = self.mel.n["rate_hz"] if self.mel else None

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """The encoder of an exported folder, ready for inference."""
        folder = Path(folder)
        encoder = cls(json.loads((folder / "config.json").read_text()))
        encoder.load_state_dict(read_safetensors(folder / "model.safetensors"))
        return encoder.to(device).eval().requires_grad_(False)

    def forward(self, pictures):
        """[clips, rows, cols] -> [clips, tokens, width]; any picture that divides into patches."""
        x = self.patch_embed(pictures)
        rows, cols = x.shape[2:]
        x = x.flatten(2).transpose(1, 2)
        positions, turn = self.config["positions"], None
        if positions == "rope_2d":
            head = self.width // self.config["num_attention_heads"]
            turn = [table.to(x) for table in rotations(rows, cols, head)]
        else:
            x = x + sin_cos(rows, cols, self.width, positions).to(x)
        for block in self.blocks:
            x = block(x, turn)
        return self.norm(x)

    def pictures(self, audio):
        """[clips, samples], at most as many as a picture holds -> [clips, rows, cols]."""
        if self.mel is None:
            problem = (self.config.get("input") or {}).get("problem", "config.json does not say what made its pictures")
            raise ValueError(f"this file cannot make pictures: {problem}")
        return self.pictures_of_leveled(leveled(audio, self.level))

    def pictures_of_leveled(self, audio):
        n_valid = self.mel.n_valid(audio.shape[-1])
        audio = F.pad(audio, (0, max(0, self.mel.n["n_samples"] - audio.shape[-1])))
        pictures = self.mel(audio)
        if self.standardize:
            pictures = standardized(pictures, self.standardize, self.mel.n["axes"] == "time_mel", n_valid)
        return pictures.to(self.norm.weight.dtype)

    def frames(self, audio):
        """[clips, samples] of one length -> [clips, frames, width]: tokens averaged over frequency, without those of silence behind
        the end."""
        if self.mel is None:
            return self.pictures(audio)
        n_window = self.mel.n["n_samples"]
        parts = []
        # A clip is leveled whole, before it is cut and filled up.
        for window in leveled(audio, self.level).split(n_window, -1):
            pictures = self.pictures_of_leveled(window)
            tokens = self(pictures)
            grid = [n // p for n, p in zip(pictures.shape[1:], self.config["patch_size"])]
            tokens = tokens.unflatten(1, grid)
            frames = tokens.mean(2 if self.config["time_axis"] == "rows" else 1)
            n_valid = math.ceil(window.shape[-1] / n_window * frames.shape[1] - 1e-6)
            parts.append(frames[:, : max(1, n_valid)])
        return torch.cat(parts, 1)

    def embed(self, audio):
        """[clips, samples] of one length -> [clips, width]."""
        return self.frames(audio).mean(1)


class LogMel(nn.Module):
    """Kaldi's log-mel, or the one of a centred STFT in decibels; the numbers are config.json's."""

    def __init__(self, numbers):
        super().__init__()
        self.n = numbers
        self.is_kaldi = numbers["kind"] == "kaldi"
        window = window_of(numbers["window"], numbers["window_len"])
        if not self.is_kaldi:
            window = window / window.square().sum().sqrt()
            before = (numbers["n_fft"] - numbers["window_len"]) // 2
            window = F.pad(window, (before, numbers["n_fft"] - numbers["window_len"] - before))
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", filters_of(numbers), persistent=False)

    def _apply(self, fn, recurse=True):
        # Tables follow to another device, and stay in double precision.
        window, filters = self.window, self.filters
        super()._apply(fn, recurse)
        self.window, self.filters = window.to(self.window.device), filters.to(self.filters.device)
        return self

    def n_valid(self, n_samples):
        """Frames of a picture that see at least one of the first samples."""
        n = self.n
        n_samples = min(n_samples, n["n_samples"] or n_samples)
        n_held = n["n_samples"] or n_samples
        if self.is_kaldi:
            lead, n_real = 0, 1 + (n_held - n["window_len"]) // n["hop_len"]
        else:
            lead, n_real = n["n_fft"] // 2 - (n["n_fft"] - n["window_len"]) // 2, 1 + n_held // n["hop_len"]
        return min(-(-(n_samples + lead) // n["hop_len"]), n_real, n["n_frames"] or n_real)

    def forward(self, audio):
        n = self.n
        audio = audio.to(self.window.device).double()
        if n["n_samples"]:
            audio = F.pad(audio[..., : n["n_samples"]], (0, max(0, n["n_samples"] - audio.shape[-1])))
        if self.is_kaldi:
            frames = audio.unfold(-1, n["window_len"], n["hop_len"])
            frames = frames - frames.mean(-1, keepdim=True)
            frames = frames - 0.97 * torch.cat([frames[..., :1], frames[..., :-1]], -1)
        else:
            half = n["n_fft"] // 2
            audio = F.pad(audio.unsqueeze(1), (half, half), mode="reflect").squeeze(1)
            frames = audio.unfold(-1, n["n_fft"], n["hop_len"])
        power = torch.fft.rfft(frames * self.window, n["n_fft"]).abs().square()
        energy = (power[..., : self.filters.shape[0]] @ self.filters).clamp_min(n["energy_floor"])
        picture = energy.log() if self.is_kaldi else 10 * energy.log10()
        if n["n_frames"]:
            missing = max(0, n["n_frames"] - picture.shape[1])
            picture = F.pad(picture[:, : n["n_frames"]], (0, 0, 0, missing), value=n["pad_value"])
        return picture if n["axes"] == "time_mel" else picture.transpose(1, 2)


def standardized(pictures, rule, is_time_mel, n_valid):
    """The stage `standardize`, per picture; what is measured is so over the frames that see sound, and every cell is mapped."""
    frames, mels = (1, 2) if is_time_mel else (2, 1)
    if rule["mode"] == "global":
        mean, std = (torch.tensor(rule[key], dtype=pictures.dtype, device=pictures.device) for key in ("mean", "std"))
        if not is_time_mel:
            mean, std = mean[:, None], std[:, None]
    else:
        valid = pictures.narrow(frames, 0, n_valid)
        over = frames if rule["mode"] == "clip_per_mel" else (frames, mels)
        mean, std = valid.mean(over, keepdim=True), valid.std(over, correction=0, keepdim=True)
    return (pictures - mean) / std.clamp_min(rule["min_std"])


def leveled(audio, level):
    """The rule of `normalize`, per clip; silence stays silence."""
    if level is None:
        return audio
    audio = audio - audio.mean(-1, keepdim=True)
    if level == "mean":
        return audio
    peak = audio.abs().amax(-1, keepdim=True)
    return torch.where(peak > 0, audio / peak.clamp_min(1e-30) + 1e-6, torch.zeros_like(audio))


def window_of(name, n):
    x = torch.arange(n, dtype=torch.float64) / (n if name == "hann_periodic" else max(1, n - 1))
    hann = 0.5 - 0.5 * torch.cos(2 * math.pi * x)
    if name in ("hann", "hann_periodic"):
        return hann
    if name == "povey":
        return hann.clamp_min(0) ** 0.85
    if name == "hamming":
        return 0.54 - 0.46 * torch.cos(2 * math.pi * x)
    if name == "blackman":
        return 0.42 - 0.5 * torch.cos(2 * math.pi * x) + 0.08 * torch.cos(4 * math.pi * x)
    return torch.ones(n, dtype=torch.float64)


def filters_of(n):
    """[bins, bands]: triangles evenly spaced in mel; straight over mel (Kaldi, without the Nyquist bin) or over frequency."""

    def mel(hz):
        return 1127.0 * torch.log1p(hz / 700.0)

    half = n["n_fft"] // 2
    low, high = (mel(torch.tensor(float(n[key]), dtype=torch.float64)) for key in ("low_hz", "high_hz"))
    edges = low + torch.arange(n["n_mels"] + 2, dtype=torch.float64) * (high - low) / (n["n_mels"] + 1)
    if n["kind"] == "kaldi":
        bins = mel(torch.arange(half, dtype=torch.float64) * n["rate_hz"] / n["n_fft"])
    else:
        edges = 700.0 * torch.expm1(edges / 1127.0)
        bins = (n["rate_hz"] // 2) * torch.arange(half + 1, dtype=torch.float64) / half
    left, peak, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - left) / (peak - left)
    falling = (right - bins[:, None]) / (right - peak)
    return torch.minimum(rising, falling).clamp_min(0)


def angles(place, n):
    return place[:, None] * 10000.0 ** (-torch.arange(n, dtype=torch.float64) / n)


def places(rows, cols):
    """Row and column of each token."""
    token = torch.arange(rows * cols, dtype=torch.float64)
    return torch.div(token, cols, rounding_mode="floor"), token % cols


def sin_cos(rows, cols, width, order):
    row, col = (angles(place, width // 4) for place in places(rows, cols))
    if order == "sin_cos_timm":
        parts = [row.sin(), col.sin(), row.cos(), col.cos()]
    else:
        parts = [col.sin(), col.cos(), row.sin(), row.cos()]
    return torch.cat(parts, 1).float()


def rotations(rows, cols, head):
    row, col = (angles(place, head // 4) for place in places(rows, cols))
    turn = torch.cat([col, row], 1)
    return turn.cos().float(), turn.sin().float()


def rotated(x, cos, sin):
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)


def read_safetensors(path):
    """All tensors of a file by name: eight bytes with the header's length, the header in JSON, the numbers."""
    data = bytearray(Path(path).read_bytes())
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype, (at, end) = DTYPES[entry["dtype"]], entry["data_offsets"]
        count = math.prod(entry["shape"])
        if (end - at) != count * dtype.itemsize or begin + end > len(data):
            raise ValueError(f"{path}: {name} does not fit the file")
        tensors[name] = torch.frombuffer(data, dtype=dtype, count=count, offset=begin + at).reshape(entry["shape"]).clone()
    return tensors
