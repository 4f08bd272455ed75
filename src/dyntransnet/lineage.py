"""What code and which version of a dataset a training sees.

A version of a dataset has two names. ``manifest_sha256`` changes when a case does, ``source_md5``
when any file of the raw data does: it is what ``dvc add`` wrote into ``data/lits.dvc``.
"""

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

LOCK_FILE = Path("dvc.lock")
UNKNOWN = "none"
MANIFEST_TAG, SOURCE_TAG = "manifest_sha256", "source_md5"
DIGEST_DIGITS = 10
"""Of a SHA-256: what MLflow recommends for a dataset's digest."""


@dataclass(frozen=True)
class DataVersion:
    """A version of a dataset; it tells of no path, no file's name and no person.

    Attributes:
        name: the dataset's layout, for its folder may be called after a person.
        cases: how many.
        manifest_sha256: of the file that ``ingest`` wrote.
        source_md5: DVC's hash of the raw data; "none" where dvc.lock does not tell.
    """

    name: str
    cases: int
    manifest_sha256: str
    source_md5: str

    @classmethod
    def of(cls, manifest: bytes, lock: bytes) -> "DataVersion":
        """The version that a manifest and the dvc.lock of that time tell of.

        Args:
            manifest: what ``ingest`` wrote.
            lock: dvc.lock; empty where there is none.
        """
        known = json.loads(manifest)
        sha256 = hashlib.sha256(manifest).hexdigest()
        return cls(known["layout"], len(known["cases"]), sha256, _source_md5(manifest, lock))

    @property
    def digest(self) -> str:
        """Short enough to say; MLflow shows it behind the dataset's name."""
        return self.manifest_sha256[:DIGEST_DIGITS]

    def tags(self) -> dict[str, str]:
        """What a run and a registered model are marked with."""
        return {MANIFEST_TAG: self.manifest_sha256, SOURCE_TAG: self.source_md5}


def project_folder() -> Path:
    """The folder that DVC keeps, whichever of its folders a stage runs in; else this one."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), here)


def read_lock(path: Path = LOCK_FILE) -> bytes:
    """The bytes of dvc.lock; none where there is no such file."""
    return path.read_bytes() if path.is_file() else b""


def origin() -> dict[str, str]:
    """What code and data a run came from: git commit and the hash of dvc.lock."""
    return {
        "git_commit": _git("rev-parse", "HEAD") or "none",
        "git_dirty": str(bool(_git("status", "--porcelain", "--untracked-files=no"))).lower(),
        "dvc_lock_sha256": hashlib.sha256(read_lock()).hexdigest(),
    }


def _git(*command: str) -> str:
    try:
        done = subprocess.run(["git", *command], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _source_md5(manifest: bytes, lock: bytes) -> str:
    """From the stage ingest, if it is this manifest that it wrote: it may have run without DVC."""
    stages: dict[str, Any] = (yaml.safe_load(lock) or {}).get("stages", {})
    ingest = stages.get("ingest", {})
    md5 = hashlib.md5(manifest, usedforsecurity=False).hexdigest()
    if md5 not in [out.get("md5") for out in ingest.get("outs", [])]:
        return UNKNOWN
    source = Path(ingest["params"]["params.yaml"]["ingest"]["source"]).resolve()
    found = [dep["md5"] for dep in ingest["deps"] if Path(dep["path"]).resolve() == source]
    return str(found[0]) if found else UNKNOWN
