"""Bags as a LeRobot dataset (v3): pictures as PNG within parquet, cost columns included.

Each bag is converted by itself (`lerobot_part`), by any number of processes. One pass then joins the
parts in the order of the bags: it gives all of them the same columns and numbers their steps. So the
dataset is the same whoever did the work. Until it is whole it stands in a hidden folder beside its
place, where an export that was interrupted is taken up again.
"""

from __future__ import annotations

import fcntl
import functools
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safevla_ros.bags import BagError
from safevla_ros.bags import lerobot_format as layout
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.dataset import BASE
from safevla_ros.bags.lerobot_part import Part, described, read_part, write_part
from safevla_ros.bags.lerobot_writer import LerobotWriter
from safevla_ros.bags.many import Pool, ResultsFile, each_bag
from safevla_ros.bags.steps import EpisodeRecord, whole_episodes

Progress = Callable[[str, int, int], None]
"""Hears what is done, how much of it, and of how much."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of the bags. `notes` by bag say what was left out; `failures` are sentences, one
    for each bag that was passed over."""

    episodes: int
    steps: int
    notes: Mapping[Path, list[str]]
    failures: Sequence[str]


def export_lerobot(
    bags: Sequence[Path],
    folder: Path,
    *,
    fps: int,
    workers: int = 1,
    pool: Pool | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Exported:
    """Write the episodes of `bags` as a LeRobot dataset into the new folder `folder`.

    `fps` is the rate of steps [Hz]; LeRobot wants a whole number. Bags are converted in `workers`
    processes or those of `pool`; of each process one episode is in memory. A bag that cannot be
    converted is passed over, and so are clips whose episode is there. Called again after an
    interruption, it goes on. Raises BagError when the folder exists, another export to it is at work,
    there is no step, or cameras or the size of their pictures differ from bag to bag.
    """
    if folder.exists():
        raise BagError(f"{folder}: expected a new folder: File exists")
    place = folder.absolute().parent / f".{folder.name}.exporting"
    try:
        (place / "parts").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BagError(f"{folder}: expected a new folder: {error.strerror}") from error
    with _locked(place):
        return _export(bags, folder, place, fps, workers, pool, progress)


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Hold the hidden folder of an export, until this process ends if need be. Raises BagError where
    another export does."""
    with (place / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BagError(f"{place}: another export is at work there") from error
        yield


def _export(
    bags: Sequence[Path],
    folder: Path,
    place: Path,
    fps: int,
    workers: int,
    pool: Pool | None,
    progress: Progress,
) -> Exported:
    parts_folder = place / "parts"
    known = ResultsFile(place / "parts.jsonl")
    absolute = [bag.absolute() for bag in bags]
    waiting = [bag for bag in absolute if known.get(bag) is None]
    ready = len(bags) - len(waiting)
    work = functools.partial(write_part, folder=parts_folder)
    failures = []
    for done in each_bag(
        work,
        waiting,
        workers=workers,
        pool=pool,
        progress=lambda done, total: progress("converting bags", ready + done, ready + total),
    ):
        if done.result is None:
            failures.append(done.error)
        else:
            known.add(done.path, done.result)
    said = [known.get(bag) for bag in absolute]
    parts = [
        read_part(bag, parts_folder, each)
        for bag, each in zip(bags, said, strict=True)
        if each is not None
    ]
    exported = _join(parts, place / "dataset", fps, failures, progress)
    (place / "dataset").rename(folder)
    shutil.rmtree(place, ignore_errors=True)
    return exported


def _join(
    parts: Sequence[Part], folder: Path, fps: int, failures: list[str], progress: Progress
) -> Exported:
    notes = {part.bag: part.notes for part in parts if part.notes}
    kept = list(_kept(parts))
    if not kept:
        why = [*failures, *(f"{bag}: {note}" for bag, each in notes.items() for note in each)]
        raise BagError("no step of an episode in any of the bags: " + "; ".join(why))
    shutil.rmtree(folder, ignore_errors=True)
    episodes = [part.episodes[number].record for part, number in kept]
    tasks = list(dict.fromkeys(episode.instruction for episode in episodes))
    features = _features([part for part, _ in kept])
    writer = LerobotWriter(folder, features, fps, tasks)
    try:
        for number, (part, group) in enumerate(kept):
            progress("joining episodes", number, len(kept))
            writer.add(part, group)
    finally:
        writer.close()
    progress("joining episodes", len(kept), len(kept))
    layout.write_json(folder / layout.STATS, writer.statistics())
    robots = {episode.provenance.get(keys.ROBOT, "") for episode in episodes} - {""}
    info = layout.info(
        features,
        fps=fps,
        robot=", ".join(sorted(robots)),
        episodes=len(kept),
        frames=writer.frames,
        tasks=len(tasks),
    )
    layout.write_json(folder / layout.INFO, info)
    layout.write_json(folder / layout.OURS, {"episodes": [_ours(each) for each in episodes]})
    return Exported(len(kept), writer.frames, notes, failures)


def _kept(parts: Sequence[Part]) -> Iterator[tuple[Part, int]]:
    """Episodes as parts and numbers within them; no clip whose episode is there as a whole."""
    whole = whole_episodes(episode.record for part in parts for episode in part.episodes)
    for part in parts:
        for number, episode in enumerate(part.episodes):
            if not (episode.record.is_clip and episode.record.episode_id in whole):
                yield part, number


def _features(parts: Sequence[Part]) -> dict[str, Any]:
    """Those of the dataset: all actions and costs, and the state and cameras of the first bag.
    Raises BagError where cameras differ."""
    first = parts[0]
    for part in parts:
        if part.shapes != first.shapes:
            raise BagError(
                f"{part.bag}: expected the cameras {described(first.shapes)} of the first bag, got "
                f"{described(part.shapes)}: export such bags apart"
            )
    actions = {name for part in parts for name in part.names["action"]}
    costs = {name for part in parts for name in part.names["cost"]}
    names = {
        "action": [*BASE, *sorted(actions - set(BASE))],
        "cost": sorted(costs),
        "state": first.names["state"],
    }
    return layout.features(names, first.shapes)


def _ours(episode: EpisodeRecord) -> dict[str, Any]:
    return {
        "episode_id": episode.episode_id,
        "session": episode.session,
        "task": episode.task,
        "outcome": episode.outcome,
        "provenance": dict(episode.provenance),
    }
