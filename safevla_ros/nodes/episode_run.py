"""One episode: the loop from observations to candidates, in a thread of its own.

    wait for an observation from after the last step -> infer -> publish the chunk -> send each of
    its steps when it is due -> ...

It ends when the policy says `end`, at the goal's limit of steps or time, on a verdict, on cancel,
when the monitor latches a stop, when the cameras stay silent, or when the policy fails. How is said
by one exception, EpisodeOver.

Steps are timed in ROS time and never overlap: a step is due when the one before has run its
`step_s`, or as soon as it is known, if that is later. Between steps the robot stands for as long as
observing and inferring take; that is what a policy of discrete actions is trained on.

Silence is measured on the steady clock: a clock that has stopped must not look like patience.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safevla_ros.msg import ActionChunk, CandidateCommand, Episode, LatencyTrace
from safevla_ros.nodes.inbox import Inbox
from safevla_ros.nodes.lifecycle import wall_now
from safevla_ros.policy import interface
from safevla_ros.policy.commands import Step, chunk_steps, command_table
from safevla_ros.policy.interface import Instruction, Policy, PolicyError
from safevla_ros.robot.action_codec import EndOfEpisode
from safevla_ros.robot.messages import (
    MessageError,
    fill_candidate,
    joints_from,
    odometry_from,
    set_stamp,
    stamp_ns,
)
from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import NANOSECONDS, Command

VERDICT_TIMEOUT_S = 2.0


class EpisodeOver(Exception):
    """Why an episode ends. `outcome` is a name of the Episode message's constants; UNKNOWN asks for
    a verdict, where somebody gives one."""

    def __init__(
        self, outcome: str, reason: str, *, end_declared: bool = False, cancelled: bool = False
    ) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason
        self.end_declared = end_declared
        self.cancelled = cancelled


@dataclass(frozen=True, slots=True)
class Limits:
    """When an episode ends by itself; 0: never. `silence_s`: time without an observation."""

    steps: int
    time_s: float
    silence_s: float


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where an episode's messages go; `progress` also hears of every step that was sent."""

    episode: Callable[[Episode], None]
    chunk: Callable[[ActionChunk], None]
    candidate: Callable[[CandidateCommand], None]
    progress: Callable[[int, str, LatencyTrace], None]


