"""The training step of benches/step.rs in PyTorch eager, one step for each line on stdin: wall and CPU milliseconds on stdout.

Run by benches/step.rs, which takes turns with it. Written from the published recipe: pre-norm ViT, exact GELU, fused attention,
fused AdamW, the moving average by foreach.
"""

import argparse
import copy
import resource
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

SIZES = {"tiny": (192, 12, 3, 96, 6, 3, 16), "base": (768, 12, 12, 384, 6, 12, 4)}
ROWS, COLS, PATCH = 16, 8, 16
TOKENS, N_CONTEXT, BLOCKS, N_TARGET = ROWS * COLS, 64, 4, 16


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, n, w = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, n, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, w))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Encoder(nn.Module):
    def __init__(self, width, depth, heads):
        super().__init__()
        self.embed = nn.Conv2d(1, width, PATCH, PATCH)
        self.pos = nn.Parameter(torch.randn(1, TOKENS, width), requires_grad=False)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, pictures, seen=None):
        x = self.embed(pictures).flatten(2).transpose(1, 2) + self.pos
        if seen is not None:
            x = x.flatten(0, 1).index_select(0, seen).reshape(x.shape[0], -1, x.shape[2])
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class Predictor(nn.Module):
    def __init__(self, n_in, width, depth, heads):
        super().__init__()
        self.embed, self.project = nn.Linear(n_in, width), nn.Linear(width, n_in)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos = nn.Parameter(torch.randn(TOKENS, width), requires_grad=False)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, context, context_at, target_at):
        b, k, _ = context.shape
        seen = self.embed(context) + self.pos[context_at]
        seen = seen[:, None].expand(-1, BLOCKS, -1, -1).reshape(b * BLOCKS, k, -1)
        asked = self.mask_token + self.pos[target_at].reshape(b * BLOCKS, N_TARGET, -1)
        x = torch.cat([seen, asked], 1)
        for block in self.blocks:
            x = block(x)
        return self.project(self.norm(x)[:, k:])


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("size", choices=SIZES)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--embed", action="store_true", help="the encoder alone, forward")
    chosen = arguments.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(chosen.threads)
    width, depth, heads, p_width, p_depth, p_heads, batch = SIZES[chosen.size]
    encoder, predictor = Encoder(width, depth, heads), Predictor(width, p_width, p_depth, p_heads)
    average = copy.deepcopy(encoder).requires_grad_(False)
    trained = [p for part in (encoder, predictor) for p in part.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), fused=True)
    followed = [p for p in encoder.parameters() if p.requires_grad]
    following = [a for a, p in zip(average.parameters(), encoder.parameters()) if p.requires_grad]
    clip = torch.arange(batch)[:, None] * TOKENS

    def step(pictures, order):
        context_at, target_at = order[:, :N_CONTEXT], order[:, N_CONTEXT:]
        with torch.no_grad():
            targets = average(pictures).flatten(0, 1).index_select(0, (target_at + clip).flatten())
            targets = (targets - targets.mean(-1, keepdim=True)) / (targets.var(-1, keepdim=True) + 1e-6).sqrt()
        context = encoder(pictures, (context_at + clip).flatten())
        predictions = predictor(context, context_at, target_at)
        loss = F.mse_loss(predictions.reshape(targets.shape), targets)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(following, followed, 1 - 0.996)
        return loss.item()

    for line in sys.stdin:
        pictures = torch.randn(batch, 1, ROWS * PATCH, COLS * PATCH)
        order = torch.stack([torch.randperm(TOKENS) for _ in range(batch)])
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        if chosen.embed:
            with torch.inference_mode():
                average(pictures)
        else:
            step(pictures, order)
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"{1e3 * wall:.2f} {1e3 * cpu:.2f}", flush=True)


if __name__ == "__main__":
    main()
