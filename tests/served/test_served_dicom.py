"""A DICOM series through the real server: the answer is DICOM, and the server saw no name."""

import numpy as np
import pydicom
import pytest
import tritonclient.grpc as triton

from dicoms import WORLD, save_series
from dyntransnet.errors import ServingError
from dyntransnet.files import plan_jobs, served
from dyntransnet.imaging.dicom.segments import read_segments
from dyntransnet.imaging.segment import segment
from hospital import CLINICAL, SECRETS, scan_of
from jobs import run_jobs

pytestmark = pytest.mark.triton


def test_a_series_is_answered_in_dicom_as_this_process_would(server, network, tmp_path):
    save_series(tmp_path / "in", scan_of("ASL", 14.0), **CLINICAL)
    jobs = plan_jobs([tmp_path / "in"], tmp_path / "x.dcm", report=True, preview=False)
    with served(server.url, timeout_s=30.0) as segmenter:
        ((job, found),) = run_jobs(jobs, segmenter.ask)
    scan = job.scan.read(for_dicom=False)
    expected = segment(scan, *network).labels
    assert expected.any()
    np.testing.assert_array_equal(found.mask.labels, expected)
    back = read_segments([tmp_path / "x.dcm"], scan, WORLD, "case")
    np.testing.assert_array_equal(back.labels, expected)
    assert pydicom.dcmread(tmp_path / "x.sr.dcm").PatientName == "Doe^Jane"


def test_nothing_of_a_patient_is_sent(tmp_path, monkeypatch):
    sent = []

    def infer(self, model_name, inputs, **options):
        sent.extend(one._get_content() for one in inputs)
        raise triton.InferenceServerException("x", "StatusCode.INVALID_ARGUMENT")

    monkeypatch.setattr(triton.InferenceServerClient, "infer", infer)
    save_series(tmp_path / "in", scan_of(), **CLINICAL)
    jobs = plan_jobs([tmp_path / "in"], tmp_path / "x.dcm", report=False, preview=False)
    with (
        served("127.0.0.1:9", timeout_s=1.0) as segmenter,
        pytest.raises(ServingError, match="refused the scan"),
    ):
        list(run_jobs(jobs, segmenter.ask))
    content = b"".join(sent)
    assert jobs[0].scan.id.encode() in content
    assert not any(secret.encode() in content for secret in SECRETS)
