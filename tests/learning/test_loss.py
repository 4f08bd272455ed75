import math

import numpy as np
import pytest
import torch

from dyntransnet.learning.loss import dice_bce, targets_of

SHAPE = (2, 1, 4, 5, 6)
VOXELS = 2 * 4 * 5 * 6


def label() -> torch.Tensor:
    """Both classes, unevenly spread over the two windows."""
    label = torch.zeros(SHAPE)
    label[0, :, 1:3, 1:4, 2:] = 1
    label[0, :, 1, 2, 3:] = 2
    label[1, :, :1] = 1
    return label


def by_hand(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """The definition, in float64 numpy."""
    logit, truth = logits.double().numpy(), targets.double().numpy()
    chance = 1 / (1 + np.exp(-logit))
    both, total = ((part).sum(axis=(0, 2, 3, 4)) for part in (chance * truth, chance + truth))
    dice = 1 - (2 * both + 1) / (total + 1)
    entropy = -(truth * np.log(chance) + (1 - truth) * np.log(1 - chance))
    return float(dice.mean() + entropy.mean())


def test_labels_become_whole_liver_and_tumor():
    table = targets_of(torch.tensor([0.0, 1.0, 2.0]).reshape(1, 1, 3, 1, 1))
    assert table.flatten(1).tolist() == [[0, 1, 1, 0, 0, 1]]
    assert table.dtype == torch.float32


def test_perfect_and_certain_logits_cost_nothing():
    targets = targets_of(label())
    assert dice_bce(200 * targets - 100, targets).item() == pytest.approx(0, abs=1e-6)


def test_certain_and_wrong_logits_cost_their_own_size():
    targets = targets_of(label())
    wrong = dice_bce(100 - 200 * targets, targets).item()
    assert wrong == pytest.approx(100 + 1, rel=0.01)


def test_an_empty_window_with_certain_background_costs_nothing():
    targets = torch.zeros(1, 2, 4, 5, 6)
    assert dice_bce(targets - 100, targets).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("logit", [-3.0, 0.0, 1.5])
def test_constant_logits_have_the_loss_of_the_formula(logit):
    targets = targets_of(label())
    chance = 1 / (1 + math.exp(-logit))
    voxels = targets.sum(dim=(0, 2, 3, 4)).tolist()
    dices = [1 - (2 * chance * k + 1) / (k + chance * VOXELS + 1) for k in voxels]
    entropy = math.log1p(math.exp(logit)) - logit * sum(voxels) / (2 * VOXELS)
    found = dice_bce(torch.full((2, 2, 4, 5, 6), logit), targets).item()
    assert found == pytest.approx(sum(dices) / 2 + entropy, rel=1e-5)


def test_any_logits_have_the_loss_of_the_definition():
    logits = torch.randn(2, 2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    targets = targets_of(label())
    assert dice_bce(logits, targets).item() == pytest.approx(by_hand(logits, targets), rel=1e-5)


def test_dice_is_taken_over_the_batch():
    """A window without tumor must not count as a case of its own."""
    targets = targets_of(label())
    logits = torch.randn(2, 2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    apart = [dice_bce(logits[i : i + 1], targets[i : i + 1]).item() for i in (0, 1)]
    assert dice_bce(logits, targets).item() != pytest.approx(sum(apart) / 2, rel=1e-3)
    assert dice_bce(logits.flip(0), targets.flip(0)).item() == pytest.approx(
        dice_bce(logits, targets).item(), rel=1e-6
    )


def test_a_step_against_the_gradient_lowers_the_loss():
    targets, logits = targets_of(label()), torch.zeros(2, 2, 4, 5, 6, requires_grad=True)
    before = dice_bce(logits, targets)
    before.backward()
    assert (torch.sign(logits.grad) == 1 - 2 * targets).all()
    assert dice_bce(logits - logits.grad, targets) < before


def test_half_precision_logits_are_judged_in_single():
    logits = torch.randn(2, 2, 4, 5, 6, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = dice_bce(logits, targets_of(label()))
    assert found.dtype == torch.float32
    assert torch.equal(found, dice_bce(logits.float(), targets_of(label())))


def test_large_logits_stay_finite():
    logits = torch.full((2, 2, 4, 5, 6), 1e4, requires_grad=True)
    dice_bce(logits, targets_of(label())).backward()
    assert logits.grad.isfinite().all()
