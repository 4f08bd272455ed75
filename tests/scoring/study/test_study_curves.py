import numpy as np
import pytest
from matplotlib import image as png

from dyntransnet.scoring.study.curves import VARIANT_COLORS, draw_learning_of, mean_curve
from studies import training_of

DICES = {"a": (0.9, 0.5)}


def rows(name: str, *points: tuple[float, float]) -> list[dict[str, float]]:
    return [{"step": step, name: value} for step, value in points]


def test_seeds_are_averaged_where_all_have_been():
    short = rows("loss", (10.0, 1.0), (20.0, 0.5), (30.0, 0.4))
    long = rows("loss", (10.0, 0.8), (20.0, 0.7), (30.0, 0.2), (40.0, 0.1))
    steps, mean, low, high = mean_curve([short, long], "loss")
    assert steps.tolist() == [10, 20, 30]
    assert mean == pytest.approx([0.9, 0.6, 0.3])
    assert low == pytest.approx([0.8, 0.5, 0.2])
    assert high == pytest.approx([1.0, 0.7, 0.4])


def test_curves_need_not_share_their_steps():
    one, other = rows("loss", (10.0, 1.0), (30.0, 0.0)), rows("loss", (15.0, 1.0), (35.0, 0.0))
    steps, mean, *_ = mean_curve([one, other], "loss")
    assert steps.tolist() == [15, 30]
    assert mean == pytest.approx([(0.75 + 1) / 2, (0 + 0.25) / 2])


def test_steps_without_the_value_are_left_out():
    one = [{"step": 10.0}, {"step": 20.0, "dice_tumor": 0.4}]
    steps, mean, *_ = mean_curve([one, []], "dice_tumor")
    assert (steps.tolist(), mean.tolist()) == ([20], [0.4])
    assert all(not len(part) for part in mean_curve([one], "dice_liver"))


def has_color(path, color: str) -> bool:
    wanted = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return bool((np.abs(png.imread(path)[:, :, :3] - wanted).max(axis=2) < 0.02).any())


@pytest.mark.parametrize("variants", [1, 3])
def test_each_variant_has_a_line_of_its_color(tmp_path, variants):
    trainings = {
        f"v{number}": [
            training_of(f"v{number}", DICES, seed=seed + 5 * number, steps=5 + seed)
            for seed in range(3)
        ]
        for number in range(variants)
    }
    draw_learning_of(trainings, tmp_path / "curves")
    shown = [has_color(tmp_path / "curves.png", color) for color in VARIANT_COLORS[:4]]
    assert shown == [number < variants for number in range(4)]
    assert png.imread(tmp_path / "curves.png").shape[1] == 1200
    text = (tmp_path / "curves.svg").read_text()
    assert text.startswith("<?xml")


def test_a_fold_without_tumors_can_be_drawn(tmp_path):
    validations = [{"step": 10.0, "dice_liver": 0.5}]
    training = training_of("base", DICES, validations=validations)
    draw_learning_of({"base": [training]}, tmp_path / "curves")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_the_same_study_gives_the_same_files(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        draw_learning_of({"base": [training_of("base", DICES)]}, tmp_path / name / "curves")
    for suffix in ("png", "svg"):
        one, other = (tmp_path / name / f"curves.{suffix}" for name in ("one", "other"))
        assert one.read_bytes() == other.read_bytes()
