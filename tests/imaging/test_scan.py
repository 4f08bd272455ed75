from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from builders import SHAPE, affine_of, case_of
from dyntransnet.errors import OutputError, ScanError
from dyntransnet.imaging.scan import (
    WRITABLE,
    Mask,
    Scan,
    case_id_of,
    check_mask_path,
    read_mask,
    read_scan,
    spacing_of,
    write_mask,
    write_scan,
)

OBLIQUE = affine_of(code="PIR", tilt_deg=12)
TO_LPS = np.array([-1.0, -1.0, 1.0])


def image_of(array: np.ndarray, path: Path) -> Path:
    """Write an (x, y, z) array without the package."""
    sitk.WriteImage(sitk.GetImageFromArray(array.T), str(path))
    return path


def with_voxel(value: float, dtype: type = np.float32) -> np.ndarray:
    array = np.zeros(SHAPE, dtype)
    array[3, 1, 2] = value
    return array


@pytest.mark.parametrize("suffix", WRITABLE)
def test_a_scan_comes_back_from_every_format(tmp_path, suffix):
    scan, _ = case_of(affine=OBLIQUE)
    write_scan(scan, tmp_path / f"case{suffix}")
    back = read_scan(tmp_path / f"case{suffix}")
    np.testing.assert_array_equal(back.voxels, scan.voxels)
    np.testing.assert_allclose(back.affine, OBLIQUE, atol=1e-4)
    assert (back.id, back.voxels.dtype) == ("case", np.int16)


@pytest.mark.parametrize("suffix", WRITABLE)
def test_a_mask_comes_back_from_every_format(tmp_path, suffix):
    _, mask = case_of(affine=OBLIQUE)
    write_mask(mask, tmp_path / f"case{suffix}")
    back = read_mask(tmp_path / f"case{suffix}")
    np.testing.assert_array_equal(back.labels, mask.labels)
    np.testing.assert_allclose(back.affine, OBLIQUE, atol=1e-4)


@pytest.mark.parametrize("suffix", WRITABLE)
def test_other_readers_find_every_voxel_where_it_was(tmp_path, suffix):
    scan, _ = case_of(affine=OBLIQUE)
    write_scan(scan, tmp_path / f"case{suffix}")
    image = sitk.ReadImage(str(tmp_path / f"case{suffix}"))
    assert image.GetSpacing() == pytest.approx(spacing_of(OBLIQUE), abs=1e-5)
    for index in ((0, 0, 0), (18, 0, 5), (7, 23, 12)):
        point = TO_LPS * (OBLIQUE @ [*index, 1])[:3]
        assert image.TransformIndexToPhysicalPoint(index) == pytest.approx(tuple(point), abs=1e-3)
        assert image[index] == scan.voxels[index]


def test_a_marked_voxel_lies_at_its_point_in_ras(tmp_path):
    image = sitk.Image([5, 7, 4], sitk.sitkInt16)
    image.SetSpacing((2, 3, 5))
    image.SetOrigin((10, 20, 30))
    image[1, 2, 3] = 7
    sitk.WriteImage(image, str(tmp_path / "case.nrrd"))
    scan = read_scan(tmp_path / "case.nrrd")
    assert scan.voxels[1, 2, 3] == 7
    assert tuple(scan.affine @ [1, 2, 3, 1])[:3] == (-12, -26, 45)


@pytest.mark.parametrize("suffix", [".NII.GZ", ".NII"])
def test_suffixes_may_be_upper_case(tmp_path, suffix):
    scan, _ = case_of()
    write_scan(scan, tmp_path / f"CASE{suffix}")
    np.testing.assert_array_equal(read_scan(tmp_path / f"CASE{suffix}").voxels, scan.voxels)


def test_metaimage_headers_are_read_with_their_raw_file(tmp_path):
    image_of(with_voxel(300, np.int16), tmp_path / "case.mhd")
    assert read_scan(tmp_path / "case.mhd").voxels[3, 1, 2] == 300


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.int64])
def test_integers_that_fit_become_int16(tmp_path, dtype):
    scan = read_scan(image_of(with_voxel(100, dtype), tmp_path / "case.mha"))
    assert scan.voxels.dtype == np.int16
    assert scan.voxels[3, 1, 2] == 100


@pytest.mark.parametrize(("value", "dtype"), [(40_000, np.uint16), (-70_000, np.int32)])
def test_integers_that_do_not_fit_become_float32(tmp_path, value, dtype):
    scan = read_scan(image_of(with_voxel(value, dtype), tmp_path / "case.mha"))
    assert scan.voxels.dtype == np.float32
    assert scan.voxels[3, 1, 2] == value


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_masks_of_whole_numbers_become_bytes(tmp_path, dtype):
    mask = read_mask(image_of(with_voxel(2, dtype), tmp_path / "case.nii.gz"))
    assert mask.labels.dtype == np.uint8
    assert mask.labels[3, 1, 2] == 2


