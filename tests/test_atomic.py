import hashlib
from pathlib import Path

import pytest

from dyntransnet import atomic
from dyntransnet.atomic import check_writable, new_file, new_folder, sha256_of
from dyntransnet.errors import OutputError


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_file_appears_when_it_is_whole(tmp_path):
    target = tmp_path / "deep" / "report.json"
    with new_file(target) as path:
        path.write_text("half")
        assert not target.exists()
        path.write_text("whole")
    assert target.read_text() == "whole"
    assert names_in(tmp_path) == ["deep", "deep/report.json"]


def test_the_way_to_a_file_keeps_its_suffixes_in_lower_case(tmp_path):
    with new_file(tmp_path / "Mask.NII.GZ") as path:
        assert path.name.endswith(".nii.gz")
        path.touch()
    assert names_in(tmp_path) == ["Mask.NII.GZ"]


def test_a_failure_leaves_the_old_file(tmp_path):
    def fail() -> None:
        with new_file(tmp_path / "a.txt") as path:
            path.write_text("new")
            raise ValueError("stop")

    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(ValueError, match="stop"):
        fail()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


def test_an_operating_system_error_names_the_file(tmp_path):
    match = r"a\.txt: must be writable, got No space left"
    with pytest.raises(OutputError, match=match), new_file(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")
    assert names_in(tmp_path) == []


def test_a_file_that_was_never_written_is_an_error(tmp_path):
    match = r"a\.txt: must be writable, got No such file"
    with pytest.raises(OutputError, match=match), new_file(tmp_path / "a.txt"):
        pass


@pytest.mark.parametrize("name", ["file/a.txt", "file/deep/a.txt"])
@pytest.mark.parametrize("ask", [check_writable, lambda path: new_file(path).__enter__()])
def test_a_file_is_no_folder(tmp_path, ask, name):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"a\.txt: its folder must be writable, got (File|Not a)"):
        ask(tmp_path / name)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(OutputError, match="must be a file name, got a folder"):
        check_writable(tmp_path)


def test_asking_writes_nothing_but_the_folder(tmp_path):
    check_writable(tmp_path / "deep" / "a.txt")
    assert names_in(tmp_path) == ["deep"]


def test_a_folder_appears_when_it_is_whole(tmp_path):
    target = tmp_path / "deep" / "cases"
    with new_folder(target) as folder:
        (folder / "a.txt").write_text("a")
        assert not target.exists()
    assert names_in(tmp_path) == ["deep", "deep/cases", "deep/cases/a.txt"]


def test_a_new_folder_replaces_the_old_one(tmp_path):
    (tmp_path / "cases" / "old").mkdir(parents=True)
    with new_folder(tmp_path / "cases") as folder:
        (folder / "new").touch()
    assert names_in(tmp_path) == ["cases", "cases/new"]


def test_a_failure_leaves_the_old_folder(tmp_path):
    def fail() -> None:
        with new_folder(tmp_path / "cases") as folder:
            (folder / "new").touch()
            raise ValueError("stop")

    (tmp_path / "cases" / "old").mkdir(parents=True)
    with pytest.raises(ValueError, match="stop"):
        fail()
    assert names_in(tmp_path) == ["cases", "cases/old"]


def test_what_an_interrupted_run_left_is_not_taken_over(tmp_path):
    for left in ("cases.partial", "cases.old.partial"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "left").touch()
    with new_folder(tmp_path / "cases") as folder:
        (folder / "new").touch()
    assert names_in(tmp_path) == ["cases", "cases/new"]


def test_an_old_folder_is_never_half_removed(tmp_path, monkeypatch):
    """What rmtree meets is not at the folder's own place, whenever it is killed."""
    target, removed = tmp_path / "cases", []

    def remove(folder: Path, *, ignore_errors: bool) -> None:
        removed.append(folder)

    (target / "old").mkdir(parents=True)
    monkeypatch.setattr(atomic.shutil, "rmtree", remove)
    with new_folder(target) as folder:
        (folder / "new").touch()
    assert target not in removed
    assert names_in(tmp_path) == [
        "cases",
        "cases.old.partial",
        "cases.old.partial/old",
        "cases/new",
    ]


def test_the_old_folder_comes_back_where_the_new_one_cannot_take_its_place(tmp_path):
    (tmp_path / "cases" / "old").mkdir(parents=True)
    match = "cases: must be writable, got No such file"
    with pytest.raises(OutputError, match=match), new_folder(tmp_path / "cases") as folder:
        folder.rmdir()
    assert names_in(tmp_path) == ["cases", "cases/old"]


@pytest.mark.parametrize("name", ["file", "file/cases"])
def test_a_file_in_the_place_of_a_folder_is_named_and_kept(tmp_path, name):
    (tmp_path / "file").write_text("kept")
    with (
        pytest.raises(OutputError, match=f"{name}: must be writable, got"),
        new_folder(tmp_path / name),
    ):
        pass
    assert (tmp_path / "file").read_text() == "kept"
    assert names_in(tmp_path) == ["file"]


def test_a_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a.bin") == hashlib.sha256(b"abc").hexdigest()
