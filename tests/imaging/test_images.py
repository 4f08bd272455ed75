import gzip

import numpy as np
import pytest
import SimpleITK as sitk

from dyntransnet.errors import ScanError
from dyntransnet.imaging.limits import MAX_BYTES, MAX_VOXELS, check_size
from dyntransnet.imaging.scan import read_scan

VOXELS = np.arange(120, dtype="<i2").tobytes()


def nrrd(sizes: str = "4 5 6", *, encoding: str = "raw", second: str = "(0,0.9,0)") -> bytes:
    return (
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\n"
        f"sizes: {sizes}\nspace directions: (1.5,0,0) {second} (0,0,4)\n"
        "kinds: domain domain domain\nendian: little\n"
        f"encoding: {encoding}\nspace origin: (0,0,0)\n\n"
    ).encode()


def mha(size: str = "4 5 6", *, data: str = "LOCAL") -> bytes:
    return (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"CompressedData = False\nDimSize = {size}\nElementSpacing = 1.5 0.9 4\n"
        f"ElementType = MET_SHORT\nElementDataFile = {data}\n"
    ).encode()


@pytest.mark.parametrize(
    ("name", "stored", "code"),
    [
        ("a.nrrd", nrrd("40000 40000 40000") + VOXELS, "too-large"),
        ("a.nrrd", nrrd("-4 5 6") + VOXELS, "unreadable"),
        ("a.nrrd", nrrd() + VOXELS[:-2], "unreadable"),
        ("a.nrrd", nrrd(encoding="gzip") + gzip.compress(VOXELS)[:-20], "unreadable"),
        ("a.mha", mha("40000 40000 40000") + VOXELS, "too-large"),
        ("a.mha", mha("-4 5 6") + VOXELS, "too-large"),
        ("a.mha", mha("0 5 6") + VOXELS, "size-invalid"),
        ("a.mha", mha() + VOXELS[:-2], "unreadable"),
        ("a.mhd", mha(data="gone.raw"), "unreadable"),
    ],
)
def test_other_formats_are_held_to_their_headers_too(tmp_path, name, stored, code):
    (tmp_path / name).write_bytes(stored)
    with pytest.raises(ScanError, match=r"^a: .*must .*, got ") as caught:
        read_scan(tmp_path / name)
    assert caught.value.code == code
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_the_same_without_its_fault_is_read(tmp_path, name):
    (tmp_path / name).write_bytes((nrrd() if name == "a.nrrd" else mha()) + VOXELS)
    assert read_scan(tmp_path / name).voxels.shape == (4, 5, 6)


@pytest.mark.parametrize(
    ("shape", "voxel_bytes"),
    [((512, 512, 2049), 1), ((512, 512, 1025), 4), ((2, 2, MAX_VOXELS), 1)],
)
def test_more_than_any_scan_is_refused(shape, voxel_bytes):
    with pytest.raises(
        ScanError, match=rf"a: must have at most {MAX_VOXELS} voxels in {MAX_BYTES}"
    ):
        check_size(shape, voxel_bytes, "a")


@pytest.mark.parametrize(("shape", "voxel_bytes"), [((512, 512, 2048), 2), ((512, 512, 1024), 4)])
def test_the_longest_scans_are_not(shape, voxel_bytes):
    check_size(shape, voxel_bytes, "a")


def test_a_scan_larger_than_the_limit_is_told_by_its_header_alone(tmp_path, monkeypatch):
    sitk.WriteImage(sitk.Image((40, 30, 20), sitk.sitkInt16), str(tmp_path / "a.nii.gz"))
    monkeypatch.setattr("dyntransnet.imaging.limits.MAX_VOXELS", 40 * 30 * 20 - 1)
    monkeypatch.setattr(sitk.ImageFileReader, "Execute", None)
    with pytest.raises(ScanError, match=r"got \(40, 30, 20\) of 2 bytes each"):
        read_scan(tmp_path / "a.nii.gz")