class EpisodeRun:
    """See the module's docstring. `source`: name of the command source in the profile."""

    def __init__(
        self,
        episode_id: str,
        instruction: Instruction,
        policy: Policy,
        profile: Profile,
        inbox: Inbox,
        limits: Limits,
        outputs: Outputs,
        source: str,
    ) -> None:
        self.episode_id = episode_id
        self.steps = 0
        self._instruction = instruction
        self.policy = policy
        self._profile = profile
        self._inbox = inbox
        self._limits = limits
        self._outputs = outputs
        self._source = source
        self._started_ns = 0
        self._due_ns = 0
        self._chunk_id = 0

    @property
    def duration_s(self) -> float:
        """ROS time since the episode began; 0 before it did."""
        if self._started_ns == 0:
            return 0.0
        return (self._inbox.now_ns() - self._started_ns) / NANOSECONDS

    def run(self) -> EpisodeOver:
        """Run to the end, publish it, and return how it ended."""
        try:
            self._started_ns = self._due_ns = self._first_time()
            self._publish_episode(Episode.RUNNING)
            self._loop()
        except EpisodeOver as end:
            over = end
        except PolicyError as error:
            over = EpisodeOver("ABORTED", str(error))
        except Exception as error:  # a policy may raise anything; the episode must still end
            over = EpisodeOver("ABORTED", f"the policy failed: {type(error).__name__}: {error}")
        try:
            self._stand()
            over = self._judged(over)
        finally:
            if self._started_ns:  # else nobody has heard of it
                self._publish_episode(Episode.ENDED, over)
        return over

    def _loop(self) -> None:
        self.policy.reset(self._instruction)
        while True:
            message = self._next_observation()
            observation = self._observation(message)
            trace = message.trace
            trace.inference_start = wall_now()
            chunk = self.policy.act(observation)
            trace.inference_end = wall_now()
            steps = chunk_steps(chunk, observation.joints, self._profile)
            self._publish_chunk(chunk, steps, observation, trace)
            for step in steps:
                self._wait_until_due()
                if isinstance(step, EndOfEpisode):
                    raise EpisodeOver("UNKNOWN", "the policy declared the end", end_declared=True)
                self._send(step, trace)
                self._outputs.progress(self.steps, chunk.phase, trace)
                self.steps += 1
                self._due_ns = self._inbox.now_ns() + round(self._profile.step_s * NANOSECONDS)
                if self.steps == self._limits.steps:
                    self._wait_until_due()
                    raise EpisodeOver("UNKNOWN", f"limit of {self.steps} steps")
            self._chunk_id += 1

    # Waiting.

    def _check(self) -> None:
        """Raise EpisodeOver if something ends the episode now."""
        inbox = self._inbox
        if inbox.cancelled:
            raise EpisodeOver("ABORTED", "cancelled", cancelled=True)
        if inbox.stopping:
            raise EpisodeOver("ABORTED", "the inference node stops")
        if inbox.latched:
            raise EpisodeOver("ABORTED", f"a stop is latched: {inbox.latched}")
        verdict = self._verdict()
        if verdict is not None and verdict.outcome != "UNKNOWN":
            raise verdict
        if 0.0 < self._limits.time_s <= self.duration_s:
            raise EpisodeOver("UNKNOWN", f"time limit of {self._limits.time_s:g} s")

    def _first_time(self) -> int:
        """ROS time [ns], once there is one: simulated time is 0 until the first /clock is heard,
        and an episode that began then would have run for as long as the simulation."""
        since_s = time.monotonic()

        def ready() -> int | None:
            self._check()
            if time.monotonic() - since_s > self._limits.silence_s:
                raise EpisodeOver("ABORTED", f"no time on /clock for {self._limits.silence_s:g} s")
            return self._inbox.now_ns() or None

        started = self._inbox.wait(ready)
        assert started is not None  # without a limit in ROS time, wait returns what ready returns
        return started

    def _wait_until_due(self) -> None:
        self._inbox.wait(self._check, self._due_ns)
        self._check()

    def _next_observation(self) -> Any:
        """The first usable observation from after the last step."""
        since_s = time.monotonic()

        def ready() -> Any:
            self._check()
            inbox = self._inbox
            message = inbox.observation
            fresh = message is not None and stamp_ns(message.header.stamp) >= self._due_ns
            if fresh and self._privileged_ready():
                return message
            silent_s = inbox.silent_s(since_s)
            if silent_s > self._limits.silence_s:
                reason = inbox.unusable or "is camera_ingest running, and do its cameras deliver?"
                raise EpisodeOver("ABORTED", f"no observation for {silent_s:.1f} s: {reason}")
            if fresh and time.monotonic() - since_s > self._limits.silence_s:
                raise EpisodeOver(
                    "ABORTED",
                    f"policy {self.policy.description.id!r} needs scene objects and localisation, "
                    f"but they are silent since {self._limits.silence_s:g} s",
                )
            return None

        return self._inbox.wait(ready)

    def _privileged_ready(self) -> bool:
        inbox = self._inbox
        return not self.policy.description.privileged or (
            inbox.scene is not None and inbox.localisation is not None
        )

    def _verdict(self) -> EpisodeOver | None:
        verdict = self._inbox.verdict
        if verdict is None or verdict.episode_id != self.episode_id:
            return None
        names = {getattr(Episode, name): name for name in ("UNKNOWN", "SUCCESS", "FAILURE")}
        name = names.get(verdict.outcome, "UNKNOWN")
        return EpisodeOver(name, verdict.reason)

    def _judged(self, over: EpisodeOver) -> EpisodeOver:
        """The end with the judge's verdict, where there is a judge and a verdict is wanted."""
        if over.outcome != "UNKNOWN" or self._profile.outcome_topic is None:
            return over
        self._publish_episode(Episode.ENDING, over)
        until_s = time.monotonic() + VERDICT_TIMEOUT_S

        def ready() -> EpisodeOver | None:
            verdict = self._verdict()
            if verdict is None and (self._inbox.stopping or time.monotonic() > until_s):
                return EpisodeOver("UNKNOWN", f"{over.reason}; no verdict came")
            return verdict

        verdict = self._inbox.wait(ready)
        assert verdict is not None  # without a limit in ROS time, wait returns what ready returns
        verdict.end_declared = over.end_declared
        return verdict

    # From messages.

    def _observation(self, message: Any) -> interface.Observation:
        """The message as policies see it. Raises PolicyError."""
        privileged = None
        scene, localisation = self._inbox.scene, self._inbox.localisation
        if self.policy.description.privileged and scene and localisation:
            privileged = interface.PrivilegedState(localisation.pose, scene)
        try:
            return interface.Observation(
                stamp_ns=stamp_ns(message.header.stamp),
                images={
                    name: _pixels(image)
                    for name, image in zip(message.camera_names, message.images, strict=True)
                },
                joints=joints_from(message.joint_states),
                odometry=odometry_from(message.odometry),
                object_in_hand=message.object_in_hand,
                privileged=privileged,
                remaining_budget=dict(self._inbox.remaining or self._inbox.budgets),
            )
        except (MessageError, ValueError) as error:
            raise PolicyError(f"observation: {error}") from error

    # To messages.

    def _publish_episode(self, state: int, over: EpisodeOver | None = None) -> None:
        description = self.policy.description
        message = Episode(
            id=self.episode_id,
            instruction=self._instruction.text,
            task=self._instruction.task,
            target_class=self._instruction.target_class,
            target_ids=list(self._instruction.target_ids),
            policy_id=description.id,
            policy_sha256=description.sha256,
            state=state,
            steps=self.steps,
        )
        set_stamp(message.header.stamp, self._inbox.now_ns())
        set_stamp(message.started, self._started_ns)
        if over is not None:
            message.end_declared = over.end_declared
            message.outcome_reason = over.reason
        if over is not None and state == Episode.ENDED:
            message.outcome = getattr(Episode, over.outcome)
        self._outputs.episode(message)

    def _publish_chunk(
        self,
        chunk: interface.ActionChunk,
        steps: tuple[Step, ...],
        observation: interface.Observation,
        trace: LatencyTrace,
    ) -> None:
        names, data = command_table(steps, observation.joints)
        message = ActionChunk(
            episode_id=self.episode_id,
            policy_id=self.policy.description.id,
            chunk_id=self._chunk_id,
            first_step=self.steps,
            step_s=self._profile.step_s,
            representation=getattr(ActionChunk, chunk.representation.upper()),
            tokens=list(chunk.tokens[: len(steps)]),
            log_probabilities=list((chunk.log_probabilities or ())[: len(steps)]),
            names=names,
            data=data.ravel().tolist(),
            budget_terms=list(observation.remaining_budget),
            budget_remaining=list(observation.remaining_budget.values()),
            trace=trace,
        )
        set_stamp(message.header.stamp, observation.stamp_ns)
        message.header.frame_id = self._profile.frames.base
        self._outputs.chunk(message)

    def _send(self, command: Command, trace: LatencyTrace) -> None:
        message = CandidateCommand(
            source=self._source,
            episode_id=self.episode_id,
            chunk_id=self._chunk_id,
            step=self.steps,
            trace=trace,
        )
        set_stamp(message.header.stamp, self._inbox.now_ns())
        message.header.frame_id = self._profile.frames.base
        fill_candidate(message, command)
        trace.candidate = wall_now()
        self._outputs.candidate(message)

    def _stand(self) -> None:
        """Take back what is left of a step that is under way: part of that step, so no new one."""
        if self.steps > 0 and self._inbox.now_ns() < self._due_ns:
            self.steps -= 1
            self._send(Command(duration_s=self._profile.step_s), LatencyTrace())
            self.steps += 1


def _pixels(image: Any) -> NDArray[np.uint8]:
    """(height, width, 3) rgb8 of an Image message of an Observation, without a copy."""
    return np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
