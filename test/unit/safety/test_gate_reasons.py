"""Every reason of the gate is reached, decides as documented, and leaves the robot standing or not.

The gate under test has no kinematics; its mode is enforce unless a test says otherwise.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from safevla_ros.robot.profile import EmergencyStop
from safevla_ros.robot.state import NANOSECONDS, BaseVelocity, Command, Joint
from safevla_ros.safety import Chunk, Decision, Gate, Proposal, Reason, parse_specification
from safevla_ros.safety.accounting import LiveMargin, Status, StepCosts, TermCost

T0 = 10.0
AHEAD = Command(BaseVelocity(x=0.2), duration_s=0.5)


def ns(time_s: float) -> int:
    return round(time_s * NANOSECONDS)


def candidate(command=AHEAD, time_s=T0, source="policy", **fields):
    return Proposal(source, ns(time_s), command, **fields)


@pytest.fixture
def gate(profile, household):
    return Gate(profile, household, "enforce")


@pytest.fixture
def propose(gate, make_world):
    """Propose at a time (the stamp's, unless said otherwise) in a world of that time."""

    def run(proposal, at_s=None, world=None):
        time_s = proposal.stamp_ns / NANOSECONDS if at_s is None else at_s
        return gate.propose(proposal, world or make_world(time_s), ns(time_s), time_s)

    return run


@pytest.fixture
def supervise(gate, make_world):
    def run(time_s, world=None):
        return gate.supervise(world or make_world(time_s), ns(time_s), time_s)

    return run


def outcome(verdict):
    return verdict.decision, verdict.reason


def stands(verdict):
    """Nothing is commanded but to hold joints."""
    velocity = verdict.command.velocity
    return (velocity.x, velocity.y, velocity.yaw) == (0.0, 0.0, 0.0)


# Commands that run.


def test_a_good_candidate_passes_as_proposed(gate, propose):
    verdict = propose(candidate(Command(BaseVelocity(0.2, 0.0, 0.1), {"lift": 0.52}, 0.5)))
    assert outcome(verdict) == (Decision.PASS, Reason.ACCEPTED)
    assert verdict.command.velocity == BaseVelocity(0.2, 0.0, 0.1)
    assert verdict.command.joints == {"lift": 0.52}
    assert verdict.predicted == {"collision": 0.0, "zone_intrusion": 0.0}
    assert gate.active_source == "policy"


def test_a_running_command_keeps_passing_until_it_is_over(propose, supervise):
    propose(candidate())
    verdict = supervise(T0 + 0.49)
    assert outcome(verdict) == (Decision.PASS, Reason.ACCEPTED)
    assert verdict.command.velocity.x == 0.2
    assert not verdict.changed


@pytest.mark.parametrize(
    ("command", "velocity", "joints"),
    [
        pytest.param(
            Command(BaseVelocity(1.0, 0.0, 0.6), {}, 0.5), (0.5, 0.0, 0.3), {}, id="base too fast"
        ),
        pytest.param(
            Command(BaseVelocity(0.3, 0.4, 2.4), {}, 0.5), (0.15, 0.2, 1.2), {}, id="turns too fast"
        ),
        pytest.param(
            # 0.3 m in 0.5 s is twice the lift's 0.3 m/s: everything is halved.
            Command(BaseVelocity(0.4), {"lift": 0.8}, 0.5),
            (0.2, 0.0, 0.0),
            {"lift": 0.65},
            id="lift too fast",
        ),
        pytest.param(
            Command(BaseVelocity(0.4), {"arm": -0.02}, 0.5),
            (0.4, 0.0, 0.0),
            {"arm": 0.0},
            id="target out of range",
        ),
    ],
)
def test_the_robots_limits_scale_all_components_by_one_ratio(propose, command, velocity, joints):
    verdict = propose(candidate(command))
    assert outcome(verdict) == (Decision.LIMIT, Reason.LIMITS)
    applied = verdict.command.velocity
    assert (applied.x, applied.y, applied.yaw) == pytest.approx(velocity)
    assert verdict.command.joints == pytest.approx(joints)


def test_the_gripper_may_close_as_fast_as_it_can(propose):
    verdict = propose(candidate(Command(joints={"gripper": 0.0}, duration_s=0.05)))
    assert outcome(verdict) == (Decision.PASS, Reason.ACCEPTED)
    assert verdict.command.joints == {"gripper": 0.0}


# Nothing runs, and nothing is wrong.


def test_without_any_command_the_robot_stands(supervise):
    verdict = supervise(T0)
    assert outcome(verdict) == (Decision.HALT, Reason.NO_COMMAND)
    assert stands(verdict)
    assert verdict.proposal is None


def test_a_command_holds_until_its_stamp_plus_duration_then_the_robot_stands(propose, supervise):
    propose(candidate(time_s=T0), at_s=T0 + 0.1)
    assert supervise(T0 + 0.499).decision is Decision.PASS
    verdict = supervise(T0 + 0.5)
    assert outcome(verdict) == (Decision.HALT, Reason.EXPIRED)
    assert not verdict.changed  # its own end, not an intervention
    assert stands(supervise(T0 + 0.7))


def test_a_silent_source_cannot_keep_the_robot_moving(propose, supervise):
    propose(candidate(Command(BaseVelocity(x=0.2), duration_s=60.0)))
    assert supervise(T0 + 0.99).decision is Decision.PASS
    verdict = supervise(T0 + 1.0)
    assert outcome(verdict) == (Decision.HALT, Reason.SOURCE_TIMEOUT)
    assert verdict.changed
    assert stands(supervise(T0 + 1.5))


def test_the_end_of_the_episode_halts_its_command(gate, propose, supervise):
    gate.start_episode("one")
    assert propose(candidate(episode_id="one")).decision is Decision.PASS
    gate.end_episode()
    verdict = supervise(T0 + 0.1)
    assert outcome(verdict) == (Decision.HALT, Reason.EPISODE_ENDED)
    assert verdict.changed


def test_the_end_of_the_episode_leaves_other_commands_alone(gate, propose, supervise):
    gate.start_episode("one")
    propose(candidate(source="joystick"))
    gate.end_episode()
    assert supervise(T0 + 0.1).decision is Decision.PASS


# Refused candidates.

REFUSED = [
    pytest.param(candidate(source="nobody"), Reason.UNKNOWN_SOURCE, id="unknown source"),
    pytest.param(
        candidate(Command(BaseVelocity(x=math.nan), duration_s=0.5)),
        Reason.INVALID_COMMAND,
        id="NaN velocity",
    ),
    pytest.param(
        candidate(Command(BaseVelocity(yaw=math.inf), duration_s=0.5)),
        Reason.INVALID_COMMAND,
        id="infinite turn",
    ),
    pytest.param(
        candidate(Command(joints={"lift": math.nan}, duration_s=0.5)),
        Reason.INVALID_COMMAND,
        id="NaN joint",
    ),
    pytest.param(
        candidate(Command(joints={"elbow": 0.1}, duration_s=0.5)),
        Reason.INVALID_COMMAND,
        id="unknown joint",
    ),
    pytest.param(candidate(Command(BaseVelocity(x=0.1))), Reason.INVALID_COMMAND, id="no duration"),
    pytest.param(
        candidate(fault="joint_positions: expected 2 values as in joint_names, got 1"),
        Reason.INVALID_COMMAND,
        id="unreadable message",
    ),
    pytest.param(candidate(time_s=0.0), Reason.ZERO_STAMP, id="zero stamp"),
    pytest.param(candidate(time_s=-3.0), Reason.ZERO_STAMP, id="negative stamp"),
    pytest.param(candidate(time_s=T0 + 0.2), Reason.FUTURE_STAMP, id="future stamp"),
    pytest.param(candidate(time_s=T0 - 0.5), Reason.STALE_COMMAND, id="over before it came"),
    pytest.param(candidate(episode_id="other"), Reason.OTHER_EPISODE, id="another episode"),
]


@pytest.mark.parametrize(("proposal", "reason"), REFUSED)
def test_a_bad_candidate_is_refused_and_moves_nothing(gate, propose, proposal, reason):
    gate.start_episode("one")
    verdict = propose(proposal, at_s=T0)
    assert outcome(verdict) == (Decision.HALT, reason)
    assert verdict.detail
    assert stands(verdict)
    assert gate.active_source == ""


@pytest.mark.parametrize(("proposal", "reason"), REFUSED)
def test_a_bad_candidate_ends_what_its_own_source_had_running(gate, propose, proposal, reason):
    gate.start_episode("one")
    propose(candidate(time_s=T0 - 0.1), at_s=T0 - 0.1)
    propose(proposal, at_s=T0)
    assert gate.active_source == ("policy" if proposal.source == "nobody" else "")


def test_a_bad_candidate_of_another_source_changes_nothing(gate, propose, supervise):
    propose(candidate(source="joystick", time_s=T0 - 0.1))
    verdict = propose(candidate(Command(BaseVelocity(x=math.nan), duration_s=0.5)))
    assert verdict.reason is Reason.INVALID_COMMAND
    assert gate.active_source == "joystick"
    assert verdict.command.velocity.x == 0.2  # what is on the wire


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({"time_s": T0}, {"time_s": T0 - 0.05}, id="older stamp"),
        pytest.param({"time_s": T0, "step": 5}, {"time_s": T0 + 0.1, "step": 4}, id="earlier step"),
    ],
)
def test_candidates_out_of_order_are_refused(gate, propose, first, second):
    gate.start_episode("one")
    propose(candidate(**first, episode_id="one"))
    verdict = propose(candidate(**second, episode_id="one"), at_s=T0 + 0.1)
    assert outcome(verdict) == (Decision.HALT, Reason.OUT_OF_ORDER)


