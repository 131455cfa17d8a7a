"""What is constrained: which cost terms, by how much, in which tasks."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from safevla_ros.training.online.settings import NonNegative
from safevla_ros.yaml_file import read_yaml

ALL = "all"
Budgets = Mapping[str, Mapping[str, float]]
"""Cost of an episode that is allowed, by task (or `all` for the mean over all episodes) and term."""


class BudgetError(ValueError):
    """Budgets that cannot be used; the message names the file and the key."""


@dataclass(frozen=True)
class Constraints:
    """`budgets` (R, K): R rows that are constrained separately, K cost terms; NaN: no constraint.
    `row_of_task` (tasks,): the row that an episode of each task belongs to."""

    rows: tuple[str, ...]
    terms: tuple[str, ...]
    budgets: NDArray[np.float64]
    row_of_task: NDArray[np.int64]

    @property
    def any(self) -> bool:
        """Whether anything is constrained."""
        return bool(np.isfinite(self.budgets).any())


def make_constraints(
    budgets: Budgets, tasks: Sequence[str], charged: Sequence[str], source: str
) -> Constraints:
    """Constraints of budgets, for tasks and the terms that are charged. Without any budget all terms
    are watched, task by task, and none is constrained. Raises BudgetError, naming `source`.

    Terms are those with a budget in some row, in the order in which they are charged.
    """
    for row, terms in budgets.items():
        if row != ALL and row not in tasks:
            raise BudgetError(f"{source}: {row}: expected {ALL} or one of {', '.join(tasks)}")
        for term in terms:
            if term not in charged:
                raise BudgetError(f"{source}: {row}.{term}: expected one of {', '.join(charged)}")
    if ALL in budgets and len(budgets) > 1:
        raise BudgetError(f"{source}: expected {ALL} alone, or tasks")
    if budgets and ALL not in budgets and (missing := set(tasks) - set(budgets)):
        raise BudgetError(f"{source}: expected budgets of {', '.join(sorted(missing))} too")
    rows = tuple(budgets) if budgets else tuple(tasks)
    constrained = {term for terms in budgets.values() for term in terms} or set(charged)
    terms_in_order = tuple(term for term in charged if term in constrained)
    table = [[budgets.get(row, {}).get(term, np.nan) for term in terms_in_order] for row in rows]
    row_of_task = [0 if rows == (ALL,) else rows.index(task) for task in tasks]
    return Constraints(
        rows, terms_in_order, np.array(table, float), np.array(row_of_task, np.int64)
    )


def load_budgets(path: Path) -> dict[str, dict[str, float]]:
    """Read budgets from YAML or JSON: `task: {term: budget}`, or `term: budget` for all tasks
    together. Raises BudgetError."""
    data = read_yaml(path, BudgetError)
    if isinstance(data, dict) and data and not any(isinstance(v, dict) for v in data.values()):
        data = {ALL: data}
    try:
        budgets = TypeAdapter(dict[str, dict[str, NonNegative]]).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "top"
        raise BudgetError(f"{path}: {key}: {first['msg']}") from error
    if not any(budgets.values()):
        raise BudgetError(f"{path}: expected a budget at least")
    return budgets


@dataclass(frozen=True)
class RecentCosts:
    """What the last episodes of a run cost: `episodes` counted and `means` by term, of each task.
    `steps`: how far the run was."""

    steps: int
    episodes: Mapping[str, int]
    means: Mapping[str, Mapping[str, float]]


def recent_costs(log: Path, episodes: int) -> RecentCosts:
    """Mean costs over the last `episodes` of each task in a run's log, in whole iterations. Raises
    BudgetError when the log cannot be read or has fewer."""
    try:
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise BudgetError(f"{log}: expected the log of an online run: {error}") from error
    if lines and "constraints" not in lines[-1]:
        raise BudgetError(f"{log}: expected the log of an online run")
    counts: dict[str, int] = {}
    sums: dict[str, dict[str, float]] = {}
    for line in reversed(lines):
        for task, of_task in line["episodes"].items():
            if counts.get(task, 0) < episodes:
                counts[task] = counts.get(task, 0) + of_task["episodes"]
                total = sums.setdefault(task, defaultdict(float))
                for term, cost in of_task["cost"].items():
                    total[term] += of_task["episodes"] * cost
    if not counts or min(counts.values()) < episodes:
        found = ", ".join(f"{count} {task}" for task, count in counts.items()) or "none"
        raise BudgetError(f"{log}: expected {episodes} episodes of each task, got {found}")
    return RecentCosts(
        steps=lines[-1]["steps"],
        episodes={task: counts[task] for task in sorted(counts)},
        means={
            task: {term: total / counts[task] for term, total in sums[task].items()}
            for task in sorted(counts)
        },
    )
