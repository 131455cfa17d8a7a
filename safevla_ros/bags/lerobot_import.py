"""A LeRobot dataset (v3) as bags: one for each episode, costs included where it has them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from safevla_ros.bags import BagError
from safevla_ros.bags import lerobot_format as layout
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.dataset import BASE, HAND
from safevla_ros.bags.episode_writer import EpisodeInfo, EpisodeWriter, WrittenStep
from safevla_ros.bags.steps import DECISIONS
from safevla_ros.robot.state import BaseVelocity, Command, Joint
from safevla_ros.safety.accounting import Status, TermCost

SECOND_NS = 1_000_000_000
KEPT = (keys.POLICY_ID, keys.POLICY_SHA256, keys.ROBOT, keys.SCENARIO, keys.SEED)
CARRIED = (keys.SPECIFICATION, keys.SPECIFICATION_HASH, keys.LABELS)
"""Provenance that an episode of this data set has in no other place."""


def import_lerobot(
    folder: Path,
    target: Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Path]:
    """Write each episode of the dataset in `folder` as a bag below `target`; the new bags.

    Columns of actions that are not base velocities are taken as joint targets by their names. An
    episode that is there already is left as it is, and one appears when it is whole, so an
    interrupted import can be resumed. Raises BagError where this is no such dataset, or something in
    it cannot be read.
    """
    info = layout.read_json(folder / layout.INFO)
    if not str(info.get("codebase_version", "")).startswith("v3"):
        raise BagError(
            f"{folder / layout.INFO}: codebase_version: expected v3.x, got "
            f"{info.get('codebase_version')!r}"
        )
    ours = layout.read_json(folder / layout.OURS) if (folder / layout.OURS).exists() else {}
    episodes = _rows(folder, "meta/episodes/*/*.parquet")
    tasks = {row["task_index"]: _task(row) for row in _rows(folder, layout.TASKS)}
    known = ours.get("episodes", [])
    written = []
    rows = _rows(folder, "data/*/*.parquet")
    pictures = _Pictures(folder, info)
    for number, episode in enumerate(episodes):
        progress(number, int(info.get("total_episodes", 0)))
        steps = [next(rows) for _ in range(int(episode["length"]))]
        said = known[number] if number < len(known) else {}
        name = said.get("episode_id") or f"episode-{number:06d}"
        if (target / name / keys.METADATA_FILE).is_file():
            pictures.skip(episode, len(steps))
            continue
        instruction = tasks.get(steps[0].get("task_index"), "") if steps else ""
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".importing-", dir=target) as part:
            bag = _Episode(info, Path(part) / name, name, instruction, said)
            bag.write(steps, pictures.of(episode, len(steps)))
            (Path(part) / name).rename(target / name)
        written.append(target / name)
    progress(1, 1)
    return written


def _rows(folder: Path, pattern: str, columns: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """Rows of the parquet files, in order, a batch at a time in memory; of some columns, or of all
    that hold no pictures."""
    for path in sorted(folder.glob(pattern)):
        yield from _file_rows(path, columns)


def _file_rows(path: Path, columns: Collection[str]) -> Iterator[dict[str, Any]]:
    try:
        file = pq.ParquetFile(path)
        plain = [f.name for f in file.schema_arrow if not pa.types.is_struct(f.type)]
        for batch in file.iter_batches(batch_size=32, columns=list(columns) or plain):
            yield from batch.to_pylist()
    except (OSError, ValueError) as error:
        raise BagError(f"{path}: cannot be read: {error}") from error


def _task(row: Mapping[str, Any]) -> str:
    return next((str(value) for name, value in row.items() if name != "task_index"), "")


class _Episode:
    def __init__(
        self,
        info: Mapping[str, Any],
        folder: Path,
        name: str,
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
            id=name,
            instruction=instruction,
            task=said.get("task", ""),
            session=said.get("session", ""),
            **{key: provenance[key] for key in KEPT if key in provenance},
        )
        self._cumulative: dict[str, float] = {}

    def write(
        self, rows: list[dict[str, Any]], pictures: Iterator[Mapping[str, NDArray[np.uint8]]]
    ) -> None:
        with EpisodeWriter(self._folder, self._info, provenance=self._carried) as writer:
            for index, (row, images) in enumerate(zip(rows, pictures, strict=True)):
                writer.add(self._step(index, row, images))
            writer.finish(self._outcome, self._reason, end_ns=(len(rows) + 1) * self._step_ns)

    def _step(
        self, index: int, row: Mapping[str, Any], images: Mapping[str, NDArray[np.uint8]]
    ) -> WrittenStep:
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


class _Pictures:
    """Pictures of the steps, from parquet columns or from videos that hold many episodes."""

    def __init__(self, folder: Path, info: Mapping[str, Any]) -> None:
        self._folder = folder
        self._path = info.get("video_path")
        kinds = {name: each["dtype"] for name, each in info["features"].items()}
        self._images = [name for name, kind in kinds.items() if kind == "image"]
        self._videos = [name for name, kind in kinds.items() if kind == "video"]
        self._frames: dict[Path, Iterator[NDArray[np.uint8]]] = {}
        self._image_rows = (
            _rows(folder, "data/*/*.parquet", self._images) if self._images else iter(())
        )

    def of(
        self, episode: Mapping[str, Any], count: int
    ) -> Iterator[Mapping[str, NDArray[np.uint8]]]:
        """Pictures by camera of each of an episode's steps."""
        videos = {name: self._video(episode, name) for name in self._videos}
        for _ in range(count):
            found = {_camera(name): next(frames) for name, frames in videos.items()}
            row = next(self._image_rows) if self._images else {}
            yield found | {_camera(name): _decoded(row[name], name) for name in self._images}

    def skip(self, episode: Mapping[str, Any], count: int) -> None:
        """Pass over an episode."""
        for frames in [self._video(episode, name) for name in self._videos]:
            for _ in range(count):
                next(frames)
        for _ in range(count if self._images else 0):
            next(self._image_rows)

    def _video(self, episode: Mapping[str, Any], name: str) -> Iterator[NDArray[np.uint8]]:
        where = {k: episode[f"videos/{name}/{k}"] for k in ("chunk_index", "file_index")}
        path = self._folder / str(self._path).format(video_key=name, **where)
        return self._frames.setdefault(path, _frames(path))


def _frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    import av

    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def _decoded(value: Any, name: str) -> NDArray[np.uint8]:
    data = value.get("bytes") if isinstance(value, dict) else None
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if picture is None:
        raise BagError(f"column {name}: expected a picture within the parquet file")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _camera(feature: str) -> str:
    return feature.removeprefix("observation.images.")


def _velocity(values: Mapping[str, Any]) -> BaseVelocity:
    return BaseVelocity(*(float(values.get(name) or 0.0) for name in BASE))


def _command(values: Mapping[str, Any]) -> Command:
    joints = {name: float(value) for name, value in values.items() if name not in BASE}
    return Command(_velocity(values), joints=joints)
