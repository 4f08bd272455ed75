"""What training minimizes, in fp32 whatever the network computes in.

A batch that several processes share has one Dice: its sums are taken over all of them.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from monai.losses import DiceLoss, FocalLoss
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

from dyntransnet.contract import Label
from dyntransnet.learning.processes import summed

Logits = Float[Tensor, "n classes x y z"]
Scalar = Float[Tensor, ""]
Loss = Callable[[Logits, Logits], Scalar]

SMOOTH = 1.0
"""Added to both sides of the Dice ratio: a window without tumor still gives a gradient."""

EXTRA, MISSED = 0.3, 0.7
"""What a voxel costs that is marked in vain, and one that is missed, in the Tversky index."""

_focal = FocalLoss(gamma=2.0)
_paper_dice = DiceLoss(sigmoid=True, squared_pred=True, smooth_nr=0.0, smooth_dr=1e-5)


def targets_of(label: Float[Tensor, "n 1 x y z"]) -> Float[Tensor, "n 2 x y z"]:
    """Labels as the network's channels: whole liver, tumor."""
    return torch.cat([label >= Label.LIVER, label >= Label.TUMOR], dim=1).to(label.dtype)


def soft_dice(logits: Logits, targets: Logits) -> Scalar:
    """One minus the Dice of probabilities, over all windows of a batch, averaged over classes."""
    probabilities, axes = logits.sigmoid(), (0, 2, 3, 4)
    parts = [(probabilities * targets).sum(axes), probabilities.sum(axes), targets.sum(axes)]
    both, predicted, true = summed(torch.stack(parts))
    return 1 - ((2 * both + SMOOTH) / (predicted + true + SMOOTH)).mean()


def tversky(logits: Logits, targets: Logits) -> Scalar:
    """One minus the Tversky index of each window that holds a class, averaged over them.

    A window counts by itself, so that a small lesion weighs as much as a large one elsewhere in
    the batch; what is missed counts more than what is too much. Windows without the class are
    left to the loss that this one is added to.

    Source:
        Salehi et al., Tversky loss function, https://arxiv.org/abs/1706.05721
    """
    probabilities, axes = logits.sigmoid(), (2, 3, 4)
    both, true = (probabilities * targets).sum(axes), targets.sum(axes)
    extra, missed = probabilities.sum(axes) - both, true - both
    index = (both + SMOOTH) / (both + EXTRA * extra + MISSED * missed + SMOOTH)
    there = (true > 0).to(index.dtype)
    lost, windows = summed(torch.stack([((1 - index) * there).sum(0), there.sum(0)]))
    return (lost / windows.clamp(min=1)).mean()


def dice_tversky(logits: Logits, targets: Logits) -> Scalar:
    """Soft Dice of the liver and Tversky of tumors, averaged, plus binary cross-entropy.

    For small lesions beside large ones. Of the liver nothing is too small to be found, and
    what Tversky asks for on top would be organs of the same brightness.
    """
    liver, tumor = soft_dice(logits[:, :1], targets[:, :1]), tversky(logits[:, 1:], targets[:, 1:])
    return (liver + tumor) / 2 + binary_cross_entropy_with_logits(logits, targets)


def dice_bce(logits: Logits, targets: Logits) -> Scalar:
    """Soft Dice plus binary cross-entropy, equally weighted (nnU-Net's, for regions)."""
    return soft_dice(logits, targets) + binary_cross_entropy_with_logits(logits, targets)


def dice_focal(logits: Logits, targets: Logits) -> Scalar:
    """Soft Dice plus focal loss: voxels that are already right count little.

    Source:
        Lin et al., Focal loss for dense object detection, https://arxiv.org/abs/1708.02002
    """
    focal: Tensor = _focal(logits, targets)
    return soft_dice(logits, targets) + focal


def paper_dice(logits: Logits, targets: Logits) -> Scalar:
    """Dice of each window with squared probabilities, averaged: what the paper's text implies.

    Source:
        MONAI's tutorial brats_segmentation_3d, whose settings the paper's match; a reconstruction.
    """
    loss: Tensor = _paper_dice(logits, targets)
    return loss


LOSSES: dict[str, Loss] = {
    "dice_bce": dice_bce,
    "dice_focal": dice_focal,
    "dice": paper_dice,
    "dice_tversky": dice_tversky,
}


def supervise(loss: Loss, logits: Tensor | Sequence[Tensor], targets: Logits) -> Scalar:
    """The loss of a network's answer; of a deeply supervised one, 1, 1/2, 1/4 ... of each level's.

    Args:
        loss: of ``LOSSES``.
        logits: one answer, or several, the finest first; coarser ones meet shrunk targets.
        targets: at the finest resolution.
    """
    if isinstance(logits, Tensor):
        return loss(logits.float(), targets)
    losses = [
        loss(level.float(), interpolate(targets, level.shape[2:], mode="nearest-exact")) / 2**depth
        for depth, level in enumerate(logits)
    ]
    return torch.stack(losses).sum()
