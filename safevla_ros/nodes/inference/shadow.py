"""A candidate policy beside the running one: it is given what the running one is given, what it would
do is compared with what is done, and nothing of it is ever carried out.

It runs in a thread of its own and holds nobody up: observations that it is too slow for are left
out, and counted.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from dataclasses import dataclass, field, replace
from queue import Empty, Full, Queue

from safevla_ros.policy.commands import Step, chunk_steps
from safevla_ros.policy.interface import Instruction, Observation, Policy
from safevla_ros.robot.action_codec import EndOfEpisode
from safevla_ros.robot.profile import Profile

WAITING = 8
"""Observations that may wait for it."""
CLOSING_S = 1.0
"""For so long its end waits for an inference that is under way."""


@dataclass(slots=True)
class Agreement:
    """What an episode, or several, have shown. Sums over the `compared` observations: how often the
    next step was the same, and by how much base velocities differed [m/s, rad/s]."""

    compared: int = 0
    same: int = 0
    speed_m_s: float = 0.0
    turn_rad_s: float = 0.0
    inference_s: float = 0.0
    missed: int = 0
    fault: str = ""

    def figures(self) -> dict[str, str]:
        """For people, and for /diagnostics."""
        count = max(self.compared, 1)
        found = {
            "shadow.compared": str(self.compared),
            "shadow.agreement": f"{self.same / count:.3f}",
            "shadow.velocity_difference_m_s": f"{self.speed_m_s / count:.3f}",
            "shadow.turn_difference_rad_s": f"{self.turn_rad_s / count:.3f}",
            "shadow.inference_ms": f"{1e3 * self.inference_s / count:.2f}",
            "shadow.missed": str(self.missed),
        }
        return found | ({"shadow.fault": self.fault} if self.fault else {})


@dataclass(frozen=True, slots=True)
class _Seen:
    observation: Observation
    done: Step


@dataclass(slots=True)
class Shadow:
    """See the module's docstring. `close` ends its thread."""

    policy: Policy
    profile: Profile
    agreement: Agreement = field(default_factory=Agreement)
    _queue: Queue[Instruction | _Seen | None] = field(default_factory=lambda: Queue(WAITING))
    _thread: threading.Thread | None = None

    def begin(self, instruction: Instruction) -> None:
        """An episode begins. It is not told which objects are meant."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
            self._thread.start()
        self.agreement.fault = ""
        self._put(Instruction(instruction.text, instruction.task, instruction.target_class))

    def see(self, observation: Observation, done: Step) -> None:
        """The running policy answered an observation with this step."""
        self._put(_Seen(replace(observation, privileged=None), done))

    def close(self) -> None:
        """Compare nothing from now on."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with contextlib.suppress(Empty):
                self._queue.get_nowait()  # make room, so that the end gets through
            self._put(None)
            thread.join(CLOSING_S)

    def _put(self, item: Instruction | _Seen | None) -> None:
        try:
            self._queue.put_nowait(item)
        except Full:
            self.agreement.missed += 1

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            self._take_in(item)

    def _take_in(self, item: Instruction | _Seen) -> None:
        try:
            if isinstance(item, Instruction):
                self.policy.reset(item)
            elif not self.agreement.fault:
                self._compare(item)
        except Exception as error:  # a candidate may fail in any way; the episode goes on
            self.agreement.fault = f"{type(error).__name__}: {error}"

    def _compare(self, seen: _Seen) -> None:
        begun_s = time.perf_counter()
        chunk = self.policy.act(seen.observation)
        elapsed_s = time.perf_counter() - begun_s
        step = chunk_steps(chunk, seen.observation.joints, self.profile)[0]
        speed, turn = _difference(step, seen.done)
        found = self.agreement
        found.inference_s += elapsed_s
        found.same += step == seen.done
        found.speed_m_s += speed
        found.turn_rad_s += turn
        found.compared += 1


def _difference(first: Step, second: Step) -> tuple[float, float]:
    """Of the base velocities of two steps [m/s, rad/s]; who ends the episode stands."""
    (x, y, yaw), (other_x, other_y, other_yaw) = _velocity(first), _velocity(second)
    return math.hypot(x - other_x, y - other_y), abs(yaw - other_yaw)


def _velocity(step: Step) -> tuple[float, float, float]:
    if isinstance(step, EndOfEpisode):
        return 0.0, 0.0, 0.0
    return step.velocity.x, step.velocity.y, step.velocity.yaw
