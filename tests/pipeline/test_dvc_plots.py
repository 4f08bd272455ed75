"""What DVC makes of the files that evaluate writes, without running the pipeline."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dyntransnet.scoring.headline import headline
from dyntransnet.scoring.records import write_bins, write_dices
from reports import contents_of

ROOT = Path(__file__).parents[2]
METRICS = "reports/evaluate/metrics.json"


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A repository with the plots of this one, a first evaluation in git and a second one."""
    path = tmp_path_factory.mktemp("repository")
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    (path / "dvc.yaml").write_text(yaml.safe_dump({"metrics": [METRICS], "plots": plots}))
    _save_evaluation(path)
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@example.org")
    _run(path, *git, "init", "--quiet")
    _run(path, "dvc", "init", "--quiet")
    _run(path, *git, "add", "--all")
    _run(path, *git, "commit", "--quiet", "--message", "first")
    later = json.loads((path / METRICS).read_text())
    later["lesions"]["below_10_mm"]["recall"] = 0.25
    (path / METRICS).write_text(json.dumps(later))
    return path


def _run(path: Path, *command: str) -> str:
    found = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        command, cwd=path, env=found, capture_output=True, text=True, check=True
    ).stdout


def _save_evaluation(path: Path) -> None:
    contents = contents_of()
    folder = path / "reports/evaluate"
    (folder / "calibration").mkdir(parents=True)
    (folder / "figures").mkdir()
    (folder / "figures/volume-0.png").write_bytes(contents.pictures[0].png)
    metrics = headline(contents.cases, contents.summary, contents.calibration)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    write_dices({case: one.rows for case, one in contents.cases.items()}, folder / "dice.csv")
    for name, found in contents.calibration.items():
        write_bins(found.pooled.rows(), folder / f"calibration/{name}.csv")
    (path / "reports/train").mkdir()
    (path / "reports/train/loss.csv").write_text("step,loss\n20,0.9\n40,0.7\n")
    (path / "reports/train/validation.csv").write_text(
        "step,dice_liver,dice_tumor\n20,0.4,\n40,0.5,0.1\n"
    )


def test_a_changed_metric_is_shown_under_its_name(repository):
    found = json.loads(_run(repository, "dvc", "metrics", "diff", "--json"))[METRICS]
    assert found["lesions.below_10_mm.recall"]["new"] == 0.25
    assert len(found) == 1


@pytest.fixture(scope="module")
def drawn(repository) -> dict[str, dict]:
    """Title of each plot to what it draws."""
    found = json.loads(_run(repository, "dvc", "plots", "show", "--json"))
    assert "errors" not in found
    contents = [each["content"] for plots in found["data"].values() for each in plots
                if each["type"] == "vega"]  # fmt: skip
    specs = [json.loads(each) if isinstance(each, str) else each for each in contents]
    return {each["title"]["text"]: each for each in specs}


def test_learning_reliability_and_cases_are_plots(drawn):
    assert set(drawn) == {
        "Training loss", "Validation Dice, whole volumes", "Reliability of the probabilities",
        "Dice of each case, liver", "Dice of each case, tumor",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("plot", "labels"),
    [
        ("Training loss", ("step", "loss")),
        ("Validation Dice, whole volumes", ("step", "Dice")),
        ("Reliability of the probabilities", ("mean probability", "share inside")),
        ("Dice of each case, tumor", ("Dice", "case")),
    ],
)
def test_axes_say_what_they_show(drawn, plot, labels):
    assert set(labels) <= {*_titles(drawn[plot])}


def _titles(spec: object) -> list[str]:
    """Titles of axes, wherever a template has its encodings."""
    if isinstance(spec, list):
        return [title for each in spec for title in _titles(each)]
    if not isinstance(spec, dict):
        return []
    own = [axis["title"] for key in ("x", "y")
           if isinstance(axis := spec.get(key), dict) and "title" in axis]  # fmt: skip
    return own + [title for each in spec.values() for title in _titles(each)]


def test_both_classes_are_in_the_reliability_plot(drawn):
    rows = drawn["Reliability of the probabilities"]["data"]["values"]
    assert {row["filename"] for row in rows} == {"liver.csv", "tumor.csv"}
    assert {float(row["inside"]) for row in rows if row["inside"]} >= {0.0, 1.0}
