"""The gate: decides on every command before it reaches the robot.

A pure object: all times come as arguments, no thread, no clock, no ROS. The same gate runs in the
cost monitor and in evaluation. `propose` when a candidate arrives and `supervise` at 50 to 100 Hz
in between call one function, so a command that was let through is judged again until it is over.

What it does, in this order; the first that fires decides:

1.  A latched stop, an active e-stop, or a required e-stop that is silent: stop.
2.  ROS time that jumped, back or far ahead of the steady clock: halt, and forget what was sent
    before.
3.  A candidate that is refused (validity, stamp, order, episode, priority, age of its chunk). A
    refused candidate never moves the robot, and what its own source had running is dropped: a source
    that sends nonsense is in trouble. What another source has running goes on. A policy whose
    cameras are frozen or lost is refused, and so are the steps of a truncated chunk.
4.  A required signal that is missing, stale, or from the future; in `enforce` also a term with
    `if_missing: refuse` that cannot be judged: halt. Motion needs a new candidate afterwards.
5.  A command that is over, or whose source fell silent: halt. A command holds from its stamp for
    its `duration_s`, and never longer than its source's timeout; then the robot stands.
6.  The robot's limits: the command is scaled by one ratio.
7.  In `enforce`: look-ahead. A command that is predicted to violate a term whose response is not
    `log` is scaled to the largest part that is safe, or halted. While it runs, the part only gets
    smaller. Motion that does not lower the margin that fired passes. After a halt no part passes for
    HOLD_S, only a command that is safe as a whole. A violation that only the latest reading of a
    signal predicts is doubted as the term's `debounce` allows (see debounce.py).
8.  In `enforce`, while a step of a chunk runs: look-ahead over what follows. The chunk is truncated
    from the first step that is predicted to violate; `truncation` tells, so that the policy plans
    anew while the steps before it run.

In `enforce` a violation that happens nevertheless is answered as its term's response says: `stop`
drops what runs and the next candidate moves again, `latch` stops until a reset. A budget that is
overdrawn is answered as its term's `exhausted` says: with `stop` the episode moves nothing any more.

Modes: `enforce` does all of this. `observe` forwards; 4's blind terms, 7, 8 and the responses do not
act (the predicted costs are still told). Limits of speed and range act there too: they belong to
the robot, not to the specification, and no command beyond them ever leaves. `shadow` judges
candidates as `enforce` does, calls every decision SHADOW, and sends nothing (`Verdict.command` is
None); responses do not act.

A latched stop is released by `reset` alone. The e-stop latches, so that releasing it moves nothing;
so does a required e-stop that was heard and fell silent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from safevla_ros.robot.profile import Mode, Profile
from safevla_ros.robot.state import NANOSECONDS, Command
from safevla_ros.safety.accounting import LiveMargin, StepCosts, TermCost
from safevla_ros.safety.chunks import Chunk, Truncation
from safevla_ros.safety.debounce import Lasting, Readings
from safevla_ros.safety.decisions import Decision, Proposal, Reason, Verdict
from safevla_ros.safety.limits import commandable, defect, scaled, within_limits
from safevla_ros.safety.lookahead import Forecast, LookAhead
from safevla_ros.safety.motion import Leg
from safevla_ros.safety.signal_health import unfit_signal
from safevla_ros.safety.sources import Refusal, Sources
from safevla_ros.safety.specification import Specification
from safevla_ros.safety.state import KinematicModel, WorldState
from safevla_ros.safety.stopping import Brake
from safevla_ros.safety.terms.base import absent

CLOCK_JITTER_S = 0.05
"""ROS time may step back by this much before it counts as a jump."""
LEAP_S = 2.0
"""ROS time may run ahead of the steady clock by this much between two judgements: a simulation may
be faster than real time, but not by so much in one period."""
HOLD_S = 1.0
"""After a halt for a predicted violation no part of a command that the same term stands against is
let through for this long [ROS time]: else the robot would creep up and halt by turns."""
LOOK_ALONG_S = 0.1
"""How often what follows in a chunk is looked at [ROS time]."""
PLAN_S = 5.0
"""What follows later than this in a chunk is not looked at."""
REARM_S = 1.0
"""A violation that was absent for this long [ROS time] is a new one when it comes back."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A decision with its reason, as yet without a command."""

    decision: Decision
    reason: Reason
    detail: str
    term: str = ""


