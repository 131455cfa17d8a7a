"""A LeRobot dataset (v3) as bags: one for each episode, costs included where it has them."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from safevla_ros.bags import BagError
from safevla_ros.bags import lerobot_format as layout
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.dataset import BASE, HAND
from safevla_ros.bags.episode_writer import EpisodeInfo, EpisodeWriter, WrittenStep
from safevla_ros.bags.lerobot_source import Images, LerobotSource
from safevla_ros.bags.many import Pool, each_bag
from safevla_ros.bags.steps import DECISIONS
from safevla_ros.robot.state import BaseVelocity, Command, Joint
from safevla_ros.safety.accounting import Status, TermCost

SECOND_NS = 1_000_000_000
KEPT = (keys.POLICY_ID, keys.POLICY_SHA256, keys.ROBOT, keys.SCENARIO, keys.SEED)
CARRIED = (keys.SPECIFICATION, keys.SPECIFICATION_HASH, keys.LABELS)
"""Provenance that an episode of this data set has in no other place."""


@dataclass(frozen=True, slots=True)
class ImportedEpisodes:
    """The new bags, and a sentence for each episode that could not be read."""

    bags: Sequence[Path]
    failures: Sequence[str]


def import_lerobot(
    folder: Path,
    target: Path,
    *,
    workers: int = 1,
    pool: Pool | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImportedEpisodes:
    """Write each episode of the dataset in `folder` as a bag below `target`, in `workers` processes or
    those of `pool`.

    Columns of actions that are not base velocities are taken as joint targets by their names. An
    episode that is there already is left as it is, and one appears when it is whole, so an
    interrupted import can be resumed; one that cannot be read is passed over. Raises BagError where
    this is no such dataset.
    """
    source = LerobotSource(folder)
    target.mkdir(parents=True, exist_ok=True)
    bags = [target / name for name in source.names]
    missing = [bag for bag in bags if not (bag / keys.METADATA_FILE).is_file()]
    ready = len(bags) - len(missing)
    written, failures = [], []
    for done in each_bag(
        functools.partial(import_episode, folder=folder.absolute()),
        missing,
        workers=workers,
        pool=pool,
        progress=lambda done, total: progress(ready + done, ready + total),
    ):
        if done.error:
            failures.append(f"{folder}: episode {done.path.name}: {done.error}")
        else:
            written.append(done.path)
    return ImportedEpisodes(written, failures)


def import_episode(bag: Path, *, folder: Path) -> None:
    """Write the episode that is named as the new folder `bag` of the dataset in `folder`. Raises
    BagError or ValueError."""
    source = _source(folder, (folder / layout.INFO).stat().st_mtime_ns)
    number = source.names.index(bag.name)
    with tempfile.TemporaryDirectory(prefix=".importing-", dir=bag.parent) as part:
        try:
            steps = source.steps(number)
            asked = source.instruction(steps)
            episode = _Episode(source.info, Path(part) / bag.name, asked, source.said(number))
            episode.write(steps, source.pictures(number))
        except (LookupError, TypeError) as error:
            raise BagError(f"expected what LeRobot writes of an episode: {error!r}") from error
        (Path(part) / bag.name).rename(bag)


@functools.lru_cache(maxsize=1)
def _source(folder: Path, changed_ns: int) -> LerobotSource:
    """The dataset, read once by each process; `changed_ns` tells it from one that was there before."""
    return LerobotSource(folder)


class _Episode:
    def __init__(
        self,
        info: Mapping[str, Any],
        folder: Path,
        instruction: str,
        said: Mapping[str, Any],
    ) -> None:
        self._features = info["features"]
        self._step_ns = round(SECOND_NS / float(info["fps"]))
        self._folder = folder
        self._outcome = said.get("outcome", "UNKNOWN")
        provenance = said.get("provenance", {})
        self._reason = provenance.get(keys.OUTCOME_REASON, "")
        self._carried = {key: provenance[key] for key in CARRIED if key in provenance}
        self._info = EpisodeInfo(
            id=folder.name,
            instruction=instruction,
            task=said.get("task", ""),
            session=said.get("session", ""),
            **{key: provenance[key] for key in KEPT if key in provenance},
        )
        self._cumulative: dict[str, float] = {}

    def write(self, rows: Sequence[Mapping[str, Any]], pictures: Iterator[Images]) -> None:
        with EpisodeWriter(self._folder, self._info, provenance=self._carried) as writer:
            for index, (row, images) in enumerate(zip(rows, pictures, strict=True)):
                writer.add(self._step(index, row, images))
            writer.finish(self._outcome, self._reason, end_ns=(len(rows) + 1) * self._step_ns)

    def _step(self, index: int, row: Mapping[str, Any], images: Images) -> WrittenStep:
        state = self._named(row, "observation.state")
        joints = {n: Joint(v) for n, v in state.items() if n not in (*BASE, HAND)}
        applied = self._named(row, "action")
        proposed = self._named(row, "proposed_action") or applied
        token = row.get("token", -1)
        likely = row.get("log_probability")
        log_probability = None if likely is None or not np.isfinite(likely) else float(likely)
        by_person = row.get("imitate", False) and row.get("decision", 0)
        return WrittenStep(
            stamp_ns=(index + 1) * self._step_ns,
            ends_ns=(index + 2) * self._step_ns,
            images=images,
            joints=joints,
            velocity=_velocity(state),
            object_in_hand=bool(state.get(HAND, 0.0)),
            proposed=_command(proposed),
            applied=_command(applied),
            costs=self._costs(row),
            token=None if token is None or token < 0 else int(token),
            log_probability=log_probability,
            decision=DECISIONS[int(row.get("decision", 0))],
            source="person" if by_person else "policy",
            predicted={n: v for n, v in self._named(row, "predicted_cost").items() if v},
        )

    def _named(self, row: Mapping[str, Any], column: str) -> dict[str, Any]:
        """Values of a column by the names that the features give; numbers where they give none."""
        if column not in self._features or row.get(column) is None:
            return {}
        values = row[column] if isinstance(row[column], list) else [row[column]]
        names = self._features[column].get("names")
        if isinstance(names, dict):  # as {"motors": [...]}
            names = next(iter(names.values()), None)
        names = names or [f"{column}.{index}" for index in range(len(values))]
        return dict(zip(map(str, names), values, strict=True))

    def _costs(self, row: Mapping[str, Any]) -> list[TermCost]:
        margins, remaining, applicable = (
            self._named(row, name) for name in ("margin", "remaining", "applicable")
        )
        terms = []
        for name, cost in self._named(row, "cost").items():
            if cost is None or not np.isfinite(cost):
                continue
            self._cumulative[name] = self._cumulative.get(name, 0.0) + cost
            terms.append(
                TermCost(
                    name=name,
                    status=Status.OK if applicable.get(name, True) else Status.NOT_APPLICABLE,
                    cost=cost,
                    margin=margins.get(name, float("nan")),
                    cumulative=self._cumulative[name],
                    remaining=remaining.get(name, float("nan")) - cost,
                    cause="",
                )
            )
        return terms


def _velocity(values: Mapping[str, Any]) -> BaseVelocity:
    return BaseVelocity(*(float(values.get(name) or 0.0) for name in BASE))


def _command(values: Mapping[str, Any]) -> Command:
    joints = {name: float(value) for name, value in values.items() if name not in BASE}
    return Command(_velocity(values), joints=joints)
