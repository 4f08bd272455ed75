import numpy as np
import pytest

from builders import case_of
from dyntransnet.errors import ModelError
from dyntransnet.imaging.scan import Mask, Scan
from dyntransnet.imaging.segment import segment
from dyntransnet.runtimes import golden
from dyntransnet.runtimes.choice import load
from models import save_model, threshold_model


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setattr(golden, "make_phantom", lambda recipe: case_of(seed=9))
    save_model(tmp_path / "model", threshold_model(0.18, 0.72))
    return tmp_path / "model"


def test_what_was_kept_is_what_the_model_says(model):
    golden.write_golden(model, model)
    kept = golden.read_golden(model)
    labels = segment(kept.scan, *load(model, "onnxruntime")).labels
    np.testing.assert_array_equal(kept.mask.labels, labels)
    np.testing.assert_array_equal(kept.scan.voxels, case_of(seed=9)[0].voxels)
    assert set(np.unique(labels)) == {0, 1, 2}


def test_the_phantom_itself_is_a_liver_with_tumors():
    scan, mask = golden.make_phantom(golden.RECIPE)
    assert isinstance(scan, Scan)
    assert isinstance(mask, Mask)
    assert 800 < np.count_nonzero(mask.labels) * mask.voxel_ml < 2500
    assert (mask.labels == 2).any()


def test_a_model_without_a_golden_scan_has_none(tmp_path):
    assert golden.read_golden(tmp_path) is None


def test_a_damaged_golden_scan_is_named(model):
    golden.write_golden(model, model)
    (model / "golden/mask.nii.gz").write_bytes(b"")
    with pytest.raises(ModelError, match=r"golden: must hold a scan and its mask, got golden: "):
        golden.read_golden(model)


@pytest.mark.parametrize(
    ("one", "other", "liver", "tumor"),
    [
        ([0, 1, 2, 2], [0, 1, 2, 2], 1.0, 1.0),
        ([0, 1, 2, 2], [0, 1, 1, 2], 1.0, 2 / 3),
        ([1, 1, 0, 0], [0, 1, 1, 0], 0.5, 1.0),
        ([0, 0, 0, 0], [0, 0, 0, 0], 1.0, 1.0),
        ([0, 0, 0, 0], [0, 0, 2, 0], 0.0, 0.0),
    ],
)
def test_agreement_is_dice_and_two_empty_masks_agree(one, other, liver, tumor):
    labels = [np.array(values, np.uint8).reshape(1, 2, 2) for values in (one, other)]
    assert golden.agreement(*labels) == pytest.approx({"liver": liver, "tumor": tumor})
