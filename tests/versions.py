"""A project under git and DVC whose dataset comes in versions, and manifests of known cases."""

import json
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

from dvc.cli import main

SOURCE = Path("data/lits")
MANIFEST = Path("data/manifest.json")

INGEST = """
import hashlib, json, pathlib
hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
          for path in sorted(pathlib.Path("data/lits").iterdir())}
cases = [{"id": name[:-4], "voxels_sha256": scan, "scan_sha256": scan,
          "mask_sha256": hashes[name.replace("volume", "segmentation")], "liver_ml": 1500.0}
         for name, scan in hashes.items() if name.startswith("volume")]
pathlib.Path("data/manifest.json").write_text(json.dumps({"layout": "lits", "cases": cases}))
"""
"""Stands in for ingest, which takes seconds to start."""

PIPELINE = """
stages:
  ingest:
    cmd: PYTHON ingest.py
    params: [ingest]
    deps: [ingest.py, "${ingest.source}"]
    outs: [data/manifest.json]
  train:
    cmd: cp dvc.lock seen.lock
    deps: [data/manifest.json]
    outs: [seen.lock]
"""


def dvc(*command: str, quiet: bool = True) -> None:
    """Run a command of DVC as a person types it, but in this process: it takes seconds to start."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # DVC's own
        assert main([*command, *["--quiet"] * quiet]) == 0, " ".join(command)


def git(*command: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    subprocess.run(["git", *identity, *command], check=True, capture_output=True)


def commit(message: str) -> None:
    git("add", "--all")
    git("commit", "--quiet", "--message", message)


def save_source(files: Mapping[str, str]) -> None:
    """Make the raw data hold these files and no other."""
    SOURCE.mkdir(parents=True, exist_ok=True)
    for path in SOURCE.iterdir():
        path.unlink()
    for name, content in files.items():
        (SOURCE / name).write_text(content)


def start_project(files: Mapping[str, str]) -> None:
    """In the working directory: the raw data added, the pipeline run, all of it committed."""
    git("init", "--quiet")
    dvc("init")
    Path("ingest.py").write_text(INGEST)
    Path("dvc.yaml").write_text(PIPELINE.replace("PYTHON", sys.executable))
    Path("params.yaml").write_text(json.dumps({"ingest": {"source": str(SOURCE)}}))
    save_source(files)
    dvc("add", str(SOURCE))
    dvc("repro")
    commit("start")


def row_of(case: str, *, scan: str = "", mask: str = "m", **changes) -> dict:
    """A case of a manifest."""
    scan = scan or case
    return {"id": case, "voxels_sha256": scan, "scan_sha256": scan, "mask_sha256": mask} | changes
