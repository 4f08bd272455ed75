import json

import numpy as np
import pytest

from dyntransnet.errors import InputError
from dyntransnet.scoring.parity import ParityLimits, disagreements, read_parity

LIMITS = {
    "fp32": ParityLimits(relative_difference=1e-4, min_dice=0.999, max_dice_change=0.001),
    "bf16": ParityLimits(relative_difference=1.0, min_dice=0.98, max_dice_change=0.002),
}


def row(precision="fp32", difference=1e-5, dice=1.0, **changes) -> dict:
    return {
        "precision": precision,
        "relative_difference": difference,
        "dice_min": dice,
        "dice_change": {"liver": 0.0, "tumor": None} | changes,
    }


@pytest.mark.parametrize(
    ("difference", "dice", "change", "broken"),
    [
        (1e-4, 0.999, -0.001, 0),
        (1.01e-4, 1.0, 0.0, 1),
        (0.0, 0.9989, 0.0, 1),
        (0.0, 1.0, -0.0011, 1),
        (0.0, 1.0, 0.0011, 1),
        (1.0, 0.5, -0.5, 3),
        (np.nan, np.nan, np.nan, 3),
    ],
)
def test_each_limit_holds_by_itself(difference, dice, change, broken):
    found = row(difference=difference, dice=dice, tumor=change)
    assert len(disagreements({"onnxruntime fp32": found}, LIMITS)) == broken


def test_each_precision_has_its_own_limits():
    found = {"openvino fp32": row(dice=0.99), "openvino bf16": row("bf16", dice=0.99)}
    (line,) = disagreements(found, LIMITS)
    assert line == "openvino fp32 masks must have Dice 0.999 with torch's, got 0.99000"


def test_a_changed_dice_names_the_class():
    (line,) = disagreements({"openvino bf16": row("bf16", tumor=-0.0123)}, LIMITS)
    assert line == (
        "openvino bf16 masks must have torch's Dice tumor against the truth within 0.002, "
        "got -0.01230"
    )


def test_a_report_is_held_to_limits(tmp_path):
    path = tmp_path / "parity.json"
    forms = {"onnxruntime fp32": row(), "openvino fp32": row(difference=1e-3)}
    path.write_text(json.dumps({"forms": forms}))
    found = read_parity(path, LIMITS)
    assert found.forms == ("onnxruntime fp32", "openvino fp32")
    assert found.broken == (
        "openvino fp32 logits must be within 0.0001 of torch's largest, got 0.001",
    )


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", '{"forms": {"a": {}}}', '{"forms": {"a": 3}}', '{"forms": 1}'),
        json.dumps({"forms": {"a": row() | {"dice_change": 1}}}),
    ],
)
def test_a_file_that_is_something_else_is_one_line(tmp_path, content):
    (tmp_path / "parity.json").write_text(content)
    with pytest.raises(InputError, match=r"parity\.json: must be the parity\.json that export"):
        read_parity(tmp_path / "parity.json", LIMITS)


def test_a_report_of_nothing_is_no_parity(tmp_path):
    (tmp_path / "parity.json").write_text('{"forms": {}}')
    with pytest.raises(InputError, match=r"must tell of a runtime, got none"):
        read_parity(tmp_path / "parity.json", LIMITS)


def test_a_precision_without_a_limit_is_named(tmp_path):
    (tmp_path / "parity.json").write_text(json.dumps({"forms": {"openvino int8": row("int8")}}))
    rule = r"must be of precisions in export\.limits \(fp32, bf16\), got int8$"
    with pytest.raises(InputError, match=rule):
        read_parity(tmp_path / "parity.json", LIMITS)
