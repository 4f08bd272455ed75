import csv
import json
from pathlib import Path

import pytest

from caches import save_workspace
from dyntransnet.contract import Contract
from dyntransnet.learning.checkpoint import load_weights
from launch import together

SCRIPT = """
import sys
sys.path[:0] = sys.argv[2:]
from caches import params_of
from dyntransnet.learning import loop
from test_train import trained_in
loop.LOSS_EVERY = 1
trained_in(sys.argv[1], params_of(batch_size=4, steps=12, validate_every=6, learning_rate=3e-3))
"""


def trained_by(count: int, root: Path) -> Path:
    """A workspace in which some processes trained together."""
    workspace = save_workspace(root / f"of-{count}")
    script = root / "train_together.py"
    script.write_text(SCRIPT)
    tests = Path(__file__).parents[1]
    together(count, script, workspace, tests, tests / "stages", folder=workspace)
    return workspace


def curve(path: Path) -> list[list[float]]:
    with path.open(newline="") as stream:
        return [[float(value) for value in row.values()] for row in csv.DictReader(stream)]


@pytest.fixture(scope="module")
def workspaces(tmp_path_factory, empty_store) -> list[Path]:
    root = tmp_path_factory.mktemp("together")
    with pytest.MonkeyPatch.context() as patch:
        (root / "mlflow.db").write_bytes(empty_store.read_bytes())
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
        return [trained_by(count, root) for count in (1, 2)]


def test_two_processes_see_the_loss_curve_of_one(workspaces):
    alone, shared = (curve(root / "report/loss.csv") for root in workspaces)
    assert len(alone) == 12
    for one, same in zip(alone, shared, strict=True):
        assert same == pytest.approx(one, abs=1e-4)
    assert alone[-1][1] < alone[0][1]


def test_two_processes_validate_as_one(workspaces):
    alone, shared = (curve(root / "report/validation.csv") for root in workspaces)
    for one, same in zip(alone, shared, strict=True):
        assert same == pytest.approx(one, abs=1e-3)


def test_the_leader_alone_writes_and_both_runs_are_in_mlflow(workspaces):
    ids = {json.loads((root / "report/run.json").read_text())["run_id"] for root in workspaces}
    assert len(ids) == 2
    for root in workspaces:
        weights = load_weights(root / "checkpoint", Contract.load(root / "checkpoint"))
        assert all(tensor.isfinite().all() for tensor in weights.values())
        assert not list((root / "resume").iterdir())
