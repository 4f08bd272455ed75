import json

import numpy as np
import pytest

from dyntransnet.errors import InputError
from dyntransnet.scoring.parity import ParityLimits, disagreements, read_parity

LIMITS = ParityLimits(max_difference=1e-4, min_dice=0.999)


@pytest.mark.parametrize(
    ("difference", "dice", "broken"),
    [(1e-4, 0.999, 0), (1.01e-4, 1.0, 1), (0.0, 0.9989, 1), (1.0, 0.5, 2), (np.nan, np.nan, 2)],
)
def test_each_limit_holds_by_itself(difference, dice, broken):
    row = {"max_difference": difference, "dice_min": dice}
    assert len(disagreements({"onnxruntime": row}, LIMITS)) == broken


def test_a_report_is_held_to_limits(tmp_path):
    close, far = {"max_difference": 1e-5, "dice_min": 1}, {"max_difference": 1e-3, "dice_min": 1}
    path = tmp_path / "parity.json"
    path.write_text(json.dumps({"runtimes": {"onnxruntime": close, "openvino": far}}))
    found = read_parity(path, LIMITS)
    assert found.runtimes == ("onnxruntime", "openvino")
    assert found.broken == ("openvino logits must be within 0.0001 of torch's, got 0.001",)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"runtimes": {"a": {}}}', '{"runtimes": {"a": 3}}', '{"runtimes": 1}'],
)
def test_a_file_that_is_something_else_is_one_line(tmp_path, content):
    (tmp_path / "parity.json").write_text(content)
    with pytest.raises(InputError, match=r"parity\.json: must be the parity\.json that export"):
        read_parity(tmp_path / "parity.json", LIMITS)


def test_a_report_of_nothing_is_no_parity(tmp_path):
    (tmp_path / "parity.json").write_text('{"runtimes": {}}')
    with pytest.raises(InputError, match=r"must tell of a runtime, got none"):
        read_parity(tmp_path / "parity.json", LIMITS)
