"""The core on a clock of its own: what is sent where, how often, and until when."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual import WELL, Answer, World

from dyntransnet.client.breaker import Circuit
from dyntransnet.client.call import Call, Pause, Probe, Send
from dyntransnet.client.faults import Fault, FaultError
from dyntransnet.client.policy import Policy
from dyntransnet.errors import (
    BusyError,
    DeadlineError,
    NotReadyError,
    RefusedError,
    ServingError,
    UnreachableError,
)

RETRIED = (Fault.UNREACHED, Fault.LOST, Fault.BUSY)


def always(fault, seconds=0.1):
    return lambda url, now: (fault, seconds)


def until(moment, fault, seconds=0.1):
    """A fault before a moment, answers from then on."""
    return lambda url, now: (fault, seconds) if now < moment else WELL


policies = st.builds(
    Policy,
    tries=st.integers(1, 9),
    first_pause_s=st.floats(0, 2),
    longest_pause_s=st.floats(0, 10),
    spare_retries=st.integers(0, 12),
    earned_retries=st.floats(0, 2),
    failures_to_open=st.integers(1, 4),
    open_s=st.floats(0.1, 10),
    probe_s=st.floats(0.1, 3),
    patience_s=st.floats(0, 40),
)
answers = st.lists(
    st.tuples(st.sampled_from([None, *Fault]), st.floats(0, 8)), min_size=1, max_size=40
)


@settings(max_examples=60)
@given(policies, answers, st.integers(1, 3), st.floats(0, 0.999), st.floats(0.1, 60))
def test_no_call_sends_more_or_longer_than_it_may(policy, script, servers, chance, timeout_s):
    """``World`` itself checks that no step reaches beyond the deadline."""
    replies = iter(script * 1000)
    urls = [f"s{n}" for n in range(servers)]
    world = World(policy, urls, lambda url, now: next(replies), chance=chance)
    for _ in range(4):
        before, begun = len(world.of(Send)), world.now
        with suppress(ServingError):
            world.call(timeout_s)
        assert len(world.of(Send)) - before <= policy.tries
        assert world.now <= begun + timeout_s + 1e-6
    assert world.retries <= policy.spare_retries + policy.earned_retries * world.answers


@settings(max_examples=60)
@given(policies, answers, st.integers(1, 3))
def test_nothing_is_sent_to_a_server_whose_circuit_is_open(policy, script, servers):
    replies = iter(script * 1000)
    states = []

    def behave(url, now):
        states.append(next(s for s in world.core.servers if s.url == url).open_until)
        return next(replies)

    world = World(policy, [f"s{n}" for n in range(servers)], behave)
    for _ in range(4):
        with suppress(ServingError):
            world.call(30.0)
        world.now += 1.0
    asked = [step for _, step in world.steps if not isinstance(step, Pause)]
    for step, open_until in zip(asked, states, strict=True):
        assert (open_until is not None) == isinstance(step, Probe)


@pytest.mark.parametrize("fault", RETRIED)
def test_what_is_safe_is_tried_again(fault):
    world = World(Policy(), ["a"], until(1000.3, fault))
    assert world.call() == "a"
    assert 1 < len(world.sent_to) <= 4


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.REFUSED, RefusedError),
        (Fault.BROKEN, ServingError),
        (Fault.LATE, DeadlineError),
        (Fault.OVERDUE, DeadlineError),
        (Fault.NOT_READY, NotReadyError),
        (Fault.UNTRUSTED, UnreachableError),
    ],
)
def test_what_is_not_is_told_at_once(fault, error):
    world = World(Policy(), ["a"], always(fault))
    with pytest.raises(error, match=r"\(request id\)$") as caught:
        world.call()
    assert type(caught.value) is error
    assert caught.value.request_id == "id"
    assert world.sent_to == ["a"]


@pytest.mark.parametrize("fault", [*RETRIED, Fault.STOPPING, Fault.NOT_READY, Fault.UNTRUSTED])
def test_another_server_is_asked_without_a_pause(fault):
    world = World(Policy(), ["a", "b"], lambda url, now: (fault, 0.1) if url == "a" else WELL)
    assert world.call() == "b"
    assert world.of(Pause) == []


def test_a_scan_that_breaks_a_server_is_not_sent_to_the_next():
    world = World(Policy(), ["a", "b"], always(Fault.BROKEN))
    with pytest.raises(ServingError, match="must answer, got broken"):
        world.call()
    assert world.sent_to == ["a"]


def test_servers_that_are_well_take_turns():
    world = World(Policy(), ["a", "b", "c"], always(None))
    assert [world.call() for _ in range(7)] == ["a", "b", "c", "a", "b", "c", "a"]


@pytest.mark.parametrize("chance", [0.0, 0.25, 0.999])
def test_pauses_double_under_full_jitter(chance):
    policy = Policy(tries=6, first_pause_s=0.5, longest_pause_s=3.0, failures_to_open=99)
    world = World(policy, ["a"], always(Fault.BUSY), chance=chance)
    with pytest.raises(BusyError, match=r"must have room in its queue.*sent 6 times"):
        world.call()
    found = [step.seconds for step in world.of(Pause)]
    assert found == pytest.approx([chance * each for each in (0.5, 1, 2, 3, 3)])


def test_all_calls_share_the_retries():
    policy = Policy(spare_retries=3, earned_retries=0.5, first_pause_s=0.0)
    world = World(policy, ["a"], always(Fault.BUSY))
    for count in (4, 1, 1):
        before = len(world.sent_to)
        with pytest.raises(BusyError):
            world.call()
        assert len(world.sent_to) - before == count
    world.behavior = always(None)
    world.call()
    world.call()
    world.behavior = always(Fault.BUSY)
    before = len(world.sent_to)
    with pytest.raises(BusyError):
        world.call()
    assert len(world.sent_to) - before == 2  # two answers earned one retry


def test_failures_in_a_row_open_a_circuit_and_a_ready_server_closes_it():
    world = World(Policy(failures_to_open=3, open_s=5.0), ["a"], always(Fault.UNREACHED))
    (server,) = world.core.servers
    with pytest.raises(UnreachableError, match="must be reachable, got unreached"):
        world.call()
    assert world.sent_to == ["a"] * 3
    assert server.circuit(world.now) is Circuit.OPEN
    with pytest.raises(UnreachableError, match=r"a: unreached, asked again in \d\.\d s"):
        world.call()
    assert world.sent_to == ["a"] * 3
    world.now += 5.0
    assert server.circuit(world.now) is Circuit.HALF_OPEN
    world.behavior = always(None)
    assert world.call() == "a"
    assert world.of(Probe) == [Probe("a", 2.0)]
    assert server.circuit(world.now) is Circuit.CLOSED


def test_a_server_that_is_still_not_ready_is_left_alone_again():
    world = World(Policy(failures_to_open=1, open_s=5.0), ["a"], always(Fault.UNREACHED))
    for count in (0, 1, 1):
        with pytest.raises(UnreachableError):
            world.call()
        assert len(world.of(Probe)) == count
        world.now += 5.0 * (count == 0)
    assert world.sent_to == ["a"]


def test_one_answer_between_failures_keeps_a_circuit_closed():
    replies = iter([(Fault.LOST, 0.1), (Fault.LOST, 0.1), WELL] * 3)
    world = World(Policy(failures_to_open=3), ["a"], lambda url, now: next(replies))
    assert [world.call() for _ in range(3)] == ["a"] * 3
    assert world.of(Probe) == []


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.OVERDUE, Fault.REFUSED, Fault.BROKEN])
def test_what_a_server_says_itself_never_opens_its_circuit(fault):
    world = World(Policy(first_pause_s=0.0, spare_retries=99), ["a"], always(fault))
    for _ in range(5):
        with pytest.raises(ServingError):
            world.call()
    assert world.core.servers[0].circuit(world.now) is Circuit.CLOSED


def test_a_server_that_comes_back_is_used_again_beside_one_that_is_well():
    policy = Policy(failures_to_open=1, open_s=5.0)
    gone, back = (Fault.UNREACHED, 0.1), 1010
    world = World(policy, ["a", "b"], lambda url, now: gone if url == "a" and now < back else WELL)
    found = [world.call() for _ in range(20)]
    assert set(found[:8]) == {"b"}
    assert found[-4:] in (["a", "b", "a", "b"], ["b", "a", "b", "a"])


def test_a_server_that_went_away_is_waited_for():
    world = World(Policy(patience_s=30.0), ["a"], always(None))
    world.call()
    back = world.now + 20
    world.behavior = until(back, Fault.UNREACHED, 0.01)
    assert world.call() == "a"
    assert back <= world.now < back + 7


def test_a_server_that_says_it_stops_is_asked_nothing_until_it_is_ready():
    world = World(Policy(patience_s=30.0, open_s=5.0), ["a"], always(None))
    world.call()
    last, back = world.now + 4, world.now + 12

    def behavior(url: str, now: float) -> Answer:
        if now >= back:
            return WELL
        return Fault.STOPPING if now < last else Fault.NOT_READY, 0.1

    world.behavior = behavior
    assert world.call() == "a"
    assert len(world.sent_to) == 1 + 2
    assert back <= world.now < back + 7


def test_it_is_waited_for_once_not_by_each_call():
    world = World(Policy(patience_s=30.0), ["a"], always(None))
    world.call()
    world.behavior = always(Fault.UNREACHED, 0.01)
    begun = world.now
    with pytest.raises(UnreachableError):
        world.call()
    assert 25 < world.now - begun < 36
    begun = world.now
    for _ in range(10):
        with pytest.raises(UnreachableError):
            world.call()
    assert world.now - begun < 1


def test_a_server_that_never_was_there_is_not_waited_for():
    world = World(Policy(patience_s=30.0), ["a"], always(Fault.UNREACHED, 0.01))
    begun = world.now
    with pytest.raises(UnreachableError):
        world.call()
    assert world.now - begun < 1


def test_a_pause_that_leaves_no_time_is_not_made():
    world = World(Policy(first_pause_s=4.0), ["a"], always(Fault.BUSY))
    with pytest.raises(BusyError):
        world.call(1.0)
    assert world.of(Pause) == []


def test_no_answer_in_time_names_the_server_and_the_budget():
    replies = iter([(Fault.BUSY, 0.1), (None, 99.0)])
    world = World(Policy(), ["a"], lambda url, now: next(replies))
    with pytest.raises(DeadlineError, match=r"^case: server at a must answer within 5 s, got no"):
        world.call(5.0)
    assert world.now == pytest.approx(1005)


def test_a_call_that_was_put_to_sleep_tells_what_it_knew():
    world = World(Policy(), ["a"], always(None))
    call = Call(world.core, "case", "id", 5.0)
    call.next_step()
    call.failed("a", FaultError(Fault.BUSY, "queue full"))
    world.now += 60
    with pytest.raises(DeadlineError, match="got no answer, and before that queue full"):
        call.next_step()


@pytest.mark.parametrize(
    ("name", "value"),
    [("tries", 0), ("open_s", 0.0), ("patience_s", -1.0), ("probe_s", float("nan"))],
)
def test_a_policy_out_of_range_is_refused(name, value):
    with pytest.raises(ServingError, match=f"policy: {name} must be at least .*, got {value}"):
        Policy(**{name: value})
