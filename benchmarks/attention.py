"""D-MSA folded into fused kernels against the same attention with its bias written out.

    python benchmarks/attention.py [--tokens 13824] [--repeats 3]

Both forms run forward and backward on the same values, in turns, each in a process of its own,
so that one's peak memory is not the other's. 13 824 tokens are stage 1 of `global_p4` at 96^3.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import torch

from dyntransnet.networks.attention import fused_attention, naive_attention

HEADS, DEPTH = 3, 16
FORMS = {"folded": fused_attention, "explicit": naive_attention}


def inputs(tokens: int) -> list[torch.Tensor]:
    """Q, K, V and one row of bias, the same for both forms."""
    chance = torch.Generator().manual_seed(0)
    *parts, bias = (torch.randn(1, HEADS, tokens, DEPTH, generator=chance) for _ in range(4))
    row = bias[..., :1].transpose(-2, -1).relu()
    return [tensor.contiguous().requires_grad_() for tensor in (*parts, row)]


def measure(form: str, tokens: int) -> dict[str, object]:
    """Seconds and MiB of one forward and backward pass, and a digest of what came out."""
    values = inputs(tokens)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    mixed = FORMS[form](*values)
    mixed.square().mean().backward()
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    picked = [mixed.detach()[0, :, ::997], *(value.grad[0, :, ..., :5] for value in values)]
    sample = torch.cat([part.flatten()[:2000] for part in picked])
    return {"seconds": seconds, "mib": peak / 1024, "sample": sample.tolist()}


def main() -> None:
    """Print both forms side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=13_824)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--form", choices=FORMS)
    asked = parser.parse_args()
    if asked.form:
        print(json.dumps(measure(asked.form, asked.tokens)))
        return
    found: dict[str, list[dict]] = {form: [] for form in FORMS}
    for _ in range(asked.repeats):
        for form in FORMS:
            command = [sys.executable, __file__, "--form", form, "--tokens", str(asked.tokens)]
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found[form].append(json.loads(out))
    best = {
        form: {key: min(run[key] for run in runs) for key in ("seconds", "mib")}
        for form, runs in found.items()
    }
    samples = [torch.tensor(runs[0]["sample"]) for runs in found.values()]
    print(f"{'form':10} {'seconds':>8} {'MiB':>8}   tokens {asked.tokens}")
    for form, row in best.items():
        print(f"{form:10} {row['seconds']:8.2f} {row['mib']:8.0f}")
    for key in ("seconds", "mib"):
        print(f"{key} folded / explicit: {best['folded'][key] / best['explicit'][key]:.3f}")
    scale = samples[1].abs().max()
    print(
        f"largest difference of outputs and gradients, of the largest value: "
        f"{(samples[0] - samples[1]).abs().max() / scale:.1e}"
    )


if __name__ == "__main__":
    main()
