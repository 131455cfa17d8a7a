"""What every policy is: from an instruction and observations to chunks of actions.

Scripted, random and learned policies fit it alike. Images are rgb8 arrays (height, width, 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.state import Joint, Odometry, Pose, SceneObjects

Representation = Literal["token", "continuous"]


class PolicyError(ValueError):
    """A policy that cannot be loaded or run; the message names the file and what was expected."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """What to do: the text, and what is known about it. `target_ids` are privileged knowledge."""

    text: str
    task: str = ""
    target_class: str = ""
    target_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PrivilegedState:
    """Simulator truth, given only to policies that declare `privileged`: pose of the base in the
    world frame and every object, with `frame` of both."""

    base: Pose
    scene: SceneObjects


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What a policy sees at one time, already at its resolution."""

    stamp_ns: int
    images: Mapping[str, NDArray[np.uint8]]
    joints: Mapping[str, Joint]
    odometry: Odometry
    object_in_hand: bool
    privileged: PrivilegedState | None = None
    remaining_budget: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class ActionChunk:
    """Actions for the coming steps.

    Token chunks carry `tokens` (steps,) into the action space; continuous ones carry `data`
    (steps, len(names)) with `names` as in the ActionChunk message. `log_probabilities` (steps,) or
    None. `phase` is what a scripted policy is busy with, for people.
    """

    representation: Representation
    tokens: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    data: NDArray[np.float64] | None = None
    log_probabilities: tuple[float, ...] | None = None
    phase: str = ""


@dataclass(frozen=True, slots=True)
class PolicyDescription:
    """What a runner must know of a policy before it runs it. `step_s`: duration of a step that it
    was trained with; 0: any."""

    id: str
    representation: Representation
    image_height: int
    image_width: int
    privileged: bool = False
    sha256: str = ""
    step_s: float = 0.0


@runtime_checkable
class Policy(Protocol):
    """A policy. `act` is called once per chunk, after `reset` at the start of each episode."""

    description: PolicyDescription

    def reset(self, instruction: Instruction) -> None:
        """Forget the last episode. Raises PolicyError when the instruction cannot be followed."""

    def act(self, observation: Observation) -> ActionChunk:
        """The next actions."""
