from dataclasses import replace

import numpy as np
import pytest
import torch

from caches import SHAPE, balls, save_case, train_params
from dyntransnet.config import LesionParams
from dyntransnet.learning.cache import CachedCase
from dyntransnet.learning.crops import Batch, batches, center_in

EDGE = (16, 24, 20)
DRAWS = 4000


def to_edge(_: tuple[int, int, int]) -> tuple[int, int, int]:
    return EDGE


def itself(patch_size: tuple[int, int, int]) -> tuple[int, int, int]:
    return patch_size


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> CachedCase:
    return saved(tmp_path_factory.mktemp("case"), balls())


def saved(root, label: np.ndarray) -> CachedCase:
    save_case(root / "volume-0", label)
    return CachedCase.open(root / "volume-0")


def assert_same(one: Batch, other: Batch) -> None:
    assert torch.equal(one.image, other.image)
    assert torch.equal(one.label, other.label)
    assert one.cases == other.cases
    for chance, same in zip(one.chances, other.chances, strict=True):
        assert torch.equal(chance.get_state(), same.get_state())


def labels_at_centers(case: CachedCase, **shares: float) -> np.ndarray:
    params, rng = train_params(**shares), np.random.default_rng(0)
    return np.array([case.label[tuple(center_in(case, params, rng))] for _ in range(DRAWS)])


def four_deviations(share: float) -> float:
    return 4 * np.sqrt(share * (1 - share) / DRAWS)


def test_a_tumor_window_holds_a_tumor_voxel(case):
    params = train_params(tumor_share=1, batch_size=8, patch_size=(4, 6, 2))
    windows = batches([case], params, margin=itself, first=0)
    label = next(windows).label
    assert (label.amax(dim=(1, 2, 3, 4)) == 2).all()


def test_a_scan_ends_in_patches_as_it_does_in_inference(case):
    """However wide the window around a patch is, some patch begins where the scan does."""
    params = train_params(tumor_share=0, liver_share=0, batch_size=200, patch_size=(4, 6, 2))
    for axis, (size, length) in enumerate(zip(SHAPE, params.patch_size, strict=True)):
        ramp = np.indices(SHAPE)[axis].astype(np.float16)
        batch = next(
            batches([replace(case, image=ramp)], params, margin=lambda _: (12, 12, 12), first=0)
        )
        corners = batch.image[:, 0, 4, 3, 5]
        assert (corners.min(), corners.max()) == (0, size - length)


def test_shares_of_windows_come_out_as_asked(case):
    found = labels_at_centers(case, tumor_share=0.4, liver_share=0.3)
    of_liver = (case.label == 2).sum() / (case.label > 0).sum()
    tumor = 0.4 + 0.3 * of_liver + 0.3 * (case.label == 2).mean()
    liver = 0.7 + 0.3 * (case.label > 0).mean()
    assert (found == 2).mean() == pytest.approx(tumor, abs=four_deviations(tumor))
    assert (found > 0).mean() == pytest.approx(liver, abs=four_deviations(liver))


def test_windows_fall_anywhere_where_no_share_is_asked_for(case):
    found = (labels_at_centers(case, tumor_share=0, liver_share=0) > 0).mean()
    expected = (case.label > 0).mean()
    assert found == pytest.approx(expected, abs=four_deviations(expected))


def test_a_case_without_tumor_gives_liver_windows_instead(tmp_path):
    case = saved(tmp_path, balls(tumor=0))
    assert (labels_at_centers(case, tumor_share=0.9, liver_share=0.1) == 1).all()


def test_a_case_without_liver_gives_windows_anywhere(tmp_path):
    case = saved(tmp_path, np.zeros((5, 7, 6), np.uint8))
    rng, params = np.random.default_rng(0), train_params(tumor_share=0.5, liver_share=0.5)
    found = {tuple(center_in(case, params, rng)) for _ in range(DRAWS)}
    assert len(found) == 5 * 7 * 6


def test_batches_from_a_step_on_are_those_a_longer_run_sees_there(case):
    params = train_params(tile_size=(8, 8, 6), wide_share=0.5)
    whole, late = (batches([case], params, margin=to_edge, first=first) for first in (0, 3))
    expected = [next(whole) for _ in range(6)][3:]
    for batch, same in zip(expected, late, strict=False):
        assert_same(batch, same)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_batches_is_as_wide_as_inference_and_of_no_more_voxels(case, share):
    params = train_params(batch_size=5, patch_size=(4, 6, 2), tile_size=(8, 8, 4), wide_share=share)
    windows = batches([case], params, margin=itself, first=0)
    shapes = [tuple(next(windows).image.shape) for _ in range(200)]
    assert set(shapes) <= {(5, 1, 4, 6, 2), (1, 1, 8, 8, 4)}
    wide = shapes.count((1, 1, 8, 8, 4)) / len(shapes)
    assert wide == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / len(shapes)))


