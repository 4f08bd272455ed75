from pathlib import Path

from dyntransnet.ledger import Ledger, Print


def series(folder: Path) -> Path:
    """A scan of several files."""
    (folder / "series" / "deep").mkdir(parents=True)
    for name in ("a.dcm", "deep/b.dcm"):
        (folder / "series" / name).write_text(name)
    return folder / "series"


def ledger(folder: Path) -> Ledger:
    return Ledger(folder, lambda: {"model": "m"})


def test_a_print_of_a_folder_is_of_all_its_files(tmp_path):
    scan = series(tmp_path)
    before = Print.of(scan)
    assert before.is_still(scan)
    assert before.bytes == len("a.dcm" + "deep/b.dcm")
    (scan / "deep" / "b.dcm").write_text("deep/c.dcm")
    assert not before.is_still(scan)


def test_a_file_that_was_renamed_in_a_folder_is_seen(tmp_path):
    scan = series(tmp_path)
    before = Print.of(scan)
    (scan / "a.dcm").rename(scan / "c.dcm")
    assert before != Print.of(scan)


def test_what_is_gone_is_not_what_it_was(tmp_path):
    (tmp_path / "a").write_text("a")
    found = Print.of(tmp_path / "a")
    (tmp_path / "a").unlink()
    assert not found.is_still(tmp_path / "a")


def test_a_scan_of_several_files_is_done_until_one_changes(tmp_path):
    scan, mask = series(tmp_path), tmp_path / "mask.nii"
    mask.write_text("mask")
    ledger(tmp_path).note(scan, [mask], {"model": "m"})
    assert ledger(tmp_path).is_done(scan, [mask])
    (scan / "a.dcm").write_text("A.DCM")
    assert not ledger(tmp_path).is_done(scan, [mask])


def test_a_header_whose_voxels_lie_elsewhere_is_never_done(tmp_path):
    scan, mask = tmp_path / "a.mhd", tmp_path / "a.nii"
    for path in (scan, mask):
        path.write_text("x")
    ledger(tmp_path).note(scan, [mask], {"model": "m"})
    assert not ledger(tmp_path).is_done(scan, [mask])


def test_the_last_line_of_a_name_counts(tmp_path):
    scan, mask = tmp_path / "a.nii", tmp_path / "mask.nii"
    scan.write_text("scan")
    for text, model in (("one", "m"), ("other", "n")):
        mask.write_text(text)
        ledger(tmp_path).note(scan, [mask], {"model": model})
    assert not ledger(tmp_path).is_done(scan, [mask])
    ledger(tmp_path).note(scan, [mask], {"model": "m"})
    assert ledger(tmp_path).is_done(scan, [mask])
