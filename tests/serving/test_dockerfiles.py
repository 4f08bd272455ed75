"""Dockerfiles, read line by line: no container can be built here."""

import json
import re
import shlex
import shutil
import subprocess

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from deployed import ROOT, SERVING

DOCKERFILES = [SERVING / "Dockerfile", SERVING / "mlflow/Dockerfile"]
FIXED = Version("26.07")
"""The first release that none of NVIDIA's bulletins in SECURITY.md asks to leave."""

each = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)


def instructions(path):
    """(instruction, rest) in order, lines joined."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def only(path, instruction):
    return [rest for name, rest in instructions(path) if name == instruction]


@each
def test_it_runs_as_a_numbered_user_who_is_not_root(path):
    (user,) = only(path, "USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)


@each
def test_what_it_copies_is_there_and_let_through(path):
    ignored = path.with_name("Dockerfile.dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    assert ignored[0] == "*" or ignored[1] == "*"
    for rest in only(path, "COPY"):
        words = [word for word in rest.split() if not word.startswith("--")]
        if "--from=build" not in rest:
            for source in words[:-1]:
                assert (ROOT / source).exists()
                assert source in allowed


@each
def test_health_is_asked_of_the_server_itself(path):
    (check,) = only(path, "HEALTHCHECK")
    command = json.loads(check.partition(" CMD ")[2])
    assert command[:2] == ["python3", "-c"]
    compile(command[2], "check", "exec")


@each
def test_packages_are_those_of_the_lock_file(path):
    (installing,) = [rest for rest in only(path, "RUN") if " install " in rest]
    assert "--constraint" in installing
    assert "requirements.lock" in installing
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = {Requirement(line).name.lower() for line in lock}
    for word in shlex.split(installing.partition(" install ")[2].split(" && ")[0]):
        if not word.startswith(("-", ".", "/", "requirements")):
            needed = Requirement(word)
            assert needed.name in pinned or str(needed.specifier).startswith("==")


@each
def test_no_secret_is_built_in(path):
    for name, rest in instructions(path):
        if name in ("ARG", "ENV"):
            assert not re.search("PASSWORD|SECRET|TOKEN|KEY", rest)


@each
def test_nothing_that_installs_is_left_in_its_environment(path):
    assert "venv --without-pip" in path.read_text()


def test_both_stages_are_of_one_release_with_the_fixes():
    (release,) = only(DOCKERFILES[0], "ARG")
    name, version = release.split("=")
    assert name == "TRITON"
    assert Version(version) >= FIXED
    images = [rest.split()[0] for rest in only(DOCKERFILES[0], "FROM") if "/" in rest]
    assert images == ["nvcr.io/nvidia/tritonserver:${TRITON}-py3"] * 2


def test_the_release_is_the_one_the_security_page_names():
    version = only(DOCKERFILES[0], "ARG")[0].split("=")[1]
    assert f"**{version}**" in (ROOT / "SECURITY.md").read_text()


def test_the_program_without_models_is_what_is_built_by_default():
    stages = only(DOCKERFILES[0], "FROM")
    assert stages[-2:] == ["service AS bundled", "service"]


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="needs hadolint")
@each
def test_hadolint_finds_nothing(path):
    done = subprocess.run(["hadolint", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
@pytest.mark.parametrize("path", sorted(SERVING.rglob("*.sh")), ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path):
    done = subprocess.run(["shellcheck", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
