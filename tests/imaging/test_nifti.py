import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

import hostile
from dyntransnet.errors import ScanError
from dyntransnet.imaging import nifti
from dyntransnet.imaging.nifti import TRAILING_BYTES, read_nifti
from dyntransnet.imaging.scan import read_scan

COUNT = int(np.prod(hostile.SHAPE))


@settings(deadline=None)
@given(
    bad=st.sets(st.integers(0, COUNT - 1), max_size=5),
    gap=st.integers(0, 50),
    piece=st.integers(5, 400),
    kind=st.sampled_from([(16, "<f4"), (64, "<f8")]),
)
def test_bad_voxels_are_counted_wherever_the_pieces_end(tmp_path_factory, bad, gap, piece, kind):
    values = np.zeros(COUNT, kind[1])
    values[list(bad)] = np.nan
    start = bytes(hostile.header(datatype=kind[0], at=352 + gap)) + b"\xff" * gap
    path = tmp_path_factory.mktemp("nifti") / "a.nii"
    path.write_bytes(start + values.tobytes() + b"\xff" * 16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nifti, "PIECE", piece)
        if not bad:
            read_nifti(path, "a", path.name)
            return
        with pytest.raises(ScanError, match=f"^a: voxels must be finite, got {len(bad)} NaN"):
            read_nifti(path, "a", path.name)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_some_bytes_may_follow_the_last_voxel_and_not_more(tmp_path, pack):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(pack(hostile.WHOLE + bytes(TRAILING_BYTES)))
    read_nifti(path, "a", path.name)
    path.write_bytes(pack(hostile.WHOLE + bytes(TRAILING_BYTES + 1)))
    size = len(hostile.WHOLE)
    rule = rf"a\.nii\.gz must hold {size} bytes, got more than {size + TRAILING_BYTES}$"
    with pytest.raises(ScanError, match=rule):
        read_nifti(path, "a", path.name)


def test_spacings_that_differ_by_rounding_are_one(tmp_path):
    (tmp_path / "a.nii").write_bytes(
        bytes(hostile.header(sform=hostile.axes(yy=0.8007))) + hostile.VOXELS
    )
    read_nifti(tmp_path / "a.nii", "a", "a.nii")


def test_the_side_that_an_axis_runs_to_is_no_other_spacing(tmp_path):
    (tmp_path / "a.nii").write_bytes(
        bytes(hostile.header(sform=hostile.axes(yy=-0.8))) + hostile.VOXELS
    )
    read_nifti(tmp_path / "a.nii", "a", "a.nii")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("code", "kind"), nifti._TYPES.items())
def test_voxels_are_those_that_itk_reads(tmp_path, pack, order, code, kind):
    values = np.arange(COUNT).astype(kind)
    stored = hostile.header(datatype=code, at=368)
    if order == ">":
        stored = np.frombuffer(bytes(stored[:348]), nifti._HEADER).astype(
            nifti._HEADER.newbyteorder(">")
        )
    content = bytes(stored)[:348] + bytes(20) + values.astype(order + kind).tobytes()
    (tmp_path / "a.nii.gz").write_bytes(pack(content))
    found = read_nifti(tmp_path / "a.nii.gz", "a", "a.nii.gz")
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.nii.gz"))).T
    assert found.dtype == expected.dtype
    assert found.flags.writeable
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("slope", "intercept", "is_kept"),
    [(0, 0, True), (1, 0, True), (0, 5, False), (1, -1024, False), (2, 0, False)],
)
def test_scaled_voxels_are_left_to_itk(tmp_path, slope, intercept, is_kept):
    stored = hostile.header()
    struct.pack_into("<2f", stored, 112, slope, intercept)
    (tmp_path / "a.nii").write_bytes(bytes(stored) + hostile.VOXELS)
    assert (read_nifti(tmp_path / "a.nii", "a", "a.nii") is not None) == is_kept
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.nii"))).T
    np.testing.assert_array_equal(read_scan(tmp_path / "a.nii").voxels, expected)
