"""Valid requests with something done to them at random: none brings down the server or a mask."""

import re
from pathlib import Path

import grpc
import numpy as np
import pytest
from field_faults import IN_FIELDS
from judging import Reply, ask, fault_in
from mutations import Mutant, mutant
from stubs import stubs_of
from wire import add_text, meaning, valid_request

from dyntransnet import repository as names
from dyntransnet.imaging.answer import answer
from dyntransnet.imaging.presets import Preset, tuned
from dyntransnet.imaging.scan import Scan

SEEDS = range(400)
GROWTH_BYTES = 2**26
"""Less than any claim of a size that the mutations make."""


@pytest.fixture(scope="module")
def here(network):
    def labels_of(scan: Scan, preset: Preset) -> np.ndarray:
        with np.errstate(all="ignore"):
            return answer(scan, *tuned(preset, *network)).mask.labels

    return labels_of


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server.url) as channel:
        yield channel


def bytes_of(server) -> int:
    """What Triton and its models hold."""
    models = (names.NETWORK, names.FRONT_DOOR, names.STREAM)
    stubs = [each for model in models for each in stubs_of(server.process.pid, model)]
    status = [Path(f"/proc/{each}/status").read_text() for each in (server.process.pid, *stubs)]
    return sum(1024 * int(re.search(r"VmRSS:\s+(\d+)", text)[1]) for text in status)


@pytest.mark.triton
def test_of_many_mutations_each_is_refused_in_one_line_or_rightly_answered(server, channel, here):
    valid = valid_request(np.random.default_rng(0)).SerializeToString()
    ask(channel, valid, 10.0)
    before = bytes_of(server)
    replies = [(each, ask(channel, each.message, 10.0)) for each in map(mutant, SEEDS)]
    assert bytes_of(server) - before < GROWTH_BYTES
    assert server.is_whole()
    np.testing.assert_array_equal(ask(channel, valid, 10.0).labels, here(*meaning(valid)))
    faults = {each.done: fault_in(each, reply, here) for each, reply in replies}
    assert {done: fault for done, fault in faults.items() if fault} == {}
    masks = sum(reply.labels is not None for _, reply in replies)
    assert len(SEEDS) / 10 < masks < len(SEEDS) / 2


@pytest.mark.triton
def test_two_lines_in_a_text_are_refused_in_one(channel):
    request = valid_request(np.random.default_rng(1))
    add_text(request, names.NETWORK_VERSION, b"a\nb")
    said = ask(channel, request.SerializeToString(), 10.0).said
    assert said.splitlines() == ["network_version: must be one line, got a line break"]


@pytest.mark.triton
def test_an_affine_that_was_stored_by_columns_is_refused(channel):
    request = valid_request(np.random.default_rng(1))
    moved = np.diag([1.5, 2.0, 3.0, 1.0])
    moved[:3, 3] = (-120.0, 80.0, 40.0)
    request.raw_input_contents[1] = moved.T.tobytes()
    said = ask(channel, request.SerializeToString(), 10.0).said
    assert said.startswith("case: the affine's last row must be [0.0, 0.0, 0.0, 1.0], got [-120.0")
    assert len(said.splitlines()) == 1


def test_a_seed_gives_one_request():
    assert mutant(7) == mutant(7) != mutant(8)


def test_a_valid_request_says_its_scan():
    scan, preset = meaning(valid_request(np.random.default_rng(3)).SerializeToString())
    assert len(set(scan.voxels.shape)) == 3
    assert scan.voxels.std() == pytest.approx(150, rel=0.01)
    assert preset in Preset


def test_values_within_the_tensors_say_the_same():
    request = valid_request(np.random.default_rng(3))
    behind, _ = meaning(request.SerializeToString())
    IN_FIELDS["values inside"](request, np.random.default_rng(0))
    assert not request.raw_input_contents
    within, _ = meaning(request.SerializeToString())
    np.testing.assert_array_equal(within.voxels, behind.voxels)
    np.testing.assert_array_equal(within.affine, behind.affine)


SHAPE = meaning(valid_request(np.random.default_rng(0)).SerializeToString())[0].voxels.shape


@pytest.mark.parametrize(
    ("message", "reply", "fault"),
    [
        (None, Reply("OK", labels=np.ones(SHAPE, np.uint8)), ""),
        (None, Reply("OK", labels=np.zeros(SHAPE, np.uint8)), "must have the mask of its scan"),
        (None, Reply("OK", labels=np.ones(SHAPE[::-1], np.uint8)), "must have the mask of its"),
        (b"", Reply("OK", labels=np.ones(SHAPE, np.uint8)), "must be refused, got a mask"),
        (None, Reply("INVALID_ARGUMENT", "voxels: must be finite, got 3 NaN"), ""),
        (None, Reply("INVALID_ARGUMENT", ""), "must be refused in one line"),
        (None, Reply("INVALID_ARGUMENT", "a\nb"), "must be refused in one line"),
        (None, Reply("DEADLINE_EXCEEDED", "late"), "must be answered in time"),
        (None, Reply("INTERNAL", "internal error, see the server's log"), "must be answered or"),
        (None, Reply("UNAVAILABLE", "Socket closed"), "must be answered or refused"),
    ],
)
def test_what_is_wrong_with_a_reply_is_seen(message, reply, fault):
    valid = valid_request(np.random.default_rng(0)).SerializeToString()
    found = fault_in(
        Mutant("made", valid if message is None else message),
        reply,
        lambda scan, _: np.ones(scan.voxels.shape, np.uint8),
    )
    assert found.startswith(fault)
    assert bool(found) == bool(fault)
