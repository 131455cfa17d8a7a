"""The gate: decides on every command before it reaches the robot."""

from __future__ import annotations

from collections.abc import Iterable

from safevla_ros.robot.profile import Mode, Profile
from safevla_ros.safety.accounting import LiveMargin, StepCosts
from safevla_ros.safety.decisions import Proposal, Reason, Verdict
from safevla_ros.safety.specification import Specification
from safevla_ros.safety.world import KinematicModel, WorldState


class Gate:
    """Decides on every command before it reaches the robot. Times: ROS [ns], steady clock [s]."""

    def __init__(
        self,
        profile: Profile,
        specification: Specification,
        mode: Mode,
        kinematics: KinematicModel | None = None,
    ) -> None:
        raise NotImplementedError

    latched: bool
    active_source: str
    """Whose command is on the wire; empty: nobody's."""

    def propose(
        self, proposal: Proposal, world: WorldState | None, now_ns: int, steady_s: float
    ) -> Verdict:
        """Judge a candidate that has just arrived."""
        raise NotImplementedError

    def supervise(self, world: WorldState | None, now_ns: int, steady_s: float) -> Verdict:
        """Judge the running command anew. To be called at 50 to 100 Hz."""
        raise NotImplementedError

    def latch(self, reason: Reason, detail: str) -> None:
        """Stop, until `reset`."""
        raise NotImplementedError

    def reset(self, operator: str) -> tuple[bool, str]:
        """Release a latched stop. Nothing moves because of it. (released, sentence)."""
        raise NotImplementedError

    def set_estop(self, active: bool, steady_s: float) -> None:
        """An e-stop message arrived. True latches a stop."""
        raise NotImplementedError

    def start_episode(self, episode_id: str) -> None:
        """Candidates of this episode are accepted from now on."""
        raise NotImplementedError

    def end_episode(self) -> None:
        """Halt what runs for the episode; its candidates are refused from now on."""
        raise NotImplementedError

    def set_margins(self, margins: Iterable[LiveMargin]) -> None:
        """Answer a violation that is going on now as the term's response says (stop, latch)."""
        raise NotImplementedError

    def set_charged(self, costs: StepCosts) -> None:
        """Answer a step's charged costs, unless `set_margins` did so already."""
        raise NotImplementedError
