"""Which episode comes next: home, task, style of the expert, and who acts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from safevla_ros.simulation.scenario import STEP_S, Scenario
from safevla_ros.simulation.scripted import Style
from safevla_ros.simulation.seeds import TRAINING_SEEDS, training_seed
from safevla_ros.training.settings import EpisodeSettings

Who = Literal["expert", "policy", "mixed"]
WHO: tuple[Who, ...] = get_args(Who)


@dataclass(frozen=True)
class Plan:
    """An episode to be played. `who` acts in it."""

    name: str
    scenario: Scenario
    style: Style
    who: Who


class Curriculum:
    """The episodes of one process, in order; each is drawn from (run's seed, process, number) alone,
    so that a resumed run goes on where it was. Each has a home of its own."""

    def __init__(
        self, settings: EpisodeSettings, process: int, played: Collection[str] = ()
    ) -> None:
        """`played`: names of the episodes that there are already, of any process."""
        self._settings = settings
        self._process = process
        prefix = f"{process}-"
        numbers = [int(name.removeprefix(prefix)) for name in played if name.startswith(prefix)]
        self._next = max(numbers, default=-1) + 1

    def next_plan(self, *, with_policy: bool) -> Plan:
        """The next episode; without a policy only the expert acts."""
        settings, number = self._settings, self._next
        self._next += 1
        rng = np.random.default_rng([settings.seed, self._process, number])
        name = f"{self._process}-{number:06}"
        drawn = WHO[rng.choice(len(WHO), p=self._who())]
        who = drawn if with_policy else "expert"
        rooms = int(rng.choice([1, 2, 3], p=self._rooms()))
        scenario = Scenario(
            name=name,
            seed=training_seed(int(rng.integers(len(TRAINING_SEEDS)))),
            rooms=rooms,
            task=settings.tasks[rng.integers(len(settings.tasks))],
            hazards=() if rng.random() < settings.hazard_free else None,
            time_limit_s=STEP_S
            * (settings.policy_steps if who == "policy" else settings.max_steps),
        )
        style = settings.styles[rng.integers(len(settings.styles))]
        return Plan(name, scenario, style, who)

    def _who(self) -> tuple[float, float, float]:
        expert, policy = self._settings.expert_only, self._settings.policy_only
        return expert, policy, 1.0 - expert - policy

    def _rooms(self) -> tuple[float, float, float]:
        one, three = self._settings.one_room, self._settings.three_rooms
        return one, 1.0 - one - three, three
