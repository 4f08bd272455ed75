"""Whoever makes networks learn worse is stopped, and nobody else is."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from dyntransnet.config import Params
from dyntransnet.errors import QualityGateError
from dyntransnet.scoring import gatekeeper
from dyntransnet.scoring.gate import Rules, judge
from dyntransnet.scoring.pairing import read_evaluation

ROOT = Path(__file__).parents[1]
REGRESSION = ROOT / "regression"
NAMES = {"model", "alias"}
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Commit:
    """A change of one line or two: file, what stood there once, and what stands there now."""

    file: str
    before: str
    after: str


FAULTS = {
    # The image is turned and scaled, its labels stay where they were.
    "augmentation": Commit(
        "learning/augment.py",
        '    label = grid_sample(label, grid, mode="nearest", '
        'padding_mode="border", align_corners=False)\n',
        "    for axis, edge in enumerate(patch_size, 2):\n"
        "        label = label.narrow(axis, (label.shape[axis] - edge) // 2, edge)\n",
    ),
    # Cross-entropy is paid for being wrong.
    "loss": Commit(
        "learning/loss.py",
        "return soft_dice(logits, targets) + binary_cross_entropy_with_logits(logits, targets)",
        "return soft_dice(logits, targets) - binary_cross_entropy_with_logits(logits, targets)",
    ),
    # The middles of both grids lie half a voxel apart.
    "resampling": Commit(
        "imaging/geometry.py",
        "at = (np.arange(target) - (target - 1) / 2) * step + (source - 1) / 2",
        "at = (np.arange(target) - target / 2) * step + (source - 1) / 2",
    ),
}
REFACTORING = Commit(
    "learning/loss.py",
    "    both, predicted, true = summed(torch.stack(parts))\n"
    "    return 1 - ((2 * both + SMOOTH) / (predicted + true + SMOOTH)).mean()",
    "    both, predicted, true = summed(torch.stack(parts))\n"
    "    shares = (both + SMOOTH / 2) / ((predicted + true + SMOOTH) / 2)\n"
    "    return (1 - shares).mean()",
)
"""The same loss, but for rounding."""

RULES = Rules(**Params.load(REGRESSION / "params.yaml").register_.model_dump(exclude=NAMES))


@pytest.fixture(scope="module")
def trained(empty_store, tmp_path_factory) -> dict[str, Path]:
    """What the regression training of each commit scored, two commits at a time."""
    commits = {**FAULTS, "refactoring": REFACTORING}
    root = tmp_path_factory.mktemp("commits")
    with ThreadPoolExecutor(2) as pool:
        folders = pool.map(lambda name: train(root / name, commits[name], empty_store), commits)
        return dict(zip(commits, folders, strict=True))


def train(place: Path, commit: Commit, store: Path) -> Path:
    """Copy the code, change it, and run the training as ``make regression`` does."""
    shutil.copytree(ROOT / "src", place / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REGRESSION, place / "regression")
    changed = place / "src/dyntransnet" / commit.file
    text = changed.read_text()
    assert text.count(commit.before) == 1
    changed.write_text(text.replace(commit.before, commit.after))
    shutil.copyfile(store, place / "mlflow.db")
    where = {
        "PYTHONPATH": str(place / "src"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{place / 'mlflow.db'}",
    }
    command = [sys.executable, "-m", "dyntransnet.cli", "regression", "--out", "../found"]
    done = subprocess.run(
        command, cwd=place / "regression", env=os.environ | where, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place / "found"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_commit_that_breaks_learning_is_refused(trained, fault):
    with pytest.raises(QualityGateError, match=r"must not fall by more than"):
        gatekeeper.run(REGRESSION, trained[fault], RULES)


def test_a_harmless_refactoring_passes(trained):
    gatekeeper.run(REGRESSION, trained["refactoring"], RULES)


def test_the_reference_has_learned_and_is_of_the_cases_that_are_scored():
    reference = read_evaluation(REGRESSION)
    assert judge(None, reference, RULES).passed
    assert set(reference.scores) == {*Params.load(REGRESSION / "params.yaml").split.test_cases}