@pytest.mark.parametrize("read", [read_scan, read_mask])
def test_missing_file_is_named(tmp_path, read):
    with pytest.raises(ScanError, match=r"^case: file must exist, got no case\.nii$"):
        read(tmp_path / "case.nii")


def test_unknown_extension_lists_the_known_ones(tmp_path):
    with pytest.raises(ScanError, match=r"case\.png: extension must be one of \.nii, .*\.mhd, got"):
        read_scan(tmp_path / "case.png")


@pytest.mark.parametrize("suffix", WRITABLE)
def test_text_is_not_an_image(tmp_path, suffix):
    (tmp_path / f"case{suffix}").write_text("not voxels")
    with pytest.raises(
        ScanError, match=r"case: .* must be a readable image, got (Unable to|no NIfTI)"
    ):
        read_scan(tmp_path / f"case{suffix}")


@pytest.mark.parametrize("kept", [0.5, 0.99])
@pytest.mark.parametrize("suffix", WRITABLE)
def test_truncated_scans_are_refused(tmp_path, suffix, kept):
    path = tmp_path / f"case{suffix}"
    write_scan(case_of()[0], path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(ScanError, match=rf"case: case{suffix} must .*, got (?!Reason)"):
        read_scan(path)


@pytest.mark.parametrize("lost", [1, 8, 40])
def test_truncated_gzip_masks_are_refused(tmp_path, lost):
    path = tmp_path / "case.nii.gz"
    write_mask(case_of()[1], path)
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(ScanError, match=r"case\.nii\.gz must be a whole gzip file, got Compressed"):
        read_mask(path)


def test_damaged_gzip_checksum_is_refused(tmp_path):
    path = tmp_path / "case.nii.gz"
    write_scan(case_of()[0], path)
    stored = bytearray(path.read_bytes())
    stored[-6] ^= 0xFF
    path.write_bytes(bytes(stored))
    with pytest.raises(ScanError, match=r"case: case\.nii\.gz must be a (readable|whole) .*, got"):
        read_scan(path)


@pytest.mark.parametrize(
    ("size", "shown"), [((4, 5, 6, 3), r"4D \(4, 5, 6, 3\)"), ((4, 5), r"2D \(4, 5\)")]
)
def test_only_3d_images_are_scans(tmp_path, size, shown):
    sitk.WriteImage(sitk.Image(size, sitk.sitkInt16), str(tmp_path / "case.nii.gz"))
    with pytest.raises(ScanError, match=f"case: must be one 3D image, got {shown}"):
        read_scan(tmp_path / "case.nii.gz")


@pytest.mark.parametrize("suffix", WRITABLE)
@pytest.mark.parametrize(
    "image",
    [
        sitk.Image((4, 5, 6), sitk.sitkVectorUInt8, 3),
        sitk.Image((4, 5, 6), sitk.sitkVectorFloat32, 2),
        sitk.Image((4, 5, 6), sitk.sitkComplexFloat32),
    ],
    ids=["rgb", "vector", "complex"],
)
def test_only_real_numbers_are_voxels(tmp_path, image, suffix):
    sitk.WriteImage(image, str(tmp_path / f"case{suffix}"))
    with pytest.raises(ScanError, match=r"case: voxels must be real numbers, got (vector|complex)"):
        read_scan(tmp_path / f"case{suffix}")


@pytest.mark.parametrize("suffix", WRITABLE)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("read", [read_scan, read_mask])
def test_voxels_that_are_no_numbers_are_refused(tmp_path, read, value, suffix):
    path = image_of(with_voxel(value), tmp_path / f"case{suffix}")
    with pytest.raises(ScanError, match="case: voxels must be finite, got 1 NaN or infinite"):
        read(path)


def test_nan_is_found_in_big_endian_nifti(tmp_path):
    little = bytearray(image_of(with_voxel(np.nan), tmp_path / "case.nii").read_bytes())
    header, voxels = little[:352], np.frombuffer(little, "<f4", offset=352)
    (tmp_path / "case.nii").write_bytes(swapped(header) + voxels.astype(">f4").tobytes())
    with pytest.raises(ScanError, match="case: voxels must be finite, got 1 NaN or infinite"):
        read_scan(tmp_path / "case.nii")


def swapped(header: bytearray) -> bytes:
    """A NIfTI-1 header in the other byte order."""
    fields = [(0, "i4", 1), (32, "i4", 1), (36, "i2", 1), (40, "i2", 8), (56, "f4", 3)]
    fields += [(68, "i2", 4), (76, "f4", 11), (120, "i2", 1), (124, "f4", 4), (140, "i4", 2)]
    fields += [(252, "i2", 2), (256, "f4", 18)]
    for start, kind, count in fields:
        values = np.frombuffer(bytes(header), f"<{kind}", count, start)
        header[start : start + values.nbytes] = values.astype(f">{kind}").tobytes()
    return bytes(header)


def test_values_beyond_float32_are_refused(tmp_path):
    path = image_of(with_voxel(1e300, np.float64), tmp_path / "case.nrrd")
    with pytest.raises(ScanError, match="case: voxels must be finite, got 1 NaN or infinite"):
        read_scan(path)


@pytest.mark.parametrize(
    ("label", "shown"), [(3, "0, 3"), (0.5, "0, 0.5"), (-1, "-1, 0"), (256, "0, 256")]
)
def test_labels_other_than_0_1_2_are_shown(tmp_path, label, shown):
    path = image_of(with_voxel(label), tmp_path / "case.nii.gz")
    with pytest.raises(ScanError, match=rf"^case: labels must be 0, 1 or 2, got {shown}$"):
        read_mask(path)


def test_sheared_grids_are_refused(tmp_path):
    path = image_of(with_voxel(1), tmp_path / "case.nii")
    stored = bytearray(path.read_bytes())
    stored[252:254] = b"\0\0"  # no qform, so that the sform counts
    stored[280:296] = np.array([1, 0.7, 0, 0], "<f4").tobytes()
    path.write_bytes(bytes(stored))
    with pytest.raises(
        ScanError, match=r"case: axes must be at right angles, got a cosine of 0\.573 "
    ):
        read_scan(path)


def test_a_folder_in_the_place_of_a_mask_is_refused(tmp_path):
    (tmp_path / "mask.nii.gz").mkdir()
    with pytest.raises(OutputError, match=r"mask\.nii\.gz: must be a file name, got a folder"):
        write_mask(case_of()[1], tmp_path / "mask.nii.gz")


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"mask\.nii\.gz: its folder must be writable, got File"):
        write_mask(case_of()[1], tmp_path / "file" / "mask.nii.gz")


