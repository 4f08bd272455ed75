from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from dyntransnet.config import Params
from dyntransnet.errors import ParamsError

ZSCORE = {"kind": "zscore", "percentiles": [0.5, 99.5], "deviations": 3.0}
LABELS = {"liver": [1, 2], "tumor": [2], "others": "refused"}
LIMIT = {"relative_difference": 1.0, "min_dice": 0.9, "max_dice_change": 0.01}
OURS = Path(__file__).parents[1] / "params.yaml"


def with_value(folder: Path, key: str, value: object) -> Path:
    """params.yaml with one value changed, or removed where it is None."""
    values = yaml.safe_load(OURS.read_text())
    *parents, last = key.split(".")
    section = values
    for parent in parents:
        section = section[parent]
    section[last] = value
    if value is None:
        del section[last]
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    return folder / "params.yaml"


def test_the_params_of_this_repository_are_sound():
    params = Params.load(OURS)
    assert params.preprocess.intensity.low_hu < params.preprocess.intensity.high_hu
    assert params.train.fold == "all" or params.train.fold < params.split.folds


def test_params_survive_their_file(tmp_path):
    params = Params.load(OURS)
    (tmp_path / "params.yaml").write_text(
        yaml.safe_dump(params.model_dump(mode="json", by_alias=True))
    )
    assert Params.load(tmp_path / "params.yaml") == params


@pytest.mark.parametrize("key", ["split.fold", "train.augment.blur", "speed", "network.option"])
def test_unknown_keys_are_named(tmp_path, key):
    path = with_value(tmp_path, key, 3)
    with pytest.raises(ParamsError, match=rf"params\.yaml: {key}: is not a known key, got 3$"):
        Params.load(path)


@pytest.mark.parametrize(
    "key", ["split.seed", "train.augment.noise", "register.alias", "publish", "export.opset"]
)
def test_missing_keys_are_named(tmp_path, key):
    path = with_value(tmp_path, key, None)
    with pytest.raises(ParamsError, match=rf"params\.yaml: {key}: must be given, got nothing$"):
        Params.load(path)


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("split.folds", 1, "input should be greater than or equal to 2, got 1"),
        ("split.folds", "five", "input should be a valid integer, .*got 'five'"),
        ("split.fold_cases", [[]], "tuple should have at least 1 item .*"),
        ("split.test_share", 1.0, "input should be less than 1, got 1.0"),
        ("preprocess.spacing_mm", [3, 3], r"field required|must be given"),
        ("preprocess.intensity", {"kind": "minmax"}, "input tag 'minmax'.*"),
        (
            "preprocess.intensity",
            {"kind": "window", "low_hu": 240, "high_hu": -160},
            "low must be below high, got 240 and -160$",
        ),
        ("ingest.modality", "PT", "input should be 'CT' or 'MR', got 'PT'"),
        ("ingest.labels.others", "kept", "input should be 'refused' or 'background', got 'kept'"),
        ("ingest.labels.liver", [0], r"input should be greater than 0, got 0"),
        ("ingest.labels", LABELS, "liver and tumor must not share a value, got 2 in both$"),
        ("train.precision", "fp8", "input should be 'fp32', 'bf16' or 'fp16', got 'fp8'"),
        ("train.learning_rate", 0, "input should be greater than 0, got 0"),
        ("train.learning_rate", float("inf"), "input should be a finite number, got inf"),
        ("train.augment.flip_axes", ["w"], "input should be 'x', 'y' or 'z', got 'w'"),
        ("train.overlap", 1, "input should be less than 1, got 1"),
        ("ingest.layout", "idrid", "input should be .*'dicom', got 'idrid'"),
        ("ingest.on_problem", "skip", "input should be 'stop' or 'quarantine', got 'skip'"),
        ("split.file", 7, "input is not a valid path for .*, got 7"),
        ("register.min_dice_liver", 85, "input should be less than or equal to 1, got 85"),
        (
            "publish.backend",
            "tf",
            "input should be 'python', 'onnxruntime' or 'tensorrt', got 'tf'",
        ),
    ],
)
def test_wrong_values_are_named_with_their_rule(tmp_path, key, value, rule):
    path = with_value(tmp_path, key, value)
    with pytest.raises(ParamsError, match=rf"params\.yaml: {key}(\.\d|\.window)?: ({rule})"):
        Params.load(path)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"ingest.modality": "MR"}, "window, which is for CT"),
        ({"preprocess.intensity": ZSCORE}, "zscore, which is for MR"),
    ],
)
def test_a_rule_for_the_other_modality_is_refused(tmp_path, changes, kind):
    for key, value in changes.items():
        path = with_value(tmp_path, key, value)
    with pytest.raises(ParamsError, match=rf"preprocess\.intensity must be a rule .*got {kind}$"):
        Params.load(path)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        (
            {"export.limits": {"fp32": LIMIT, "bf16": LIMIT}},
            "export: limits must name every precision, got none for int8",
        ),
        (
            {"publish.precision": "int8", "publish.runtime": "onnxruntime"},
            "publish: precision must be fp32 but for openvino in the python backend, got int8",
        ),
        (
            {"publish.precision": "int8", "publish.backend": "tensorrt"},
            "publish: precision must be fp32 but for openvino in the python backend, got int8",
        ),
        (
            {"publish.precision": "bf16", "export.openvino": ["int8"]},
            "the file: publish.precision must be fp32 or in export.openvino, got bf16 and int8",
        ),
    ],
)
def test_a_precision_that_nobody_makes_or_judges_is_refused(tmp_path, changes, rule):
    values = yaml.safe_load(OURS.read_text())
    for key, value in changes.items():
        section, name = key.split(".")
        values[section][name] = value
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ParamsError, match=rf"params\.yaml: {rule}$"):
        Params.load(tmp_path / "params.yaml")


def test_every_broken_rule_is_listed(tmp_path):
    path = with_value(tmp_path, "split.folds", 0)
    path.write_text(path.read_text().replace("seed: 7", "sed: 7"))
    with pytest.raises(ParamsError, match=r"split\.seed: .*split\.sed: .*train\.seed: ") as caught:
        Params.load(path)
    assert str(caught.value).count("; ") == 4


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ParamsError, match=r"params\.yaml: must be readable, got No such file"):
        Params.load(tmp_path / "params.yaml")


@pytest.mark.parametrize("content", [b"split: [", b"a: b: c", b"\xff\xfe\x00", b"\x00"])
def test_what_is_not_yaml_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(ParamsError, match=r"params\.yaml: must be YAML, got ") as caught:
        Params.load(tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "- 1\n", "text"])
def test_yaml_that_is_no_mapping_is_refused(tmp_path, content):
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(ParamsError, match=r"params\.yaml: the file: input should be"):
        Params.load(tmp_path / "params.yaml")


def test_params_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Params.load(OURS).split.seed = 8
