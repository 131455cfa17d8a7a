"""What acts in which mode: enforce everything, observe the robot's own faults, shadow nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from safevla_ros.robot.state import NANOSECONDS, BaseVelocity, Command
from safevla_ros.safety import Decision, Gate, Proposal, Reason
from safevla_ros.safety.accounting import LiveMargin

NOW = 10 * NANOSECONDS
AHEAD = Command(BaseVelocity(x=0.4), duration_s=0.5)
WALL = np.array([[0.40, y, 0.2] for y in np.linspace(-1.0, 1.0, 81)])


@pytest.fixture
def judge(profile, household, make_world):
    """Verdict of a fresh gate on one candidate: (mode, command, what to do to the gate first)."""

    def run(mode, command=AHEAD, prepare=lambda gate: None, **world):
        gate = Gate(profile, household, mode)
        prepare(gate)
        return gate.propose(Proposal("policy", NOW, command), make_world(10.0, **world), NOW, 1.0)

    return run


def test_enforce_acts_on_what_is_predicted_and_observe_only_tells(judge):
    held_back = judge("enforce", obstacles=WALL)
    assert held_back.decision in (Decision.LIMIT, Decision.HALT)
    told = judge("observe", obstacles=WALL)
    assert (told.decision, told.reason) == (Decision.PASS, Reason.ACCEPTED)
    assert told.command.velocity == AHEAD.velocity
    assert told.predicted == held_back.predicted == {"collision": 1.0, "zone_intrusion": 0.0}


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_limits_act_in_every_mode_that_forwards(judge, mode):
    verdict = judge(mode, Command(BaseVelocity(x=5.0), duration_s=0.5))
    assert (verdict.decision, verdict.reason) == (Decision.LIMIT, Reason.LIMITS)
    assert verdict.command.velocity.x == pytest.approx(0.5)


@pytest.mark.parametrize("mode", ["enforce", "observe"])
@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ({"command": Command(BaseVelocity(x=math.nan), duration_s=0.5)}, Reason.INVALID_COMMAND),
        ({"sources": {}}, Reason.MISSING_SIGNAL),
        ({"prepare": lambda gate: gate.set_estop(True, 1.0)}, Reason.ESTOP),
        ({"prepare": lambda gate: gate.latch(Reason.WATCHDOG_LOST, "")}, Reason.WATCHDOG_LOST),
    ],
)
def test_validity_staleness_estop_and_watchdog_act_in_every_mode_that_forwards(
    judge, mode, case, reason
):
    verdict = judge(mode, **case)
    assert verdict.reason is reason
    assert verdict.command.velocity == BaseVelocity()


def test_blind_terms_and_responses_do_not_act_in_observe(profile, household, make_world):
    zone = {"name": "stairs", "polygon": [[5, 5], [6, 5], [6, 6]]}
    gate = Gate(profile, household.with_zones([zone]), "observe")
    gate.set_margins([LiveMargin("collision", True, -0.5, 0.0, 1.0, "arm touches table_1")])
    verdict = gate.propose(Proposal("policy", NOW, AHEAD), make_world(10.0, links=None), NOW, 1.0)
    assert verdict.decision is Decision.PASS


@pytest.mark.parametrize(
    ("case", "would"),
    [
        ({}, "would be PASS"),
        ({"obstacles": WALL}, "would be"),
        ({"command": Command(BaseVelocity(x=5.0), duration_s=0.5)}, "would be LIMIT: limited"),
        ({"prepare": lambda gate: gate.set_estop(True, 1.0)}, "would be LATCHED: the e-stop"),
    ],
)
def test_shadow_sends_nothing_and_says_what_enforce_would_do(judge, case, would):
    verdict = judge("shadow", **case)
    assert verdict.decision is Decision.SHADOW
    assert verdict.command is None
    assert verdict.detail.startswith(would)
    assert verdict.reason is judge("enforce", **case).reason
