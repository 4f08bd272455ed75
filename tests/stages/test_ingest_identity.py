"""Whatever a dataset tells of a patient, the store does not."""

import gzip
import json
from pathlib import Path

import pydicom
import pytest

from builders import affine_of, case_of
from caches import params_of, save_cache
from dicoms import NAME, PERSON, save_segmentation, save_series
from dyntransnet.config import IngestParams, LabelParams
from dyntransnet.errors import DatasetError
from dyntransnet.imaging.scan import WRITABLE, write_mask, write_scan
from dyntransnet.stages import train
from dyntransnet.stages.ingest import run
from dyntransnet.tracking import connect

FOLDER = "Doe_Jane_MRN4711"
SECRETS = [secret.encode() for secret in (NAME, PERSON, FOLDER, "Jane", "MRN", "19010203")]
LABELS = LabelParams(liver=(1,), tumor=(2,), others="refused")


def ingest(source: Path, out: Path, layout: str) -> None:
    params = IngestParams(
        layout=layout, source=source, modality="CT", labels=LABELS, on_problem="stop"
    )
    places = {"manifest": out / "manifest.json", "problems": out / "problems.json"}
    run(source, cases=out / "cases", **places, params=params)


def written(folder: Path) -> dict[str, bytes]:
    """Every path below a folder with its bytes, and those that are packed in them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    packed = {f"{name} unpacked": gzip.decompress(found[name]) for name in found if "gz" in name}
    return found | packed


def assert_tells_nothing(content: bytes) -> None:
    for secret in SECRETS:
        assert secret.lower() not in content.lower()


def save_dicom(root: Path, folder: str = FOLDER, *, seed: int = 0, **tags: object) -> Path:
    scan, mask = case_of(affine=affine_of(code="LPS"), seed=seed)
    save_series(root / folder, scan, **tags)
    save_segmentation(root / folder / f"{NAME}.dcm", mask)
    return root


def save_plain(root: Path) -> Path:
    scan, mask = case_of()
    write_scan(scan, root / f"images/{FOLDER}.nii.gz")
    write_mask(mask, root / f"masks/{FOLDER}.nii.gz")
    return root


@pytest.mark.parametrize(("layout", "save"), [("dicom", save_dicom), ("plain", save_plain)])
def test_no_name_id_or_path_is_written_or_printed(tmp_path, layout, save, capfd):
    source = save(tmp_path / "data")
    ingest(source, tmp_path / "out", layout)
    found = written(tmp_path / "out")
    assert len(found) == 6
    for name, content in found.items():
        assert_tells_nothing(name.encode() + content)
        assert str(tmp_path).encode() not in content
    assert_tells_nothing("".join(capfd.readouterr()).encode())


def test_the_made_up_person_is_in_the_source(tmp_path):
    """Else the test above would find nothing because there is nothing."""
    content = b"".join(written(save_dicom(tmp_path)).values())
    for secret in (NAME, PERSON, "19010203"):
        assert secret.encode() in content


def test_one_person_is_one_patient_of_the_manifest(tmp_path):
    for seed, person in enumerate((PERSON, PERSON, "MRN-12")):
        save_dicom(tmp_path / "data", f"{FOLDER}-{seed}", seed=seed, person=person)
    ingest(tmp_path / "data", tmp_path / "out", "dicom")
    rows = json.loads((tmp_path / "out/manifest.json").read_text())["cases"]
    patients = [row["patient"] for row in rows]
    assert patients[0] == patients[1] != patients[2]
    assert {row["modality"] for row in rows} == {"CT"}


def test_no_name_id_or_path_reaches_mlflow(workplace, one_thread):
    """Params, tags, metrics and datasets lie in the store; artifacts beside it."""
    source = workplace / "raw"
    for seed in range(3):
        save_dicom(source, f"{FOLDER}-{seed}", seed=seed, person=f"{PERSON}-{seed}")
    ingest(source, workplace, "dicom")
    cases = sorted(path.name for path in (workplace / "cases").iterdir())
    ours = params_of(steps=1, validate_every=1)
    train.run(
        *save_cache(workplace, cases),
        workplace / "manifest.json",
        **{name: workplace / name for name in ("out", "report", "resume")},
        network=ours.network,
        params=ours.train,
        study={},
    )
    (found,) = connect().search_runs(["1"])
    assert found.inputs.dataset_inputs[0].dataset.name == "dicom"
    artifacts = written(workplace / "mlartifacts")
    assert "manifest.json" in {Path(name).name for name in artifacts}
    for content in (*artifacts.values(), (workplace / "mlflow.db").read_bytes()):
        assert_tells_nothing(content)
        assert str(source).encode() not in content


@pytest.mark.parametrize(
    ("cut", "code"),
    [(300, "unreadable"), (700, "slice-place"), (1500, "size-not-header")],
)
def test_errors_of_dicom_tell_nothing_either(tmp_path, cut, code, capfd):
    source = save_dicom(tmp_path / "data")
    save_dicom(source, f"{FOLDER}-2", seed=1, slide_mm=1.0)
    save_dicom(source, f"{FOLDER}-3", seed=2)
    path = next((source / f"{FOLDER}-3").glob("1-*"))
    path.write_bytes(path.read_bytes()[:cut])
    save_dicom(source, f"{FOLDER}-4", seed=3)
    path = next((source / f"{FOLDER}-4").glob("1-*"))
    found = pydicom.dcmread(path)
    found["ImagePositionPatient"].value = [0.0, 0.0]
    found.save_as(path)
    with pytest.raises(DatasetError, match="3 problem") as caught:
        ingest(source, tmp_path / "out", "dicom")
    assert_tells_nothing("\n".join(caught.value.problems).encode())
    assert_tells_nothing("".join(capfd.readouterr()).encode())
    assert told_by(tmp_path / "out") == sorted(["affine-sheared", "slice-place", code])


def told_by(out: Path) -> list[str]:
    """The codes of the problems, where nothing but them was written and no name is in them."""
    (path,) = out.rglob("*")
    assert_tells_nothing(path.read_bytes())
    return sorted(problem["code"] for problem in json.loads(path.read_text()))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda stored: b"no image", "unreadable"),
        (lambda stored: stored[:-9], "gzip-damaged"),
        (lambda stored: gzip.compress(gzip.decompress(stored)[:-9]), "size-not-header"),
    ],
)
@pytest.mark.parametrize("folder", ["images", "masks"])
def test_errors_of_image_files_tell_nothing_either(tmp_path, folder, change, code, capfd):
    source = save_plain(tmp_path / "data")
    path = source / folder / f"{FOLDER}.nii.gz"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DatasetError, match="1 problem") as caught:
        ingest(source, tmp_path / "out", "plain")
    assert_tells_nothing("\n".join(caught.value.problems).encode())
    assert_tells_nothing("".join(capfd.readouterr()).encode())
    assert told_by(tmp_path / "out") == [code]


def test_nifti_headers_hold_no_text(tmp_path):
    write_scan(case_of()[0], tmp_path / "scan.nii.gz")
    stored = (tmp_path / "scan.nii.gz").read_bytes()
    assert stored[3] == 0  # gzip's flags: neither a file name nor a comment
    header = gzip.decompress(stored)[:352]
    texts = {"data_type": (4, 14), "db_name": (14, 32), "descrip": (148, 228),
             "aux_file": (228, 252), "intent_name": (328, 344)}  # fmt: skip
    for name, (first, end) in texts.items():
        assert header[first:end].strip(b"\0 ") == b"", name
    assert header[348:352] == bytes(4)  # no extension


@pytest.mark.parametrize("suffix", WRITABLE)
def test_a_scan_is_written_without_its_name(tmp_path, suffix):
    scan, _ = case_of()
    named = type(scan)(NAME, scan.voxels, scan.affine)
    write_scan(named, tmp_path / f"scan{suffix}")
    assert_tells_nothing((tmp_path / f"scan{suffix}").read_bytes())
