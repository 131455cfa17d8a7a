"""What follows from what is foreseen: the running command is made smaller or ends, and its chunk is
truncated.

lookahead.py says what a command would do; here is decided what is done about it. A violation that
only the latest reading of a signal predicts is doubted as the term's `debounce` allows (see
debounce.py). A term that held something back lately asks for its `hysteresis` on top. After a halt
no part of a command passes for HOLD_S, only a command that is safe as a whole: else the robot would
creep up and halt by turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import NANOSECONDS, BaseVelocity, Command
from safevla_ros.safety.chunks import Chunk, Truncation
from safevla_ros.safety.debounce import Lasting, Readings
from safevla_ros.safety.decisions import Decision, Outcome, Reason, Running
from safevla_ros.safety.limits import scaled
from safevla_ros.safety.lookahead import LookAhead
from safevla_ros.safety.motion import Leg
from safevla_ros.safety.specification import Specification
from safevla_ros.safety.state import KinematicModel, WorldState

HOLD_S = 1.0
"""How long after it held something back a term goes on to ask for more [ROS time]: no parts of
commands after a halt, and its hysteresis."""
LOOK_ALONG_S = 0.1
"""How often what follows in a chunk is looked at [ROS time]."""
PLAN_S = 5.0
"""What follows later than this in a chunk is not looked at."""
LEG_S = 0.1
"""Steps of a chunk that are shorter than this are looked at several at a time, as one command: a
policy that acts at 50 Hz must not take five times as long to look along."""


class Foresight:
    """Holds back what is predicted to violate. Times: ROS [ns].

    `acts` False: predicted costs are told, and nothing is held back. `kinematics` None: what joint
    motion does is not foreseen.
    """

    def __init__(
        self,
        profile: Profile,
        specification: Specification,
        kinematics: KinematicModel | None,
        *,
        acts: bool,
    ) -> None:
        self._terms = specification.terms
        self._acts = acts
        self._look_ahead = LookAhead(profile, specification, kinematics)
        self._readings, self._doubted = Readings(), Lasting()
        self._halted: tuple[str, int] = ("", 0)
        self._held_back_ns: dict[str, int] = {}
        self._looked_ns = 0
        self.chunk: Chunk | None = None
        """What the policy is carrying out, within the robot's limits."""
        self.truncation: Truncation | None = None
        """Which steps of the chunk are refused. None: none are."""
        self.costs: Mapping[str, float] = {}
        """What the running command is predicted to be charged, by term."""

    def set_chunk(self, chunk: Chunk | None) -> None:
        """From now on this one is carried out, or none."""
        self.chunk, self.truncation, self._looked_ns = chunk, None, 0

    def forget(self) -> None:
        """The clock jumped: nothing was read or held back yet, and no chunk is known."""
        self.set_chunk(None)
        self._held_back_ns.clear()
        self._halted = ("", 0)
        self._readings.forget()
        self._doubted.forget()

    def begin(self, world: WorldState | None) -> None:
        """A judgement begins, in this world."""
        self.costs = {}
        if world is not None:
            self._readings.take(world)

    def restrict(self, running: Running, world: WorldState, now_ns: int) -> Outcome | None:
        """Make the running command smaller where it has to be. With which halt it has to end; None:
        it goes on."""
        rest_s = (running.until_ns - now_ns) / NANOSECONDS
        kept = self._kept(now_ns)
        forecast = self._look_ahead.forecast(world, running.applied, rest_s, now_ns, kept)
        self.costs = forecast.costs
        if not self._acts or forecast.ratio == 1.0:
            return None
        if self._is_doubtful(forecast.term, [(running.applied, rest_s)], world, now_ns, kept):
            return None
        detail = f"{forecast.term}: {forecast.cause}"
        self._held_back_ns[forecast.term] = now_ns
        term, halted_ns = self._halted
        is_held = term == forecast.term and now_ns - halted_ns < HOLD_S * NANOSECONDS
        if forecast.ratio == 0.0 or is_held:
            if forecast.ratio == 0.0:
                self._halted = forecast.term, now_ns
            if self.chunk is not None and self.chunk.after(running.proposal):
                self._truncate(self.chunk, running.proposal.step, forecast.term, detail)
            return Outcome(Decision.HALT, Reason.PREDICTED, detail, forecast.term)
        running.ratio *= forecast.ratio
        running.applied = scaled(running.applied, forecast.ratio, world.joints)
        detail += f"; {100.0 * running.ratio:.0f} % of the command is safe"
        running.outcome = Outcome(Decision.LIMIT, Reason.PREDICTED, detail, forecast.term)
        return None

    def look_along(self, running: Running, world: WorldState, now_ns: int) -> None:
        """Truncate the chunk from the first step that is predicted to violate."""
        chunk, is_due = self.chunk, now_ns - self._looked_ns >= LOOK_ALONG_S * NANOSECONDS
        if chunk is None or self.truncation is not None or not self._acts or not is_due:
            return
        plan = [(running.applied, (running.until_ns - now_ns) / NANOSECONDS)]
        ahead = [0]  # how many steps ahead each begins
        for first, command in _in_legs(chunk.after(running.proposal), PLAN_S - plan[0][1]):
            plan.append((command, command.duration_s))
            ahead.append(first + 1)
        if len(plan) == 1:
            return
        self._looked_ns = now_ns
        found = self._look_ahead.first_unsafe(world, plan, now_ns)
        if found is None:
            return
        index, term, cause = found
        if self._is_doubtful(term, plan[: index + 1], world, now_ns, {}):
            return
        self._truncate(chunk, running.proposal.step + ahead[index], term, f"{term}: {cause}")

    def _kept(self, now_ns: int) -> dict[str, float]:
        """How much more margin terms ask for that held something back lately."""
        return {
            term: self._terms[term].hysteresis
            for term, at_ns in self._held_back_ns.items()
            if now_ns - at_ns < HOLD_S * NANOSECONDS
        }

    def _is_doubtful(
        self,
        term: str,
        legs: Sequence[Leg],
        world: WorldState,
        now_ns: int,
        kept: Mapping[str, float],
    ) -> bool:
        """Whether a violation is predicted by the latest reading alone, and there is time to wait
        for the next one."""
        wait_s = self._terms[term].debounce.predicted_s
        before = self._readings.before(world) if wait_s > 0.0 else None
        if before is None or not self._look_ahead.is_safe(before, legs, now_ns, kept):
            return False
        left_s = wait_s - self._doubted.seen(term, now_ns, wait_s)
        command, rest_s = legs[0]
        waiting = [(command, min(left_s, rest_s))]
        return left_s > 0.0 and self._look_ahead.is_safe(world, waiting, now_ns)

    def _truncate(self, chunk: Chunk, from_step: int, term: str, detail: str) -> None:
        self.truncation = Truncation(chunk, from_step, term, f"from step {from_step} on, {detail}")


def _in_legs(commands: Sequence[Command], longest_s: float) -> Iterator[tuple[int, Command]]:
    """Commands of LEG_S or longer that make up these, until `longest_s` is reached, and which of
    these each begins with."""
    first, lasts_s, total_s = 0, 0.0, 0.0
    for index, command in enumerate(commands):
        if total_s >= longest_s:
            return
        lasts_s += command.duration_s
        if lasts_s >= LEG_S or index == len(commands) - 1:
            yield first, _as_one(commands[first : index + 1], lasts_s)
            total_s += lasts_s
            first, lasts_s = index + 1, 0.0


def _as_one(commands: Sequence[Command], lasts_s: float) -> Command:
    """One command that leads where these lead: at their mean velocity, to the last of their targets."""
    if len(commands) == 1:
        return commands[0]
    x, y, yaw = (
        sum(getattr(command.velocity, axis) * command.duration_s for command in commands) / lasts_s
        for axis in ("x", "y", "yaw")
    )
    targets = {name: at for command in commands for name, at in command.joints.items()}
    return Command(BaseVelocity(x, y, yaw), targets, lasts_s)