@pytest.mark.parametrize("name", ["mask.png", "mask.mhd", "mask"])
def test_formats_that_cannot_be_written_are_refused_before_work(tmp_path, name):
    with pytest.raises(OutputError, match=r"extension must be one of \.nii, \.nii\.gz, \.nrrd, "):
        check_mask_path(tmp_path / name)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    def full_disk(image: sitk.Image, name: str, **options: object) -> None:
        Path(name).write_bytes(b"half")
        raise RuntimeError("sitk::ERROR: no space left")

    (tmp_path / "mask.nii.gz").write_text("old")
    monkeypatch.setattr(sitk, "WriteImage", full_disk)
    with pytest.raises(OutputError, match=r"mask\.nii\.gz: must be writable, got no space left"):
        write_mask(case_of()[1], tmp_path / "mask.nii.gz")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_nifti_alone_is_not_compressed(tmp_path):
    mask = case_of()[1]
    write_mask(mask, tmp_path / "mask.nii")
    write_mask(mask, tmp_path / "mask.nii.gz")
    assert (tmp_path / "mask.nii").stat().st_size == 352 + mask.labels.size
    assert (tmp_path / "mask.nii.gz").read_bytes()[:2] == b"\x1f\x8b"


@pytest.mark.parametrize("name", ["a.b.nii.gz", "a.b.NII.GZ", "a.b.nii", "a.b.mha", "a.b.nrrd"])
def test_a_case_is_named_by_its_file_without_the_format(name):
    assert case_id_of(Path("folder") / name) == "a.b"


def test_voxel_volume_does_not_depend_on_the_tilt():
    labels = np.zeros(SHAPE, np.uint8)
    for tilt_deg in (0, 12, 45):
        affine = affine_of(spacing=(1.5, 0.5, 4), code="SLA", tilt_deg=tilt_deg)
        assert Mask(labels, affine).voxel_ml == pytest.approx(0.003)
        assert spacing_of(affine) == pytest.approx((1.5, 0.5, 4))


def test_scans_hold_int16_or_float32_alone():
    with pytest.raises(Exception, match="voxels"):
        Scan("case", np.zeros(SHAPE, np.float64), np.eye(4))
