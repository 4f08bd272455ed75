import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
)

from builders import SPACING, affine_of, case_of
from dicoms import NAME, PERSON, save_series
from dyntransnet.errors import ScanError
from dyntransnet.imaging.dicom.files import dicom_files
from dyntransnet.imaging.dicom.headers import read_header
from dyntransnet.imaging.dicom.series import choose_series, read_series
from dyntransnet.imaging.scan import Scan, read_scan, spacing_of, write_scan

TURNS = [("LPS", 0.0), ("RAS", 0.0), ("PSR", 0.0), ("ASL", 14.0), ("SLA", 9.0), ("LPS", 21.0)]
SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
]


def scan_of(code: str = "LPS", tilt_deg: float = 0.0, seed: int = 0) -> Scan:
    return case_of(affine=affine_of(code=code, tilt_deg=tilt_deg), seed=seed)[0]


def headers_of(folder: Path) -> list:
    return [read_header(path, "case") for path in dicom_files(folder)]


def read(folder: Path) -> Scan:
    return read_series(headers_of(folder), "case")


def changed(path: Path, **tags: object) -> None:
    """Put other values into one file."""
    found = pydicom.dcmread(path)
    for name, value in tags.items():
        setattr(found, name, value)
    found.save_as(path)


def compress(path: Path, compressor: str) -> None:
    """Put a file's pixels through GDCM's own encoder."""
    found = pydicom.dcmread(path)
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    writer.SetFileName(str(path))
    writer.Execute(sitk.GetImageFromArray(found.pixel_array[None]))
    packed = pydicom.dcmread(path)
    found.PixelData = packed.PixelData
    found.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
    found.save_as(path)


def assert_same_voxels_in_the_same_places(found: Scan, scan: Scan) -> None:
    index = np.indices(found.voxels.shape).reshape(3, -1)
    at = np.linalg.inv(scan.affine) @ found.affine @ [*index, np.ones(index.shape[1])]
    np.testing.assert_allclose(at, np.rint(at), atol=1e-3)
    x, y, z = np.rint(at[:3]).astype(int)
    assert (x.min(), y.min(), z.min()) == (0, 0, 0)
    np.testing.assert_array_equal(found.voxels.ravel(), scan.voxels[x, y, z])


@pytest.mark.parametrize(("code", "tilt_deg"), TURNS)
def test_voxels_come_back_in_their_places(tmp_path, code, tilt_deg):
    scan = scan_of(code, tilt_deg)
    save_series(tmp_path, scan)
    found = read(tmp_path)
    assert_same_voxels_in_the_same_places(found, scan)
    assert spacing_of(found.affine) == pytest.approx(SPACING, abs=1e-5)
    assert found.voxels.dtype == np.int16


@pytest.mark.parametrize(("code", "tilt_deg"), TURNS)
def test_nifti_to_dicom_to_nifti_keeps_voxels_and_geometry(tmp_path, code, tilt_deg):
    scan = scan_of(code, tilt_deg)
    write_scan(scan, tmp_path / "one.nii.gz")
    save_series(tmp_path / "series", read_scan(tmp_path / "one.nii.gz"))
    write_scan(read(tmp_path / "series"), tmp_path / "two.nii.gz")
    assert_same_voxels_in_the_same_places(read_scan(tmp_path / "two.nii.gz"), scan)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_every_encoding_gives_the_same_voxels(tmp_path, syntax):
    scan = scan_of()
    (first, *_) = save_series(tmp_path, scan, syntax=syntax)
    assert pydicom.dcmread(first).file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(read(tmp_path).voxels, scan.voxels)


@pytest.mark.parametrize(
    ("compressor", "syntax"),
    [("JPEG", JPEGLosslessSV1), ("JPEG2000", JPEG2000Lossless)],
)
def test_compressed_slices_give_the_same_voxels(tmp_path, compressor, syntax):
    scan = scan_of("PSR")
    for path in save_series(tmp_path, scan):
        compress(path, compressor)
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
    assert_same_voxels_in_the_same_places(read(tmp_path), scan)


def test_names_and_numbers_do_not_order_slices(tmp_path):
    paths = save_series(tmp_path, scan_of())
    for place, path in enumerate(np.random.default_rng(3).permutation(paths)):
        changed(Path(path), InstanceNumber=place)
        Path(path).rename(tmp_path / f"{place:03}.IMA")
    np.testing.assert_array_equal(read(tmp_path).voxels, scan_of().voxels)


