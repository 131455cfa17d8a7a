"""What is done about violations that happen nevertheless, and about budgets that are overdrawn, as
the specification says: nothing, a stop, or a stop that is latched.

A violation is answered once: until it was absent for REARM_S it is the same one. A term's
`debounce.measured_s` leaves what is over sooner unanswered. With `exhausted: stop` nothing of the
episode moves any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from safevla_ros.robot.state import NANOSECONDS
from safevla_ros.safety.accounting import LiveMargin, StepCosts, TermCost
from safevla_ros.safety.debounce import Lasting
from safevla_ros.safety.decisions import Decision, Outcome, Reason
from safevla_ros.safety.specification import Specification

REARM_S = 1.0
"""A violation that was absent for this long [ROS time] is a new one when it comes back."""
_STOPS = {"stop": Decision.STOP, "latch": Decision.LATCHED}


class Responses:
    """Stops for what was violated or overdrawn. Times: ROS [ns]. `acts` False: there are none."""

    def __init__(self, specification: Specification, *, acts: bool) -> None:
        self._terms = specification.terms
        self._acts = acts
        self._violated_ns: dict[str, int] = {}
        self._measured = Lasting()
        self.exhausted: Outcome | None = None
        """Why nothing of the running episode may move any more. None: it may."""

    def forget(self) -> None:
        """The clock jumped: no violation is known to go on."""
        self._violated_ns.clear()
        self._measured.forget()

    def end_episode(self) -> None:
        """The next episode has its budgets whole."""
        self.exhausted = None

    def to_margins(self, margins: Iterable[LiveMargin], now_ns: int) -> Iterator[Outcome]:
        """Stops for violations that are going on now."""
        for margin in margins:
            if margin.applicable and margin.margin < 0.0:
                wait_s = self._terms[margin.name].debounce.measured_s
                if self._measured.seen(margin.name, now_ns, wait_s) >= wait_s:
                    yield from self._to_violation(margin.name, margin.cause, now_ns)

    def to_charges(self, costs: StepCosts, now_ns: int) -> Iterator[Outcome]:
        """Stops for the violations of a closed step that `to_margins` did not see, but for terms
        that wait until one lasts; and for budgets that it overdrew."""
        for term in costs.terms:
            if term.cost > 0.0:
                if not self._terms[term.name].debounce.measured_s:
                    yield from self._to_violation(term.name, term.cause, now_ns)
                if term.remaining < 0.0:
                    yield from self._to_overdraft(term)

    def _to_violation(self, term: str, cause: str, now_ns: int) -> Iterator[Outcome]:
        last_ns = self._violated_ns.get(term)
        self._violated_ns[term] = now_ns
        is_same = last_ns is not None and now_ns - last_ns < REARM_S * NANOSECONDS
        decision = _STOPS.get(self._terms[term].response)
        if self._acts and decision is not None and not is_same:
            yield Outcome(decision, Reason.CHARGED, f"{term} was violated: {cause}", term)

    def _to_overdraft(self, term: TermCost) -> Iterator[Outcome]:
        decision = _STOPS.get(self._terms[term.name].exhausted)
        if not self._acts or decision is None:
            return
        detail = f"{term.name}: {term.cumulative:g} charged, {-term.remaining:g} over the budget"
        outcome = Outcome(decision, Reason.BUDGET_EXHAUSTED, detail, term.name)
        if decision is Decision.STOP:
            if self.exhausted is not None:
                return
            self.exhausted = outcome
        yield outcome