def test_steps_count_from_zero_again_in_the_next_episode(gate, propose):
    gate.start_episode("one")
    propose(candidate(step=9, episode_id="one"))
    gate.start_episode("two")
    verdict = propose(candidate(time_s=T0 + 0.1, step=0, episode_id="two"))
    assert verdict.decision is Decision.PASS


def test_the_joystick_takes_over_and_the_policy_waits_until_it_is_silent(gate, propose):
    propose(candidate(time_s=T0))
    stick = propose(candidate(Command(BaseVelocity(x=-0.1), duration_s=0.5), T0 + 0.1, "joystick"))
    assert outcome(stick) == (Decision.PASS, Reason.ACCEPTED)
    outranked = propose(candidate(time_s=T0 + 0.5))
    assert outcome(outranked) == (Decision.HALT, Reason.OUTRANKED)
    assert outranked.command.velocity.x == -0.1
    assert propose(candidate(time_s=T0 + 0.7)).decision is Decision.PASS


def test_a_refused_source_does_not_count_as_alive(gate, propose):
    propose(candidate(Command(BaseVelocity(x=math.nan), duration_s=0.5), T0, "joystick"))
    assert propose(candidate(time_s=T0 + 0.1)).decision is Decision.PASS


# Chunks, and what the policy sees. (What is truncated, and when: test_chunks.py.)


