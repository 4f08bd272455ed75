"""What is said to a server, word by word, without one."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import tritonclient.grpc as triton
from virtual import World

from builders import affine_of
from dyntransnet import repository as names
from dyntransnet.client.call import Call, Pause
from dyntransnet.client.faults import Fault, FaultError
from dyntransnet.client.policy import Policy
from dyntransnet.client.regions import SHARED_MEMORY, Sharing
from dyntransnet.client.talk import IN_USE, farewell, readiness, segmentation
from dyntransnet.client.wire import request_of
from dyntransnet.errors import DeadlineError
from dyntransnet.imaging.presets import Preset
from dyntransnet.imaging.scan import Scan

SHAPE = (5, 4, 3)
URL = "127.0.0.1:8001"
OURS = f"dyntransnet-{os.getpid()}-id1"
LATE = FaultError(Fault.LATE, "late")
USED = FaultError(Fault.BROKEN, f"INTERNAL: it is {IN_USE}.")
LOST = FaultError(Fault.LOST, "socket closed")


class Mask:
    """An answer as tritonclient gives it; through shared memory it has no mask in it."""

    def get_response(self):
        return SimpleNamespace(id="id1")

    def get_output(self, name):
        return SimpleNamespace(shape=SHAPE)

    def as_numpy(self, name):
        report = np.array([json.dumps({"liver_ml": 1.0}).encode()], np.object_)
        return report if name == names.REPORT else np.ones(SHAPE, np.uint8)


def carried(talk, *replies):
    """Which methods were asked for in turn, and what came of the talk."""
    said, answers = [], iter(replies)
    step = next(talk)
    try:
        while True:
            if isinstance(step, Pause):
                step = next(talk)
                continue
            said.append((step.method, step.arguments))
            reply = next(answers)
            step = talk.throw(reply) if isinstance(reply, Exception) else talk.send(reply)
    except StopIteration as end:
        return [name for name, _ in said], end.value
    except DeadlineError:
        return [name for name, _ in said], None


def talk_of(sharing: Sharing, policy: Policy | None = None, listener=None):
    voxels = np.arange(60, dtype=np.int16).reshape(SHAPE)
    request = request_of(Scan("a", voxels, affine_of(SHAPE)), Preset.STANDARD, "id1")
    world = World(policy or Policy(first_pause_s=0.0), [URL], lambda url, now: (None, 0.0))
    call = Call(world.core, "a", "id1", 10.0)
    return segmentation(call, request, sharing, triton, listener)


REGISTER, INFER, LET_GO = (
    "register_system_shared_memory", "infer", "unregister_system_shared_memory"
)  # fmt: skip


def test_over_the_wire_there_is_one_question():
    said, found = carried(talk_of(Sharing(wanted=False)), Mask())
    assert said == [INFER]
    assert found.mask.labels.all()
    assert found.report == {"liver_ml": 1.0, "request_id": "id1"}


def test_through_memory_a_region_is_shown_used_and_given_back():
    sharing = Sharing(wanted=True)
    said, found = carried(talk_of(sharing), None, Mask(), None)
    assert said == [REGISTER, INFER, LET_GO]
    assert not found.mask.labels.any()  # what stood in the region, not in the answer
    assert sharing.held_by(URL) == []


def test_what_a_late_server_holds_is_asked_back_at_the_next_call_and_at_the_end():
    sharing = Sharing(wanted=True)
    assert carried(talk_of(sharing), None, LATE) == ([REGISTER, INFER], None)
    assert sharing.held_by(URL) == [f"dyntransnet-{os.getpid()}-id1-1"]
    assert not list(SHARED_MEMORY.glob(f"dyntransnet-{os.getpid()}-id1-*"))
    said, _ = carried(farewell(URL, sharing), USED, USED, None)
    assert said == [LET_GO] * 3
    assert sharing.held_by(URL) == []


def test_a_server_that_never_lets_go_does_not_keep_a_client_from_closing():
    sharing = Sharing(wanted=True)
    sharing.hold(URL, "dyntransnet-x-1")
    said, _ = carried(farewell(URL, sharing), *[USED] * 8)
    assert said == [LET_GO] * 8
    assert sharing.held_by(URL) == []


def test_a_try_that_was_lost_gets_a_region_of_its_own():
    sharing = Sharing(wanted=True)
    replies = (None, LOST, None, None, Mask(), None)
    said, found = carried(talk_of(sharing), *replies)
    assert said == [REGISTER, INFER, LET_GO] * 2
    assert found is not None


@pytest.mark.parametrize("fault", [Fault.BROKEN, Fault.REFUSED])
def test_a_server_that_does_not_see_the_region_gets_the_scan_over_the_wire(fault):
    sharing = Sharing(wanted=True)
    said, found = carried(talk_of(sharing), FaultError(fault, "unable to open"), Mask())
    assert said == [REGISTER, INFER]
    assert found.mask.labels.all()
    assert carried(talk_of(sharing), Mask())[0] == [INFER]


def test_a_call_that_is_dropped_leaves_no_region():
    sharing = Sharing(wanted=True)
    talk = talk_of(sharing)
    next(talk)
    talk.send(None)
    assert list(SHARED_MEMORY.glob(f"dyntransnet-{os.getpid()}-id1-*"))
    talk.close()
    assert not list(SHARED_MEMORY.glob(f"dyntransnet-{os.getpid()}-id1-*"))
    assert sharing.held_by(URL) == [f"dyntransnet-{os.getpid()}-id1-1"]


@pytest.mark.parametrize("answers", [(False,), (True, False)])
def test_a_server_is_ready_when_both_of_its_models_are(answers):
    with pytest.raises(FaultError, match="is not"):
        carried(readiness(URL, 1.0), *answers)
    assert carried(readiness(URL, 1.0), True, True)[0] == ["is_model_ready"] * 2
