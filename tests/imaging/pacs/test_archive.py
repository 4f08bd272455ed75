import struct
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dicoms import save_series
from dyntransnet.errors import ScanError
from dyntransnet.imaging.pacs import archive
from dyntransnet.imaging.pacs.tree import find_series
from hospital import CLINICAL, SECRETS, scan_of

HEAD = bytes(128) + b"DICM"


@pytest.fixture(autouse=True)
def unpacked_to(tmp_path, monkeypatch) -> Path:
    """Where zips are unpacked; it must be empty again afterwards."""
    folder = tmp_path / "unpacked"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def packed(target: Path, folder: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(target, "w", compression) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, Path("Doe^Jane MRN-4711") / path.relative_to(folder))
    return target


def zip_of(target: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return target


def refusal(path: Path) -> str:
    with pytest.raises(ScanError) as caught:
        find_series(path, "CT")
    told = str(caught.value)
    assert told.startswith(f"{path}: ")
    assert "\n" not in told
    assert not any(secret in told for secret in SECRETS)
    return told.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    "compression",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA],
)
def test_a_zip_is_the_folder_it_was_made_of(tmp_path, compression):
    save_series(tmp_path / "in" / "deep", scan_of("PSR", 14.0), **CLINICAL)
    (tmp_path / "in" / "READ ME.txt").write_text("no DICOM")
    zipped = packed(tmp_path / "x.zip", tmp_path / "in", compression)
    (one,), (other,) = find_series(zipped, "CT"), find_series(tmp_path / "in", "CT")
    assert (one.id, one.shape) == (other.id, other.shape)
    for for_dicom in (True, False):
        got, expected = one.read(for_dicom=for_dicom), other.read(for_dicom=for_dicom)
        np.testing.assert_array_equal(got.voxels, expected.voxels)
        np.testing.assert_array_equal(got.affine, expected.affine)


def test_a_zip_is_known_by_its_content_or_its_name(tmp_path):
    save_series(tmp_path / "in", scan_of())
    zipped = packed(tmp_path / "x.zip", tmp_path / "in").rename(tmp_path / "export")
    assert len(find_series(zipped, "CT")) == 1


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/x", "\\\\host\\x", "..\\x", "C:\\x", "C:/x"]
)
def test_a_path_that_leaves_a_zip_is_refused(tmp_path, name):
    path = zip_of(tmp_path / "x.zip", **{f"Doe/{'ok'}": HEAD, name: HEAD})
    assert refusal(path) == "paths in a zip must stay within it, got one that leaves it"
    assert not (tmp_path.parent / "x").exists()


def test_a_bomb_is_refused_before_it_goes_off(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_UNPACKED", 2**20)
    path = zip_of(tmp_path / "x.zip", a=HEAD + bytes(2**19), b=HEAD + bytes(2**19))
    assert path.stat().st_size < 5000
    assert refusal(path) == (
        "a zip must hold at most 65536 files and 1048576 bytes, got 2 files, 1048840 bytes"
    )


def test_a_zip_of_countless_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBERS", 2)
    path = zip_of(tmp_path / "x.zip", a=b"", b=b"", c=b"")
    assert refusal(path).endswith("got 3 files, 0 bytes")


def test_a_zip_that_lies_about_its_sizes_is_no_bomb(tmp_path, unpacked_to):
    path = zip_of(tmp_path / "x.zip", a=HEAD + bytes(2**24))
    stored = bytearray(path.read_bytes())
    for place in range(len(stored) - 4):
        if stored[place : place + 4] == struct.pack("<I", len(HEAD) + 2**24):
            stored[place : place + 4] = struct.pack("<I", 1000)
    path.write_bytes(stored)
    assert refusal(path) == "must be a whole zip that can be unpacked, got BadZipFile"


def test_a_zip_larger_than_the_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: type("", (), {"free": 99}))
    path = zip_of(tmp_path / "x.zip", a=HEAD)
    assert refusal(path) == "there must be room to unpack 132 bytes, got 99"


def test_a_full_disk_is_told_as_such(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.shutil, "copyfileobj", full)
    path = zip_of(tmp_path / "x.zip", a=HEAD)
    assert refusal(path).endswith("got No space left on device")


def test_a_password_is_told_as_such(tmp_path):
    path = zip_of(tmp_path / "x.zip", a=HEAD)
    stored = bytearray(path.read_bytes())
    stored[stored.index(b"PK\1\2") + 8] |= 1
    stored[6] |= 1
    path.write_bytes(stored)
    assert refusal(path) == "a zip must not be encrypted, got one with a password"


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all"])
def test_what_is_no_zip_is_refused(tmp_path, content):
    (tmp_path / "x.zip").write_bytes(content)
    assert refusal(tmp_path / "x.zip").startswith("must be a whole zip that can be unpacked, got")


def test_links_in_a_zip_are_not_followed(tmp_path):
    save_series(tmp_path / "in", scan_of())
    with zipfile.ZipFile(packed(tmp_path / "x.zip", tmp_path / "in"), "a") as file:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        file.writestr(link, HEAD + b"/etc/passwd")
    assert find_series(tmp_path / "x.zip", "CT")[0].shape[2] == scan_of().voxels.shape[2]


def test_a_zip_without_a_series_is_refused(tmp_path):
    path = zip_of(tmp_path / "x.zip", **{"Doe.txt": b"text", "inner.zip": b"PK\5\6" + bytes(18)})
    assert refusal(path).startswith("must hold a CT series of at least 2 slices")


def test_damage_anywhere_is_one_line_or_harmless(tmp_path):
    """Bytes changed at random: a refusal that tells no name, or a series; never a crash."""
    save_series(tmp_path / "in", scan_of(shape=(6, 5, 4)))
    stored = packed(tmp_path / "x.zip", tmp_path / "in").read_bytes()
    chance, refused = np.random.default_rng(0), 0
    for _ in range(150):
        changed = np.frombuffer(stored, np.uint8).copy()
        places = chance.integers(0, len(changed), chance.integers(1, 5))
        changed[places] = chance.integers(0, 256, len(places))
        path = tmp_path / "changed.zip"
        path.write_bytes(changed[: len(changed) - chance.integers(0, 2) * 40].tobytes())
        try:
            find_series(path, "CT")[0].read(for_dicom=True)
        except ScanError as error:
            refused += 1
            assert not any(secret in str(error) for secret in SECRETS)  # noqa: PT017
    assert refused > 100
