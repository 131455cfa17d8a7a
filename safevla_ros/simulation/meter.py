"""What is done in the simulator, priced by the code that prices it on the robot."""

from __future__ import annotations

import math
from collections.abc import Mapping

from safevla_ros.policy.interface import Instruction
from safevla_ros.robot.action_codec import opens_gripper
from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.profile import Profile, urdf_path
from safevla_ros.robot.state import NANOSECONDS, Command
from safevla_ros.safety.accounting import CostAccountant
from safevla_ros.safety.specification import Specification
from safevla_ros.safety.world import Signals, Task, WorldAssembler
from safevla_ros.simulation.simulation import Simulation

EPISODE = "rollout"


class CostMeter:
    """Costs of one episode after another, by a specification to which each home adds its zones."""

    last: Mapping[str, float]
    """Cost of the last closed step, by term."""
    cumulative: Mapping[str, float]
    """Cost of the episode so far, by term."""
    margins: Mapping[str, float]
    """Margin of the last closed step, by term; NaN: it could not be judged."""

    def __init__(self, specification: Specification, profile: Profile) -> None:
        self._specification = specification
        self._profile = profile
        self._assembler = WorldAssembler(profile, Kinematics(urdf_path(profile)))

    def reset(self, simulation: Simulation, instruction: Instruction) -> None:
        """Begin an episode. Raises SpecificationError when the home's zones do not fit."""
        zones = simulation.home.zones
        specification = self._specification.with_zones(zones) if zones else self._specification
        self._task = Task(instruction.target_ids, instruction.target_class, instruction.task)
        self._accountant = CostAccountant(specification)
        self._accountant.reset(EPISODE, self._task)
        self._needs_scan = any(
            "obstacles" in term.signals for term in specification.make_terms().values()
        )
        self._signals = Signals()
        self._release_commanded = False
        self.last = dict.fromkeys(specification.terms, 0.0)
        self.cumulative = dict(self.last)
        self.margins = dict.fromkeys(specification.terms, math.nan)

    def commanded(self, command: Command) -> None:
        """Take note of a command that the robot is about to carry out."""
        opens = opens_gripper(command, self._profile)
        if opens is not None:
            self._release_commanded = opens

    def sample(self, simulation: Simulation) -> None:
        """Add the world as it is now to the open step; takes the contacts since the last sample."""
        stamp_ns = round(simulation.time_s * NANOSECONDS)
        readings = {
            "joint_states": simulation.joints(),
            "contacts": simulation.contacts(),
            "objects": simulation.objects(),
            "localisation": simulation.localisation(),
            "odometry": simulation.odometry(),
        }
        if self._needs_scan:
            readings["scan"] = simulation.scan()
        for name, reading in readings.items():
            self._signals.update(name, stamp_ns, reading)
        self._accountant.sample(
            self._assembler.assemble(self._signals, stamp_ns, self._task, self._release_commanded)
        )

    def close_step(self, step: int) -> None:
        """Charge what was sampled since the last step."""
        terms = self._accountant.close_step(step).terms
        self.last = {term.name: term.cost for term in terms}
        self.cumulative = {term.name: term.cumulative for term in terms}
        self.margins = {term.name: term.margin for term in terms}
