"""Bags as training data: one sample for each step, by index, in order, or shuffled.

Only what is small is in memory; pictures are read when a sample is asked for, a chunk of the file
at a time. So memory does not grow with the size of the bags, and reading in order reads each chunk
once. A permutation with a `window` keeps that: it shuffles windows, and steps within a window.

A sample is a dictionary of numpy arrays:

    observation.images.<camera>   uint8 (H, W, 3), rgb
    observation.state             float32 (S,), see `state_names`
    action.proposed, .applied     float32 (A,), see `action_names`; a joint that was not commanded has
                                  its measured position
    action.token                  int64, -1: none
    action.log_probability        float32, NaN: not known
    imitate                       bool: the decision was pass, or the source a person
    decision                      int64, index into `steps.DECISIONS`
    reward                        float32, 10 at the end of a success, else 0; NaN: not known
    cost, predicted_cost, margin, remaining   float32 (K,), see `cost_names`; `remaining` before the
                                  step; NaN: not known
    applicable                    bool (K,): the term could be judged
    done                          bool: the episode's last step
    episode, step, stamp_ns       int64
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safevla_ros.bags import BagError
from safevla_ros.bags.catalogue import bags_below
from safevla_ros.bags.many import Pool, each_bag
from safevla_ros.bags.observations import rgb8_picture
from safevla_ros.bags.reader import Bag
from safevla_ros.bags.steps import (
    BagSteps,
    EpisodeRecord,
    StepRecord,
    steps_of,
    whole_episodes,
)

Sample = dict[str, Any]
SUCCESS_REWARD = 10.0
BASE = ("base.x", "base.y", "base.yaw")
HAND = "object_in_hand"
MOST_OPEN_BAGS = 8
"""Bags of which a chunk is kept in memory."""


@dataclass(slots=True)
class EpisodeDataset:
    """Steps of many bags. `notes` says what was left out and why."""

    episodes: list[EpisodeRecord] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)
    action_names: tuple[str, ...] = BASE
    cost_names: tuple[str, ...] = ()
    state_names: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    _bags: dict[Path, Bag] = field(default_factory=dict, repr=False)
    _warm: list[Path] = field(default_factory=list, repr=False)

    @classmethod
    def open(
        cls,
        folder: Path | Iterable[Path],
        *,
        workers: int = 1,
        pool: Pool | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> EpisodeDataset:
        """Index the bags in `folder` at any depth, in `workers` processes or those of `pool`. A bag
        that cannot be read is passed over, with a note; so are clips whose episode is there. Raises
        BagError without any step.
        """
        paths = bags_below(folder) if isinstance(folder, Path) else list(folder)
        done = each_bag(steps_of, paths, workers=workers, pool=pool, progress=progress)
        return cls.of(each.result or BagSteps(None, notes=[each.error]) for each in done)

    @classmethod
    def of(cls, found: Iterable[BagSteps]) -> EpisodeDataset:
        """A dataset of what was read of bags. Raises BagError when there is no step."""
        dataset = cls()
        found = list(found)
        whole = whole_episodes(episode for each in found for episode in each.episodes)
        for each in found:
            dataset._add(each, whole)
        if not dataset.steps:
            raise BagError("no step of an episode in any of the bags: " + "; ".join(dataset.notes))
        columns = {name for step in dataset.steps for name in (*step.proposed, *step.applied)}
        costs = {name for step in dataset.steps for name in (*step.costs, *step.predicted)}
        dataset.action_names = BASE + tuple(sorted(columns - set(BASE)))
        dataset.cost_names = tuple(sorted(costs))
        first = dataset._observation(dataset.steps[0])
        dataset.cameras = tuple(first.camera_names)
        dataset.state_names = (*sorted(map(str, first.joint_states.name)), *BASE, HAND)
        return dataset

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Sample:
        """The sample of a step. Raises IndexError, or BagError where its bag has changed."""
        step = self.steps[index]
        observation = self._observation(step)
        joints = dict(
            zip(observation.joint_states.name, observation.joint_states.position, strict=False)
        )
        sample: Sample = {
            f"observation.images.{name}": rgb8_picture(image)
            for name, image in zip(observation.camera_names, observation.images, strict=True)
        }
        sample["observation.state"] = self._state(observation, joints)
        for name in ("proposed", "applied"):
            action = joints | getattr(step, name)
            sample[f"action.{name}"] = np.array(
                [action.get(column, math.nan) for column in self.action_names], np.float32
            )
        return sample | self.row(index)

    def row(self, index: int) -> Sample:
        """A sample without what stands in its observation: nothing is read for it."""
        step = self.steps[index]
        terms = [step.costs.get(name) for name in self.cost_names]
        return {
            "action.token": np.int64(step.token),
            "action.log_probability": np.float32(step.log_probability),
            "imitate": np.bool_(step.decision == 0 or not step.by_policy),
            "decision": np.int64(step.decision),
            "reward": np.float32(self._reward(step)),
            "cost": _column(term.cost if term else math.nan for term in terms),
            "predicted_cost": _column(step.predicted.get(name, 0.0) for name in self.cost_names),
            "margin": _column(term.margin if term else math.nan for term in terms),
            "remaining": _column(term.remaining if term else math.nan for term in terms),
            "applicable": np.array([bool(term and term.applicable) for term in terms]),
            "done": np.bool_(step.last),
            "episode": np.int64(step.episode),
            "step": np.int64(step.step),
            "stamp_ns": np.int64(step.stamp_ns),
        }

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def order(self, seed: int, *, window: int | None = None) -> NDArray[np.int64]:
        """A permutation of all indices that depends on the seed alone. With a `window` steps stay
        near those that are near them in the bags."""
        generator = np.random.default_rng(seed)
        indices = np.arange(len(self), dtype=np.int64)
        if window is None:
            return generator.permutation(indices)
        windows = [indices[at : at + window] for at in range(0, len(indices), window)]
        generator.shuffle(windows)
        return np.concatenate([generator.permutation(each) for each in windows])

    def observation(self, index: int) -> Any:
        """The Observation message of a step. Raises BagError where its bag has changed."""
        return self._observation(self.steps[index])

    def instruction(self, index: int) -> str:
        """What the episode of a step asks for."""
        return self.episodes[self.steps[index].episode].instruction

    def split(self, *shares: float, seed: int = 0) -> list[EpisodeDataset]:
        """Parts by session, of about these shares of the sessions. A session stays in the same part
        when other bags are added."""
        if not shares or min(shares) < 0.0 or abs(sum(shares) - 1.0) > 1e-9:
            raise ValueError(f"split: expected shares that add up to 1, got {shares}")
        edges = np.cumsum(shares)[:-1]
        part_of = {
            each.session: int(np.searchsorted(edges, _draw(seed, each.session), side="right"))
            for each in self.episodes
        }
        return [
            self._only({e for e, each in enumerate(self.episodes) if part_of[each.session] == part})
            for part in range(len(shares))
        ]

    def _only(self, episodes: set[int]) -> EpisodeDataset:
        renumbered = {old: new for new, old in enumerate(sorted(episodes))}
        return replace(
            self,
            episodes=[self.episodes[old] for old in renumbered],
            steps=[
                replace(step, episode=renumbered[step.episode])
                for step in self.steps
                if step.episode in renumbered
            ],
        )

    def _add(self, found: BagSteps, whole: set[str]) -> None:
        self.notes += found.notes
        for why, count in found.left_out.items():
            self.notes.append(f"{count} steps left out: {why}")
        numbers = {}
        for number, episode in enumerate(found.episodes):
            if not (episode.is_clip and episode.episode_id in whole):
                numbers[number] = len(self.episodes)
                self.episodes.append(episode)
                if found.bag is not None:
                    self._bags[episode.bag] = found.bag
        self.steps += [
            replace(step, episode=numbers[step.episode])
            for step in found.steps
            if step.episode in numbers
        ]

    def _reward(self, step: StepRecord) -> float:
        outcome = self.episodes[step.episode].outcome
        if outcome not in ("SUCCESS", "FAILURE", "ABORTED"):
            return math.nan
        return SUCCESS_REWARD if step.last and outcome == "SUCCESS" else 0.0

    def _observation(self, step: StepRecord) -> Any:
        path = self.episodes[step.episode].bag
        bag = self._bags[path]
        if path not in self._warm:
            self._warm.append(path)
            if len(self._warm) > MOST_OPEN_BAGS:
                self._bags[self._warm.pop(0)].forget()
        return bag.decode(bag.read_at(step.observation))

    def _state(self, observation: Any, joints: dict[str, float]) -> NDArray[np.float32]:
        twist = observation.odometry.twist.twist
        values = joints | {
            "base.x": twist.linear.x,
            "base.y": twist.linear.y,
            "base.yaw": twist.angular.z,
            HAND: float(observation.object_in_hand),
        }
        return np.array([values.get(name, math.nan) for name in self.state_names], np.float32)


def episode_returns(dataset: EpisodeDataset) -> dict[str, NDArray[np.float64]]:
    """Per episode (E,): the reward under `reward`, and the sum of each cost under its name."""
    count = len(dataset.episodes)
    sums = {name: np.zeros(count) for name in ("reward", *dataset.cost_names)}
    for index, step in enumerate(dataset.steps):
        row = dataset.row(index)
        sums["reward"][step.episode] += row["reward"]
        for name, cost in zip(dataset.cost_names, row["cost"], strict=True):
            sums[name][step.episode] += 0.0 if math.isnan(cost) else cost
    return sums


def _column(values: Iterable[float]) -> NDArray[np.float32]:
    return np.array(list(values), np.float32)


def _draw(seed: int, session: str) -> float:
    """A number in [0, 1) that belongs to this session."""
    digest = hashlib.sha256(f"{seed}:{session}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64