def planned(gate, observed_s, steps=3):
    gate.start_episode("one")
    assert gate.set_chunk(Chunk("one", 0, 0, ns(observed_s), (AHEAD,) * steps)) == ""


@pytest.mark.parametrize(("age_s", "reason"), [(4.9, Reason.ACCEPTED), (5.1, Reason.STALE_CHUNK)])
@pytest.mark.parametrize("step", [0, 2])
def test_a_step_of_a_chunk_from_too_old_an_observation_is_refused(
    gate, propose, age_s, reason, step
):
    planned(gate, T0 - age_s - 0.5 * step)
    verdict = propose(candidate(episode_id="one", step=step))
    assert verdict.reason is reason


def test_a_chunk_says_nothing_of_other_candidates(gate, propose):
    planned(gate, T0 - 60.0)
    for other in ({"chunk_id": 1}, {"step": 3}):
        assert propose(candidate(episode_id="one", **other)).decision is Decision.PASS
    assert propose(candidate(source="joystick")).decision is Decision.PASS


def test_the_steps_of_a_chunk_after_one_that_violates_are_refused(gate, propose, make_world):
    planned(gate, T0)
    walled = make_world(T0, obstacles=np.array([[0.26, 0.0, 0.2]]))
    assert propose(candidate(episode_id="one"), world=walled).reason is Reason.PREDICTED
    verdict = propose(candidate(time_s=T0 + 0.5, episode_id="one", step=1))
    assert (*outcome(verdict), verdict.term) == (Decision.HALT, Reason.TRUNCATED, "collision")
    assert stands(verdict)
    planned(gate, T0)  # another plan
    assert propose(candidate(time_s=T0 + 0.6, episode_id="one", step=1)).decision is Decision.PASS


