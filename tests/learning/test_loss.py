import math

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss, TverskyLoss
from torch.nn.functional import max_pool3d

from dyntransnet.learning.loss import (
    LOSSES,
    dice_bce,
    dice_focal,
    dice_tversky,
    paper_dice,
    soft_dice,
    supervise,
    targets_of,
    tversky,
)

SHAPE = (2, 1, 4, 5, 6)
VOXELS = 2 * 4 * 5 * 6


def label() -> torch.Tensor:
    """Both classes, unevenly spread over the two windows."""
    label = torch.zeros(SHAPE)
    label[0, :, 1:3, 1:4, 2:] = 1
    label[0, :, 1, 2, 3:] = 2
    label[1, :, :1] = 1
    return label


def noise() -> torch.Tensor:
    return torch.randn(2, 2, 4, 5, 6, generator=torch.Generator().manual_seed(0))


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
    logits, targets = noise(), targets_of(label())
    assert dice_bce(logits, targets).item() == pytest.approx(by_hand(logits, targets), rel=1e-5)


def test_dice_is_taken_over_the_batch():
    """A window without tumor must not count as a case of its own."""
    logits, targets = noise(), targets_of(label())
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


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_judged_in_single(name, half):
    logits = noise().to(half)
    for answer in (logits, [logits]):
        found = supervise(LOSSES[name], answer, targets_of(label()))
        assert found.dtype == torch.float32
        assert torch.equal(found, LOSSES[name](logits.float(), targets_of(label())))


def test_soft_dice_is_that_of_monai():
    theirs = DiceLoss(sigmoid=True, batch=True, smooth_nr=1, smooth_dr=1)
    expected = theirs(noise(), targets_of(label()))
    torch.testing.assert_close(soft_dice(noise(), targets_of(label())), expected)


def test_focal_loss_is_cross_entropy_where_each_voxel_counts_by_how_wrong_it_is():
    logit, truth = noise().double().numpy(), targets_of(label()).numpy()
    right = np.where(truth, 1 / (1 + np.exp(-logit)), 1 / (1 + np.exp(logit)))
    expected = float(np.mean(-((1 - right) ** 2) * np.log(right)))
    found = dice_focal(noise(), targets_of(label())) - soft_dice(noise(), targets_of(label()))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_paper_like_dice_is_each_windows_own_with_squares():
    chance, truth = noise().double().sigmoid(), targets_of(label()).double()
    both, total = ((part).sum((2, 3, 4)) for part in (chance * truth, chance**2 + truth**2))
    expected = (1 - 2 * both / (total + 1e-5)).mean().item()
    assert paper_dice(noise(), truth.float()).item() == pytest.approx(expected, rel=1e-5)


def test_deep_supervision_weighs_each_level_half_as_much_as_the_finer_one():
    targets = targets_of(label())[..., :4, :]
    levels = [torch.full((2, 2, 4 // d, 4 // d, 6 // d), 0.3) for d in (1, 2)]
    coarse = targets[:, :, 1::2, 1::2, 1::2]
    expected = dice_bce(levels[0], targets) + dice_bce(levels[1], coarse) / 2
    torch.testing.assert_close(supervise(dice_bce, levels, targets), expected)


def test_certain_and_right_levels_cost_nothing():
    block = max_pool3d(targets_of(label())[..., :4, :], 2)
    targets = block.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    found = supervise(dice_bce, [200 * targets - 100, 200 * block - 100], targets)
    assert found.item() == pytest.approx(0, abs=1e-6)


def test_large_logits_stay_finite():
    logits = torch.full((2, 2, 4, 5, 6), 1e4, requires_grad=True)
    dice_bce(logits, targets_of(label())).backward()
    assert logits.grad.isfinite().all()


def test_tversky_is_monais_where_every_window_holds_the_class():
    targets = targets_of(label())
    targets[1, 1, 0, 1, 2] = 1
    monai = TverskyLoss(sigmoid=True, alpha=0.3, beta=0.7, smooth_nr=1.0, smooth_dr=1.0)
    assert tversky(noise(), targets).item() == pytest.approx(monai(noise(), targets).item())


def test_tversky_leaves_windows_without_the_class_to_cross_entropy():
    targets = targets_of(label())  # the second window has no tumor
    logits = noise().requires_grad_()
    tversky(logits, targets).backward()
    assert not logits.grad[1, 1].any()
    assert logits.grad[0, 1].any()
    logits.grad = None
    dice_tversky(logits, targets).backward()
    assert logits.grad[1, 1].all()


def test_the_liver_has_dice_and_tumors_have_tversky():
    logits, targets = noise(), targets_of(label())
    expected = (
        soft_dice(logits[:, :1], targets[:, :1]) / 2
        + tversky(logits[:, 1:], targets[:, 1:]) / 2
        + torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    )
    torch.testing.assert_close(dice_tversky(logits, targets), expected)
    swapped = dice_tversky(logits.flip(1), targets.flip(1))
    assert swapped.item() != pytest.approx(expected.item(), rel=1e-3)


def test_a_small_lesion_weighs_as_much_as_a_large_one():
    small = torch.zeros(1, 2, 4, 5, 6)
    small[0, :, 1, 2, 3] = 1
    logits = noise()[:1].requires_grad_()
    tversky(logits, small).backward()
    alone, logits.grad = logits.grad, None
    tversky(torch.cat([logits, noise()[1:]]), torch.cat([small, torch.ones_like(small)])).backward()
    torch.testing.assert_close(logits.grad, alone / 2)


def test_what_is_missed_costs_more_than_what_is_too_much():
    targets = torch.zeros(1, 2, 4, 5, 6)
    targets[:, :, :2] = 1
    missed, extra = (2 * targets - 1) * 20, (2 * targets - 1) * 20
    missed[:, :, 1], extra[:, :, 2] = -20, 20
    assert tversky(missed, targets) > 1.5 * tversky(extra, targets)


def test_no_window_with_any_class_costs_no_tversky():
    assert tversky(noise(), torch.zeros(2, 2, 4, 5, 6)).item() == 0
