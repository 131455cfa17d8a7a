"""The loop of playing, learning and proving, as a state on disk: what each round has done so far, and
what comes next. Whoever carries out the steps may be stopped between any two of them.

    play        episodes of the running policy through the graph, recorded to bags
    fit         a candidate is learnt from all bags so far
    prove       the candidate meets the release gate: evaluated, and promoted or refused
    done        the next round runs what won
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from safevla_ros.simulation.home import generate_home
from safevla_ros.simulation.scenario import TASKS, Hazard, Scenario
from safevla_ros.simulation.seeds import training_seed

STATE = "state.json"
HOMES_PER_LOOP = 100_000
"""Each seed of a loop has so many training homes of its own."""

Step = Literal["play", "fit", "prove", "done"]
STEPS: tuple[Step, ...] = ("play", "fit", "prove", "done")


class LoopError(ValueError):
    """A loop that cannot go on; the message says what was expected."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LoopSettings(_Model):
    """What a loop was told; kept, so that one that goes on is the same one."""

    policy: str
    rounds: int
    episodes: int
    mode: str
    specification: str
    budgets: dict[str, float]
    evaluation_episodes: int
    evaluation_physics: str
    margin: float
    fit: tuple[str, ...]
    """Further arguments of `safevla train offline`."""
    time_limit_s: float
    real_time_factor: float
    seed: int


class Played(_Model):
    """An episode through the graph: how it ended, and the episode sum of each cost."""

    scenario: str
    episode_id: str
    outcome: str
    steps: int
    costs: dict[str, float]


class Round(_Model):
    """One round. `policy`: the one that plays; `candidate`: what was learnt, or `note`: why nothing
    was; `promoted`: by the release gate, or `reasons` why not; `figures`: of the candidate's
    evaluation."""

    number: int
    policy: str
    step: Step = "play"
    played: list[Played] = []
    candidate: str = ""
    note: str = ""
    promoted: bool | None = None
    reasons: list[str] = []
    figures: dict[str, Any] = {}


class LoopState(_Model):
    """A loop as it stands."""

    settings: LoopSettings
    rounds: list[Round] = []

    @property
    def over(self) -> bool:
        """Whether all rounds are done."""
        return len(self.rounds) == self.settings.rounds and self.rounds[-1].step == "done"

    def running_policy(self) -> str:
        """What plays next: the last candidate that was promoted."""
        for entry in reversed(self.rounds):
            if entry.promoted:
                return entry.candidate
        return self.settings.policy

    def current(self) -> Round:
        """The round that is under way; a new one where the last is done."""
        if not self.rounds or self.rounds[-1].step == "done":
            self.rounds.append(Round(number=len(self.rounds) + 1, policy=self.running_policy()))
        return self.rounds[-1]


Act = Callable[[LoopState, Round, Callable[[], None]], None]
"""Carries out a step of a round and notes in it what came of it; calls its last argument when what
is noted so far shall not be lost."""


def run_loop(folder: Path, state: LoopState, acts: Mapping[Step, Act]) -> None:
    """Carry out what is left of a loop. The state is on disk after every step."""

    def keep() -> None:
        save_state(folder, state)

    while not state.over:
        entry = state.current()
        keep()
        acts[entry.step](state, entry, keep)
        # Nothing was learnt: there is no candidate to prove.
        skip = entry.step == "fit" and not entry.candidate
        entry.step = "done" if skip else STEPS[STEPS.index(entry.step) + 1]
        keep()


def save_state(folder: Path, state: LoopState) -> None:
    """Write the state; it is there whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{STATE}.{os.getpid()}"
    unfinished.write_text(state.model_dump_json(indent=1) + "\n", encoding="utf-8")
    unfinished.rename(folder / STATE)


def load_state(folder: Path, settings: LoopSettings) -> LoopState:
    """The state in a folder; a new one where there is none. Raises LoopError when it is another
    loop's: only the number of rounds may grow."""
    file = folder / STATE
    if not file.is_file():
        return LoopState(settings=settings)
    try:
        state = LoopState.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        line = " ".join(str(error).split())[:200]
        raise LoopError(f"{file}: expected the state of a loop: {line}") from error
    for key, value in settings.model_dump().items():
        before = getattr(state.settings, key)
        if key != "rounds" and value != before:
            raise LoopError(f"{file}: {key} was {before!r}: expected the same, got {value!r}")
    if settings.rounds < len(state.rounds):
        raise LoopError(f"{file}: has {len(state.rounds)} rounds, expected no fewer")
    return state.model_copy(update={"settings": settings})


def scenario_of(settings: LoopSettings, number: int, episode: int) -> Scenario:
    """The scenario of an episode of a round, in a home from the training range. Its hazards are
    written down, but for forbidden zones: the monitor of a running graph cannot learn new ones."""
    index = (settings.seed * HOMES_PER_LOOP) + (number - 1) * settings.episodes + episode
    drawn = Scenario(
        name=f"round-{number}-{episode:03}",
        seed=training_seed(index),
        task=TASKS[episode % len(TASKS)],
        time_limit_s=settings.time_limit_s,
    )
    hazards: tuple[Hazard, ...] = tuple(h for h in generate_home(drawn).hazards if h != "zone")
    return drawn.model_copy(update={"hazards": hazards})


def table(state: LoopState) -> Iterator[list[str]]:
    """A row for each round, after a head."""
    yield [
        "round",
        "policy",
        "episodes",
        "success",
        "cost of an episode",
        "candidate",
        "success, evaluated",
        "cost, evaluated",
        "verdict",
    ]
    for entry in state.rounds:
        successes = sum(played.outcome == "SUCCESS" for played in entry.played)
        costs = [sum(played.costs.values()) for played in entry.played]
        figures = entry.figures
        yield [
            str(entry.number),
            Path(entry.policy).name if entry.number == 1 else _short(entry.policy),
            f"{len(entry.played)} of {state.settings.episodes}",
            f"{successes / len(costs):.2f}" if costs else "-",
            f"{np.mean(costs):.2f}" if costs else "-",
            _short(entry.candidate) if entry.candidate else "-",
            _figure(figures.get("success_rate"), "mean"),
            _figure(figures.get("cumulative_cost"), "mean"),
            _verdict(entry),
        ]


def _short(policy: str) -> str:
    """A candidate by its round: ROUND/fit/policy lies in a folder of the loop."""
    path = Path(policy)
    return path.parent.parent.name if path.parent.name == "fit" else path.name


def _figure(entry: Mapping[str, Any] | None, key: str) -> str:
    if entry is None:
        return "-"
    low, high = entry["interval"]
    return f"{entry[key]:.2f} ({low:.2f} to {high:.2f})"


def _verdict(entry: Round) -> str:
    if entry.promoted is None:
        return entry.note or f"at {entry.step}"
    return "promoted" if entry.promoted else "refused: " + "; ".join(entry.reasons[:2])


def write_scenario(folder: Path, scenario: Scenario) -> Path:
    """A file that the simulated robot can load."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{scenario.name}.yaml"
    path.write_text(json.dumps(scenario.model_dump(mode="json", exclude_defaults=True)) + "\n")
    return path.absolute()
