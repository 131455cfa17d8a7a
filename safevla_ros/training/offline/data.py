"""Bags as the arrays that an offline run works on: small columns in memory, inputs on disk.

The sessions are split into three parts: one that is fitted, one that chooses and estimates, and one
that nothing touches before the test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safevla_ros.bags.dataset import EpisodeDataset
from safevla_ros.bags.steps import EpisodeRecord
from safevla_ros.policy.features import Features
from safevla_ros.policy.interface import Instruction, Observation
from safevla_ros.policy.vla.processor import NO_TOKEN, Processor
from safevla_ros.robot.messages import joints_from, odometry_from, stamp_ns
from safevla_ros.robot.pictures import read_image
from safevla_ros.robot.profile import Roles
from safevla_ros.training.episodes import EpisodeStore
from safevla_ros.training.offline.advantages import to_go
from safevla_ros.training.offline.settings import OfflineError, OfflineSettings

Floats = NDArray[np.float64]

FIT, CHOOSE, TEST = range(3)
PARTS = ("fit", "choose", "test")
COMMANDS = (
    "base.x",
    "base.y",
    "base.yaw",
    "joint.lift",
    "joint.arm",
    "joint.wrist",
    "joint.gripper",
)
"""Columns of `command`: base velocities [m/s, rad/s] and joint targets [m or rad] by role."""
TOKEN, COMMAND, IMITABLE = "token", "command", "imitable"
UNKNOWN = "unknown"
"""Who acted in bags that do not say it."""


@dataclass(frozen=True)
class Columns:
    """All steps (N,) of all episodes, one episode after another; K constrained terms.

    `episode`: index into the names. `imitable`: the action was the policy's and went through, or a
    person's, and the episode has an outcome. `cut`: something else than the policy decided.
    `cost` (N, K) is what was executed, `charged` (N, K) that with proposals that were not. `spent`
    (N, K): executed before the step. `known`: there is an outcome. `log_probability`: NaN where not
    known.
    """

    episode: NDArray[np.int64]
    step: NDArray[np.int64]
    last: NDArray[np.bool_]
    imitable: NDArray[np.bool_]
    cut: NDArray[np.bool_]
    by_policy: NDArray[np.bool_]
    known: NDArray[np.bool_]
    token: NDArray[np.int64]
    log_probability: Floats
    reward: Floats
    cost: Floats
    charged: Floats
    spent: Floats
    judged: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.episode)

    def sums(self, values: Floats) -> Floats:
        """(E, ...) sums of (N, ...) values by episode."""
        return to_go(values, self.last)[self.first]

    @property
    def first(self) -> NDArray[np.int64]:
        """(E,) index of each episode's first step."""
        return np.concatenate([[0], np.flatnonzero(self.last)[:-1] + 1])


@dataclass(frozen=True)
class OfflineData:
    """What a run learns from. `names` (E,) of the episodes in the store, `part` (E,) of each,
    `instructions` (E,), `actors` (E,) the policies that acted. `notes` say what was left out or could
    not be judged."""

    columns: Columns
    names: tuple[str, ...]
    part: NDArray[np.int64]
    instructions: tuple[str, ...]
    actors: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def fitted(self) -> NDArray[np.bool_]:
        """(E,) whether an episode is fitted: those of that part with an outcome."""
        return np.asarray((self.part == FIT) & self.columns.known[self.columns.first])

    def steps_of(self, *parts: int) -> NDArray[np.bool_]:
        """(N,) whether a step is in one of the parts."""
        return np.isin(self.part, parts)[self.columns.episode]

    def span(self, episode: int) -> slice:
        """Where an episode's steps are."""
        first = self.columns.first
        end = first[episode + 1] if episode + 1 < len(first) else len(self.columns)
        return slice(int(first[episode]), int(end))


def columns_of(dataset: EpisodeDataset, settings: OfflineSettings) -> Columns:
    """The columns of a data set. Raises OfflineError when a budget's term was judged nowhere."""
    terms = settings.terms
    for term in terms:
        if term not in dataset.cost_names:
            names = ", ".join(dataset.cost_names)
            raise OfflineError(f"budget {term!r}: the bags know only the costs {names}")
    order = [dataset.cost_names.index(term) for term in terms]
    rows = [dataset.row(index) for index in range(len(dataset))]

    def column(key: str) -> NDArray:
        return np.array([row[key] for row in rows])

    cost = np.nan_to_num(column("cost")[:, order].astype(float))
    judged = column("applicable")[:, order]
    for k, term in enumerate(terms):
        if not judged[:, k].any():
            raise OfflineError(f"budget {term!r}: it could not be judged in any step of the bags")
    by_policy = np.array([step.by_policy for step in dataset.steps])
    changed = by_policy & (column("decision") != 0)
    predicted = np.nan_to_num(column("predicted_cost")[:, order].astype(float))
    charged = cost
    if settings.charge_proposals:
        charged = np.where(changed[:, None], np.maximum(cost, predicted), cost)
    last, reward = column("done"), column("reward").astype(float)
    known = ~np.isnan(reward)
    return Columns(
        episode=column("episode"),
        step=column("step"),
        last=last,
        imitable=column("imitate") & known,
        cut=changed | ~by_policy,
        by_policy=by_policy,
        known=known,
        token=column("action.token"),
        log_probability=column("action.log_probability").astype(float),
        reward=np.nan_to_num(reward),
        cost=cost,
        charged=charged,
        spent=_spent(cost, last),
        judged=judged,
    )


