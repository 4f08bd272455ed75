"""A patient's name goes from DICOM to DICOM, and nowhere else."""

import logging
import warnings

import numpy as np
import pydicom
import pytest

from dicoms import NAME, PERSON, ROOT, save_series
from dyntransnet.errors import OutputError, ScanError
from dyntransnet.imaging.pacs.results import write_results
from dyntransnet.imaging.pacs.silence import TALKATIVE
from dyntransnet.imaging.pacs.tree import find_series
from hospital import CLINICAL, SECRETS, answered, found_in, received, scan_of

KEPT = {"PatientName": NAME, "PatientID": PERSON, "PatientBirthDate": "19010203", **CLINICAL}
del KEPT["PositionReferenceIndicator"]  # of the world, not of the patient


@pytest.mark.parametrize("which", [2, 3])
def test_patient_and_study_are_those_of_the_series(tmp_path, which):
    found = pydicom.dcmread(answered(tmp_path, scan_of())[which])
    source = pydicom.dcmread(next((tmp_path / "in").iterdir()))
    for name in [*KEPT, "StudyInstanceUID"]:
        assert found[name].value == source[name].value
    assert {name: str(found[name].value) for name in KEPT} == KEPT


def test_what_a_series_does_not_say_stays_empty(tmp_path):
    bare = dict.fromkeys(CLINICAL, None)
    *_, path, report = answered(tmp_path, scan_of(), **bare)
    for file in (path, report):
        found = pydicom.dcmread(file)
        assert all(name in found for name in ("StudyDate", "AccessionNumber", "PatientSex"))
        assert not any(found[name].value for name in ("StudyDate", "AccessionNumber", "StudyID"))


def test_other_words_of_the_source_do_not_travel(tmp_path):
    *_, path, report = answered(
        tmp_path, scan_of(), InstitutionName="Spital Sankt Anna", PatientComments="lives alone"
    )
    for file in (path, report):
        content = file.read_bytes()
        assert b"Sankt Anna" not in content
        assert b"lives alone" not in content
        assert b"Liver of Doe" not in content  # the series' own description


@pytest.mark.parametrize(
    ("characters", "name"),
    [
        ("ISO_IR 100", "Müller^Zoë"),
        ("ISO_IR 192", "Đorđević^Ánh=王^小東"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 144", "Иванова^Жанна"),
    ],
)
def test_names_in_any_alphabet_come_back(tmp_path, characters, name):
    tags = {"SpecificCharacterSet": characters, "PatientName": name, "StudyDescription": "Leber"}
    *_, path, report = answered(tmp_path, scan_of(), **tags)
    for file in (path, report):
        assert str(pydicom.dcmread(file).PatientName) == name


@pytest.mark.parametrize(
    "tags",
    [
        {"PatientName": "Jane"},
        {"PatientName": "Doe^Jane^^^^^Doe^Jane"},
        {"PatientBirthDate": "3 Feb 1901"},
        {"PatientSex": "WEIBLICH"},
        {"StudyTime": "noon", "StudyDate": "today"},
        {"PatientID": "Doe Jane" * 20},
        {"StudyInstanceUID": "1.2.Doe.4711"},
    ],
)
def test_values_out_of_rule_are_kept_and_told_to_no_one(tmp_path, caplog, capfd, tags):
    for name in ("", *TALKATIVE):  # as an application may have it
        caplog.set_level(logging.DEBUG, logger=name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of writing such a series
        save_series(tmp_path / "in", scan_of(), **CLINICAL | tags)
    caplog.clear()
    (series,) = find_series(tmp_path / "in", "CT")
    got = series.read(for_dicom=True)
    write_results(found_in(got), got, tmp_path / "x.dcm", report=tmp_path / "x.sr.dcm")
    told = caplog.text + "".join(capfd.readouterr()) + repr(series) + repr(got)
    assert not any(secret in told for secret in [*SECRETS, *tags.values(), ROOT])
    for file in (tmp_path / "x.dcm", tmp_path / "x.sr.dcm"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = pydicom.dcmread(file)
            assert {name: str(found[name].value) for name in tags} == tags


def test_a_report_as_json_and_the_scan_itself_name_no_one(tmp_path):
    got, found, *_ = answered(tmp_path, scan_of())
    assert not any(secret in str(found.report) + repr(got) for secret in SECRETS)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"StudyInstanceUID": None}, r"StudyInstanceUID, .* for DICOM results, got 13 without"),
        ({"FrameOfReferenceUID": ""}, r"FrameOfReferenceUID for DICOM results, got 13 without"),
        ({"SOPInstanceUID": ""}, "SOPInstanceUID"),
        ({"SOPInstanceUID": "1.2.3"}, "a SOPInstanceUID of its own, got 1 for 13 slices"),
    ],
)
def test_slices_that_nothing_can_refer_to_have_no_dicom_answer(tmp_path, tags, message):
    save_series(tmp_path, scan_of(), **tags)
    (series,) = find_series(tmp_path, "CT")
    with pytest.raises(ScanError, match=f"^case-[0-9a-f]{{10}}: each slice must have .*{message}"):
        series.read(for_dicom=True)
    assert series.read(for_dicom=False).voxels.shape == (19, 24, 13)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("PatientID", "slices must be of one patient, got 2"),
        ("StudyInstanceUID", "slices must be of one study, got 2"),
        ("FrameOfReferenceUID", "slices must be of one frame of reference, got 2"),
    ],
)
def test_two_patients_never_get_one_answer(tmp_path, name, message):
    path = save_series(tmp_path, scan_of(), **CLINICAL)[4]
    other = pydicom.dcmread(path)
    setattr(other, name, "1.2.3.4")
    other.save_as(path)
    (series,) = find_series(tmp_path, "CT")
    with pytest.raises(ScanError, match=f"^case-[0-9a-f]{{10}}: {message}$"):
        series.read(for_dicom=True)


def test_a_header_that_does_not_fit_is_refused_without_its_words(tmp_path):
    got = received(tmp_path / "in", scan_of())
    for one in got.source.slices:
        one.SOPClassUID = "1.2.3"
    with pytest.raises(
        OutputError, match=r"^case-\w{10}: headers must be fit for DICOM results, got \w+ from one"
    ) as caught:
        write_results(found_in(got), got, tmp_path / "out" / "x.dcm", report=None)
    assert "1.2.3" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_labels_alone_go_into_pixels(tmp_path):
    *_, path, _ = answered(tmp_path, scan_of())
    assert set(np.unique(pydicom.dcmread(path).pixel_array)) == {0, 1}
