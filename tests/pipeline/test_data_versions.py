"""Raw data that DVC keeps: what a version is, what tells them apart, and where they are kept."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from dyntransnet import changes
from dyntransnet.errors import InputError
from dyntransnet.lineage import DataVersion
from versions import MANIFEST, SOURCE, commit, dvc, git, save_source, start_project

FIRST = {"volume-1.nii": "scan 1", "segmentation-1.nii": "mask 1",
         "volume-2.nii": "scan 2", "segmentation-2.nii": "mask 2",
         "volume-3.nii": "scan 3", "segmentation-3.nii": "mask 3"}  # fmt: skip
CORRECTED = FIRST | {"segmentation-2.nii": "mask 2, drawn anew"}
GONE = {name: content for name, content in FIRST.items() if "-1" not in name}
ADDED = FIRST | {"volume-4.nii": "scan 4", "segmentation-4.nii": "mask 4"}
NO_S3 = find_spec("dvc_s3") is None and not os.environ.get("CI")


@pytest.fixture(scope="module")
def started(tmp_path_factory) -> Iterator[Path]:
    """A project whose pipeline ran on the first version of its data."""
    path = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_NO_ANALYTICS", "1")
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("site")))
        with pytest.MonkeyPatch.context() as there:
            there.chdir(path)
            start_project(FIRST)
        yield path


@pytest.fixture
def project(started, tmp_path, monkeypatch) -> Path:
    """A copy of it to change."""
    monkeypatch.chdir(shutil.copytree(started, tmp_path / "project"))
    return tmp_path / "project"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """An S3 server on loopback with a bucket called scans; its address."""
    from boto3 import client
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
            patch.setenv(f"AWS_{name}", value)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client("s3", endpoint_url=url).create_bucket(Bucket="scans")
        yield url
    server.stop()


def added_md5() -> str:
    """What git keeps of the raw data."""
    (out,) = yaml.safe_load(SOURCE.with_suffix(".dvc").read_text())["outs"]
    return out["md5"]


def trained_on() -> DataVersion:
    """What a training of the last `dvc repro` saw."""
    return DataVersion.of(MANIFEST.read_bytes(), Path("seen.lock").read_bytes())


def lose(*folders: str) -> None:
    for folder in folders:
        shutil.rmtree(folder)


def test_a_training_sees_the_version_that_dvc_added(project):
    version = trained_on()
    assert version.source_md5 == added_md5()
    assert version.manifest_sha256 == hashlib.sha256(MANIFEST.read_bytes()).hexdigest()
    assert (version.name, version.cases) == ("lits", 3)


@pytest.mark.parametrize(
    ("files", "named", "told"),
    [
        (CORRECTED, ["Modified", "segmentation-2.nii"], "corrected  volume-2  mask"),
        (GONE, ["Deleted", "segmentation-1.nii", "volume-1.nii"], "removed    volume-1"),
        (ADDED, ["Added", "segmentation-4.nii", "volume-4.nii"], "added      volume-4"),
    ],
    ids=["corrected", "removed", "added"],
)
def test_each_change_is_a_version_that_names_its_files_and_cases(
    project, files, named, told, capsys
):
    before = added_md5(), trained_on()
    save_source(files)
    capsys.readouterr()
    dvc("diff", quiet=False)
    said = capsys.readouterr().out
    for word in named:
        assert word in said
    assert "volume-3" not in said
    dvc("repro")
    after = added_md5(), trained_on()
    assert after[0] == after[1].source_md5 != before[0]
    assert after[1].manifest_sha256 != before[1].manifest_sha256
    first, second, *cases, _ = changes.run("HEAD", None, MANIFEST)
    assert first.endswith(f"{before[1].digest}, 3 cases, raw data {before[0]}")
    assert second.startswith(f"{MANIFEST}: lits {after[1].digest}")
    assert [case.strip() for case in cases] == [told]


def test_a_file_that_is_no_case_is_a_version_of_the_raw_data_only(project):
    before = trained_on()
    save_source(FIRST | {"README": "as it came"})
    dvc("repro")
    assert trained_on() == before
    assert added_md5() != before.source_md5


def test_a_manifest_that_ingest_wrote_without_dvc_has_no_version_of_the_raw_data(project):
    manifest = MANIFEST.read_bytes().replace(b"lits", b"plain")
    lock = Path("dvc.lock").read_bytes()
    assert DataVersion.of(manifest, lock).source_md5 == "none"
    assert DataVersion.of(MANIFEST.read_bytes(), b"").source_md5 == "none"


def test_a_study_finds_the_version_of_the_raw_data_too(project, monkeypatch):
    """Its pipeline lies in a folder of its own."""
    lock = Path("dvc.lock").read_text().replace("data/lits", "../data/lits")
    (project / "experiments").mkdir()
    monkeypatch.chdir(project / "experiments")
    manifest = (project / MANIFEST).read_bytes()
    assert DataVersion.of(manifest, lock.encode()).source_md5 == trained_md5(project)


def trained_md5(project: Path) -> str:
    (out,) = yaml.safe_load((project / SOURCE.with_suffix(".dvc")).read_text())["outs"]
    return out["md5"]


def test_an_earlier_version_comes_back_with_its_commit(project):
    save_source(CORRECTED)
    dvc("repro")
    commit("corrected")
    git("checkout", "--quiet", "HEAD~1")
    dvc("checkout")
    assert (SOURCE / "segmentation-2.nii").read_text() == "mask 2"
    *_, case, counts = changes.run("master", "HEAD", MANIFEST)
    assert (case.split(), counts) == (["corrected", "volume-2", "mask"], "1 corrected, 2 the same")


def test_a_manifest_that_nobody_kept_is_one_line(project):
    lose(".dvc/cache")
    with pytest.raises(InputError, match=r"^HEAD: must be .* in DVC, got ") as caught:
        list(changes.run("HEAD", None, MANIFEST))
    assert "\n" not in str(caught.value)


def test_a_folder_gives_a_version_back(project):
    dvc("remote", "add", "--default", "near", str(project / "store"))
    dvc("push")
    lose(".dvc/cache", str(SOURCE))
    dvc("pull")
    assert {path.name: path.read_text() for path in SOURCE.iterdir()} == FIRST


@pytest.mark.skipif(NO_S3, reason="dvc-s3 is missing: pip install '.[dev]'")
def test_s3_gives_each_version_back(project, request):
    url = request.getfixturevalue("s3")
    dvc("remote", "add", "--default", "far", "s3://scans/liver")
    dvc("remote", "modify", "far", "endpointurl", url)
    commit("keep it on S3")
    dvc("push")
    save_source(CORRECTED)
    dvc("repro")
    commit("corrected")
    dvc("push")
    lose(".dvc/cache", str(SOURCE))
    dvc("pull")
    assert {path.name: path.read_text() for path in SOURCE.iterdir()} == CORRECTED
    git("checkout", "--quiet", "--force", "HEAD~1")
    dvc("pull")
    assert {path.name: path.read_text() for path in SOURCE.iterdir()} == FIRST
