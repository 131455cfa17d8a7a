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
7.  In `enforce`: look-ahead (foresight.py). A command that is predicted to violate a term whose
    response is not `log` is scaled to the largest part that is safe, or halted. While it runs, the
    part only gets smaller. Motion that does not lower the margin that fired passes.
8.  In `enforce`, while a step of a chunk runs: look-ahead over what follows. The chunk is truncated
    from the first step that is predicted to violate; `truncation` tells, so that the policy plans
    anew while the steps before it run.

In `enforce` a violation that happens nevertheless is answered as its term's response says
(responses.py): `stop` drops what runs and the next candidate moves again, `latch` stops until a
reset. A budget that is overdrawn is answered as its term's `exhausted` says: with `stop` the episode
moves nothing any more.

Modes: `enforce` does all of this. `observe` forwards; 4's blind terms, 7, 8 and the responses do not
act (the predicted costs are still told). Limits of speed and range act there too: they belong to
the robot, not to the specification, and no command beyond them ever leaves. `shadow` judges
candidates as `enforce` does, calls every decision SHADOW, and sends nothing (`Verdict.command` is
None); responses do not act.

A latched stop is released by `reset` alone. The e-stop latches, so that releasing it moves nothing;
so does a required e-stop that was heard and fell silent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from safevla_ros.robot.profile import Mode, Profile
from safevla_ros.robot.state import NANOSECONDS, Command
from safevla_ros.safety.accounting import LiveMargin, StepCosts
from safevla_ros.safety.chunks import Chunk, Truncation
from safevla_ros.safety.clock import Clock
from safevla_ros.safety.decisions import Decision, Outcome, Proposal, Reason, Running, Verdict
from safevla_ros.safety.foresight import Foresight
from safevla_ros.safety.limits import commandable, defect, within_limits
from safevla_ros.safety.responses import Responses
from safevla_ros.safety.signal_health import blind_term, unfit_signal
from safevla_ros.safety.sources import Refusal, Sources
from safevla_ros.safety.specification import Specification
from safevla_ros.safety.state import KinematicModel, WorldState
from safevla_ros.safety.stopping import Brake

