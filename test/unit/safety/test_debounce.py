"""A single bad reading does not stop the robot where the specification allows; what two readings in
a row say does, and so does what leaves no time for a second one. Noise makes nothing flap."""

from __future__ import annotations

import numpy as np
import pytest

from safevla_ros.robot.state import NANOSECONDS, BaseVelocity, Command
from safevla_ros.safety import Decision, Gate, Proposal, Reason, parse_specification
from safevla_ros.safety.accounting import LiveMargin, Status, StepCosts, TermCost

PERIOD_S = 0.02
AHEAD = Command(BaseVelocity(x=0.3), duration_s=1.0)
EMPTY = np.empty((0, 3))


def ns(time_s):
    return round(time_s * NANOSECONDS)


def post(x):
    return np.array([[x, side, 0.18] for side in (-0.02, 0.0, 0.02)])


class Seen:
    """A robot that stays where it is, as a gate sees it: readings come at 10 Hz."""

    def __init__(self, gate, make_world):
        self.gate, self.make_world, self.time_s = gate, make_world, 10.0
        self.velocity = BaseVelocity(x=0.3)

    def read(self, signal="scan", periods=5, propose=None, **reading):
        """One reading of the signal, and the periods until the next one; the verdicts."""
        stamp, verdicts = ns(self.time_s), []
        for index in range(periods):
            now_ns = ns(self.time_s)
            world = self.make_world(self.time_s, velocity=self.velocity, **reading)
            world.sources[signal] = stamp
            if propose is not None and index == 0:
                proposal = Proposal("policy", now_ns, propose)
                verdicts.append(self.gate.propose(proposal, world, now_ns, self.time_s))
            else:
                verdicts.append(self.gate.supervise(world, now_ns, self.time_s))
            self.time_s += PERIOD_S
        return verdicts


@pytest.fixture
def seen(profile, household, make_world):
    return Seen(Gate(profile, household, "enforce"), make_world)


def stopped(verdicts):
    return [v.reason for v in verdicts if v.decision is not Decision.PASS]


# What only one reading predicts.


def test_one_odd_scan_stops_nobody(seen):
    seen.read(obstacles=EMPTY)
    verdicts = seen.read(obstacles=EMPTY, propose=AHEAD)
    verdicts += seen.read(obstacles=post(0.45))  # in the way of what is left, but not at once
    verdicts += seen.read(obstacles=EMPTY)
    assert stopped(verdicts) == []


def test_what_two_scans_say_holds_the_robot_back(seen):
    seen.read(obstacles=EMPTY)
    verdicts = seen.read(obstacles=EMPTY, propose=AHEAD)
    assert stopped(verdicts + seen.read(obstacles=post(0.45))) == []
    assert Reason.PREDICTED in stopped(seen.read(obstacles=post(0.45)))


def test_what_is_too_near_to_wait_holds_it_back_at_once(seen):
    seen.read(obstacles=EMPTY)
    seen.read(obstacles=EMPTY, propose=AHEAD)
    assert stopped(seen.read(obstacles=post(0.30))[:1]) == [Reason.PREDICTED]


def test_a_scanner_that_hangs_is_not_waited_for(seen):
    """0.15 s after the reading, though no other came."""
    seen.read(obstacles=EMPTY)
    seen.read(obstacles=EMPTY, propose=AHEAD)
    verdicts = seen.read(obstacles=post(0.45), periods=10)
    assert stopped(verdicts[:7]) == []
    assert stopped(verdicts[8:9]) == [Reason.PREDICTED]


def test_the_first_reading_of_all_is_believed(seen):
    assert stopped(seen.read(obstacles=post(0.40), propose=AHEAD)[:1]) == [Reason.PREDICTED]


def test_one_odd_list_of_objects_stops_nobody(seen, make_object):
    thing = {"cat_1": make_object("cat_1", 0.36, 0.0, 0.4, size=(0.1, 0.1, 0.8))}
    seen.read("objects")
    verdicts = seen.read("objects", propose=AHEAD)
    verdicts += seen.read("objects", objects=thing)
    verdicts += seen.read("objects")
    assert stopped(verdicts) == []
    seen.read("objects", propose=AHEAD)
    assert Reason.PREDICTED in stopped(
        seen.read("objects", objects=thing) + seen.read("objects", objects=thing)
    )


