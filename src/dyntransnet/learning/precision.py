"""In which numbers a network computes while it learns; its weights stay fp32."""

import torch

from dyntransnet.config import TrainParams

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, params: TrainParams) -> torch.autocast:
    """Convolutions and products in half precision; norms and softmax in fp32 where torch has it."""
    half = HALF.get(params.precision, torch.bfloat16)
    return torch.autocast(device.type, half, enabled=params.precision in HALF)


def gradient_scaler(device: torch.device, params: TrainParams) -> torch.amp.GradScaler:
    """Keeps small gradients from vanishing in fp16; idle in the others, which have fp32's range."""
    return torch.amp.GradScaler(device.type, enabled=params.precision == "fp16")
