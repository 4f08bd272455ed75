"""README, Makefile, workflows, lock file and package say the same."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
import yaml
from packaging.requirements import Requirement

from dyntransnet.cli import app

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))
HEAVY = ("torch", "monai", "mlflow", "dvc", "onnxruntime", "openvino")


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_step_of_a_workflow_is_a_makefile_target(workflow):
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    steps = [step["run"].split() for job in jobs for step in job["steps"] if "run" in step]
    assert steps
    for command, target, *_ in steps:
        assert command == "make"
        assert target in make_targets()


def test_ci_runs_what_a_person_runs():
    (line,) = re.findall(r"^make (.+)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert line.split() == ["install", "check", "test", "regression"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_job_that_may_write_runs_nothing_of_the_repository(workflow):
    """Of a pull request it could be anything; only GitHub's own actions are trusted."""
    content = yaml.safe_load(workflow.read_text())
    assert content["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in content[True]  # how YAML reads the key "on"
    for job in content["jobs"].values():
        uses = [step.get("uses", "") for step in job["steps"]]
        if "permissions" in job:
            assert job["permissions"] == {"pull-requests": "write"}
            assert all(name.startswith(("actions/download-", "actions/github-")) for name in uses)
            assert "head.repo.full_name == github.repository" in job["if"]


def test_the_table_of_the_gate_is_posted_from_where_it_is_written():
    makefile = (ROOT / "Makefile").read_text()
    (written,) = re.findall(r"reports/evaluate .*?--markdown (\S+);", makefile, re.DOTALL)
    jobs = yaml.safe_load((ROOT / ".github/workflows/pipeline.yaml").read_text())["jobs"]
    kept = [step["with"] for step in jobs["pipeline"]["steps"] if "upload" in step.get("uses", "")]
    assert written in [one["path"] for one in kept if one["name"] == "gate"]
    script = jobs["comment"]["steps"][-1]["with"]["script"]
    assert f"readFileSync('{Path(written).name}'" in script


def test_the_readme_names_only_targets_and_commands_that_exist():
    text = (ROOT / "README.md").read_text()
    commands = set(typer.main.get_command(app).commands)
    assert set(re.findall(r"^dyntransnet ([\w-]+)", text, re.MULTILINE)) <= commands
    assert set(re.findall(r"^make (\w+)", text, re.MULTILINE)) <= make_targets()


def test_links_in_the_documents_lead_somewhere():
    for page in [
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "serving").glob("*.md"),
    ]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_lock_file_pins_every_dependency_within_its_range():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = {Requirement(line).name.lower().replace("_", "-"): Requirement(line) for line in lines}
    extras = [entry for group in PROJECT["optional-dependencies"].values() for entry in group]
    for needed in map(Requirement, [*PROJECT["dependencies"], *extras]):
        if needed.name != PROJECT["name"]:
            pin = pinned[needed.name.lower()]
            (exact,) = pin.specifier
            assert exact.operator == "=="
            assert needed.specifier.contains(exact.version), f"{needed} against {pin}"


def test_every_file_of_the_package_is_installed_with_it():
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    named = {
        path
        for package, patterns in rules["package-data"].items()
        for pattern in patterns
        for path in (ROOT / "src" / package.replace(".", "/")).glob(pattern)
    }
    files = {path for path in (ROOT / "src/dyntransnet").rglob("*") if path.is_file()}
    data = {path for path in files if path.suffix not in (".py", ".pyc")}
    assert data == named
    assert len(data) > 3


def test_the_tests_run_on_the_locked_versions():
    for name in ("torch", "monai", "mlflow", "dvc", "onnx", "tritonclient", "numpy"):
        assert f"{name}=={version(name).split('+')[0]}" in (ROOT / "requirements.lock").read_text()


@pytest.mark.parametrize(
    "module", ["client", "files", "batch", "cli", "imaging.segment", "scoring.trial"]
)
def test_a_client_needs_no_training_stack(module):
    blocked = "".join(f"sys.modules[{name!r}] = None; " for name in HEAVY)
    code = f"import sys; {blocked}import dyntransnet.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