@pytest.mark.parametrize("mode", ["enforce", "observe"])
@pytest.mark.parametrize("reason", [Reason.FROZEN_CAMERA, Reason.LOST_CAMERA])
def test_a_policy_that_sees_nothing_moves_nothing(profile, household, make_world, mode, reason):
    gate = Gate(profile, household, mode)
    gate.propose(candidate(), make_world(T0), ns(T0), T0)
    gate.set_cameras((reason, "navigation"))
    verdict = gate.supervise(make_world(T0), ns(T0 + 0.02), T0)
    assert (*outcome(verdict), verdict.detail) == (Decision.HALT, reason, "navigation")
    assert verdict.changed
    verdict = gate.propose(candidate(time_s=T0 + 0.1), make_world(T0), ns(T0 + 0.1), T0)
    assert outcome(verdict) == (Decision.HALT, reason)
    by_hand = candidate(source="joystick", time_s=T0 + 0.1)
    assert gate.propose(by_hand, make_world(T0), ns(T0 + 0.1), T0).decision is Decision.PASS


def test_cameras_that_see_again_move_nothing_and_are_no_reason_any_more(gate, propose, supervise):
    propose(candidate())
    gate.set_cameras((Reason.FROZEN_CAMERA, "navigation"))
    supervise(T0 + 0.1)
    gate.set_cameras(None)
    assert outcome(supervise(T0 + 0.2)) == (Decision.HALT, Reason.NO_COMMAND)
    assert propose(candidate(time_s=T0 + 0.3)).decision is Decision.PASS


def test_a_policy_that_fell_silent_because_it_sees_nothing_says_so(gate, propose, supervise):
    propose(candidate())
    assert supervise(T0 + 0.6).reason is Reason.EXPIRED
    gate.set_cameras((Reason.LOST_CAMERA, "navigation"))
    assert supervise(T0 + 0.7).reason is Reason.LOST_CAMERA


def test_what_was_refused_for_the_cameras_is_not_what_later_steps_must_follow(gate, propose):
    gate.start_episode("one")
    gate.set_cameras((Reason.FROZEN_CAMERA, "navigation"))
    propose(candidate(episode_id="one", step=5))
    gate.set_cameras(None)
    anew = candidate(time_s=T0 + 0.1, episode_id="one", step=4)
    assert propose(anew).decision is Decision.PASS


def test_frozen_cameras_are_no_reason_while_nobody_commands(gate, supervise):
    gate.set_cameras((Reason.FROZEN_CAMERA, "navigation"))
    assert supervise(T0).reason is Reason.NO_COMMAND


# The robot's signals.


@pytest.mark.parametrize(
    ("sources_at", "reason", "word"),
    [
        ({"joint_states": None}, Reason.MISSING_SIGNAL, "joint_states: nothing received"),
        ({"scan": T0 - 0.6}, Reason.STALE_SIGNAL, "scan: 0.60 s old"),
        ({"odometry": T0 + 1.0}, Reason.FUTURE_SIGNAL, "odometry: its stamp is 1.00 s ahead"),
    ],
)
def test_required_signals_must_be_there_and_fresh(
    make_world, propose, gate, sources_at, reason, word
):
    world = make_world(T0)
    stamps = {name: None if at is None else ns(at) for name, at in sources_at.items()}
    sources = {name: at for name, at in {**world.sources, **stamps}.items() if at is not None}
    verdict = propose(candidate(), world=make_world(T0, sources=sources))
    assert outcome(verdict) == (Decision.HALT, reason)
    assert word in verdict.detail
    assert gate.active_source == ""


def test_a_required_signal_that_came_but_cannot_be_used_is_missing(make_world, propose):
    world = make_world(T0, base=None, missing={"base": "odometry: frame 'world'"})
    verdict = propose(candidate(), world=world)
    assert outcome(verdict) == (Decision.HALT, Reason.MISSING_SIGNAL)
    assert verdict.detail == "odometry: frame 'world'"


def test_before_any_world_state_nothing_moves(gate):
    verdict = gate.propose(candidate(), None, ns(T0), T0)
    assert outcome(verdict) == (Decision.HALT, Reason.MISSING_SIGNAL)
    assert stands(verdict)


