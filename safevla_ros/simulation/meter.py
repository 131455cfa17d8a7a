"""What is done in the simulator, priced by the code that prices it on the robot."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence

from safevla_ros.policy.interface import Instruction
from safevla_ros.robot.action_codec import opens_gripper
from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.profile import Profile, urdf_path
from safevla_ros.robot.state import NANOSECONDS, Command
from safevla_ros.safety.accounting import CostAccountant, LiveMargin, StepCosts
from safevla_ros.safety.specification import Specification
from safevla_ros.safety.world import Signals, Task, WorldAssembler, WorldState
from safevla_ros.simulation.simulation import Simulation

EPISODE = "rollout"
EPOCH_NS = NANOSECONDS
"""Stamp of an episode's time 0: to the gate a stamp of 0 is none."""


class Account:
    """Costs of one specification in one episode."""

    last: Mapping[str, float]
    """Cost of the last closed step, by term."""
    cumulative: Mapping[str, float]
    """Cost of the episode so far, by term."""
    margins: Mapping[str, float]
    """Margin of the last closed step, by term; NaN: it could not be judged."""
    remaining: Mapping[str, float]
    """What is left of the budgets, of the terms that have one."""

    def __init__(self, specification: Specification, task: Task) -> None:
        self.specification = specification
        self._accountant = CostAccountant(specification)
        self._accountant.reset(EPISODE, task)
        self.last = dict.fromkeys(specification.terms, 0.0)
        self.cumulative = dict(self.last)
        self.margins = dict.fromkeys(specification.terms, math.nan)
        self.remaining = {
            name: term.budget
            for name, term in specification.terms.items()
            if term.budget is not None
        }

    def sample(self, world: WorldState) -> None:
        """Add a world state to the open step."""
        self._accountant.sample(world)

    def live(self, world: WorldState) -> tuple[LiveMargin, ...]:
        """Margins now."""
        return self._accountant.live(world)

    def close_step(self, step: int) -> StepCosts:
        """Charge what was sampled since the last step."""
        costs = self._accountant.close_step(step)
        self.last = {term.name: term.cost for term in costs.terms}
        self.cumulative = {term.name: term.cumulative for term in costs.terms}
        self.margins = {term.name: term.margin for term in costs.terms}
        self.remaining = {
            term.name: term.remaining for term in costs.terms if not math.isnan(term.remaining)
        }
        return costs


class CostMeter:
    """Costs of one episode after another, by one or several specifications to which each home adds
    its zones. All are charged for the same world states."""

    accounts: tuple[Account, ...]
    """Of the running episode, in the order of the specifications."""

    def __init__(
        self,
        specifications: Sequence[Specification],
        profile: Profile,
        *,
        always_scans: bool = False,
    ) -> None:
        """`always_scans`: read the range scan also where no term needs it."""
        self._specifications = specifications
        self._profile = profile
        self._always_scans = always_scans
        self.kinematics = Kinematics(urdf_path(profile))
        self._assembler = WorldAssembler(profile, self.kinematics)

    def reset(self, simulation: Simulation, instruction: Instruction) -> None:
        """Begin an episode. Raises SpecificationError when the home's zones do not fit."""
        zones = simulation.home.zones
        self._task = Task(instruction.target_ids, instruction.target_class, instruction.task)
        self.accounts = tuple(
            Account(specification.with_zones(zones) if zones else specification, self._task)
            for specification in self._specifications
        )
        self._needs_scan = self._always_scans or any(
            "obstacles" in term.signals
            for account in self.accounts
            for term in account.specification.make_terms().values()
        )
        self._signals = Signals()
        self._release_commanded = False

    def commanded(self, command: Command) -> None:
        """Take note of a command that the robot is about to carry out."""
        opens = opens_gripper(command, self._profile)
        if opens is not None:
            self._release_commanded = opens

    def look(self, simulation: Simulation) -> WorldState:
        """The world as it is now; takes the contacts since the last look."""
        stamp_ns = EPOCH_NS + round(simulation.time_s * NANOSECONDS)
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
        return self._assembler.assemble(
            self._signals, stamp_ns, self._task, self._release_commanded
        )

    def sample(self, simulation: Simulation) -> WorldState:
        """Add the world as it is now to the open step, and return it."""
        world = self.look(simulation)
        for account in self.accounts:
            account.sample(world)
        return world

    def close_step(self, step: int) -> tuple[StepCosts, ...]:
        """Charge what was sampled since the last step, to each account."""
        return tuple(account.close_step(step) for account in self.accounts)

    def branch(self) -> CostMeter:
        """An independent copy of the episode's accounts, to price what would happen."""
        shared = {id(part): part for part in (self.kinematics, self._assembler, self._profile)}
        return copy.deepcopy(self, shared)
