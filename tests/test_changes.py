import json
from pathlib import Path

import pytest

from dyntransnet import changes
from dyntransnet.atomic import sha256_of
from dyntransnet.errors import InputError
from dyntransnet.lineage import DataVersion
from dyntransnet.tracking import connect, log_data, register_version, training_run
from versions import row_of

NO_MANIFEST = "must have a manifest of ingest, got another file"


def manifest_of(*rows: dict, **more: object) -> dict:
    return {"layout": "lits", "cases": list(rows), **more}


def save(path: Path, manifest: dict) -> Path:
    path.write_text(json.dumps(manifest))
    return path


def told(old: dict, new: dict) -> list[str]:
    """What became of the cases, one space between words."""
    return [" ".join(line.split()) for line in changes.compare(old, new)]


def trained_on(manifest: dict) -> str:
    """An MLflow run that saw it."""
    stored = json.dumps(manifest).encode()
    version = DataVersion.of(stored, b"")
    with training_run("made", {}, version.tags(), name="made", run_id=None) as run_id:
        log_data(run_id, version, stored)
    return run_id


def test_equal_versions_have_the_same_cases():
    both = manifest_of(row_of("a"), row_of("b"))
    assert told(both, both) == ["2 the same"]


def test_each_case_is_said_to_be_removed_added_or_corrected():
    old = manifest_of(row_of("a"), row_of("b", tumors=2, liver_ml=1500.0), row_of("c"))
    new = manifest_of(row_of("a"), row_of("b", mask="n", tumors=3, liver_ml=1500.0), row_of("d"))
    assert told(old, new) == [
        "removed c",
        "added d",
        "corrected b mask: 2 tumors -> 3 tumors",
        "1 removed, 1 added, 1 corrected, 1 the same",
    ]


def test_a_scan_under_another_name_is_renamed():
    old, new = manifest_of(row_of("a", scan="s")), manifest_of(row_of("b", scan="s"))
    assert told(old, new) == ["renamed a -> b", "1 renamed, 0 the same"]


def test_a_scan_that_only_moved_in_space_is_corrected():
    old = manifest_of(row_of("a", spacing_mm=[1, 1, 2.5]))
    new = manifest_of(row_of("a", spacing_mm=[1, 1, 5.0]) | {"scan_sha256": "other"})
    assert told(old, new)[0] == "corrected a scan: spacing [1, 1, 2.5] mm -> spacing [1, 1, 5.0] mm"


def test_a_case_that_a_check_left_out_says_which():
    quarantined = [{"case": "a", "code": "mask-empty"}]
    new = manifest_of(row_of("b"), quarantined=quarantined)
    assert told(manifest_of(row_of("a"), row_of("b")), new)[0] == "removed a mask-empty"


def test_the_champion_and_this_folder_are_compared(workplace):
    old, new = manifest_of(row_of("a")), manifest_of(row_of("a"), row_of("b"))
    run_id = trained_on(old)
    client = connect()
    register_version(client, "liver", source="made", run_id=run_id, tags={})
    client.set_registered_model_alias("liver", "champion", "1")
    here = save(workplace / "manifest.json", new)
    digest = sha256_of(save(workplace / "old.json", old))[:10]
    for name in ("models:/liver@champion", "models:/liver/1", f"runs:/{run_id}"):
        before, after, *lines = changes.run(name, None, here)
        assert before == f"{name}: lits {digest}, 1 cases, raw data none"
        assert after == f"{here}: lits {sha256_of(here)[:10]}, 2 cases, raw data none"
        assert lines == ["  added      b", "1 added, 1 the same"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("models:/lung@champion", "models:/lung@champion: must be a training that kept its man"),
        ("models:/lung/1", "models:/lung/1: must be a training that kept its manifest, got "),
        ("runs:/0123", "runs:/0123: must be a training that kept its manifest, got "),
        ("text.json", f"text.json: {NO_MANIFEST}"),
        ("list.json", f"list.json: {NO_MANIFEST}"),
        ("half.json", f"half.json: {NO_MANIFEST}"),
        ("v1", r"v1: must be a manifest's path, .* or a git revision with manifest.json in DVC, g"),
    ],
)
def test_a_version_that_is_not_there_is_one_line(workplace, monkeypatch, name, message):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(workplace.parent))
    save(workplace / "manifest.json", manifest_of(row_of("a")))
    for file, content in {"text": "none", "list": "[]", "half": '{"cases": []}'}.items():
        (workplace / f"{file}.json").write_text(content)
    with pytest.raises(InputError, match=f"^{message}") as caught:
        list(changes.run(name, None, Path("manifest.json")))
    assert "\n" not in str(caught.value)


def test_a_run_that_kept_no_manifest_is_one_line(workplace):
    with training_run("made", {}, {}, name="made", run_id=None) as run_id:
        pass
    with pytest.raises(InputError, match=f"^runs:/{run_id}: must be a training that kept its man"):
        changes.edition(f"runs:/{run_id}", Path("manifest.json"))


def test_a_folder_without_a_manifest_is_one_line(workplace):
    save(workplace / "old.json", manifest_of())
    with pytest.raises(InputError, match=r"^gone\.json: must exist \(dvc repro makes it\), got n"):
        list(changes.run("old.json", None, Path("gone.json")))
