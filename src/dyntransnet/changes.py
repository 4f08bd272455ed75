"""Which cases differ between two versions of a dataset.

A version is told by its manifest, wherever one is kept: a file, MLflow's run or registered model
that was trained on it, or a git revision whose manifest DVC has.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dyntransnet.errors import InputError
from dyntransnet.lineage import (
    LOCK_FILE,
    SOURCE_TAG,
    UNKNOWN,
    DataVersion,
    project_folder,
    read_lock,
)

Row = dict[str, Any]

RUN, MODEL = "runs:/", "models:/"
SHOWN = {"shape": "shape {}", "spacing_mm": "spacing {} mm", "liver_ml": "liver {} ml",
         "tumor_ml": "tumor {} ml", "tumors": "{} tumors"}  # fmt: skip
"""What of a corrected case is shown, and how."""


@dataclass(frozen=True)
class Edition:
    """A version of a dataset, with its cases.

    Attributes:
        of: how it was asked for.
        version: which one it is.
        manifest: what ``ingest`` wrote of it.
    """

    of: str
    version: DataVersion
    manifest: Row

    @classmethod
    def read(cls, of: str, manifest: bytes, lock: bytes) -> "Edition":
        """A version by the files that tell of it.

        Raises:
            InputError: the manifest is none.
        """
        try:
            return cls(of, DataVersion.of(manifest, lock), json.loads(manifest))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{of}: must have a manifest of ingest, got another file") from error

    def __str__(self) -> str:
        seen = self.version
        return (
            f"{self.of}: {seen.name} {seen.digest}, {seen.cases} cases, raw data {seen.source_md5}"
        )


def run(old: str, new: str | None, manifest: Path) -> Iterator[str]:
    """Compare two versions of a dataset.

    Args:
        old: a manifest's path, ``runs:/ID``, ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``
            or a git revision.
        new: likewise; None for the manifest that lies here.
        manifest: where the pipeline writes it.

    Yields:
        A line for each version, for each case that differs, and for the sum.

    Raises:
        InputError: there is no such version, or nothing keeps its manifest any more.
    """
    before = edition(old, manifest)
    after = edition(new, manifest) if new else _of_file(manifest)
    yield str(before)
    yield str(after)
    yield from compare(before.manifest, after.manifest)


def edition(name: str, manifest: Path) -> Edition:
    """Find a version of a dataset.

    Raises:
        InputError: there is none of that name, or nothing keeps its manifest any more.
    """
    if name.startswith((RUN, MODEL)):
        return _of_mlflow(name)
    if Path(name).is_file():
        return _of_file(Path(name))
    return _of_revision(name, manifest)


def compare(old: Row, new: Row) -> Iterator[str]:
    """Say of each case what became of it."""
    before, after = ({row["id"]: row for row in each["cases"]} for each in (old, new))
    renamed = _renamed(before, after)
    left_out = {each["case"]: each["code"] for each in new.get("quarantined", [])}
    kept = [case for case in after if case in before]
    corrected = {case: found for case in kept if (found := _corrected(before[case], after[case]))}
    removed = [case for case in before if case not in after and case not in renamed]
    added = [case for case in after if case not in before and case not in renamed.values()]
    for case in removed:
        yield f"  removed    {case}" + (f"  {left_out[case]}" if case in left_out else "")
    yield from (f"  added      {case}" for case in added)
    yield from (f"  renamed    {case} -> {name}" for case, name in renamed.items())
    yield from (f"  corrected  {case}  {found}" for case, found in corrected.items())
    counts = {"removed": removed, "added": added, "renamed": renamed, "corrected": corrected}
    said = [f"{len(cases)} {what}" for what, cases in counts.items() if cases]
    yield ", ".join([*said, f"{len(kept) - len(corrected)} the same"])


def _renamed(before: dict[str, Row], after: dict[str, Row]) -> dict[str, str]:
    """Cases whose scan now has another name."""
    known = {row["voxels_sha256"]: case for case, row in before.items() if case not in after}
    return {
        known[row["voxels_sha256"]]: case
        for case, row in after.items()
        if case not in before and row["voxels_sha256"] in known
    }


def _corrected(old: Row, new: Row) -> str:
    """What differs in a case; empty where it is the same."""
    parts = [part for part in ("scan", "mask") if old[f"{part}_sha256"] != new[f"{part}_sha256"]]
    if not parts:
        return ""
    shown = [
        f"{text.format(old.get(name))} -> {text.format(new.get(name))}"
        for name, text in SHOWN.items()
        if old.get(name) != new.get(name)
    ]
    return " and ".join(parts) + (": " + ", ".join(shown) if shown else "")


def _of_file(manifest: Path) -> Edition:
    if not manifest.is_file():
        raise InputError(f"{manifest}: must exist (dvc repro makes it), got nothing there")
    return Edition.read(str(manifest), manifest.read_bytes(), read_lock(_lock_of(manifest)))


def _lock_of(manifest: Path) -> Path:
    """The dvc.lock of the pipeline that writes a manifest."""
    folders = [*manifest.resolve().parents]
    return next((each / LOCK_FILE for each in folders if (each / LOCK_FILE).is_file()), LOCK_FILE)


def _of_mlflow(name: str) -> Edition:
    """What a run, or the run of a registered model, says that it saw."""
    import mlflow

    from dyntransnet.tracking import MANIFEST, connect

    client = connect()
    try:
        run_id = name.removeprefix(RUN)
        if name.startswith(MODEL):
            model, at, alias = name.removeprefix(MODEL).partition("@")
            model, _, number = (model, "", "") if at else model.rpartition("/")
            find = client.get_model_version_by_alias if at else client.get_model_version
            run_id = str(find(model, alias if at else number).run_id)
        source_md5 = client.get_run(run_id).data.tags.get(SOURCE_TAG, UNKNOWN)
        manifest = mlflow.artifacts.load_text(f"{RUN}{run_id}/{MANIFEST}").encode()
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise InputError(
            f"{name}: must be a training that kept its manifest, got {error}"
        ) from error
    found = Edition.read(name, manifest, b"")
    return replace(found, version=replace(found.version, source_md5=source_md5))


def _of_revision(name: str, manifest: Path) -> Edition:
    """What DVC has of a git revision, in its cache or in a remote."""
    import dvc.api
    from dvc.exceptions import DvcException

    project = project_folder()

    def stored(path: Path) -> bytes:
        inside = str(path.resolve().relative_to(project))
        return dvc.api.read(inside, repo=str(project), rev=name, mode="rb")

    try:
        found, lock = stored(manifest), stored(_lock_of(manifest))
    except (DvcException, OSError, ValueError) as error:
        raise InputError(
            f"{name}: must be a manifest's path, {RUN}ID, {MODEL}NAME@ALIAS or a git revision "
            f"with {manifest} in DVC, got {error}"
        ) from error
    return Edition.read(name, found, lock)