def test_a_signal_that_dies_halts_and_its_return_moves_nothing(make_world, propose, supervise):
    propose(candidate(Command(BaseVelocity(x=0.2), duration_s=1.0)))
    dead = make_world(T0 - 0.25)
    verdict = supervise(T0 + 0.3, dead)
    assert outcome(verdict) == (Decision.HALT, Reason.STALE_SIGNAL)
    assert verdict.changed
    back = supervise(T0 + 0.6)
    assert outcome(back) == (Decision.HALT, Reason.NO_COMMAND)
    assert stands(back)


def test_a_signal_that_is_not_required_may_be_missing(make_world, propose):
    world = make_world(T0, objects=None, contacts=None)
    assert propose(candidate(), world=world).decision is Decision.PASS


def test_a_blind_term_that_refuses_halts_and_names_itself(profile, household, make_world):
    zone = {"name": "stairs", "polygon": [[5, 5], [6, 5], [6, 6]], "frame": "map"}
    gate = Gate(profile, household.with_zones([zone]), "enforce")
    verdict = gate.propose(candidate(), make_world(T0, links=None), ns(T0), T0)
    assert (*outcome(verdict), verdict.term) == (
        Decision.HALT,
        Reason.BLIND_TERM,
        "zone_intrusion",
    )
    elsewhere = household.with_zones([{**zone, "frame": "kitchen"}])
    gate = Gate(profile, elsewhere, "enforce")
    verdict = gate.propose(candidate(), make_world(T0), ns(T0), T0)
    assert verdict.reason is Reason.BLIND_TERM
    assert "stairs" in verdict.detail


def test_time_that_goes_back_halts_and_forgets_what_was_sent(gate, propose, supervise):
    propose(candidate())
    verdict = supervise(T0 - 5.0)
    assert outcome(verdict) == (Decision.HALT, Reason.CLOCK_JUMP)
    assert stands(verdict)
    assert propose(candidate(time_s=T0 - 4.9)).decision is Decision.PASS


@pytest.mark.parametrize(
    ("ahead_s", "reason"), [(2.5, Reason.CLOCK_JUMP), (1.5, Reason.SOURCE_TIMEOUT)]
)
def test_time_that_leaps_ahead_of_the_steady_clock_halts(
    gate, propose, make_world, ahead_s, reason
):
    """A simulation may run ahead, but not by so much between two judgements."""
    propose(candidate(Command(BaseVelocity(x=0.2), duration_s=60.0)))
    verdict = gate.supervise(make_world(T0 + ahead_s), ns(T0 + ahead_s), T0 + 0.02)
    assert outcome(verdict) == (Decision.HALT, reason)
    assert stands(gate.supervise(make_world(T0 + 3.0), ns(T0 + 3.0), T0 + 0.5))


# Stops.


def live(name, margin):
    return LiveMargin(name, not math.isnan(margin), margin, 0.0, 1.0, "arm touches table_1")


def charged(name):
    term = TermCost(name, Status.OK, 1.0, -0.5, 1.0, 1.0, "arm touches table_1")
    return StepCosts("one", 3, ns(T0), "map", (term,), ())


def test_a_violation_with_response_stop_stops_at_once_and_the_next_candidate_moves(
    gate, propose, supervise
):
    propose(candidate())
    gate.set_margins([live("collision", -0.5)])
    verdict = supervise(T0 + 0.1)
    assert (*outcome(verdict), verdict.term) == (Decision.STOP, Reason.CHARGED, "collision")
    assert verdict.changed
    assert stands(verdict)
    gate.set_margins([live("collision", -0.5)])  # still touching, answered already
    gate.set_charged(charged("collision"))
    assert propose(candidate(time_s=T0 + 0.2)).decision is Decision.PASS
    gate.set_margins([live("collision", -0.5)])
    gate.set_charged(charged("collision"))
    assert supervise(T0 + 0.3).decision is Decision.PASS
    supervise(T0 + 0.9)
    gate.set_margins([live("collision", -0.5)])  # flickers
    assert propose(candidate(time_s=T0 + 1.8)).decision is Decision.PASS
    supervise(T0 + 2.0)
    gate.set_margins([live("collision", -0.5)])  # touches again, after a second without
    assert supervise(T0 + 2.1).decision is Decision.STOP