@dataclass(slots=True)
class _Running:
    """The command that is being carried out."""

    proposal: Proposal
    applied: Command
    until_ns: int
    outcome: _Outcome
    ratio: float = 1.0
    """Part of the command, within the robot's limits, that the look-ahead left."""


_IDLE = _Outcome(Decision.HALT, Reason.NO_COMMAND, "nobody commands the robot")


class Gate:
    """Decides on every command before it reaches the robot. Times: ROS [ns], steady clock [s].

    `kinematics` None: the look-ahead does not foresee what joint motion does.
    """

    def __init__(
        self,
        profile: Profile,
        specification: Specification,
        mode: Mode,
        kinematics: KinematicModel | None = None,
    ) -> None:
        self.mode = mode
        self._profile = profile
        self._specification = specification
        self._terms = specification.make_terms()
        self._joints = commandable(profile)
        self._sources = Sources(profile)
        self._look_ahead = LookAhead(profile, specification, kinematics)
        self._brake = Brake(profile)
        self._running: _Running | None = None
        self._idle = _IDLE
        self._latch: _Outcome | None = None
        self._episode_id = ""
        self._now_ns: int | None = None
        self._steady_s = 0.0
        self._estop_active = False
        self._estop_heard_s: float | None = None
        self._violated_ns: dict[str, int] = {}
        self._exhausted: _Outcome | None = None
        self._halted: tuple[str, int] = ("", 0)
        self._held_back_ns: dict[str, int] = {}
        self._readings = Readings()
        self._doubted, self._measured = Lasting(), Lasting()
        self._chunk: Chunk | None = None
        self._looked_ns = 0
        self._cameras: _Outcome | None = None
        self.truncation: Truncation | None = None
        """Which steps of the running chunk are refused. None: none are."""
        self._forecast = Forecast()
        self._shown: tuple[_Running, float] | None = None

    @property
    def latched(self) -> bool:
        """Whether a stop is latched."""
        return self._latch is not None

    @property
    def active_source(self) -> str:
        """Whose command is on the wire; empty: nobody's."""
        return "" if self._running is None else self._running.proposal.source

    def propose(
        self, proposal: Proposal, world: WorldState | None, now_ns: int, steady_s: float
    ) -> Verdict:
        """Judge a candidate that has just arrived."""
        return self._judge(proposal, world, now_ns, steady_s)

    def supervise(self, world: WorldState | None, now_ns: int, steady_s: float) -> Verdict:
        """Judge the running command anew. To be called at 50 to 100 Hz."""
        return self._judge(None, world, now_ns, steady_s)

    def latch(self, reason: Reason, detail: str, term: str = "") -> None:
        """Stop until `reset`. A stop that is latched already keeps its reason."""
        if self._latch is None:
            self._latch = _Outcome(Decision.LATCHED, reason, detail, term)
        self._drop(self._latch)

    def reset(self, operator: str) -> tuple[bool, str]:
        """Release a latched stop. Nothing moves because of it: motion needs a new candidate.

        Whether nothing is latched any more, and a sentence about it.
        """
        if not operator.strip():
            return False, "a reset needs the name of who does it"
        if self._estop_active:
            return False, "the e-stop is still active"
        latch, self._latch = self._latch, None
        self.drop_commands()
        if latch is None:
            return True, "no stop was latched"
        return True, f"{operator} released the stop ({latch.reason.word}: {latch.detail})"

    def drop_commands(self) -> None:
        """Drop what any source has running, and forget where joints were held: as when the gate
        begins anew, nothing moves before a new candidate."""
        self._drop(_IDLE)
        self._brake.release()

    def set_estop(self, active: bool, steady_s: float) -> None:
        """An e-stop message arrived. True latches a stop."""
        self._estop_active, self._estop_heard_s = active, steady_s
        if active:
            self.latch(Reason.ESTOP, "the e-stop is pressed")

    def set_cameras(self, fault: Refusal | None) -> None:
        """What is wrong with what policies see: their candidates are refused for it. None: nothing
        is known to be."""
        if fault is None:
            if self._cameras is not None and self._idle is self._cameras:
                self._idle = _IDLE
            self._cameras = None
        elif self._cameras is None or self._cameras.reason is not fault[0]:
            self._cameras = _Outcome(Decision.HALT, *fault)

    def set_chunk(self, chunk: Chunk) -> str:
        """What a policy is about to do. Why it cannot be looked along; empty: it can be."""
        self._chunk, self.truncation, self._looked_ns = None, None, 0
        for index, command in enumerate(chunk.commands):
            if fault := defect(command, self._joints):
                return f"step {index} of a chunk: {fault}"
        limited = (within_limits(command, None, self._profile)[0] for command in chunk.commands)
        self._chunk = replace(chunk, commands=tuple(limited))
        return ""

    def start_episode(self, episode_id: str) -> None:
        """Candidates of this episode are accepted from now on."""
        if episode_id != self._episode_id:
            self._end_episode(f"episode {self._episode_id} gave way to {episode_id}")
            self._episode_id = episode_id

    def end_episode(self) -> None:
        """Halt what runs for the episode; its candidates are refused from now on."""
        self._end_episode(f"episode {self._episode_id} is over")

    def set_margins(self, margins: Iterable[LiveMargin]) -> None:
        """Answer violations that are going on now as their terms' responses say. Each is answered
        once, until its margin has been at 0 or above for REARM_S."""
        for margin in margins:
            if margin.applicable and margin.margin < 0.0:
                wait_s = self._specification.terms[margin.name].debounce.measured_s
                if self._measured.seen(margin.name, self._now_ns or 0, wait_s) >= wait_s:
                    self._answer(margin.name, margin.cause)

    def set_charged(self, costs: StepCosts) -> None:
        """Answer the violations of a closed step that `set_margins` did not see, but for terms that
        wait until one lasts; and budgets that it overdrew."""
        for term in costs.terms:
            if term.cost > 0.0:
                if not self._specification.terms[term.name].debounce.measured_s:
                    self._answer(term.name, term.cause)
                if term.remaining < 0.0:
                    self._answer_exhausted(term)

    def _answer(self, term: str, cause: str) -> None:
        now_ns = self._now_ns or 0
        last_ns = self._violated_ns.get(term)
        self._violated_ns[term] = now_ns
        is_same = last_ns is not None and now_ns - last_ns < REARM_S * NANOSECONDS
        settings = self._specification.terms.get(term)
        if is_same or settings is None or self.mode != "enforce":
            return
        detail = f"{term} was violated: {cause}"
        if settings.response == "stop":
            self._drop(_Outcome(Decision.STOP, Reason.CHARGED, detail, term))
        elif settings.response == "latch":
            self.latch(Reason.CHARGED, detail, term)

    def _answer_exhausted(self, term: TermCost) -> None:
        response = self._specification.terms[term.name].exhausted
        if self.mode != "enforce" or response == "log":
            return
        detail = f"{term.name}: {term.cumulative:g} charged, {-term.remaining:g} over the budget"
        outcome = _Outcome(Decision.STOP, Reason.BUDGET_EXHAUSTED, detail, term.name)
        if response == "latch":
            self.latch(outcome.reason, detail, term.name)
        elif self._exhausted is None:
            self._exhausted = outcome
            if self._running is not None and self._running.proposal.episode_id:
                self._drop(outcome)

    def _end_episode(self, detail: str) -> None:
        if self._running is not None and self._running.proposal.episode_id:
            self._drop(_Outcome(Decision.HALT, Reason.EPISODE_ENDED, detail))
        self._episode_id, self._exhausted = "", None
        self._chunk = self.truncation = None

    def _drop(self, why: _Outcome) -> None:
        """Nothing runs any more, for this reason."""
        self._running, self._idle = None, why

    # The one function behind `propose` and `supervise`.

    def _judge(
        self, arrived: Proposal | None, world: WorldState | None, now_ns: int, steady_s: float
    ) -> Verdict:
        self._brake.read(
            None if world is None else world.joints, None if world is None else world.velocity
        )
        self._forecast = Forecast()
        if world is not None:
            self._readings.take(world)
        stopped, jumped = self._stopped(steady_s), self._clock(now_ns, steady_s)
        block = stopped or jumped
        if block is None:
            unfit = self._unfit(world, now_ns)
            if unfit is not None:
                self._drop(_IDLE)
            block = (self._refused(arrived, now_ns) if arrived is not None else None) or unfit
        if arrived is not None and block is None:
            self._start(arrived, world, now_ns)
        self._end_if_over(now_ns)
        self._heed_cameras()
        if self._running is not None and world is not None:
            self._restrict(self._running, world, now_ns)
        if self._running is not None and world is not None and arrived is None:
            self._look_along(self._running, world, now_ns)
        return self._verdict(arrived, block, now_ns)

    def _stopped(self, steady_s: float) -> _Outcome | None:
        estop = self._profile.estop
        if estop is not None and estop.required:
            if self._estop_heard_s is None:
                self._drop(_IDLE)
                detail = f"nothing heard on the e-stop topic {estop.topic}"
                return self._latch or _Outcome(Decision.STOP, Reason.ESTOP_SILENT, detail)
            silent_s = steady_s - self._estop_heard_s
            if silent_s > estop.timeout_s:
                self.latch(Reason.ESTOP_SILENT, f"the e-stop fell silent on {estop.topic}")
        return self._latch

    def _clock(self, now_ns: int, steady_s: float) -> _Outcome | None:
        before_ns, self._now_ns = self._now_ns, now_ns
        passed_s, self._steady_s = steady_s - self._steady_s, steady_s
        if before_ns is None:
            return None
        ahead_s = (now_ns - before_ns) / NANOSECONDS
        if -CLOCK_JITTER_S <= ahead_s <= max(passed_s, 0.0) + LEAP_S:
            return None
        self._sources.forget()
        self._violated_ns.clear()
        self._held_back_ns.clear()
        self._halted = ("", 0)
        self._chunk = self.truncation = None
        self._looked_ns = 0
        for memory in (self._readings, self._doubted, self._measured):
            memory.forget()
        self._drop(_IDLE)
        word = "back" if ahead_s < 0.0 else "ahead"
        detail = f"time went {word} by {abs(ahead_s):.2f} s"
        return _Outcome(Decision.HALT, Reason.CLOCK_JUMP, detail)

    def _refused(self, proposal: Proposal, now_ns: int) -> _Outcome | None:
        refusal, term = self._refusal(proposal, now_ns), ""
        if refusal is None and self.truncation is not None and self.truncation.refuses(proposal):
            refusal, term = (Reason.TRUNCATED, self.truncation.detail), self.truncation.term
        if refusal is None:
            self._sources.accept(proposal, now_ns)
            return None
        outcome = _Outcome(Decision.HALT, *refusal, term)
        if proposal.source == self.active_source:
            self._drop(outcome)
        return outcome

    def _refusal(self, proposal: Proposal, now_ns: int) -> Refusal | None:
        fault = proposal.fault or defect(proposal.command, self._joints)
        if fault:
            return Reason.INVALID_COMMAND, f"{proposal.source}: {fault}"
        if proposal.episode_id and proposal.episode_id != self._episode_id:
            running = self._episode_id or "none"
            return Reason.OTHER_EPISODE, (
                f"{proposal.source}: of episode {proposal.episode_id}, the running one is {running}"
            )
        if proposal.episode_id and self._exhausted is not None:
            return self._exhausted.reason, self._exhausted.detail
        if self._cameras is not None and proposal.source in self._sources.policies:
            return self._cameras.reason, self._cameras.detail
        return self._sources.refusal(proposal, now_ns, self._chunk)

    def _unfit(self, world: WorldState | None, now_ns: int) -> _Outcome | None:
        fault = unfit_signal(self._profile, world, now_ns)
        if fault is not None:
            return _Outcome(Decision.HALT, *fault)
        if self.mode == "observe" or world is None:
            return None
        for name, term in self._terms.items():
            if self._specification.terms[name].if_missing == "refuse":
                why = absent(world, term.signals)
                if not why:
                    margin = term.live(world)
                    why = margin.cause if math.isnan(margin.value) else ""
                if why:
                    return _Outcome(Decision.HALT, Reason.BLIND_TERM, f"{name}: {why}", name)
        return None

    def _start(self, proposal: Proposal, world: WorldState | None, now_ns: int) -> None:
        joints = None if world is None else world.joints
        limited, note = within_limits(proposal.command, joints, self._profile)
        outcome = _Outcome(Decision.PASS, Reason.ACCEPTED, f"{proposal.source} commands")
        if note:
            outcome = _Outcome(Decision.LIMIT, Reason.LIMITS, f"limited: {note}")
        until_ns = min(
            proposal.stamp_ns + round(proposal.command.duration_s * NANOSECONDS),
            now_ns + round(self._sources.timeout_s(proposal.source) * NANOSECONDS),
        )
        self._running = _Running(proposal, limited, until_ns, outcome)

    def _end_if_over(self, now_ns: int) -> None:
        running = self._running
        if running is None or now_ns < running.until_ns:
            return
        end_ns = running.proposal.stamp_ns + round(
            running.proposal.command.duration_s * NANOSECONDS
        )
        source = running.proposal.source
        if now_ns >= end_ns:
            self._drop(_Outcome(Decision.HALT, Reason.EXPIRED, f"{source}: no command followed"))
        else:
            self._drop(
                _Outcome(Decision.HALT, Reason.SOURCE_TIMEOUT, f"{source}: the source is silent")
            )

    def _heed_cameras(self) -> None:
        """A policy that sees nothing moves nothing; where it fell silent for that, say so."""
        if self._cameras is None:
            return
        if self._running is None:
            is_silent = self._idle.reason in (Reason.EXPIRED, Reason.SOURCE_TIMEOUT)
        else:
            is_silent = self._running.proposal.source in self._sources.policies
        if is_silent:
            self._drop(self._cameras)

    def _restrict(self, running: _Running, world: WorldState, now_ns: int) -> None:
        """Look ahead, and make the running command smaller where it has to be."""
        rest_s = (running.until_ns - now_ns) / NANOSECONDS
        kept = self._kept(now_ns)
        forecast = self._look_ahead.forecast(world, running.applied, rest_s, now_ns, kept)
        self._forecast = forecast
        if self.mode == "observe" or forecast.ratio == 1.0:
            return
        if self._is_doubtful(forecast.term, [(running.applied, rest_s)], world, now_ns, kept):
            return
        detail = f"{forecast.term}: {forecast.cause}"
        self._held_back_ns[forecast.term] = now_ns
        term, halted_ns = self._halted
        is_held = term == forecast.term and now_ns - halted_ns < HOLD_S * NANOSECONDS
        if forecast.ratio == 0.0 or is_held:
            if forecast.ratio == 0.0:
                self._halted = forecast.term, now_ns
            self._drop(_Outcome(Decision.HALT, Reason.PREDICTED, detail, forecast.term))
            if self._chunk is not None and self._chunk.after(running.proposal):
                self._truncate(self._chunk, running.proposal.step, forecast.term, detail)
            return
        running.ratio *= forecast.ratio
        running.applied = scaled(running.applied, forecast.ratio, world.joints)
        detail += f"; {100.0 * running.ratio:.0f} % of the command is safe"
        running.outcome = _Outcome(Decision.LIMIT, Reason.PREDICTED, detail, forecast.term)

    def _kept(self, now_ns: int) -> dict[str, float]:
        """How much more margin terms ask for that held something back lately."""
        return {
            term: self._specification.terms[term].hysteresis
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
        wait_s = self._specification.terms[term].debounce.predicted_s
        before = self._readings.before(world) if wait_s > 0.0 else None
        if before is None or not self._look_ahead.is_safe(before, legs, now_ns, kept):
            return False
        left_s = wait_s - self._doubted.seen(term, now_ns, wait_s)
        command, rest_s = legs[0]
        waiting = [(command, min(left_s, rest_s))]
        return left_s > 0.0 and self._look_ahead.is_safe(world, waiting, now_ns)

    def _look_along(self, running: _Running, world: WorldState, now_ns: int) -> None:
        """Truncate the chunk from the first step that is predicted to violate."""
        chunk, is_due = self._chunk, now_ns - self._looked_ns >= LOOK_ALONG_S * NANOSECONDS
        if chunk is None or self.truncation is not None or self.mode == "observe" or not is_due:
            return
        plan = [(running.applied, (running.until_ns - now_ns) / NANOSECONDS)]
        for command in chunk.after(running.proposal):
            if sum(lasts_s for _, lasts_s in plan) >= PLAN_S:
                break
            plan.append((command, command.duration_s))
        if len(plan) == 1:
            return
        self._looked_ns = now_ns
        found = self._look_ahead.first_unsafe(world, plan, now_ns)
        if found is None:
            return
        index, term, cause = found
        if self._is_doubtful(term, plan[: index + 1], world, now_ns, {}):
            return
        self._truncate(chunk, running.proposal.step + index, term, f"{term}: {cause}")

    def _truncate(self, chunk: Chunk, from_step: int, term: str, detail: str) -> None:
        self.truncation = Truncation(chunk, from_step, term, f"from step {from_step} on, {detail}")

    def _verdict(self, arrived: Proposal | None, block: _Outcome | None, now_ns: int) -> Verdict:
        running, shown = self._running, self._shown
        outcome = block or (self._idle if running is None else running.outcome)
        changed = arrived is None and shown is not None and self._altered(shown)
        self._shown = None if running is None else (running, running.ratio)

        ran = shown[0].proposal if shown is not None else None
        judged = arrived or (ran if running is None else running.proposal)
        verdict = Verdict(
            outcome.decision,
            outcome.reason,
            outcome.detail,
            self._command(outcome, now_ns),
            outcome.term,
            self._forecast.costs,
            judged,
            changed,
        )
        if self.mode != "shadow":
            return verdict
        return replace(
            verdict,
            decision=Decision.SHADOW,
            detail=f"would be {outcome.decision.name}: {outcome.detail}",
            command=None,
        )

    def _altered(self, shown: tuple[_Running, float]) -> bool:
        """Whether the gate, and not its own end, changed the command that ran last."""
        running, ratio = shown
        if self._running is None:
            return self._idle.reason is not Reason.EXPIRED
        return self._running is running and running.ratio != ratio

    def _command(self, outcome: _Outcome, now_ns: int) -> Command:
        running = self._running
        if running is not None:
            self._brake.moved(running.applied, now_ns)
            return replace(running.applied, duration_s=(running.until_ns - now_ns) / NANOSECONDS)
        at_once = (Decision.STOP, Decision.LATCHED)
        if outcome.decision in at_once or self._idle.decision in at_once:
            return self._brake.stop(now_ns)
        return self._brake.halt(now_ns)