def test_a_batch_says_what_the_network_is_to_see_of_its_windows(case):
    params = train_params(patch_size=(4, 6, 2), tile_size=(8, 8, 4), wide_share=1.0)
    batch = next(batches([case], params, margin=to_edge, first=0))
    assert (batch.patch_size, tuple(batch.image.shape[2:])) == ((8, 8, 4), EDGE)


def test_windows_wider_than_a_batch_come_one_at_a_time():
    params = train_params(batch_size=2, patch_size=(4, 6, 2), tile_size=(8, 8, 8))
    assert params.wide_count == 1
    assert train_params(batch_size=16, patch_size=(4, 4, 4), tile_size=(8, 8, 4)).wide_count == 4


def test_processes_that_share_a_batch_cut_the_windows_of_a_single_one(case):
    params = train_params(batch_size=5)
    whole = next(batches([case], params, margin=to_edge, first=3))
    parts = [
        next(batches([case], params, margin=to_edge, first=3, share=lambda _, p=p: p))
        for p in ([0, 2, 4], [1])
    ]
    assert torch.equal(torch.cat([part.image for part in parts]), whole.image[[0, 2, 4, 1]])
    drawn = [torch.rand(1, generator=one.chances[-1]) for one in (parts[1], whole)]
    assert drawn[0] != drawn[1]
    assert drawn[0] == torch.rand(1, generator=whole.chances[1])


def test_a_batch_names_the_cases_it_was_cut_from(tmp_path):
    cases = [saved(tmp_path / str(index), balls(seed=index)) for index in range(2)]
    named = [replace(case, id=f"volume-{index}") for index, case in enumerate(cases)]
    flat = [replace(case, image=np.full(SHAPE, i / 4, np.float16)) for i, case in enumerate(named)]
    batch = next(batches(flat, train_params(batch_size=9), margin=to_edge, first=0))
    seen = [f"volume-{int(4 * window.max())}" for window in batch.image]
    assert list(batch.cases) == seen
    assert len(set(seen)) == 2


def test_lesions_are_planted_into_windows_in_millimeters(case):
    lesions = {"share": 1.0, "most": 1, "radius_mm": (4, 4), "contrast": (-0.2, -0.2)}
    params = train_params(tumor_share=0, liver_share=1, batch_size=8)
    changed = params.augment.model_copy(update={"lesions": LesionParams(**lesions)})
    planting = params.model_copy(update={"augment": changed})
    volumes = [
        (next(batches([case], planting, margin=to_edge, first=0, spacing_mm=grid)).label == 2).sum()
        for grid in ((1.0, 1.0, 1.0), (2.0, 2.0, 2.0))
    ]
    plain = next(batches([case], params, margin=to_edge, first=0)).label == 2
    assert volumes[0] > volumes[1] > plain.sum()


def test_another_step_or_seed_gives_another_batch(case):
    windows = batches([case], train_params(seed=1), margin=to_edge, first=0)
    first, second = next(windows), next(windows)
    other = next(batches([case], train_params(seed=2), margin=to_edge, first=0))
    assert not torch.equal(first.image, second.image)
    assert not torch.equal(first.image, other.image)


def test_batches_are_floats_with_one_channel(case):
    batch = next(batches([case], train_params(batch_size=3), margin=to_edge, first=0))
    assert batch.image.shape == batch.label.shape == (3, 1, *EDGE)
    assert batch.image.dtype == batch.label.dtype == torch.float32


def test_every_case_gets_its_turn(tmp_path):
    cases = []
    for index in range(3):
        save_case(tmp_path / str(index), balls(), np.full(balls().shape, index / 4))
        cases.append(CachedCase.open(tmp_path / str(index)))
    params = train_params(batch_size=32, patch_size=(4, 6, 2))
    batch = next(batches(cases, params, margin=itself, first=0))
    assert batch.image.unique().tolist() == [0, 0.25, 0.5]


def test_a_failure_while_cutting_reaches_the_training_loop():
    windows = batches([], train_params(), margin=to_edge, first=0)
    with pytest.raises(ValueError, match="high <= 0"):
        next(windows)
