"""A workspace in which the whole pipeline has run once, on few phantoms."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from imports import PACKAGE

ROOT = PACKAGE.parents[1]
PHANTOMS = 7
SMALLER = {
    "train": {"steps": 30, "validate_every": 15, "batch_size": 1},
    "preprocess": {"spacing_mm": [4.0, 4.0, 4.0]},
    "split": {"folds": 3},
    "evaluate": {"figures": 1},
    "export": {"scans": 1, "calibration": 4},
    "register": {"min_dice_liver": 0.0, "min_dice_tumor": 0.0},
}


@dataclass(frozen=True)
class Workspace:
    """A copy of this repository's files under git and DVC."""

    path: Path

    def run(self, *command: str, code: int = 0) -> str:
        """Run a command there; its output, once it ended as expected."""
        done = subprocess.run(
            command, cwd=self.path, env=_environment(), capture_output=True, text=True, check=False
        )
        output = done.stdout + done.stderr
        assert done.returncode == code, (
            f"{' '.join(command)} ended with {done.returncode}: {output}"
        )
        return output

    def set(self, changes: dict[str, dict]) -> None:
        """Change values of params.yaml."""
        file = self.path / "params.yaml"
        values = yaml.safe_load(file.read_text())
        for section, entries in changes.items():
            values[section] |= entries
        file.write_text(yaml.safe_dump(values))

    def allow(self, *precisions: str) -> None:
        """Let these lie anywhere: the masks of so short a training hang on single logits."""
        limits = yaml.safe_load((self.path / "params.yaml").read_text())["export"]["limits"]
        anything = {"relative_difference": 1e9, "min_dice": 0.0, "max_dice_change": 1.0}
        self.set({"export": {"limits": limits | dict.fromkeys(precisions, anything)}})


@pytest.fixture(scope="session")
def workspace(tmp_path_factory) -> Workspace:
    space = Workspace(tmp_path_factory.mktemp("workspace"))
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and name != "dvc.lock":
            (space.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, space.path / name)
    recipes = space.path / "data" / "phantoms.yaml"
    lines = recipes.read_text().splitlines(keepends=True)
    rows = [line for line in lines if line.startswith("- ")]
    recipes.write_text("".join(rows[:PHANTOMS]))
    space.set(SMALLER)
    space.allow("bf16", "int8")
    space.run("git", "init", "--quiet")
    space.run("git", "add", "--all")
    space.run(
        "git", "-c", "user.name=test", "-c", "user.email=test@example.org",
        "commit", "--quiet", "--message", "start",
    )  # fmt: skip
    space.run("dvc", "repro")
    return space


def _environment() -> dict[str, str]:
    """This interpreter's commands first; no tracking server but the workspace's own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_"))}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return environment
