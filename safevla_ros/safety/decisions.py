"""What goes into the gate and what comes out: proposals, verdicts, decisions and their reasons.

Nodes map decisions by name to the constants of GatedAction; reasons travel as `reason.word`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from safevla_ros.robot.state import Command


class Decision(Enum):
    """What happens to a proposal. Names are the constants of GatedAction."""

    PASS = auto()
    LIMIT = auto()
    HALT = auto()
    STOP = auto()
    LATCHED = auto()
    SHADOW = auto()


class Reason(Enum):
    """Why. Each decision has exactly one."""

    # The command runs.
    ACCEPTED = auto()  # as proposed
    LIMITS = auto()  # scaled to the robot's limits
    PREDICTED = auto()  # a term's violation is predicted; scaled, or halted
    # Nothing runs, and nothing is wrong.
    NO_COMMAND = auto()  # nobody commands the robot
    EXPIRED = auto()  # the command ran to its end and none followed
    SOURCE_TIMEOUT = auto()  # its source fell silent
    EPISODE_ENDED = auto()  # the episode it belonged to is over
    # The proposal was refused.
    UNKNOWN_SOURCE = auto()
    INVALID_COMMAND = auto()  # NaN, infinite, unknown joint, no duration
    ZERO_STAMP = auto()
    FUTURE_STAMP = auto()
    STALE_COMMAND = auto()  # over before it came
    OUT_OF_ORDER = auto()  # older than what its source sent before
    OTHER_EPISODE = auto()  # not the running one
    OUTRANKED = auto()  # a source of higher priority is alive
    STALE_CHUNK = auto()  # a step of a chunk that was planned from too old an observation
    TRUNCATED = auto()  # a step of a chunk after one that was predicted to violate
    # What the policy sees.
    FROZEN_CAMERA = auto()  # it repeats its pixels under fresh stamps
    LOST_CAMERA = auto()  # it, or who prepares its images, is silent
    # The robot's signals.
    MISSING_SIGNAL = auto()
    STALE_SIGNAL = auto()
    FUTURE_SIGNAL = auto()
    BLIND_TERM = auto()  # a term with `if_missing: refuse` misses a signal
    CLOCK_JUMP = auto()  # ROS time went backwards, or leapt ahead
    # Stops.
    CHARGED = auto()  # a term was violated whose response is stop or latch
    BUDGET_EXHAUSTED = auto()  # more was charged than a term's budget allows in the episode
    ESTOP = auto()
    ESTOP_SILENT = auto()  # the profile requires an e-stop topic and it is silent
    WATCHDOG_LOST = auto()  # the watchdog's heartbeat is missing
    STALLED = auto()  # the monitor itself was not running for too long
    INTRUDER = auto()  # somebody else publishes final commands
    INTERNAL = auto()  # the monitor failed on something it did not expect

    @property
    def word(self) -> str:
        """The fixed word that messages carry."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Proposal:
    """A command that a source proposes: due at `stamp_ns`, for `command.duration_s`.

    `fault`: why its message could not be read; it is then refused with this sentence.
    """

    source: str
    stamp_ns: int
    command: Command
    episode_id: str = ""
    chunk_id: int = 0
    step: int = 0
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A decision with its reason, as yet without a command."""

    decision: Decision
    reason: Reason
    detail: str
    term: str = ""


@dataclass(slots=True)
class Running:
    """The command that is being carried out, until `until_ns` [ROS time]."""

    proposal: Proposal
    applied: Command
    until_ns: int
    outcome: Outcome
    ratio: float = 1.0
    """Part of the command, within the robot's limits, that the look-ahead left."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's answer.

    `command` is what to publish now; None: publish nothing (mode shadow). Joints that are absent
    from it keep their targets. `predicted` is the cost that the proposal was predicted to raise, by
    term. `proposal` is what was judged: the one that arrived, else the running one. `changed`:
    since the last verdict the gate began to treat a running command differently.
    """

    decision: Decision
    reason: Reason
    detail: str
    command: Command | None
    term: str = ""
    predicted: Mapping[str, float] = field(default_factory=dict)
    proposal: Proposal | None = None
    changed: bool = False
