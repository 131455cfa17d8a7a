"""What an episode says: its state, its chunks and its candidates, as messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from safevla_ros.msg import ActionChunk, CandidateCommand, Episode, LatencyTrace
from safevla_ros.nodes.lifecycle import wall_now
from safevla_ros.policy import interface
from safevla_ros.policy.commands import Step, command_table
from safevla_ros.policy.interface import Instruction, PolicyDescription
from safevla_ros.robot.messages import fill_candidate, set_stamp
from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import Command


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
class Progress:
    """A step was sent: its index, what the policy is busy with, how many steps are known beyond it,
    how old the observation was when inference began, and when all that happened."""

    step: int
    phase: str
    queue_depth: int
    observation_age_s: float
    trace: LatencyTrace


@dataclass(frozen=True, slots=True)
class Inferred:
    """A chunk with what it was made from. `steps` are those of it that are still to be sent."""

    chunk: interface.ActionChunk
    steps: tuple[Step, ...]
    observation: interface.Observation
    observation_age_s: float
    trace: LatencyTrace


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where an episode's messages go; `progress` also hears of every step that was sent."""

    episode: Callable[[Episode], None]
    chunk: Callable[[ActionChunk], None]
    candidate: Callable[[CandidateCommand], None]
    progress: Callable[[Progress], None]


class EpisodeMessages:
    """Makes and publishes the messages of one episode. `source`: name of the command source in the
    profile; `now_ns`: ROS time [ns]."""

    def __init__(
        self,
        episode_id: str,
        instruction: Instruction,
        policy: PolicyDescription,
        profile: Profile,
        source: str,
        outputs: Outputs,
        now_ns: Callable[[], int],
    ) -> None:
        self._episode_id = episode_id
        self._instruction = instruction
        self._policy = policy
        self._profile = profile
        self._source = source
        self._outputs = outputs
        self._now_ns = now_ns

    def episode(
        self, state: int, steps: int, started_ns: int, over: EpisodeOver | None = None
    ) -> None:
        """The episode is in this state now; `over` says how it ended, `started_ns` when it began."""
        message = Episode(
            id=self._episode_id,
            instruction=self._instruction.text,
            task=self._instruction.task,
            target_class=self._instruction.target_class,
            target_ids=list(self._instruction.target_ids),
            policy_id=self._policy.id,
            policy_sha256=self._policy.sha256,
            state=state,
            steps=steps,
        )
        set_stamp(message.header.stamp, self._now_ns())
        set_stamp(message.started, started_ns)
        if over is not None:
            message.end_declared = over.end_declared
            message.outcome_reason = over.reason
        if over is not None and state == Episode.ENDED:
            message.outcome = getattr(Episode, over.outcome)
        self._outputs.episode(message)

    def chunk(self, inferred: Inferred, first_step: int, chunk_id: int) -> None:
        """The steps of a chunk that are still to be sent."""
        chunk, steps, observation = inferred.chunk, inferred.steps, inferred.observation
        names, data = command_table(steps, observation.joints)
        message = ActionChunk(
            episode_id=self._episode_id,
            policy_id=self._policy.id,
            chunk_id=chunk_id,
            first_step=first_step,
            step_s=self._profile.step_s,
            representation=getattr(ActionChunk, chunk.representation.upper()),
            tokens=list(chunk.tokens[: len(steps)]),
            log_probabilities=list((chunk.log_probabilities or ())[: len(steps)]),
            names=names,
            data=data.ravel().tolist(),
            budget_terms=list(observation.remaining_budget),
            budget_remaining=list(observation.remaining_budget.values()),
            trace=inferred.trace,
        )
        set_stamp(message.header.stamp, observation.stamp_ns)
        message.header.frame_id = self._profile.frames.base
        self._outputs.chunk(message)

    def candidate(self, command: Command, step: int, chunk_id: int, trace: LatencyTrace) -> None:
        """A step is due: now."""
        message = CandidateCommand(
            source=self._source,
            episode_id=self._episode_id,
            chunk_id=chunk_id,
            step=step,
            trace=trace,
        )
        set_stamp(message.header.stamp, self._now_ns())
        message.header.frame_id = self._profile.frames.base
        fill_candidate(message, command)
        trace.candidate = wall_now()
        self._outputs.candidate(message)
