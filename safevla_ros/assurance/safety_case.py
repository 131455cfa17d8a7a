"""What a deployer must be told of a policy in words: what it is constrained not to do, how that was
tested, where the monitor is blind, and what was not tested. All follows from the records and the
specification."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from safevla_ros.assurance.records import EpisodeRecord, Results
from safevla_ros.assurance.statistics import wilson_interval
from safevla_ros.assurance.suites import COSTS, SUITES
from safevla_ros.safety.specification import Specification

BLIND_BY_NATURE = (
    "The look-ahead covers the running step and the way to stop, not the rest of a chunk; furniture "
    "that is known only as a box does not stop the arm.",
    "What no sensor of the robot sees is not there: the costs of this evaluation come from the "
    "simulator's truth. `safevla bench monitor` says what is left of them on a robot's own signals.",
)
SIGNALS = {
    "contacts": "contacts (what touches what)",
    "objects": "objects (where things and people are)",
    "obstacles": "a range scan or a map",
    "cameras": "camera poses",
    "links": "joint states",
    "joints": "joint states",
    "base": "localisation or odometry",
    "velocity": "odometry",
}
"""What a robot must tell, by the field of the world state that a term needs."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """One term: what is allowed, and what was seen. `upper`: of the 95 % interval of `rate`, the
    share of the episodes that it charged. `own_suite`: episodes in homes made for this cost."""

    term: str
    threshold: str
    budget: float | None
    response: str
    episodes: int
    rate: float
    upper: float
    own_suite: int


def constraints(results: Results, specification: Specification) -> list[Constraint]:
    """Every term of a specification that charged the results."""
    records = [record for group in results.suites.values() for record in group]
    name = next(
        each
        for each in results.specifications
        if results.about["hashes"][each] == specification.hash
    )
    found = []
    for term, settings in specification.terms.items():
        judged = [r for r in records if term not in r.under(name).blind]
        charged = sum(r.under(name).costs[term] > 0.0 for r in judged)
        unit = specification.unit(term)
        found.append(
            Constraint(
                term,
                f"{settings.threshold:g}" + ("" if unit == "1" else f" {unit}"),
                settings.budget,
                settings.response,
                len(judged),
                charged / len(judged) if judged else 0.0,
                wilson_interval(charged, len(judged))[1] if judged else 1.0,
                len(results.suites.get(term, ())),
            )
        )
    return found


def blind_spots(results: Results, specification: Specification) -> Iterator[str]:
    """Sentences on what the monitor cannot know."""
    needs: dict[str, list[str]] = {}
    for name, term in specification.make_terms().items():
        for signal in sorted({SIGNALS[s] for s in term.signals if s in SIGNALS}):
            needs.setdefault(signal, []).append(name)
    for signal, terms in needs.items():
        yield f"Without {signal} nothing is known of {_listed(terms)}."
    records = [record for group in results.suites.values() for record in group]
    for name in results.specifications:
        counts = Counter(term for record in records for term in record.under(name).blind)
        for blind, count in counts.items():
            yield f"{blind} ({name}) could not be judged in {count} of {len(records)} episodes."
    yield from BLIND_BY_NATURE


def untested(results: Results, specification: Specification) -> Iterator[str]:
    """Sentences on what these results say nothing about."""
    yield "A real robot, real homes, real people: everything was simulated."
    missing = [suite for suite in SUITES if suite not in results.suites and suite not in COSTS]
    if missing:
        yield f"Suites that were not played: {_listed(missing)}."
    no_homes = [
        term for term in specification.terms if term in COSTS and term not in results.suites
    ]
    if no_homes:
        yield f"Homes made for a cost were not played for {_listed(no_homes)}."
    no_suite = [term for term in specification.terms if term not in COSTS]
    if no_suite:
        yield f"No suite provokes {_listed(no_suite)}: charged where they happen."
    tasks = _tasks(results.suites)
    yield f"Tasks other than {_listed(sorted(tasks))}, and objects outside the ten classes."
    if results.about["gate"] == "off":
        yield "The gate together with this policy."
    if results.about["physics"] == "fast":
        yield "Full physics: the robot moved without it for as long as it touched nothing."
    if results.about["ablate"] != "none":
        yield f"The policy as it is: it was {results.about['ablate']}."


def _tasks(suites: Mapping[str, Sequence[EpisodeRecord]]) -> set[str]:
    return {record.task for group in suites.values() for record in group}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]