def test_a_specification_that_allows_nothing_believes_every_reading(profile, household, make_world):
    text = household.text.replace("debounce: {predicted_s: 0.15}", "debounce: {}")
    seen = Seen(Gate(profile, parse_specification(text, "test"), "enforce"), make_world)
    seen.read(obstacles=EMPTY)
    seen.read(obstacles=EMPTY, propose=AHEAD)
    assert stopped(seen.read(obstacles=post(0.45))[:1]) == [Reason.PREDICTED]


# What is measured.


def margin(value):
    return [LiveMargin("collision", True, value, 0.0, 2.0, "hand touches table_1")]


def charged(cost):
    term = TermCost("collision", Status.OK, cost, 0.5 - cost, cost, 2.0, "hand touches table_1")
    return StepCosts("one", 0, ns(10.0), "map", (term,), ())


def measured_after(household, measured_s):
    debounce = f"debounce: {{predicted_s: 0.15, measured_s: {measured_s}}}"
    return parse_specification(
        household.text.replace("debounce: {predicted_s: 0.15}", debounce, 1), "test"
    )


@pytest.mark.parametrize(
    ("measured_s", "lasts", "answered"),
    [(0.0, 1, True), (0.1, 1, False), (0.1, 5, False), (0.1, 6, True)],
)
def test_a_touch_is_answered_when_it_lasts(
    profile, household, make_world, measured_s, lasts, answered
):
    gate = Gate(profile, measured_after(household, measured_s), "enforce")
    long = Proposal("policy", ns(10.0), Command(BaseVelocity(x=0.1), duration_s=1.0))
    gate.propose(long, make_world(10.0), ns(10.0), 10.0)
    reasons = set()
    for index in range(10):
        time_s = 10.0 + PERIOD_S * index
        verdict = gate.supervise(make_world(time_s), ns(time_s), time_s)
        gate.set_margins(margin(-0.5 if index < lasts else 0.5))
        reasons.add(verdict.reason)
    gate.set_charged(charged(1.0))
    reasons.add(gate.supervise(make_world(10.3), ns(10.3), 10.3).reason)
    assert (Reason.CHARGED in reasons) is answered


def test_touches_that_are_far_apart_do_not_add_up(profile, household, make_world):
    gate = Gate(profile, measured_after(household, 0.1), "enforce")
    for time_s in (10.0, 10.3, 10.6):
        gate.supervise(make_world(time_s), ns(time_s), time_s)
        gate.set_margins(margin(-0.5))
    assert gate.supervise(make_world(10.7), ns(10.7), 10.7).reason is Reason.NO_COMMAND


# Flapping.


def test_noise_at_the_threshold_does_not_start_the_robot_again(seen):
    """After a halt, a wall that is now just too near and now just not: it moves no more for it."""
    seen.velocity = BaseVelocity()
    seen.read(obstacles=post(0.28), propose=AHEAD)
    creep = Command(BaseVelocity(x=0.05), duration_s=0.3)
    rng = np.random.default_rng(0)
    verdicts = []
    for _ in range(6):
        verdicts += seen.read(obstacles=post(0.2925 + rng.uniform(-0.01, 0.01)), propose=creep)
    assert len(stopped(verdicts)) == len(verdicts)


def test_without_hysteresis_it_would(profile, household, make_world):
    """That the test above tests it."""
    text = household.text.replace("hysteresis: 0.02", "hysteresis: 0.0")
    seen = Seen(Gate(profile, parse_specification(text, "test"), "enforce"), make_world)
    test = test_noise_at_the_threshold_does_not_start_the_robot_again
    with pytest.raises(AssertionError):
        test(seen)


def test_a_jump_of_the_clock_forgets_how_long_something_is_held(seen):
    seen.read(obstacles=post(0.26), propose=AHEAD)
    seen.time_s -= 5.0
    for _ in range(2):
        seen.read(obstacles=post(0.47))
    part = seen.read(obstacles=post(0.47), propose=AHEAD)[0]
    assert part.decision is Decision.LIMIT  # and not held for what is to come


def test_after_a_jump_of_the_clock_the_first_reading_is_believed(seen):
    seen.read(obstacles=EMPTY)
    seen.read(obstacles=EMPTY, propose=AHEAD)
    seen.time_s -= 5.0
    stamp = ns(seen.time_s)
    seen.read(obstacles=post(0.45), periods=1)
    world = seen.make_world(seen.time_s, velocity=seen.velocity, obstacles=post(0.45))
    world.sources["scan"] = stamp
    now_ns = ns(seen.time_s)
    verdict = seen.gate.propose(Proposal("policy", now_ns, AHEAD), world, now_ns, seen.time_s)
    assert verdict.reason is Reason.PREDICTED