def _spent(cost: Floats, last: NDArray[np.bool_]) -> Floats:
    """(N, K) cost of the episode before each step."""
    sums = np.cumsum(cost, axis=0)
    ends = np.flatnonzero(last)
    before = np.concatenate([np.zeros((1, cost.shape[1])), sums[ends[:-1]]])
    return sums - cost - before[np.searchsorted(ends, np.arange(len(cost)))]


def read_data(dataset: EpisodeDataset, settings: OfflineSettings) -> OfflineData:
    """Columns and parts of a data set. Raises OfflineError where there is not enough of it."""
    part = np.full(len(dataset.episodes), -1)
    # A part of a data set keeps the records' bags and ids, which name an episode.
    number = {_key(episode): i for i, episode in enumerate(dataset.episodes)}
    for which, piece in enumerate(dataset.split(*settings.shares, seed=settings.seed)):
        part[[number[_key(episode)] for episode in piece.episodes]] = which
    for which, name in enumerate(PARTS):
        if not (part == which).any():
            sessions = len({episode.session for episode in dataset.episodes})
            raise OfflineError(
                f"part {name!r} is empty: {sessions} sessions are too few to split; record more"
            )
    columns = columns_of(dataset, settings)
    if not (columns.known & np.isin(part, (FIT,))[columns.episode]).any():
        raise OfflineError(
            "no episode that is fitted has an outcome: label them with `safevla bags label`"
        )
    notes = [*dataset.notes]
    for k, term in enumerate(settings.terms):
        if not columns.judged[:, k].all():
            blind = 1.0 - columns.judged[:, k].mean()
            notes.append(f"{term} could not be judged in {blind:.1%} of the steps")
    if (unlabelled := int((~columns.known)[columns.first].sum())) > 0:
        notes.append(f"{unlabelled} episodes without an outcome teach costs only")
    return OfflineData(
        columns=columns,
        names=tuple(f"{i:06}" for i in range(len(dataset.episodes))),
        part=part,
        instructions=tuple(episode.instruction for episode in dataset.episodes),
        actors=tuple(
            episode.provenance.get("policy_id") or UNKNOWN for episode in dataset.episodes
        ),
        notes=tuple(notes),
    )


def _key(episode: EpisodeRecord) -> tuple[Path, str]:
    return episode.bag, episode.episode_id


def write_inputs(
    dataset: EpisodeDataset,
    data: OfflineData,
    features: Features,
    roles: Roles,
    store: EpisodeStore,
    report: Callable[[int, int], None],
    change: Callable[[dict[str, NDArray]], dict[str, NDArray]] | None = None,
) -> None:
    """Write each episode's inputs to the store: the arrays of processor.py but `budget`, or what
    `change` makes of them, and `token`, `command` (T, len(COMMANDS)) and `imitable` (T,). Episodes
    that are there stay."""
    processor = Processor(features.model_copy(update={"budget_terms": ()}), roles)
    for number, name in enumerate(data.names):
        report(number, len(data.names))
        if name in store:
            continue
        span = data.span(number)
        processor.reset(Instruction(data.instructions[number]))
        rows = list(_rows(dataset, span, processor, roles))
        arrays = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
        if change is not None:
            arrays = change(arrays)
        arrays[IMITABLE] = data.columns.imitable[span]
        store.add(name, arrays, {"steps": len(rows), "part": PARTS[data.part[number]]})
    report(len(data.names), len(data.names))


def _rows(
    dataset: EpisodeDataset, span: slice, processor: Processor, roles: Roles
) -> Iterator[dict[str, NDArray]]:
    previous = NO_TOKEN
    for index in range(span.start, span.stop):
        step, seen = dataset.steps[index], observation_of(dataset.observation(index))
        row = processor(seen, previous)
        row[TOKEN] = np.array(step.token, np.int64)
        row[COMMAND] = np.array(
            [_target(name, step.applied, seen, roles) for name in COMMANDS], np.float32
        )
        yield row
        previous = step.token if step.token >= 0 else NO_TOKEN


def _target(name: str, applied: Mapping[str, float], seen: Observation, roles: Roles) -> float:
    """Value of a column of COMMANDS; a joint that was not commanded stays where it was measured."""
    if name.startswith("base."):
        return applied.get(name, 0.0)
    joint = getattr(roles, name.removeprefix("joint."))
    measured = seen.joints.get(joint)
    return applied.get(joint, measured.position if measured is not None else math.nan)


def observation_of(message: Any) -> Observation:
    """What a recorded Observation message says, as policies are given it."""
    orientation = message.odometry.pose.pose.orientation
    if not any((orientation.x, orientation.y, orientation.z, orientation.w)):
        orientation.w = 1.0  # odometry without a pose: the velocity alone is known
    return Observation(
        stamp_ns=stamp_ns(message.header.stamp),
        images={
            str(name): read_image(image)
            for name, image in zip(message.camera_names, message.images, strict=True)
        },
        joints=joints_from(message.joint_states),
        odometry=odometry_from(message.odometry),
        object_in_hand=bool(message.object_in_hand),
    )
