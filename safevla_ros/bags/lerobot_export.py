"""Bags as a LeRobot dataset (v3): pictures as PNG within parquet, cost columns included."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from safevla_ros.bags import BagError
from safevla_ros.bags import lerobot_format as layout
from safevla_ros.bags.dataset import EpisodeDataset, Sample

_ARROW = {"float32": pa.float32(), "int64": pa.int64(), "bool": pa.bool_()}


def export_lerobot(
    data: EpisodeDataset,
    folder: Path,
    *,
    fps: int,
    robot: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write `data` as a LeRobot dataset into the new folder `folder`.

    `fps` is the rate of steps [Hz]; LeRobot wants a whole number. One episode at a time is in
    memory. Raises BagError when the folder exists, or cameras or the size of their pictures differ;
    nothing stays of a dataset that is not whole.
    """
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise BagError(f"{folder}: expected a new folder: {error.strerror}") from error
    try:
        _write(data, folder, fps, robot, progress)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _write(
    data: EpisodeDataset,
    folder: Path,
    fps: int,
    robot: str,
    progress: Callable[[int, int], None],
) -> None:
    features = layout.features(data, _picture_shapes(data[0]))
    tasks = list(dict.fromkeys(data.instruction(index) for index in range(len(data))))
    writer = _Writer(folder, features)
    try:
        _write_episodes(data, writer, tasks, fps, progress)
    finally:
        writer.close()
    _write_tasks(folder / layout.TASKS, tasks)
    layout.write_json(folder / layout.STATS, writer.statistics.as_json())
    info = {
        "codebase_version": layout.VERSION,
        "robot_type": robot or None,
        "total_episodes": len(writer.episodes),
        "total_frames": writer.frames,
        "total_tasks": len(tasks),
        "chunks_size": layout.CHUNK_FILES,
        "data_files_size_in_mb": layout.DATA_FILE_MB,
        "video_files_size_in_mb": 2 * layout.DATA_FILE_MB,
        "fps": fps,
        "splits": {"train": f"0:{len(writer.episodes)}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": features,
    }
    layout.write_json(folder / layout.INFO, info)
    ours = {
        "episodes": [
            {
                "episode_id": each.episode_id,
                "session": each.session,
                "task": each.task,
                "outcome": each.outcome,
                "provenance": dict(each.provenance),
            }
            for each in data.episodes
        ]
    }
    layout.write_json(folder / layout.OURS, ours)


def _write_episodes(
    data: EpisodeDataset,
    writer: _Writer,
    tasks: list[str],
    fps: int,
    progress: Callable[[int, int], None],
) -> None:
    rows: list[dict[str, Any]] = []
    shapes = _picture_shapes(data[0])
    for index, sample in enumerate(data):
        progress(index, len(data))
        if (found := _picture_shapes(sample)) != shapes:
            bag = data.episodes[int(sample["episode"])].bag
            raise BagError(
                f"{bag}: expected the cameras {_described(shapes)} of the first bag, got "
                f"{_described(found)}: export such bags apart"
            )
        rows.append(
            _row(sample)
            | {
                "timestamp": len(rows) / fps,
                "frame_index": len(rows),
                "episode_index": int(sample["episode"]),
                "index": index,
                "task_index": tasks.index(data.instruction(index)),
            }
        )
        writer.statistics.add(rows[-1], sample)
        is_last = index + 1 == len(data) or data.steps[index + 1].episode != sample["episode"]
        if is_last:
            writer.add_episode(rows, data.instruction(index))
            rows = []
    progress(len(data), len(data))


def _picture_shapes(sample: Sample) -> dict[str, tuple[int, ...]]:
    """(H, W, 3) of a sample's pictures by camera."""
    prefix = "observation.images."
    return {k.removeprefix(prefix): v.shape for k, v in sample.items() if k.startswith(prefix)}


def _described(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {width} x {height}" for name, (height, width, _) in shapes.items())


def _row(sample: Sample) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in (*layout.ARRAYS, *layout.SCALARS, "applicable"):
        value = np.asarray(sample[layout.SAMPLE_KEYS.get(name, name)])
        # A list of one is a number to LeRobot.
        row[name] = value.item() if value.size == 1 else value.tolist()
    for name, value in sample.items():
        if name.startswith("observation.images."):
            row[name] = {"bytes": _png(value), "path": None}
    return row


def _png(picture: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise BagError(f"a picture of shape {picture.shape} cannot be written as PNG")
    return bytes(data)


class _Writer:
    """The parquet files: data, one row group an episode, and the list of episodes."""

    def __init__(self, folder: Path, features: Mapping[str, Any]) -> None:
        self._folder = folder
        self._schema = pa.schema([(name, _arrow_type(each)) for name, each in features.items()])
        self._data: pq.ParquetWriter | None = None
        self._file = -1
        self.episodes: list[dict[str, Any]] = []
        self.frames = 0
        self.statistics = _Statistics(features)

    def add_episode(self, rows: list[dict[str, Any]], instruction: str) -> None:
        if self._data is None or self._size_mb() > layout.DATA_FILE_MB:
            self._next_file()
        assert self._data is not None
        columns = {name: [row[name] for row in rows] for name in self._schema.names}
        self._data.write_table(pa.table(columns, schema=self._schema))
        chunk, file = divmod(self._file, layout.CHUNK_FILES)
        self.episodes.append(
            {
                "episode_index": len(self.episodes),
                "tasks": [instruction],
                "length": len(rows),
                "data/chunk_index": chunk,
                "data/file_index": file,
                "dataset_from_index": self.frames,
                "dataset_to_index": self.frames + len(rows),
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
            }
        )
        self.frames += len(rows)

    def close(self) -> None:
        if self._data is not None:
            self._data.close()
        if self.episodes:
            path = self._folder / layout.EPISODES.format(chunk=0, file=0)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(self.episodes), path)

    def _path(self) -> Path:
        chunk, file = divmod(self._file, layout.CHUNK_FILES)
        return self._folder / layout.DATA.format(chunk=chunk, file=file)

    def _size_mb(self) -> float:
        return self._path().stat().st_size / 1e6

    def _next_file(self) -> None:
        if self._data is not None:
            self._data.close()
        self._file += 1
        self._path().parent.mkdir(parents=True, exist_ok=True)
        self._data = pq.ParquetWriter(self._path(), self._schema)


class _Statistics:
    """Running minimum, maximum, mean and deviation of every feature; unknown values left out.
    Pictures per channel, in 0 to 1."""

    def __init__(self, features: Mapping[str, Any]) -> None:
        self._features = features
        self._sums: dict[str, list[Any]] = {}

    def add(self, row: Mapping[str, Any], sample: Sample) -> None:
        for name, feature in self._features.items():
            if feature["dtype"] == "image":
                pixels = sample[name].reshape(-1, 3) / 255.0
            else:
                pixels = np.atleast_2d(np.asarray(row[name], np.float64))
            known = np.isfinite(pixels)
            values = np.where(known, pixels, 0.0)
            new = [
                known.sum(0),
                values.sum(0),
                (values**2).sum(0),
                np.where(known, pixels, np.inf).min(0),
                np.where(known, pixels, -np.inf).max(0),
            ]
            old = self._sums.get(name)
            if old is not None:
                new = [new[0] + old[0], new[1] + old[1], new[2] + old[2]] + [
                    np.minimum(new[3], old[3]),
                    np.maximum(new[4], old[4]),
                ]
            self._sums[name] = new

    def as_json(self) -> dict[str, Any]:
        found = {}
        for name, (count, total, squares, low, high) in self._sums.items():
            some = np.maximum(count, 1)
            mean = total / some
            deviation = np.sqrt(np.maximum(squares / some - mean**2, 0.0))
            figures = {"min": low, "max": high, "mean": mean, "std": deviation}
            shape = (-1, 1, 1) if self._features[name]["dtype"] == "image" else (-1,)
            found[name] = {
                key: np.where(np.isfinite(value), value, 0.0).reshape(shape).tolist()
                for key, value in figures.items()
            } | {"count": [int(np.max(count))]}
        return found


def _arrow_type(feature: Mapping[str, Any]) -> pa.DataType:
    if feature["dtype"] == "image":
        return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    kind = _ARROW[feature["dtype"]]
    length = math.prod(feature["shape"])
    return kind if length == 1 else pa.list_(kind, length)


def _write_tasks(path: Path, tasks: list[str]) -> None:
    """Instructions are the index of a table that pandas wrote, and are read as such."""
    index = "__index_level_0__"
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), index: tasks})
    kinds = {"task_index": "int64", index: "unicode"}
    columns = [
        {
            "name": None if name == index else name,
            "field_name": name,
            "pandas_type": kind,
            "numpy_type": "int64" if kind == "int64" else "object",
            "metadata": None,
        }
        for name, kind in kinds.items()
    ]
    said = {"index_columns": [index], "column_indexes": [], "columns": columns}
    metadata = {b"pandas": json.dumps(said | {"pandas_version": "2.0.0"}).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)
