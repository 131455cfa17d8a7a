"""The gate between a rollout's commands and its robot: the object that the cost monitor runs.

As there, a command is judged when it is given, and again whenever the world is sampled while it
runs. What differs is that nothing takes time here: no message is late, and the next command is
there the moment the last one is over.
"""

from __future__ import annotations

from dataclasses import dataclass

from safevla_ros.robot.profile import Mode, Profile
from safevla_ros.robot.state import NANOSECONDS, Command
from safevla_ros.safety.decisions import Decision, Proposal, Reason, Verdict
from safevla_ros.safety.gate import Gate
from safevla_ros.safety.specification import Specification
from safevla_ros.safety.state import WorldState
from safevla_ros.simulation.meter import EPISODE, EPOCH_NS, CostMeter
from safevla_ros.simulation.simulation import Simulation

SUPERVISION_S = 0.1
"""How often the running command is judged anew."""
REPLAY_S = 2.0
"""For so long the proposed command is played on, to see whether it would have cost anything."""
SOURCE = "policy"
_IDLE = frozenset({Reason.NO_COMMAND, Reason.EXPIRED, Reason.EPISODE_ENDED})


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Which gate stands before the robot: its mode, and the specification that it acts by."""

    mode: Mode
    specification: Specification


@dataclass(frozen=True, slots=True)
class Intervention:
    """The first decision on a step's command that was not to pass it.

    `cause`: the term behind it, or the reason's word where there is none. `needless`: played on for
    REPLAY_S instead, the command would have raised no cost; None: that was not tried, which it is
    in homes without hazards alone.
    """

    decision: str
    cause: str
    needless: bool | None


class GatedRobot:
    """One episode's gate, in front of a simulated robot."""

    intervention: Intervention | None
    """In the last step; None: its command passed as it was."""

    def __init__(
        self,
        mode: Mode,
        profile: Profile,
        meter: CostMeter,
        account: int,
        simulation: Simulation,
    ) -> None:
        """`meter` must have begun the episode; the gate acts by the specification of `account`."""
        specification = meter.accounts[account].specification
        self._gate = Gate(profile, specification, mode, meter.kinematics)
        self._gate.start_episode(EPISODE)
        self._profile, self._meter, self._account = profile, meter, account
        self._simulation = simulation
        self._world: WorldState = meter.look(simulation)
        self.intervention = None

    def step(self, command: Command, number: int) -> None:
        """Let the time of one step pass under a command, as far as the gate lets it through."""
        self.intervention = None
        account = self._meter.accounts[self._account]
        simulation, now_ns = self._simulation, self._now_ns()
        proposal = Proposal(SOURCE, now_ns, command, EPISODE, chunk_id=number, step=number)
        self._carry_out(
            self._gate.propose(proposal, self._world, now_ns, simulation.time_s), command
        )
        for left in reversed(range(round(self._profile.step_s / SUPERVISION_S))):
            simulation.advance(SUPERVISION_S)
            self._world = self._meter.sample(simulation)
            self._gate.set_margins(account.live(self._world))
            if left:  # at the end of the step the next command is there already
                self._carry_out(
                    self._gate.supervise(self._world, self._now_ns(), simulation.time_s), command
                )
        self._gate.set_charged(self._meter.close_step(number)[self._account])

    def _now_ns(self) -> int:
        return EPOCH_NS + round(self._simulation.time_s * NANOSECONDS)

    def _carry_out(self, verdict: Verdict, proposed: Command) -> None:
        command, simulation = verdict.command, self._simulation
        assert command is not None  # as it would be in shadow, which moves nothing
        changed = verdict.decision is not Decision.PASS and verdict.reason not in _IDLE
        if changed and self.intervention is None:
            cause = verdict.term or verdict.reason.word
            needless = not self._would_cost(proposed) if simulation.home.hazard_free else None
            self.intervention = Intervention(verdict.decision.name, cause, needless)
        self._meter.commanded(command)
        if verdict.decision in (Decision.PASS, Decision.LIMIT):
            simulation.apply(command)
        else:
            simulation.drive(command.velocity)
            simulation.move_joints(command.joints)

    def _would_cost(self, command: Command) -> bool:
        """Whether a command that is held for REPLAY_S from now on raises a cost, in a copy of the
        world."""
        simulation, meter = self._simulation.branch(), self._meter.branch()
        meter.commanded(command)
        simulation.move_joints(command.joints)
        samples = round(self._profile.step_s / SUPERVISION_S)
        for step in range(round(REPLAY_S / self._profile.step_s)):
            for _ in range(samples):
                simulation.drive(command.velocity)
                simulation.advance(SUPERVISION_S)
                meter.sample(simulation)
            costs = meter.close_step(step)[self._account]
            if any(term.cost > 0.0 for term in costs.terms):
                return True
        return False
