"""What training minimizes."""

import torch
from jaxtyping import Float
from monai.losses import DiceLoss
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from dyntransnet.contract import Label

_soft_dice = DiceLoss(sigmoid=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)


def targets_of(label: Float[Tensor, "n 1 x y z"]) -> Float[Tensor, "n 2 x y z"]:
    """Labels as the network's channels: whole liver, tumor."""
    return torch.cat([label >= Label.LIVER, label >= Label.TUMOR], dim=1).to(label.dtype)


def dice_bce(
    logits: Float[Tensor, "n 2 x y z"], targets: Float[Tensor, "n 2 x y z"]
) -> Float[Tensor, ""]:
    """Soft Dice over the batch plus binary cross-entropy, equally weighted, in fp32."""
    logits = logits.float()
    loss: Tensor = _soft_dice(logits, targets) + binary_cross_entropy_with_logits(logits, targets)
    return loss
