"""The training step of bench/gpu.py in PyTorch: bf16 by autocast with f32 parameters, flash attention, fused AdamW, eager and compiled.

A line of JSON a result on stdout. Without PyTorch or a GPU it says so and ends well. Written from the published recipe, as
model/benches/step_torch.py, from which the model is taken.
"""
import argparse
import copy
import importlib.util
import json
import sys
import time
from pathlib import Path


def say(**result):
    print(json.dumps(result), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", default="base")
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    if importlib.util.find_spec("torch") is None:
        say(words="it is not here: nothing to compare with")
        return
    import torch
    import torch.nn.functional as F

    if not torch.cuda.is_available():
        say(words="it sees no GPU: nothing to compare with")
        return
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "model/benches"))
    import step_torch as model

    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = True
    device = torch.device("cuda")
    x = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
    peak = 2 * 8192**3 / timed(torch, lambda: x @ x, 10) / 1e12
    say(peak=peak)
    del x

    tokens, seen_n = model.TOKENS, 64
    width, depth, heads, p_width, p_depth, p_heads, _ = model.SIZES[args.size]
    model.BLOCKS, model.N_TARGET = 1, tokens - seen_n

    def make(compiled):
        with torch.device(device):
            encoder, predictor = model.Encoder(width, depth, heads), model.Predictor(width, p_width, p_depth, p_heads)
            average = copy.deepcopy(encoder).requires_grad_(False)
        trained = [p for part in (encoder, predictor) for p in part.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.05},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), fused=True)
        followed = [p for p in encoder.parameters() if p.requires_grad]
        following = [a for a, p in zip(average.parameters(), encoder.parameters()) if p.requires_grad]
        clip = torch.arange(args.batch, device=device)[:, None] * tokens

        def loss_of(pictures, context_at, target_at):
            with torch.autocast("cuda", torch.bfloat16):
                with torch.no_grad():
                    targets = average(pictures).flatten(0, 1).index_select(0, (target_at + clip).flatten()).float()
                    targets = (targets - targets.mean(-1, keepdim=True)) / (targets.var(-1, keepdim=True) + 1e-6).sqrt()
                context = encoder(pictures, (context_at + clip).flatten())
                predictions = predictor(context, context_at, target_at)
            return F.mse_loss(predictions.float().reshape(targets.shape), targets)

        if compiled:
            loss_of = torch.compile(loss_of)
        # Made once: what the feed does beside the GPU is not PyTorch's to answer for.
        host = torch.randn(args.batch, 1, model.ROWS * model.PATCH, model.COLS * model.PATCH).pin_memory()

        def step():
            pictures = host.to(device, non_blocking=True)
            order = torch.rand(args.batch, tokens, device=device).argsort(1)
            loss = loss_of(pictures, order[:, :seen_n], order[:, seen_n:])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            with torch.no_grad():
                torch._foreach_lerp_(following, followed, 1 - 0.996)
            return loss.item()

        return step

    for name, compiled in [("PyTorch eager bf16", False), ("PyTorch compiled bf16", True)]:
        try:
            step_s = timed(torch, make(compiled), args.steps)
        except Exception as error:  # one of them may not run on this machine; the other still counts
            say(words=f"{name}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
            continue
        say(what=name, step_ms=1e3 * step_s, clips_per_s=args.batch / step_s)


def timed(torch, work, n):
    """Median seconds of `n` calls behind five."""
    times = []
    for turn in range(n + 5):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        if turn >= 5:
            times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2]


main()