def test_each_slice_is_rescaled_by_its_own_slope_and_intercept(tmp_path):
    voxels = scan_of().voxels // 6 * 6  # exact in steps of 1, 2 and 3
    scan = Scan("case", voxels, affine_of(code="LPS"))
    save_series(tmp_path, scan, slopes=(1, 2, 3), intercepts=(-1020, 0, 60, -30))
    np.testing.assert_array_equal(read(tmp_path).voxels, voxels)


def test_a_slope_between_whole_numbers_gives_floats(tmp_path):
    scan = Scan("case", scan_of().voxels.astype(np.float32) * 0.25, affine_of(code="LPS"))
    save_series(tmp_path, scan, slopes=(0.25,), intercepts=(0,), modality="MR")
    found = read(tmp_path)
    assert found.voxels.dtype == np.float32
    np.testing.assert_allclose(found.voxels, scan.voxels)


def test_positions_rounded_by_a_scanner_are_taken_as_even(tmp_path):
    save_series(tmp_path, scan_of(), shift_mm=(0.0, 0.1, -0.1, 0.1))
    assert spacing_of(read(tmp_path).affine)[2] == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"shift_mm": (0.0, 1.0)}, "slices-uneven", r"slices must be evenly .*, got 3 to 5 mm"),
        (
            {"slide_mm": 1.0},
            "affine-sheared",
            r"slices must be stacked at right angles, got 14 degrees off, as of a tilted gantry",
        ),
        ({"NumberOfFrames": 2}, "multi-frame", r"each .* one slice, got 13 with several frames"),
        ({"ImagePositionPatient": None}, "slice-place", r"each .* a place in space, got 13 with"),
        ({"PixelSpacing": [0, 1]}, "slice-place", r"pixel spacing must be above 0 mm, got 0 x 1"),
        (
            {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
            "slice-place",
            r"a slice's axes must be .* got \[1\.0, 0\.0",
        ),
        ({"ImagePositionPatient": [1, 2]}, "slice-place", r"a slice's position .* got 2 and 6"),
        ({"ImageOrientationPatient": [1, 0, 0]}, "slice-place", r"a .* must be 3 .* got 3 and 3"),
        ({"Columns": 60_000}, "too-large", r"a slice must have at most 4096 rows .* got 60000"),
        ({"PixelSpacing": [1]}, "unreadable", r"DICOM files must be whole, got \w+ from one"),
        ({"Rows": 50}, "size-not-header", r"slice 1 of 13 must have 1900 bytes .*, got 912$"),
    ],
)
def test_series_without_a_grid_are_refused(tmp_path, change, code, message):
    save_series(tmp_path, scan_of(), **change)
    with pytest.raises(ScanError, match=f"^case: {message}") as caught:
        read(tmp_path)
    assert caught.value.code == code


def test_a_series_of_more_voxels_than_any_scan_is_told_by_its_headers_alone(tmp_path, monkeypatch):
    save_series(tmp_path, scan_of())
    monkeypatch.setattr("dyntransnet.imaging.limits.MAX_VOXELS", 19 * 24 * 13 - 1)
    monkeypatch.setattr(sitk, "ReadImage", None)
    with pytest.raises(
        ScanError, match=r"^case: must have at most .* got \(19, 24, 13\)"
    ) as caught:
        read(tmp_path)
    assert caught.value.code == "too-large"


def test_compressed_slices_of_another_size_than_they_say_are_refused(tmp_path):
    for path in save_series(tmp_path, scan_of(), syntax=RLELossless):
        changed(path, Rows=50)
    with pytest.raises(ScanError, match=r"^case: slice 1 of 13 must be "):
        read(tmp_path)


def test_a_missing_slice_is_named(tmp_path):
    save_series(tmp_path, scan_of())[4].unlink()
    rule = (
        r"^case: slices must lie 4 mm apart, got a gap of 8 mm after slice 4 of 12 \(1 missing\)$"
    )
    with pytest.raises(ScanError, match=rule) as caught:
        read(tmp_path)
    assert caught.value.code == "slices-missing"


def test_a_doubled_slice_is_refused(tmp_path):
    path = save_series(tmp_path, scan_of())[4]
    (tmp_path / "copy").write_bytes(path.read_bytes())
    with pytest.raises(ScanError, match=r"^case: each place .* got 14 .* 13 pl") as caught:
        read(tmp_path)
    assert caught.value.code == "slices-doubled"


