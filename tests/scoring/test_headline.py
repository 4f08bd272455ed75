import pytest

from dyntransnet.scoring.headline import flat, headline
from dyntransnet.scoring.metrics import summarize
from reports import cases_of, contents_of


@pytest.fixture(scope="module")
def metrics() -> dict:
    contents = contents_of()
    return headline(contents.cases, contents.summary, contents.calibration)


def test_each_class_has_its_summary(metrics):
    expected = summarize([one.rows for one in cases_of().values()])
    assert {name: metrics[name] for name in expected} == expected


def test_intervals_have_their_mean_and_n(metrics):
    found = metrics["intervals"]["tumor"]["dice"]
    assert found["low"] < found["mean"] < found["high"]
    assert found["n"] == 6
    assert metrics["intervals"]["liver"]["nsd"]["n"] == 7


def test_lesions_of_all_sizes_add_up_to_those_of_the_cases(metrics):
    sizes = metrics["lesions"].values()
    for name in ("truth", "detected", "predicted", "false"):
        expected = sum(one.rows["tumor"][f"lesions_{name}"] for one in cases_of().values())
        assert sum(size[name] for size in sizes) == expected > 0


def test_names_are_flat_for_mlflow_and_what_is_not_defined_is_left_out(metrics):
    few = contents_of(cases_of(2))
    logged = flat(headline(few.cases, few.summary, few.calibration), "test_")
    assert "test_intervals_liver_dice_mean" in logged
    assert "test_intervals_liver_dice_low" not in logged
    assert (
        logged["test_liver_dice"]
        == summarize([c.rows for c in few.cases.values()])["liver"]["dice"]
    )
    assert flat(metrics)["calibration_tumor_ece"] == metrics["calibration"]["tumor"]["ece"]
