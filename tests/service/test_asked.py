import numpy as np
import pytest

from dyntransnet import repository as names
from dyntransnet.errors import ScanError
from dyntransnet.imaging import limits
from dyntransnet.imaging.presets import Preset
from dyntransnet.service.asked import Asked, read_request, request_id_of

VOXELS = np.zeros((5, 4, 3), np.int16)


def asked(*, queue_timeout_us: int = 0, **tensors: object) -> Asked:
    given = {names.VOXELS: VOXELS, names.AFFINE: np.eye(4)} | tensors
    values = {
        name: np.array([value.encode()], np.object_) if isinstance(value, str) else value
        for name, value in given.items()
    }
    return read_request(values.get, queue_timeout_us=queue_timeout_us)


def test_what_is_not_given_has_its_usual_value():
    found = asked()
    assert (found.scan.id, found.preset) == ("scan", Preset.STANDARD)
    assert (found.timeout_s, found.version) == (None, None)


@pytest.mark.parametrize(
    ("own_s", "tritons_us", "timeout_s"),
    [(3.0, 0, 3.0), (3.0, 2_000_000, 2.0), (3.0, 5_000_000, 3.0), (None, 500_000, 0.5)],
)
def test_of_two_timeouts_the_shorter_counts(own_s, tritons_us, timeout_s):
    given = {} if own_s is None else {names.TIMEOUT: np.array([own_s])}
    assert asked(queue_timeout_us=tritons_us, **given).timeout_s == timeout_s


@pytest.mark.parametrize(
    ("tensors", "rule"),
    [
        ({names.VOXELS: None}, "one of voxels and voxels_float must be given, got none"),
        ({names.VOXELS_FLOAT: VOXELS.astype(np.float32)}, "must be given, got both"),
        ({names.AFFINE: np.eye(3)}, r"must be \(x, y, z\) voxels and a \(4, 4\) affine"),
        ({names.VOXELS: VOXELS[0]}, r"must be \(x, y, z\) voxels and a \(4, 4\) affine"),
        ({names.VOXELS: VOXELS[:0]}, "each edge must have voxels"),
        ({names.PRESET: "best"}, "preset: must be one of fast, standard, accurate, got best"),
        ({names.CASE: np.array([b"\xff"], np.object_)}, "case: must be UTF-8, got invalid"),
        ({names.NETWORK_VERSION: "٣"}, "network_version: must be a number"),
        ({names.NETWORK_VERSION: "1\n"}, "^network_version: must be one line, got a line break$"),
        ({names.PRESET: "a\u2028b"}, "^preset: must be one line, got a line break$"),
        ({names.CASE: 'a\r{"event'}, "^case: must be one line, got a line break$"),
        ({names.AFFINE: np.eye(4)[[0, 1, 3, 2]]}, "^scan: the affine's last row must be .0.0, 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(tensors, rule):
    with pytest.raises(ScanError, match=rule):
        asked(**tensors)


def test_more_voxels_than_any_scan_has_are_refused_unseen(monkeypatch):
    monkeypatch.setattr(limits, "MAX_VOXELS", 59)
    with pytest.raises(ScanError, match=r"^big: must have at most 59 voxels"):
        asked(case="big")


def test_an_id_is_kept_and_a_missing_one_is_made():
    assert request_id_of("A-1.b:c_9") == "A-1.b:c_9"
    assert request_id_of("") != request_id_of("")
