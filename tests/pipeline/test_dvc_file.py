"""dvc.yaml, modules, commands and params.yaml tell one story."""

from pathlib import Path

import pytest
import typer
import yaml
from imports import PACKAGE, needed_files

from dyntransnet.cli import app
from dyntransnet.config import Params

ROOT = PACKAGE.parents[1]
EXPERIMENTS = ROOT / "experiments"
STUDIED = ["ingest", "split", "preprocess", "train", "evaluate", "compare"]
STAGES = ["ingest", "split", "preprocess", "train", "evaluate", "export", "register", "publish"]
NOT_CODE = {"config.py", "errors.py"}
"""Passed-on arguments, values that DVC tracks as params, and messages."""

RUN_BY_NAME = {
    "export": {"runtimes/onnx_runtime.py", "runtimes/openvino_runtime.py", "runtimes/__init__.py"},
    "register": {"runtimes/onnx_runtime.py"},
}
"""Modules that runtimes.choice imports by name, which no import statement shows."""


@pytest.fixture(scope="module")
def stages() -> dict:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def test_stages_stand_in_data_order(stages):
    assert list(stages) == STAGES


def test_each_stage_is_a_module():
    modules = {path.stem for path in (PACKAGE / "stages").glob("*.py")} - {"__init__"}
    assert modules == {*STAGES, "compare"}


def test_each_stage_is_the_command_of_its_name(stages):
    commands = set(typer.main.get_command(app).commands)
    assert commands >= set(STAGES)
    for name, stage in stages.items():
        assert stage["cmd"].split()[:2] == ["dyntransnet", name]


def test_each_stage_has_its_section_of_params(stages):
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert set(values) == {*STAGES, "network"}
    for name, stage in stages.items():
        assert name in stage["params"]


def test_params_file_keeps_its_own_rules():
    assert Params.load(ROOT / "params.yaml").train.steps > 0


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_the_code_it_runs_and_no_other(stages, stage):
    needed = {_shown(path) for path in needed_files(PACKAGE / "stages" / f"{stage}.py")}
    needed = (needed | RUN_BY_NAME.get(stage, set())) - NOT_CODE
    listed = _listed_files(stages[stage]["deps"])
    assert {path for path in listed if not path.endswith("__init__.py")} == {
        path for path in needed if not path.endswith("__init__.py")
    }


@pytest.mark.parametrize("stage", STUDIED)
def test_a_study_lists_the_code_that_its_stages_run_and_no_other(stage):
    stages = yaml.safe_load((EXPERIMENTS / "dvc.yaml").read_text())["stages"]
    assert list(stages) == STUDIED
    needed = {_shown(path) for path in needed_files(PACKAGE / "stages" / f"{stage}.py")} - NOT_CODE
    listed = _listed_files(
        [dep.removeprefix("../") for dep in stages[stage]["deps"] if dep.startswith("../src")]
    )
    assert {path for path in listed if not path.endswith("__init__.py")} == {
        path for path in needed if not path.endswith("__init__.py")
    }


def test_every_output_is_kept_out_of_git_by_dvc_but_the_scores(stages):
    """A pull request is compared case by case with what main has in git."""
    outs = [out for stage in stages.values() for out in stage.get("outs", [])]
    in_git = [out for out in outs if not isinstance(out, str)]
    assert in_git == [{"reports/evaluate/cases.csv": {"cache": False}}]
    assert (ROOT / "reports/evaluate/cases.csv").is_file()


def _listed_files(deps: list[str]) -> set[str]:
    """The code files that a list of dependencies covers."""
    paths = [ROOT / dep for dep in deps if dep.startswith("src/")]
    files = [file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])]
    return {_shown(file) for file in files}


def _shown(path: Path) -> str:
    return str(path.relative_to(PACKAGE))
