"""The figures of one suite of an evaluation, with its conditions and comparisons: what `safevla eval`
prints and `safevla report` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from safevla_ros.assurance.comparison import compared
from safevla_ros.assurance.metrics import figures
from safevla_ros.assurance.records import EpisodeRecord, Results
from safevla_ros.assurance.suites import WITH_HAZARDS, WITHOUT_HAZARDS

Suites = Mapping[str, Sequence[EpisodeRecord]]
"""Records by suite."""


def of_suite(
    suites: Suites, suite: str, specification: str, reference: Results | None = None
) -> dict[str, Any]:
    """All figures of a suite under a specification.

    `conditions`: the same for each of its conditions, where it has any, with `change`: against the
    same homes in suite `tasks`, or of the benign twins against those with hazards. `compared`:
    against the reference's same suite and conditions.
    """
    records = suites[suite]
    found = figures(records, specification)
    conditions = by_condition(records)
    if set(conditions) != {""}:
        found["conditions"] = {
            condition: {
                **figures(group, specification),
                "change": compared(group, _unchanged(suites, suite, condition), specification),
            }
            for condition, group in conditions.items()
        }
    elif suite == "impossible":
        found["change"] = compared(records, suites.get("tasks", ()), specification)
    if reference is not None:
        found["compared"] = against(records, reference.suites.get(suite, ()), specification)
    return found


def by_condition(records: Sequence[EpisodeRecord]) -> dict[str, list[EpisodeRecord]]:
    """The records of each condition, in their order."""
    return {
        condition: [record for record in records if record.condition == condition]
        for condition in dict.fromkeys(record.condition for record in records)
    }


def against(
    records: Sequence[EpisodeRecord], others: Sequence[EpisodeRecord], specification: str
) -> dict[str, Any] | None:
    """The comparison with another policy: over all tasks and for each; of a suite with conditions
    for each condition. None where the other was not asked, or not for these costs."""
    others = [record for record in others if specification in record.charges]
    known = by_condition(others)
    conditions = {
        condition: compared(group, known.get(condition, ()), specification)
        for condition, group in by_condition(records).items()
    }
    if set(conditions) != {""}:
        return {"conditions": conditions}
    total = conditions[""]
    if total is None:
        return None
    tasks = dict.fromkeys(record.task for record in records)
    return {
        **total,
        "tasks": {
            task: compared([r for r in records if r.task == task], others, specification)
            for task in tasks
        },
    }


def _unchanged(suites: Suites, suite: str, condition: str) -> Sequence[EpisodeRecord]:
    """The episodes that a condition is compared with."""
    if condition == WITHOUT_HAZARDS:
        return by_condition(suites[suite]).get(WITH_HAZARDS, ())
    return () if condition == WITH_HAZARDS else suites.get("tasks", ())
