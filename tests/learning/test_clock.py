import time
from dataclasses import asdict

import pytest
import torch

from dyntransnet.learning import clock
from dyntransnet.learning.clock import Clock, Reading

DEVICE = torch.device("cpu")


@pytest.fixture
def hands(monkeypatch) -> dict[str, float]:
    """Both of the clock's hands, moved by the test."""
    hands = {"wall": 100.0, "processor": 7.0}
    monkeypatch.setattr(clock.time, "perf_counter", lambda: hands["wall"])
    monkeypatch.setattr(clock.time, "process_time", lambda: hands["processor"])
    return hands


def pass_by(hands: dict[str, float], wall: float, processor: float) -> None:
    hands["wall"] += wall
    hands["processor"] += processor


def test_steps_waiting_and_pauses_are_told_apart(hands):
    watch = Clock(DEVICE, Reading())
    pass_by(hands, 8.0, 15.0)
    with watch.waiting():
        pass_by(hands, 2.0, 2.5)
    with watch.paused():
        pass_by(hands, 50.0, 90.0)
    found = watch.read()
    assert found == Reading(budget_s=17.5, steps_s=10.0, waited_s=2.0)
    assert found.busy_share == pytest.approx(0.8)


def test_a_session_adds_to_the_earlier_ones(hands):
    watch = Clock(DEVICE, Reading(budget_s=1.0, steps_s=2.0, waited_s=0.5))
    with watch.waiting():
        pass_by(hands, 3.0, 4.0)
    assert watch.read() == Reading(budget_s=5.0, steps_s=5.0, waited_s=3.5)


def test_no_step_yet_is_no_waiting():
    assert Reading().busy_share == 1.0


def test_a_budget_is_the_processors_time_and_sleep_costs_none():
    watch = Clock(DEVICE, Reading())
    time.sleep(0.2)
    found = asdict(watch.read())
    assert found["budget_s"] < 0.1 < found["steps_s"]
