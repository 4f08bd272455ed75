import pydicom
import pytest

from builders import case_of
from dicoms import save_segmentation, save_series
from dyntransnet.errors import ScanError
from dyntransnet.imaging.layouts import find_cases
from dyntransnet.imaging.pacs.inputs import inputs_in
from dyntransnet.imaging.pacs.tree import find_series
from dyntransnet.imaging.scan import write_scan
from hospital import scan_of


def damage(path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])


def test_each_series_of_a_tree_is_found_wherever_it_lies(tmp_path):
    save_series(tmp_path / "Doe" / "a", scan_of(seed=1), series=3)
    save_series(tmp_path / "Doe" / "b", scan_of(seed=2), series=4)
    mixed = tmp_path / "Roe"
    for number in (5, 6):
        save_series(mixed, scan_of(seed=number), series=number)
    found = find_series(tmp_path, "CT")
    assert len({one.id for one in found}) == 4
    for one in found:
        assert one.read(for_dicom=False).id == one.id
        assert one.shape == scan_of().voxels.shape


def test_a_series_split_over_folders_is_one(tmp_path):
    paths = save_series(tmp_path / "a", scan_of())
    (tmp_path / "b").mkdir()
    for path in paths[::2]:
        path.rename(tmp_path / "b" / path.name)
    (one,) = find_series(tmp_path, "CT")
    assert one.shape[2] == len(paths)


def test_what_is_no_volume_of_the_modality_is_passed_over(tmp_path):
    scan, mask = case_of(affine=scan_of().affine)
    save_series(tmp_path / "ct", scan)
    save_series(tmp_path / "mr", scan, series=2, modality="MR")
    save_series(tmp_path / "scout", scan, series=3, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    for path in save_series(tmp_path / "single", scan, series=4)[1:]:
        path.unlink()
    save_segmentation(tmp_path / "seg.dcm", mask)
    damage(save_segmentation(tmp_path / ".partial-7-x.dcm", mask), 300)  # still being written
    (ct,), (mr,) = find_series(tmp_path, "CT"), find_series(tmp_path, "MR")
    assert ct.headers[0].number == "1"
    assert mr.headers[0].number == "2"


def test_a_series_is_called_as_ingest_calls_it(tmp_path):
    scan, mask = case_of(affine=scan_of("ASL", 14.0).affine)
    save_series(tmp_path / "case", scan)
    save_segmentation(tmp_path / "case" / "seg.dcm", mask)
    (case,) = find_cases(tmp_path, "dicom")
    assert [one.id for one in find_series(tmp_path, "CT")] == [case.id]


@pytest.mark.parametrize(
    ("modality", "got"),
    [("CT", r"series 7 \(MR, 13 slices\)"), ("MR", "none")],
)
def test_no_series_of_the_modality_is_one_line(tmp_path, modality, got):
    if modality == "CT":
        save_series(tmp_path, scan_of(), series=7, modality="MR", SeriesDescription="Doe")
    rule = rf"must hold a {modality} series of at least 2 slices \(--modality takes CT or MR\)"
    with pytest.raises(ScanError, match=rf": {rule}, got {got}$"):
        find_series(tmp_path, modality)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"shift_mm": (0.0, 1.0)}, "slices must be evenly spaced, got 3 to 5 mm"),
        ({"slide_mm": 1.0}, "slices must be stacked at right angles, .* tilted gantry"),
        ({"NumberOfFrames": 2}, "each file must hold one slice, got 13 with several frames"),
    ],
)
def test_a_series_without_a_grid_is_refused_when_it_is_read(tmp_path, tags, message):
    save_series(tmp_path, scan_of(), **tags)
    (one,) = find_series(tmp_path, "CT")
    for for_dicom in (True, False):
        with pytest.raises(ScanError, match=f"^{one.id}: {message}"):
            one.read(for_dicom=for_dicom)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (200, "DICOM file 1 of 13: DICOM files must be whole, got \\w+ from one"),
        (300, r"DICOM file 1 of 13: must say what it shows \(Modality\), got nothing"),
        ("0020000e", "each slice must name its series, got 1 without"),
    ],
)
def test_a_header_cut_off_is_told_and_not_passed_over(tmp_path, keep, message):
    save_series(tmp_path / "Doe", scan_of())
    first = min((tmp_path / "Doe").iterdir())  # the last slice: no gap would tell
    tag = bytes.fromhex("20000e00")
    damage(first, first.read_bytes().index(tag) if keep == "0020000e" else keep)
    with pytest.raises(ScanError, match=f": {message}") as told:
        find_series(tmp_path, "CT")
    assert "Doe" not in str(told.value)


def test_a_table_of_contents_is_no_slice(tmp_path):
    save_series(tmp_path / "in", scan_of())
    found = pydicom.Dataset()
    found.file_meta = pydicom.dataset.FileMetaDataset()
    found.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    found.file_meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    found.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    found.FileSetID = "EXPORT"
    found.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    assert len(find_series(tmp_path, "CT")) == 1


def test_a_slice_cut_short_is_told_by_its_place(tmp_path):
    path = save_series(tmp_path, scan_of())[3]
    damage(path, path.stat().st_size - 100)
    (one,) = find_series(tmp_path, "CT")
    with pytest.raises(ScanError, match=f"^{one.id}: slice 4 of 13 must have 912 bytes of pixels"):
        one.read(for_dicom=True)


@pytest.mark.parametrize("change", ["gone", "other"])
def test_files_that_change_meanwhile_are_refused(tmp_path, change):
    first = save_series(tmp_path, scan_of())[0]
    (one,) = find_series(tmp_path, "CT")
    if change == "gone":
        first.unlink()
    else:
        found = pydicom.dcmread(first)
        found.PatientID = "another"
        found.save_as(first)
    with pytest.raises(ScanError, match=f"^{one.id}: files must stay as they were found"):
        one.read(for_dicom=False)


def test_images_and_series_in_one_folder_are_not_guessed_between(tmp_path):
    save_series(tmp_path / "series", scan_of())
    write_scan(scan_of(), tmp_path / "mask.nii.gz")
    with pytest.raises(ScanError, match="must hold image files or DICOM series, got both: name"):
        inputs_in(tmp_path, "CT")
    assert inputs_in(tmp_path / "mask.nii.gz", "CT") == [tmp_path / "mask.nii.gz"]
    assert len(inputs_in(tmp_path / "series", "CT")) == 1


def test_one_file_of_a_series_is_not_taken_for_all(tmp_path):
    path = save_series(tmp_path, scan_of())[0]
    with pytest.raises(ScanError, match="must be given as its folder or as a zip, got one file"):
        inputs_in(path, "CT")
