"""Whatever is proposed, in whatever world: the gate answers, and stays within the robot's limits."""

from __future__ import annotations

import numpy as np
from command_limits import assert_within
from hypothesis import given, settings
from hypothesis import strategies as st

from safevla_ros.robot.geometry import planar
from safevla_ros.robot.profile import load_profile
from safevla_ros.robot.state import NANOSECONDS, BaseVelocity, Capsule, Command, Joint
from safevla_ros.safety import Decision, Gate, Proposal, WorldState, load_specification

PROFILE = load_profile("sim")
ZONE = {"name": "stairs", "polygon": [[0.5, -1.0], [3.0, -1.0], [3.0, 1.0], [0.5, 1.0]]}
SPECIFICATION = load_specification("household").with_zones([ZONE])
NOW_NS = 10 * NANOSECONDS

anything = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(-2.0, 2.0),
    st.integers(-(10**400), 10**400),
    st.just(None),
    st.just("fast"),
)
names = st.one_of(st.sampled_from(sorted(PROFILE.limits.joints)), st.text(max_size=8))
commands = st.builds(
    Command,
    st.builds(BaseVelocity, anything, anything, anything),
    st.dictionaries(names, anything, max_size=4),
    anything,
)
plausible = st.builds(
    Command,
    st.builds(BaseVelocity, *[st.floats(-3.0, 3.0)] * 3),
    st.dictionaries(st.sampled_from(sorted(PROFILE.limits.joints)), st.floats(-5.0, 5.0)),
    st.floats(0.01, 5.0),
)
sources = st.sampled_from(["policy", "joystick", "", "nobody"])
stamps = st.one_of(st.integers(-(10**19), 10**19), st.integers(NOW_NS - 10**9, NOW_NS + 10**9))
proposals = st.builds(
    Proposal, sources, stamps, st.one_of(commands, plausible), st.sampled_from(["", "one", "two"])
)
coordinates = st.floats(-1e6, 1e6)
worlds = st.one_of(
    st.none(),
    st.builds(
        WorldState,
        stamp_ns=st.just(NOW_NS),
        frame=st.sampled_from(["map", "odom"]),
        base=st.one_of(st.none(), st.builds(planar, coordinates, coordinates, coordinates)),
        velocity=st.one_of(st.none(), st.builds(BaseVelocity, *[st.floats(-10.0, 10.0)] * 3)),
        joints=st.one_of(
            st.none(),
            st.dictionaries(names, st.builds(Joint, st.floats(-10.0, 10.0)), max_size=6),
        ),
        links=st.one_of(
            st.none(), st.just(()), st.just((Capsule("mast", (0, 0, 0), (0, 0, 1), 0.1),))
        ),
        objects=st.just({}),
        contacts=st.just(()),
        obstacles=st.one_of(
            st.none(),
            st.lists(st.tuples(*[st.floats(-3.0, 3.0)] * 3), max_size=5).map(
                lambda points: np.array(points).reshape(-1, 3)
            ),
        ),
        sources=st.just(dict.fromkeys(PROFILE.signals.present(), NOW_NS)),
    ),
)


@settings(max_examples=300, deadline=None)
@given(
    mode=st.sampled_from(["enforce", "observe"]),
    turns=st.lists(st.tuples(proposals, worlds, st.integers(0, 200)), min_size=1, max_size=4),
)
def test_no_proposal_makes_the_gate_fail_or_exceed_the_limits(mode, turns):
    gate = Gate(PROFILE, SPECIFICATION, mode)
    gate.start_episode("one")
    now_ns = NOW_NS
    for proposal, world, wait_ms in turns:
        verdict = gate.propose(proposal, world, now_ns, now_ns / NANOSECONDS)
        assert_within(PROFILE.limits, verdict.command)
        assert verdict.detail
        now_ns += wait_ms * 1_000_000
        assert_within(PROFILE.limits, gate.supervise(world, now_ns, now_ns / NANOSECONDS).command)


@settings(max_examples=100, deadline=None)
@given(proposal=proposals, world=worlds)
def test_the_same_calls_give_the_same_verdicts(proposal, world):
    def run():
        gate = Gate(PROFILE, SPECIFICATION, "enforce")
        gate.start_episode("one")
        return [
            (verdict.decision, verdict.reason, repr(verdict.command), verdict.predicted)
            for verdict in (
                gate.propose(proposal, world, NOW_NS, 1.0),
                gate.supervise(world, NOW_NS + 20_000_000, 1.02),
            )
        ]

    assert run() == run()


@settings(max_examples=100, deadline=None)
@given(proposal=proposals, world=worlds)
def test_a_latched_gate_never_moves_the_base(proposal, world):
    gate = Gate(PROFILE, SPECIFICATION, "enforce")
    gate.start_episode("one")
    gate.set_estop(True, 1.0)
    verdict = gate.propose(proposal, world, NOW_NS, 1.0)
    assert verdict.decision is Decision.LATCHED
    assert verdict.command.velocity == BaseVelocity()
