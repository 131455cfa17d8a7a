"""A policy in shadow is compared with what is done, holds nobody up, and may fail in any way."""

from __future__ import annotations

import threading
import time

import pytest

from safevla_ros.nodes.inference.shadow import WAITING, Shadow
from safevla_ros.policy.baselines import DoNothingPolicy
from safevla_ros.policy.interface import ActionChunk, Instruction, Observation, PrivilegedState
from safevla_ros.robot.action_codec import TOKENS, decode
from safevla_ros.robot.geometry import planar
from safevla_ros.robot.profile import load_profile
from safevla_ros.robot.state import BaseVelocity, Odometry, SceneObjects

PROFILE = load_profile("sim")
TRUTH = PrivilegedState(planar(0.0, 0.0), SceneObjects("map", ()))
SEEN = Observation(
    1, {}, {}, Odometry("odom", planar(0.0, 0.0), BaseVelocity()), False, privileged=TRUTH
)
STAND, AHEAD = (decode(TOKENS[name], {}, PROFILE) for name in ("sub_goal_done", "move_ahead"))


class Candidate(DoNothingPolicy):
    """Stands, notes what it is given, and waits or fails where it is told to."""

    def __init__(self, fails: str = "", waits: threading.Event | None = None) -> None:
        super().__init__()
        self.given: list[object] = []
        self._fails, self._waits = fails, waits

    def reset(self, instruction: Instruction) -> None:
        self.given.append(instruction)

    def act(self, observation: Observation) -> ActionChunk:
        if self._waits is not None:
            self._waits.wait(30.0)
        if self._fails:
            raise ValueError(self._fails)
        self.given.append(observation)
        return super().act(observation)


def wait_for(condition) -> None:
    end = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_what_it_would_do_is_compared_with_what_is_done():
    candidate = Candidate()
    shadow = Shadow(candidate, PROFILE)
    shadow.begin(Instruction("find the mug", "find", "mug", ("mug-1",)))
    for step in (STAND, AHEAD, AHEAD, STAND):
        shadow.see(SEEN, step)
    wait_for(lambda: shadow.agreement.compared == 4)
    figures = shadow.agreement.figures()
    assert float(figures["shadow.agreement"]) == 0.5
    assert float(figures["shadow.velocity_difference_m_s"]) == pytest.approx(0.5 * 0.4)
    assert "shadow.fault" not in figures
    shadow.close()
    instruction, *observations = candidate.given
    assert instruction.target_ids == ()  # nothing of the truth is told
    assert all(observation.privileged is None for observation in observations)


def test_a_slow_one_holds_nobody_up_and_what_it_missed_is_counted():
    go_on = threading.Event()
    shadow = Shadow(Candidate(waits=go_on), PROFILE)
    shadow.begin(Instruction("find the mug"))
    for _ in range(WAITING + 10):
        shadow.see(SEEN, STAND)  # returns at once
    assert shadow.agreement.missed >= 9
    go_on.set()
    wait_for(lambda: shadow.agreement.compared + shadow.agreement.missed >= WAITING + 10)
    shadow.close()


def test_one_that_fails_says_so_and_is_asked_again_in_the_next_episode():
    shadow = Shadow(Candidate(fails="no such input"), PROFILE)
    shadow.begin(Instruction("find the mug"))
    shadow.see(SEEN, STAND)
    wait_for(lambda: shadow.agreement.fault)
    assert shadow.agreement.figures()["shadow.fault"] == "ValueError: no such input"
    shadow.begin(Instruction("find the bowl"))
    assert not shadow.agreement.fault
    shadow.close()