def test_after_a_jump_of_the_clock_a_violation_is_answered_anew(gate, propose, supervise):
    propose(candidate())
    gate.set_margins([live("collision", -0.5)])
    assert supervise(T0 + 0.1).decision is Decision.STOP
    supervise(T0 - 5.0)
    propose(candidate(time_s=T0 - 4.9))
    gate.set_margins([live("collision", -0.5)])
    assert supervise(T0 - 4.8).decision is Decision.STOP


def test_a_charged_step_that_was_not_seen_live_is_answered_too(gate, propose, supervise):
    propose(candidate())
    gate.set_charged(charged("drop"))
    verdict = supervise(T0 + 0.1)
    assert (*outcome(verdict), verdict.term) == (Decision.STOP, Reason.CHARGED, "drop")


def test_response_latch_stops_until_a_reset(profile, household, make_world):
    text = household.text.replace("response: stop", "response: latch")
    gate = Gate(profile, parse_specification(text, "test"), "enforce")
    gate.set_charged(charged("collision"))
    for time_s in (T0, T0 + 0.5):
        verdict = gate.propose(candidate(time_s=time_s), make_world(time_s), ns(time_s), time_s)
        assert (*outcome(verdict), verdict.term) == (
            Decision.LATCHED,
            Reason.CHARGED,
            "collision",
        )
        assert stands(verdict)
    assert gate.reset("ada")[0]
    verdict = gate.supervise(make_world(T0 + 0.6), ns(T0 + 0.6), T0)
    assert outcome(verdict) == (Decision.HALT, Reason.NO_COMMAND)


@pytest.mark.parametrize("response", ["log", "limit"])
def test_other_responses_only_charge(profile, household, make_world, response):
    text = household.text.replace("response: stop", f"response: {response}")
    gate = Gate(profile, parse_specification(text, "test"), "enforce")
    gate.propose(candidate(), make_world(T0), ns(T0), T0)
    gate.set_charged(charged("collision"))
    gate.set_margins([live("collision", -0.5)])
    assert gate.supervise(make_world(T0), ns(T0), T0).decision is Decision.PASS


def test_the_estop_latches_and_its_release_moves_nothing(gate, propose, supervise):
    propose(candidate())
    gate.set_estop(True, T0)
    verdict = supervise(T0 + 0.1)
    assert outcome(verdict) == (Decision.LATCHED, Reason.ESTOP)
    assert stands(verdict)
    assert gate.reset("ada") == (False, "the e-stop is still active")
    gate.set_estop(False, T0 + 0.2)
    assert propose(candidate(time_s=T0 + 0.3)).decision is Decision.LATCHED
    assert gate.reset("ada")[0]
    assert stands(supervise(T0 + 0.4))
    assert propose(candidate(time_s=T0 + 0.5)).decision is Decision.PASS


@pytest.fixture
def gate_with_estop(profile, household):
    required = EmergencyStop(topic="estop", required=True, timeout_s=1.0)
    return Gate(profile.model_copy(update={"estop": required}), household, "enforce")


def test_a_required_estop_must_have_been_heard(gate_with_estop, make_world):
    verdict = gate_with_estop.propose(candidate(), make_world(T0), ns(T0), 100.0)
    assert outcome(verdict) == (Decision.STOP, Reason.ESTOP_SILENT)
    gate_with_estop.set_estop(False, 100.0)
    verdict = gate_with_estop.propose(candidate(), make_world(T0), ns(T0), 100.9)
    assert verdict.decision is Decision.PASS


def test_a_required_estop_that_falls_silent_latches(gate_with_estop, make_world):
    gate_with_estop.set_estop(False, 100.0)
    gate_with_estop.propose(candidate(), make_world(T0), ns(T0), 100.5)
    verdict = gate_with_estop.supervise(make_world(T0 + 0.1), ns(T0 + 0.1), 101.1)
    assert outcome(verdict) == (Decision.LATCHED, Reason.ESTOP_SILENT)
    gate_with_estop.set_estop(False, 101.2)
    verdict = gate_with_estop.supervise(make_world(T0 + 0.2), ns(T0 + 0.2), 101.3)
    assert verdict.decision is Decision.LATCHED


@pytest.mark.parametrize(
    "reason", [Reason.WATCHDOG_LOST, Reason.STALLED, Reason.INTRUDER, Reason.INTERNAL]
)
def test_what_the_node_finds_latches_with_its_own_reason(gate, propose, supervise, reason):
    propose(candidate())
    gate.latch(reason, "because")
    gate.latch(Reason.STALLED, "a later one does not hide the first")
    verdict = supervise(T0 + 0.1)
    assert (*outcome(verdict), verdict.detail) == (Decision.LATCHED, reason, "because")
    assert verdict.changed
    assert gate.latched


