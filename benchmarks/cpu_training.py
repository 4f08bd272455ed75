"""One training step of a DynTransNet on a CPU, with and without the kernels that bf16 slows down.

    python benchmarks/cpu_training.py [--repeats 5]

`swiftly` computes attention and depthwise convolutions in fp32 under autocast; here it is switched
off and on in turns. Seconds are of the processor; the best of each is shown.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import nn

from dyntransnet.contract import NetworkSpec
from dyntransnet.learning.loss import dice_bce
from dyntransnet.networks import attention
from dyntransnet.networks.registry import build

PATCH = (96, 96, 32)
SWIFTLY = attention.swiftly
FORMS = {"all in bf16": lambda function, *tensors: function(*tensors), "swiftly": SWIFTLY}


def step_of(network: nn.Module) -> Callable[[], None]:
    """Forward, loss and backward of two windows."""
    chance = torch.Generator().manual_seed(0)
    image = torch.randn(2, 1, *PATCH, generator=chance)
    targets = (torch.rand(2, 2, *PATCH, generator=chance) > 0.5).float()

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(image)
        dice_bce(logits.float(), targets).backward()

    return step


def seconds_of(step: Callable[[], None]) -> float:
    """Processor time of one step, all threads together."""
    begun = time.process_time()
    step()
    return time.process_time() - begun


def main() -> None:
    """Print both side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    spec = NetworkSpec(name="dyntransnet_tiny", options={})
    network = build(spec, PATCH).to(memory_format=torch.channels_last_3d)
    step, found = step_of(network), {form: list[float]() for form in FORMS}
    for turn in range(repeats + 1):
        for form, function in FORMS.items():
            attention.swiftly = function
            seconds = seconds_of(step)
            if turn:  # the first one warms up
                found[form].append(seconds)
    best = {form: min(times) for form, times in found.items()}
    for form, seconds in best.items():
        print(f"{form:12} {seconds:.3f} s")
    print(f"ratio {best['swiftly'] / best['all in bf16']:.3f}")


if __name__ == "__main__":
    main()