def test_phases_in_one_series_are_refused(tmp_path):
    for series in (1, 2, 3):
        for path in save_series(tmp_path, scan_of(seed=series), series=series):
            changed(path, SeriesInstanceUID="1.2.3")
    with pytest.raises(ScanError, match=r"one slice, got 39 slices at 13 places$"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"ImageOrientationPatient": [0.8, 0.6, 0, -0.6, 0.8, 0]}, "parallel, got .* 37 deg"),
        ({"PixelSpacing": [0.9, 1.6]}, r"share one spacing, got 0\.9 to 1\.6 mm"),
        ({"Rows": 12, "Columns": 38}, r"of one size, got 19 x 24 and 38 x 12"),
    ],
)
def test_a_slice_that_differs_is_refused(tmp_path, tags, message):
    changed(save_series(tmp_path, scan_of())[2], **tags)
    with pytest.raises(ScanError, match=f"^case: slices must (be )?{message}") as caught:
        read(tmp_path)
    assert caught.value.code == "slices-unlike"


def test_one_slice_is_no_scan(tmp_path):
    first, *others = save_series(tmp_path, scan_of())
    for path in others:
        path.unlink()
    with pytest.raises(ScanError, match=r"^case: must have at least 2 slices, got 1$") as caught:
        read(tmp_path)
    assert caught.value.code == "edge-short"
    assert first.exists()


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.97])
def test_cut_off_files_are_refused_without_a_word_of_their_content(tmp_path, syntax, kept, capfd):
    path = save_series(tmp_path / NAME, scan_of(), syntax=syntax)[4]
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(ScanError, match=r"^case: ") as caught:
        read(tmp_path / NAME)
    said = str(caught.value) + "".join(capfd.readouterr())
    assert "\n" not in str(caught.value)
    assert not any(secret in said for secret in (NAME, PERSON, path.name, str(tmp_path)))


def test_a_file_that_would_unpack_to_gigabytes_is_refused(tmp_path):
    path = save_series(tmp_path, scan_of(), syntax=DeflatedExplicitVRLittleEndian)[4]
    stored = path.read_bytes()
    start = 144 + pydicom.filereader.read_file_meta_info(path).FileMetaInformationGroupLength
    whole = zlib.decompress(stored[start:], -zlib.MAX_WBITS)
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(whole)
    packed += b"".join(packer.compress(bytes(2**24)) for _ in range(20)) + packer.flush()
    path.write_bytes(stored[:start] + packed)
    assert path.stat().st_size < 2**20
    with pytest.raises(ScanError, match=r"^case: DICOM files must be whole"):
        read(tmp_path)


def test_headers_hold_no_name(tmp_path):
    save_series(tmp_path, scan_of())
    shown = repr(headers_of(tmp_path))
    assert not any(secret in shown for secret in (NAME, PERSON, str(tmp_path), "1901"))


def test_other_files_of_a_folder_do_not_matter(tmp_path):
    scan = scan_of()
    save_series(tmp_path, scan)
    save_series(tmp_path, scan_of(seed=1), series=2, modality="PT")
    save_series(tmp_path, scan_of(seed=2), series=3, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    save_series(tmp_path, scan_of(seed=3), series=4, modality="MR")
    (tmp_path / "notes.txt").write_text("DICM")
    chosen = choose_series(headers_of(tmp_path), "CT", (), "case")
    np.testing.assert_array_equal(read_series(chosen, "case").voxels, scan.voxels)


@pytest.mark.parametrize(
    ("modality", "shown"),
    [
        ("CT", r"series 1 \(CT, 13 slices\) and series 2 \(CT, 13 slices\)"),
        ("MR", r"series 1 \(CT, 13 slices\) and series 2 \(CT, 13 slices\)"),
    ],
)
def test_a_choice_is_refused_by_number_kind_and_count(tmp_path, modality, shown):
    for series in (1, 2):
        save_series(tmp_path, scan_of(), series=series)
    rule = f"^case: must hold one {modality} series, got {shown}$"
    with pytest.raises(ScanError, match=rule) as caught:
        choose_series(headers_of(tmp_path), modality, (), "case")
    assert caught.value.code == "series-not-one"


def test_a_series_that_a_segmentation_names_is_chosen(tmp_path):
    for series in (1, 2):
        save_series(tmp_path, scan_of(), series=series)
    headers = headers_of(tmp_path)
    name = next(header.series for header in headers if header.number == "2")
    assert {one.number for one in choose_series(headers, "CT", {name}, "case")} == {"2"}