_IDLE = Outcome(Decision.HALT, Reason.NO_COMMAND, "nobody commands the robot")


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
        self._clock = Clock()
        self._foresight = Foresight(profile, specification, kinematics, acts=mode != "observe")
        self._responses = Responses(specification, acts=mode == "enforce")
        self._brake = Brake(profile)
        self._running: Running | None = None
        self._idle = _IDLE
        self._latch: Outcome | None = None
        self._episode_id = ""
        self._estop_active = False
        self._estop_heard_s: float | None = None
        self._cameras: Outcome | None = None
        self._shown: tuple[Running, float] | None = None

    @property
    def latched(self) -> bool:
        """Whether a stop is latched."""
        return self._latch is not None

    @property
    def active_source(self) -> str:
        """Whose command is on the wire; empty: nobody's."""
        return "" if self._running is None else self._running.proposal.source

    @property
    def truncation(self) -> Truncation | None:
        """Which steps of the running chunk are refused. None: none are."""
        return self._foresight.truncation

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
            self._latch = Outcome(Decision.LATCHED, reason, detail, term)
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
            self._cameras = Outcome(Decision.HALT, *fault)

    def set_chunk(self, chunk: Chunk) -> str:
        """What a policy is about to do. Why it cannot be looked along; empty: it can be."""
        self._foresight.set_chunk(None)
        for index, command in enumerate(chunk.commands):
            if fault := defect(command, self._joints):
                return f"step {index} of a chunk: {fault}"
        limited = (within_limits(command, None, self._profile)[0] for command in chunk.commands)
        self._foresight.set_chunk(replace(chunk, commands=tuple(limited)))
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
        """Answer violations that are going on now as their terms' responses say."""
        self._respond(self._responses.to_margins(margins, self._clock.now_ns))

    def set_charged(self, costs: StepCosts) -> None:
        """Answer the violations of a closed step that `set_margins` did not see, and budgets that it
        overdrew."""
        self._respond(self._responses.to_charges(costs, self._clock.now_ns))

    def _respond(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.decision is Decision.LATCHED:
                self.latch(outcome.reason, outcome.detail, outcome.term)
            elif outcome.reason is not Reason.BUDGET_EXHAUSTED or self._runs_for_episode:
                self._drop(outcome)

    @property
    def _runs_for_episode(self) -> bool:
        """Whether the running command belongs to the episode, and not to a person."""
        return self._running is not None and bool(self._running.proposal.episode_id)

    def _end_episode(self, detail: str) -> None:
        if self._runs_for_episode:
            self._drop(Outcome(Decision.HALT, Reason.EPISODE_ENDED, detail))
        self._episode_id = ""
        self._responses.end_episode()
        self._foresight.set_chunk(None)

    def _drop(self, why: Outcome) -> None:
        """Nothing runs any more, for this reason."""
        self._running, self._idle = None, why

    # The one function behind `propose` and `supervise`.

    def _judge(
        self, arrived: Proposal | None, world: WorldState | None, now_ns: int, steady_s: float
    ) -> Verdict:
        self._brake.read(
            None if world is None else world.joints, None if world is None else world.velocity
        )
        self._foresight.begin(world)
        stopped, jumped = self._stopped(steady_s), self._jumped(now_ns, steady_s)
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
            halt = self._foresight.restrict(self._running, world, now_ns)
            if halt is not None:
                self._drop(halt)
        if self._running is not None and world is not None and arrived is None:
            self._foresight.look_along(self._running, world, now_ns)
        return self._verdict(arrived, block, now_ns)

    def _stopped(self, steady_s: float) -> Outcome | None:
        estop = self._profile.estop
        if estop is not None and estop.required:
            if self._estop_heard_s is None:
                self._drop(_IDLE)
                detail = f"nothing heard on the e-stop topic {estop.topic}"
                return self._latch or Outcome(Decision.STOP, Reason.ESTOP_SILENT, detail)
            silent_s = steady_s - self._estop_heard_s
            if silent_s > estop.timeout_s:
                self.latch(Reason.ESTOP_SILENT, f"the e-stop fell silent on {estop.topic}")
        return self._latch

    def _jumped(self, now_ns: int, steady_s: float) -> Outcome | None:
        jump = self._clock.read(now_ns, steady_s)
        if not jump:
            return None
        self._sources.forget()
        self._responses.forget()
        self._foresight.forget()
        self._drop(_IDLE)
        return Outcome(Decision.HALT, Reason.CLOCK_JUMP, jump)

    def _refused(self, proposal: Proposal, now_ns: int) -> Outcome | None:
        refusal, term = self._refusal(proposal, now_ns), ""
        truncation = self.truncation
        if refusal is None and truncation is not None and truncation.refuses(proposal):
            refusal, term = (Reason.TRUNCATED, truncation.detail), truncation.term
        if refusal is None:
            self._sources.accept(proposal, now_ns)
            return None
        outcome = Outcome(Decision.HALT, *refusal, term)
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
        exhausted = self._responses.exhausted
        if proposal.episode_id and exhausted is not None:
            return exhausted.reason, exhausted.detail
        if self._cameras is not None and proposal.source in self._sources.policies:
            return self._cameras.reason, self._cameras.detail
        return self._sources.refusal(proposal, now_ns, self._foresight.chunk)

    def _unfit(self, world: WorldState | None, now_ns: int) -> Outcome | None:
        fault = unfit_signal(self._profile, world, now_ns)
        if fault is not None:
            return Outcome(Decision.HALT, *fault)
        if self.mode == "observe" or world is None:
            return None
        blind = blind_term(self._specification, self._terms, world)
        if blind is None:
            return None
        name, why = blind
        return Outcome(Decision.HALT, Reason.BLIND_TERM, f"{name}: {why}", name)

    def _start(self, proposal: Proposal, world: WorldState | None, now_ns: int) -> None:
        joints = None if world is None else world.joints
        limited, note = within_limits(proposal.command, joints, self._profile)
        outcome = Outcome(Decision.PASS, Reason.ACCEPTED, f"{proposal.source} commands")
        if note:
            outcome = Outcome(Decision.LIMIT, Reason.LIMITS, f"limited: {note}")
        until_ns = min(
            proposal.stamp_ns + round(proposal.command.duration_s * NANOSECONDS),
            now_ns + round(self._sources.timeout_s(proposal.source) * NANOSECONDS),
        )
        self._running = Running(proposal, limited, until_ns, outcome)

    def _end_if_over(self, now_ns: int) -> None:
        running = self._running
        if running is None or now_ns < running.until_ns:
            return
        end_ns = running.proposal.stamp_ns + round(
            running.proposal.command.duration_s * NANOSECONDS
        )
        source = running.proposal.source
        if now_ns >= end_ns:
            self._drop(Outcome(Decision.HALT, Reason.EXPIRED, f"{source}: no command followed"))
        else:
            self._drop(
                Outcome(Decision.HALT, Reason.SOURCE_TIMEOUT, f"{source}: the source is silent")
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

    def _verdict(self, arrived: Proposal | None, block: Outcome | None, now_ns: int) -> Verdict:
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
            self._foresight.costs,
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

    def _altered(self, shown: tuple[Running, float]) -> bool:
        """Whether the gate, and not its own end, changed the command that ran last."""
        running, ratio = shown
        if self._running is None:
            return self._idle.reason is not Reason.EXPIRED
        return self._running is running and running.ratio != ratio

    def _command(self, outcome: Outcome, now_ns: int) -> Command:
        running = self._running
        if running is not None:
            self._brake.moved(running.applied, now_ns)
            return replace(running.applied, duration_s=(running.until_ns - now_ns) / NANOSECONDS)
        at_once = (Decision.STOP, Decision.LATCHED)
        if outcome.decision in at_once or self._idle.decision in at_once:
            return self._brake.stop(now_ns)
        return self._brake.halt(now_ns)
