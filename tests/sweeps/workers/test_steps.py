"""Steps: seconds without one are counted while something trains, and at no other time."""

import time

import pytest

from sweeps.errors import Interrupted
from sweeps.trainers.protocol import Steps


def test_only_what_is_watched_is_idle() -> None:
    steps = Steps()
    time.sleep(0.02)
    assert steps.idle_s == 0
    with steps.watched():
        time.sleep(0.05)
        assert steps.idle_s >= 0.05
        steps()
        assert steps.idle_s < 0.05
    time.sleep(0.02)
    assert steps.idle_s == 0, "a result that waits for its database does not hang"
    steps()
    assert steps.idle_s == 0


def test_a_step_and_a_report_of_a_child_end_what_shall_end() -> None:
    told: list[tuple[object, ...]] = []

    def check() -> None:
        raise Interrupted("asked to stop")

    steps = Steps(check)
    with pytest.raises(Interrupted):
        steps()
    with pytest.raises(Interrupted):
        steps.of_child(lambda *values: told.append(values))(0.5, "epoch 3")
    assert told == []


def test_a_report_is_a_step_and_goes_on() -> None:
    told: list[tuple[object, ...]] = []
    steps = Steps()
    with steps.watched():
        time.sleep(0.03)
        steps.of_child(lambda *values: told.append(values))(0.5, "epoch 3")
        assert steps.idle_s < 0.03
    assert told == [(0.5, "epoch 3")]