def test_a_reset_needs_a_name_and_is_harmless_when_nothing_is_latched(gate):
    assert gate.reset("  ") == (False, "a reset needs the name of who does it")
    assert gate.reset("ada") == (True, "no stop was latched")


def test_predicted_violation_has_its_own_reason(propose, make_world):
    wall = np.array([[0.4, y, 0.2] for y in np.linspace(-1, 1, 81)])
    verdict = propose(
        candidate(Command(BaseVelocity(x=0.5), {}, 0.5)), world=make_world(T0, obstacles=wall)
    )
    assert verdict.reason is Reason.PREDICTED
    assert verdict.term == "collision"
    assert verdict.predicted["collision"] == 1.0


@pytest.mark.parametrize("exhausted", ["log", "stop", "latch"])
def test_an_overdrawn_budget_is_answered_as_the_specification_says(
    profile, household, make_world, exhausted
):
    """With `stop` the episode moves nothing any more: Reason.BUDGET_EXHAUSTED. A person still does,
    and the next episode."""
    text = household.text.replace("    budget: 2\n", f"    budget: 2\n    exhausted: {exhausted}\n")
    text = text.replace("response: stop", "response: log")
    gate = Gate(profile, parse_specification(text, "test"), "enforce")

    def propose(time_s, episode, source="policy"):
        proposal = candidate(time_s=time_s, episode_id=episode, source=source)
        return gate.propose(proposal, make_world(time_s), ns(time_s), time_s)

    def charge(cumulative):
        term = TermCost("collision", Status.OK, 1.0, -0.5, cumulative, 2.0 - cumulative, "arm")
        gate.set_charged(StepCosts("e1", 0, ns(T0), "map", (term,), ()))

    gate.start_episode("e1")
    charge(2.0)
    assert propose(T0, "e1").decision is Decision.PASS
    charge(3.0)
    verdict = gate.supervise(make_world(T0 + 0.1), ns(T0 + 0.1), T0 + 0.1)
    expected = {
        "log": (Decision.PASS, Reason.ACCEPTED),
        "stop": (Decision.STOP, Reason.BUDGET_EXHAUSTED),
        "latch": (Decision.LATCHED, Reason.BUDGET_EXHAUSTED),
    }[exhausted]
    assert outcome(verdict) == expected
    if exhausted != "log":
        assert "1 over the budget" in verdict.detail
        assert stands(propose(T0 + 0.2, "e1"))
    if exhausted == "stop":
        assert propose(T0 + 0.3, "", "joystick").decision is Decision.PASS
        gate.start_episode("e2")
        assert propose(T0 + 1.2, "e2").decision is Decision.PASS


def test_all_reasons_have_a_test_in_this_file():
    text = Path(__file__).read_text(encoding="utf-8")
    missing = [reason.name for reason in Reason if f"Reason.{reason.name}" not in text]
    assert not missing


# Holding joints.


def test_to_halt_is_to_hold_the_measured_position(propose, supervise, make_world):
    propose(candidate(Command(joints={"lift": 0.6, "gripper": 0.0}, duration_s=0.5)))
    moving = {"lift": Joint(0.55), "arm": Joint(0.1), "gripper": Joint(0.03)}
    verdict = supervise(T0 + 0.5, make_world(T0 + 0.5, joints=moving))
    assert verdict.command.joints == {"lift": 0.55}  # not the arm: it was never commanded
    drifted = {**moving, "lift": Joint(0.53)}
    verdict = supervise(T0 + 0.6, make_world(T0 + 0.6, joints=drifted))
    assert verdict.command.joints == {"lift": 0.55}  # it is held there, not followed


def test_a_joint_that_has_arrived_keeps_its_target(propose, supervise, make_world):
    propose(candidate(Command(joints={"lift": 0.52}, duration_s=0.5)))
    sagging = make_world(T0 + 0.5, joints={"lift": Joint(0.515)})
    assert supervise(T0 + 0.5, sagging).command.joints == {}


