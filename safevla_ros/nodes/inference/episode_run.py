"""One episode: the loop from observations to candidates, in a thread of its own.

    wait for an observation from after the last step -> infer -> publish the chunk -> send each of
    its steps when it is due -> ...

Of a chunk that the monitor truncates, the steps that it refuses are not sent: the policy plans anew
instead, in turn as soon as the running step is over, without pauses at once.

A policy of continuous chunks is run without pauses instead: the next chunk is inferred in a second
thread while the steps of the running one go out, and is joined to it (see policy/stitching.py).

It ends when the policy says `end`, at the goal's limit of steps or time, on a verdict, on cancel
or pre-emption, when the monitor latches a stop, when the cameras stay silent, or when the policy fails. How is said
by one exception, EpisodeOver.

Steps are timed in ROS time and never overlap: a step is due when the one before has run its
`step_s`, or as soon as it is known, if that is later. Between tokens the robot stands for as long as
observing and inferring take; that is what a policy of discrete actions is trained on. A chunk that
is known only when its observation is older than `chunk_age_s` is dropped, and another one is made.

Silence is measured on the steady clock: a clock that has stopped must not look like patience.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safevla_ros.msg import Episode, LatencyTrace
from safevla_ros.nodes.inference.episode_messages import (
    EpisodeMessages,
    EpisodeOver,
    Inferred,
    Outputs,
    Progress,
)
from safevla_ros.nodes.inference.inbox import Inbox
from safevla_ros.nodes.inference.shadow import Shadow
from safevla_ros.nodes.lifecycle import wall_now
from safevla_ros.policy import interface
from safevla_ros.policy.commands import Step, chunk_steps
from safevla_ros.policy.interface import Instruction, Policy, PolicyError
from safevla_ros.policy.stitching import ChunkSchedule
from safevla_ros.robot.action_codec import EndOfEpisode
from safevla_ros.robot.messages import (
    MessageError,
    joints_from,
    odometry_from,
    stamp_ns,
)
from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import NANOSECONDS, Command

VERDICT_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Limits:
    """When an episode ends by itself; 0: never. `silence_s`: time without an observation, or with
    chunks that are too old, which they are at `chunk_age_s`."""

    steps: int
    time_s: float
    silence_s: float
    chunk_age_s: float


class EpisodeRun:
    """See the module's docstring. `source`: name of the command source in the profile. `shadow`: a
    policy that is shown the same, and compared."""

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
        shadow: Shadow | None = None,
    ) -> None:
        self.episode_id = episode_id
        self.shadow = shadow
        self.steps = 0
        self.dropped_chunks = 0
        self._instruction = instruction
        self.policy = policy
        self._profile = profile
        self._inbox = inbox
        self._limits = limits
        self._outputs = outputs
        self._messages = EpisodeMessages(
            episode_id, instruction, policy.description, profile, source, outputs, inbox.now_ns
        )
        self._started_ns = 0
        self._due_ns = 0
        self._chunk_id = 0
        self._useful_s = time.monotonic()

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
            self._say(Episode.RUNNING)
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
                self._say(Episode.ENDED, over)
        return over

    def _loop(self) -> None:
        if self.shadow is not None:
            self.shadow.begin(self._instruction)
        self.policy.reset(self._instruction)
        if self.policy.description.representation == "continuous":
            self._run_stitched()
        else:
            self._run_in_turn()

    def _run_in_turn(self) -> None:
        """Look, infer, act, and look again."""
        while True:
            inferred = self._infer(self._next_observation())
            if self._too_old(inferred):
                self._drop(inferred)
                continue
            self._messages.chunk(inferred, self.steps, self._chunk_id)
            for i, step in enumerate(inferred.steps):
                self._wait_until_due()
                if self._refused_from() is not None:
                    break
                self._take(step, inferred, len(inferred.steps) - i - 1)
                self._due_ns = self._inbox.now_ns() + self._step_ns()
                self._end_at_limit()
            self._chunk_id += 1

    def _run_stitched(self) -> None:
        """Infer the next chunk while the steps of the present one go out."""
        schedule: ChunkSchedule[Step] = ChunkSchedule(self._step_ns(), self._due_ns)
        current: Inferred | None = None
        pending: Future[Inferred] | None = None
        seen_ns = self._due_ns - 1
        with ThreadPoolExecutor(1, thread_name_prefix="inference") as worker:
            while True:
                event = self._next_event(schedule, pending, seen_ns)
                if event is None and not len(schedule):
                    continue  # what was left of the chunk was truncated
                if event is None:
                    assert current is not None  # a step is due only when there is a chunk
                    step = schedule.take(self._inbox.now_ns())
                    self._due_ns = schedule.due_ns
                    self._take(step, current, len(schedule))
                    self._end_at_limit()
                elif isinstance(event, Inferred):
                    pending = None
                    seen_ns, now_ns = event.observation.stamp_ns, self._inbox.now_ns()
                    passed = None
                    if not self._too_old(event):
                        passed = schedule.join(event.steps, seen_ns, now_ns)
                    if passed is None:
                        self._drop(event)
                        continue
                    self._chunk_id += current is not None
                    current = replace(event, steps=event.steps[passed:])
                    self._messages.chunk(current, self.steps, self._chunk_id)
                else:
                    seen_ns = stamp_ns(event.header.stamp)
                    pending = worker.submit(self._infer, event)
                    pending.add_done_callback(lambda _: self._inbox.tick())

    def _next_event(
        self, schedule: ChunkSchedule[Step], pending: Future[Inferred] | None, seen_ns: int
    ) -> Any:
        """What comes first: a step that is due (None), a chunk (Inferred), or, where a chunk is
        wanted, an observation newer than `seen_ns` (its message)."""
        since_s = time.monotonic()

        def ready() -> Any:
            self._check()
            if pending is not None:
                return pending.result() if pending.done() else None
            from_step = self._refused_from()
            if from_step is not None and len(schedule) > from_step - self.steps:
                schedule.truncate(max(0, from_step - self.steps))
            if schedule.wants_chunk(self._inbox.now_ns()):
                return self._fresh_observation(seen_ns + 1, since_s, patient=len(schedule) > 0)
            return None

        return self._inbox.wait(ready, schedule.due_ns if len(schedule) else None)

    def _infer(self, message: Any) -> Inferred:
        """Run the policy on an observation. Raises PolicyError."""
        observation, trace = self._observation(message), message.trace
        age_s = (self._inbox.now_ns() - observation.stamp_ns) / NANOSECONDS
        trace.inference_start = wall_now()
        chunk = self.policy.act(observation)
        trace.inference_end = wall_now()
        steps = chunk_steps(chunk, observation.joints, self._profile)
        if self.shadow is not None:
            self.shadow.see(observation, steps[0])
        return Inferred(chunk, steps, observation, age_s, trace)

    def _drop(self, inferred: Inferred) -> None:
        """A chunk is of no use any more; raise EpisodeOver if none has been for long."""
        self.dropped_chunks += 1
        silent_s = time.monotonic() - self._useful_s
        if silent_s > self._limits.silence_s:
            age_s = (self._inbox.now_ns() - inferred.observation.stamp_ns) / NANOSECONDS
            raise EpisodeOver(
                "ABORTED",
                f"no chunk in time for {silent_s:.1f} s: the last one was known {age_s:.2f} s after "
                "its observation",
            )

    def _take(self, step: Step, inferred: Inferred, queue_depth: int) -> None:
        """Do one step."""
        if isinstance(step, EndOfEpisode):
            raise EpisodeOver("UNKNOWN", "the policy declared the end", end_declared=True)
        self._messages.candidate(step, self.steps, self._chunk_id, inferred.trace)
        self._useful_s = time.monotonic()
        self._outputs.progress(
            Progress(
                self.steps,
                inferred.chunk.phase,
                queue_depth,
                inferred.observation_age_s,
                inferred.trace,
            )
        )
        self.steps += 1

    def _end_at_limit(self) -> None:
        if self.steps == self._limits.steps:
            self._wait_until_due()
            raise EpisodeOver("UNKNOWN", f"limit of {self.steps} steps")

    def _refused_from(self) -> int | None:
        """The first step of the running chunk that the monitor refuses. None: none."""
        truncated = self._inbox.truncated
        if truncated is None or truncated[:2] != (self.episode_id, self._chunk_id):
            return None
        return truncated[2]

    def _step_ns(self) -> int:
        return round(self._profile.step_s * NANOSECONDS)

    def _too_old(self, inferred: Inferred) -> bool:
        """Whether a chunk is of no use. A scripted policy's never is: it follows its own plan, and
        would count a step that was dropped as done."""
        age_ns = self._inbox.now_ns() - inferred.observation.stamp_ns
        too_old = age_ns > self._limits.chunk_age_s * NANOSECONDS
        return too_old and not self.policy.description.privileged

    # Waiting.

    def _check(self) -> None:
        """Raise EpisodeOver if something ends the episode now."""
        inbox = self._inbox
        if inbox.cancelled:
            raise EpisodeOver("ABORTED", "cancelled", cancelled=True)
        if inbox.preempted:
            raise EpisodeOver("ABORTED", "pre-empted by another goal")
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
            return self._fresh_observation(self._due_ns, since_s)

        return self._inbox.wait(ready)

    def _fresh_observation(self, from_ns: int, since_s: float, *, patient: bool = False) -> Any:
        """The latest observation if it was made at `from_ns` or later, else None. Raises EpisodeOver
        when none came for too long, counted from `since_s`, unless `patient`."""
        inbox = self._inbox
        message = inbox.observation
        fresh = message is not None and stamp_ns(message.header.stamp) >= from_ns
        if fresh and self._privileged_ready():
            return message
        silent_s = inbox.silent_s(since_s)
        if silent_s > self._limits.silence_s and not patient:
            reason = inbox.unusable or "is camera_ingest running, and do its cameras deliver?"
            raise EpisodeOver("ABORTED", f"no observation for {silent_s:.1f} s: {reason}")
        if fresh and time.monotonic() - since_s > self._limits.silence_s:
            raise EpisodeOver(
                "ABORTED",
                f"policy {self.policy.description.id!r} needs scene objects and localisation, "
                f"but they are silent since {self._limits.silence_s:g} s",
            )
        return None

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

    def _say(self, state: int, over: EpisodeOver | None = None) -> None:
        self._messages.episode(state, self.steps, self._started_ns, over)

    def _judged(self, over: EpisodeOver) -> EpisodeOver:
        """The end with the judge's verdict, where there is a judge and a verdict is wanted."""
        if over.outcome != "UNKNOWN" or self._profile.outcome_topic is None:
            return over
        self._say(Episode.ENDING, over)
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

    def _stand(self) -> None:
        """Take back what is left of a step that is under way: part of that step, so no new one."""
        if self.steps > 0 and self._inbox.now_ns() < self._due_ns:
            stand = Command(duration_s=self._profile.step_s)
            self._messages.candidate(stand, self.steps - 1, self._chunk_id, LatencyTrace())


def _pixels(image: Any) -> NDArray[np.uint8]:
    """(height, width, 3) rgb8 of an Image message of an Observation, without a copy."""
    return np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
