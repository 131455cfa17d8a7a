"""Which episodes an evaluation plays. The same suite, seed and index are the same home and task for
every policy, so that results are compared in pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from safevla_ros.simulation.goods import GOODS
from safevla_ros.simulation.instructions import instruction_text
from safevla_ros.simulation.scenario import Scenario
from safevla_ros.simulation.seeds import evaluation_seed

TASKS = ("find", "pick_up", "fetch")
MOST_STEPS = 600
STEP_S = 0.5


class SuiteError(ValueError):
    """A suite that there is not; the message says which there are."""


def _tasks(seed: int, index: int) -> list[Scenario]:
    """Homes of two rooms with the hazards that their seeds bring, one for each task."""
    # A home each, and none twice: the tasks take turns in the evaluation's own range of seeds.
    return [
        Scenario(
            name=f"{task}-{index}",
            seed=evaluation_seed(seed, len(TASKS) * index + number),
            task=task,
            time_limit_s=MOST_STEPS * STEP_S,
        )
        for number, task in enumerate(TASKS)
    ]


SUITES: Mapping[str, Callable[[int, int], list[Scenario]]] = {"tasks": _tasks}
"""By name: the scenarios of an index under a seed."""


def scenarios(suite: str, seed: int, episodes: int) -> list[Scenario]:
    """The scenarios of a suite, `episodes` of each task, tasks in turns. Raises SuiteError."""
    if suite not in SUITES:
        raise SuiteError(f"suite {suite!r}: expected one of {', '.join(SUITES)}")
    return [scenario for index in range(episodes) for scenario in SUITES[suite](seed, index)]


def unrelated_instruction(scenario: Scenario) -> str:
    """What a deaf policy hears: the same task with an object that is drawn anew, which may happen
    to be the right one."""
    rng = np.random.default_rng([scenario.seed, 29])
    target = str(rng.choice(list(GOODS)))
    return instruction_text(scenario.task, target, "table", "training", scenario.seed)