def test_a_stop_holds_even_a_joint_that_has_almost_arrived(gate, propose, supervise, make_world):
    propose(candidate(Command(joints={"lift": 0.52}, duration_s=0.5)))
    gate.latch(Reason.INTRUDER, "because")
    pressing = make_world(T0 + 0.1, joints={"lift": Joint(0.515)})
    assert supervise(T0 + 0.1, pressing).command.joints == {"lift": 0.515}


def lift_at(make_world, time_s, position):
    return make_world(time_s, joints={"lift": Joint(position)})


def test_a_reset_holds_a_joint_where_a_hand_left_it(gate, propose, supervise, make_world):
    propose(candidate(Command(joints={"lift": 0.4}, duration_s=0.5)))
    gate.set_estop(True, T0)
    assert supervise(T0 + 0.1, lift_at(make_world, T0 + 0.1, 0.4)).command.joints == {"lift": 0.4}
    silent = make_world(T0 + 0.2, joints=None)  # the drives are off
    assert supervise(T0 + 0.2, silent).command.joints == {"lift": 0.4}
    gate.set_estop(False, T0 + 0.3)
    assert gate.reset("ada")[0]
    verdict = supervise(T0 + 0.4, lift_at(make_world, T0 + 0.4, 0.9))
    assert outcome(verdict) == (Decision.HALT, Reason.NO_COMMAND)
    assert verdict.command.joints == {"lift": 0.9}


def test_after_a_reset_nothing_is_held_by_a_reading_from_before_it(
    gate, propose, supervise, make_world
):
    propose(candidate(Command(joints={"lift": 0.4}, duration_s=0.5)))
    gate.latch(Reason.INTRUDER, "because")
    supervise(T0 + 0.1, lift_at(make_world, T0 + 0.1, 0.4))
    gate.reset("ada")
    assert supervise(T0 + 0.2, make_world(T0 + 0.2, joints=None)).command.joints == {}


def test_a_joint_that_is_moved_by_hand_is_held_where_it_is_left(
    gate, propose, supervise, make_world
):
    propose(candidate(Command(joints={"lift": 0.4}, duration_s=0.5)))
    gate.set_estop(True, T0)
    positions = [0.40, 0.44, 0.60, 0.58, 0.90]
    held = [
        supervise(T0 + 0.1 * i, lift_at(make_world, T0 + 0.1 * i, at)).command.joints["lift"]
        for i, at in enumerate(positions, start=1)
    ]
    assert held == [0.40, 0.40, 0.60, 0.60, 0.90]


def test_dropped_commands_move_nothing_and_the_next_candidate_moves_again(gate, propose, supervise):
    propose(candidate(source="joystick"))
    gate.drop_commands()
    assert gate.active_source == ""
    verdict = supervise(T0 + 0.6)
    assert outcome(verdict) == (Decision.HALT, Reason.NO_COMMAND)
    assert stands(verdict)
    assert propose(candidate(time_s=T0 + 0.7, source="joystick")).decision is Decision.PASS


def test_a_halt_brakes_at_the_profiles_rate_and_a_stop_at_once(
    gate, propose, supervise, make_world
):
    def driving(time_s):
        return make_world(time_s, velocity=BaseVelocity(x=0.45))

    propose(candidate(Command(BaseVelocity(x=0.45), duration_s=0.5)))
    supervise(T0 + 0.48, driving(T0 + 0.48))
    times = [T0 + 0.48 + 0.02 * i for i in range(1, 20)]
    speeds = [supervise(at, driving(at)).command.velocity.x for at in times]
    steps = -np.diff([0.45, *speeds])
    assert steps.max() <= 1.5 * 0.02 + 1e-9
    assert speeds[-1] == 0.0
    propose(candidate(Command(BaseVelocity(x=0.45), duration_s=0.5), T0 + 2.0))
    gate.latch(Reason.INTRUDER, "because")
    assert stands(supervise(T0 + 2.1))


def test_a_halt_right_after_a_start_does_not_speed_up_first(propose, supervise, make_world):
    propose(candidate(Command(BaseVelocity(x=0.4), duration_s=0.5)))
    for at in (T0 + 0.49, T0 + 0.51):
        verdict = supervise(at, make_world(at, velocity=BaseVelocity(x=0.1)))
    assert verdict.decision is Decision.HALT
    assert 0.0 < verdict.command.velocity.x <= 0.1
