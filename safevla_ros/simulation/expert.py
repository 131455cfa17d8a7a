"""A scripted policy that uses the simulator's truth: it demonstrates, and stands in for a VLA."""

from __future__ import annotations

from typing import Literal

from safevla_ros.policy.interface import ActionChunk, Instruction, Observation, PolicyDescription
from safevla_ros.simulation.scenario import Scenario

Style = Literal["careful", "hurried"]


class ScriptedExpert:
    """Plans on the home's layout and the simulator's truth; token actions, one a chunk.

    `careful` keeps wide clearance and slows down near things; `hurried` takes the shortest path
    with little clearance and ignores zones. Both plan around where they were stopped. Needs
    `Observation.privileged`.
    """

    description: PolicyDescription

    def __init__(self, scenario: Scenario, style: Style = "careful") -> None:
        raise NotImplementedError

    def reset(self, instruction: Instruction) -> None:
        """Forget the last episode. Raises PolicyError when the target is not in this home."""
        raise NotImplementedError

    def act(self, observation: Observation) -> ActionChunk:
        """The next token. Raises PolicyError without privileged state."""
        raise NotImplementedError
