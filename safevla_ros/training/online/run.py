"""A run of constrained learning, in any world: the loop, its log, and the state to resume from.

    state.safetensors    networks, optimizers, multipliers with their controller, open windows, random
                         generators, and what each environment has done in its running episode
    log.jsonl            one line an iteration

A resumed run equals one that was never stopped where environments are deterministic (world.py) and
the number of processes is the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator

from safevla_ros.training.checkpoint import CheckpointError
from safevla_ros.training.online.agent import Agent
from safevla_ros.training.online.budgets import Constraints
from safevla_ros.training.online.collector import Collector, Episode
from safevla_ros.training.online.distributed import (
    gather,
    processes,
    rank,
    same_everywhere,
    sum_over_processes,
)
from safevla_ros.training.online.ppo import Ppo
from safevla_ros.training.online.ppo_lagrangian import PpoLagrangian
from safevla_ros.training.online.reward_shaping import RewardShaping
from safevla_ros.training.online.settings import LOG, Algorithm, LearningSettings
from safevla_ros.training.online.state import load_state, save_state
from safevla_ros.training.online.windows import EpisodeWindows, Measurement
from safevla_ros.training.online.world import World

STATE = "state.safetensors"
ALGORITHMS: Mapping[Algorithm, type[Ppo]] = {
    "ppo": Ppo,
    "ppo-lagrangian": PpoLagrangian,
    "reward-shaping": RewardShaping,
}
Report = Callable[[Mapping[str, Any]], None]


class Run:
    """A run in `folder`: a new one, or one that goes on where its state was last written.

    `agent` acts in `world`, which has `settings.environments` environments with these `tasks`.
    Raises CheckpointError when the folder's state is not of such a run.
    """

    def __init__(
        self,
        settings: LearningSettings,
        agent: Agent,
        world: World,
        tasks: Sequence[str],
        constraints: Constraints,
        folder: Path,
        report: Report,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        same_everywhere(agent)
        self.settings, self.constraints = settings, constraints
        self._folder, self._report, self._tasks = folder, report, tasks
        self.stopping = False
        """Set it to stop after the iteration that runs."""
        self.steps, self.elapsed_s = 0, 0.0
        drawing = Generator().manual_seed(1_000_003 * settings.seed + rank())
        self.algorithm = ALGORITHMS[settings.algorithm](agent, constraints, settings, drawing)
        self.windows = EpisodeWindows(constraints.budgets, settings.multipliers.window)
        self.collector = Collector(
            world,
            agent,
            constraints,
            self.windows,
            settings.environments,
            self.algorithm.gamma < 1.0,
            drawing,
        )
        self._measured: dict[int, Measurement] = {}
        if (folder / STATE).is_file():
            self._restore(folder / STATE)
        else:
            self.collector.begin()

    @property
    def share_done(self) -> float:
        """How much of the run is over, 0 to 1."""
        return min(self.steps / self.settings.steps, 1.0)

    def run(self) -> None:
        """Learn until the steps are done, or until `stopping`; then the state is written."""
        saved = time.monotonic()
        while self.steps < self.settings.steps and not self._stops():
            self._iterate()
            if self._any(time.monotonic() - saved > self.settings.checkpoint_s):
                self.save()
                saved = time.monotonic()
        self.save()

    def _iterate(self) -> None:
        begun = time.monotonic()
        batch, episodes = self.collector.collect(self.settings.ppo.rollout)
        collected = time.monotonic()
        for measurement in self.windows.settle():
            self._measured[measurement.row] = measurement
            self.algorithm.measured(measurement)
        losses = self.algorithm.learn(batch)
        steps = self.settings.ppo.rollout * self.settings.environments * processes()
        self.steps += steps
        seconds = time.monotonic() - begun
        self.elapsed_s += seconds
        line = {
            "iteration": self.algorithm.updates,
            "steps": self.steps,
            "share_done": round(self.share_done, 4),
            "elapsed_s": round(self.elapsed_s, 2),
            "steps_per_s": round(steps / seconds, 1),
            "collecting": round((collected - begun) / seconds, 3),
            "episodes": self._tally(episodes),
            "constraints": self._constraints(),
            "losses": {name: round(value, 5) for name, value in losses.items()},
        }
        if rank() == 0:
            with (self._folder / LOG).open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            self._report(line)

    def _tally(self, episodes: Sequence[Episode]) -> dict[str, dict[str, Any]]:
        """Of the episodes that ended in the iteration, by task: how many, and means."""
        terms = self.constraints.terms
        sums = np.zeros((len(self._tasks), 4 + len(terms)))
        for e in episodes:
            sums[e.task] += [1.0, e.steps, e.reward, e.success, *e.costs]
        found = {}
        for task, (count, *total) in zip(
            self._tasks, sum_over_processes(torch.from_numpy(sums)).tolist(), strict=True
        ):
            if count:
                steps, reward, success, *costs = [round(value / count, 4) for value in total]
                found[task] = {
                    "episodes": int(count),
                    "steps": steps,
                    "return": reward,
                    "success": success,
                    "cost": dict(zip(terms, costs, strict=True)),
                }
        return found

    def _constraints(self) -> dict[str, dict[str, dict[str, Any]]]:
        """By row and term: budget, J and the share of satisfied episodes of the last measured window,
        and for PPO-Lagrangian multiplier, error in budget units, and whether it is at its cap."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for row, name in enumerate(self.constraints.rows):
            measured = self._measured.get(row)
            for k, term in enumerate(self.constraints.terms):
                budget = self.constraints.budgets[row, k]
                entry = {
                    "budget": None if np.isnan(budget) else float(budget),
                    "J": None if measured is None else round(float(measured.cost[k]), 4),
                    "episodes": 0 if measured is None else measured.episodes,
                    "satisfied": None if measured is None else float(measured.satisfied[k]),
                }
                if isinstance(self.algorithm, PpoLagrangian) and not np.isnan(budget):
                    lagrange = self.algorithm.lagrange
                    error = lagrange.errors[row, k]
                    entry["lambda"] = round(float(lagrange.values[row, k]), 6)
                    entry["error"] = None if np.isnan(error) else round(float(error), 4)
                    entry["saturated"] = bool(lagrange.saturated[row, k])
                found.setdefault(name, {})[term] = entry
        return found

    def _forget_later_lines(self) -> None:
        """Drop what was logged after the state was written: it will be done again."""
        log = self._folder / LOG
        if log.is_file():
            lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
            done = [
                line
                for line in lines
                if line.endswith("\n") and json.loads(line)["steps"] <= self.steps
            ]
            log.write_text("".join(done), encoding="utf-8")

    def _stops(self) -> bool:
        return self._any(self.stopping)

    def _any(self, here: bool) -> bool:
        """Whether it is so in any process: all of them have to do the same."""
        return bool(sum_over_processes(torch.tensor([float(here)])))

    def save(self) -> None:
        """Write the state."""
        collectors = gather({"collector": self.collector.state(), "windows": self.windows.state()})
        if rank() == 0:
            save_state(
                self._folder / STATE,
                {
                    "algorithm": self.settings.algorithm,
                    "terms": list(self.constraints.terms),
                    "steps": self.steps,
                    "elapsed_s": self.elapsed_s,
                    "learner": self.algorithm.state(),
                    "processes": collectors,
                    "measured": [
                        [m.row, m.episodes, m.cost, m.satisfied] for m in self._measured.values()
                    ],
                },
            )

    def _restore(self, path: Path) -> None:
        state = load_state(path)
        for key, here in (
            ("algorithm", self.settings.algorithm),
            ("terms", list(self.constraints.terms)),
        ):
            if state[key] != here:
                raise CheckpointError(f"{path}: {key}: expected {here}, got {state[key]}")
        if len(state["processes"]) != processes():
            raise CheckpointError(
                f"{path}: written by {len(state['processes'])} processes; expected as many to go "
                f"on, got {processes()}"
            )
        mine = state["processes"][rank()]
        if len(mine["collector"]["episodes"]) != self.settings.environments:
            raise CheckpointError(
                f"{path}: written with {len(mine['collector']['episodes'])} environments, "
                f"expected {self.settings.environments}"
            )
        try:
            self.algorithm.restore(state["learner"])
        except (KeyError, RuntimeError, ValueError) as error:
            line = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{path}: expected the state of such a run: {line}") from error
        self.windows.restore(mine["windows"])
        self.collector.restore(mine["collector"])
        self.steps, self.elapsed_s = state["steps"], state["elapsed_s"]
        if rank() == 0:
            self._forget_later_lines()
        self._measured = {
            row: Measurement(row, episodes, cost.numpy(), satisfied.numpy())
            for row, episodes, cost, satisfied in state["measured"]
        }
