"""The parquet files of a LeRobot dataset, made of the parts that single bags gave."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from safevla_ros.bags import BagError
from safevla_ros.bags import lerobot_format as layout
from safevla_ros.bags.lerobot_part import Part
from safevla_ros.bags.lerobot_statistics import Moments, as_json, merged, moments

UNKNOWN: dict[str, Any] = {"predicted_cost": 0.0, "applicable": False}
"""What a column has of a name that a bag does not know; else NaN."""


class LerobotWriter:
    """Data, one row group an episode, and the lists of episodes and of tasks."""

    def __init__(
        self, folder: Path, features: Mapping[str, Any], fps: int, tasks: Sequence[str]
    ) -> None:
        self._folder = folder
        self._features = features
        self._schema = layout.schema(features)
        self._fps = fps
        self._tasks = tasks
        self._data: pq.ParquetWriter | None = None
        self._file = -1
        self._moments: dict[str, Moments] = {}
        self._episodes: list[dict[str, Any]] = []
        self.frames = 0

    def add(self, part: Part, number: int) -> None:
        """The next episode: that of this number in a part. Raises BagError."""
        episode = part.episodes[number]
        try:
            with pq.ParquetFile(part.file) as file:
                table = file.read_row_group(number)
        except (OSError, ValueError) as error:
            begin_anew = f"to begin anew, remove {part.file.parents[1]}"
            raise BagError(f"{part.file}: cannot be read: {error}; {begin_anew}") from error
        frames = np.arange(episode.steps)
        columns = aligned(table, part.names, self._features) | {
            "timestamp": frames / self._fps,
            "frame_index": frames,
            "episode_index": np.full(episode.steps, len(self._episodes)),
            "index": frames + self.frames,
            "task_index": np.full(episode.steps, self._tasks.index(episode.record.instruction)),
        }
        for name, column in columns.items():
            self._count(name, moments(column.reshape(episode.steps, -1).astype(np.float64)))
        for camera, found in episode.pictures.items():
            self._count(layout.PICTURES + camera, np.array(found))
        arrays = {
            field.name: _arrow(columns[field.name], field.type)
            if field.name in columns
            else table[field.name]
            for field in self._schema
        }
        if self._data is None or self._size_mb() > layout.DATA_FILE_MB:
            self._next_file()
        assert self._data is not None
        self._data.write_table(pa.table(arrays, schema=self._schema))
        chunk, file = divmod(self._file, layout.CHUNK_FILES)
        self._episodes.append(
            {
                "episode_index": len(self._episodes),
                "tasks": [episode.record.instruction],
                "length": episode.steps,
                "data/chunk_index": chunk,
                "data/file_index": file,
                "dataset_from_index": self.frames,
                "dataset_to_index": self.frames + episode.steps,
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
            }
        )
        self.frames += episode.steps

    def statistics(self) -> dict[str, Any]:
        """Contents of meta/stats.json."""
        return {
            name: as_json(self._moments[name], picture=feature["dtype"] == "image")
            for name, feature in self._features.items()
        }

    def close(self) -> None:
        """Finish the files."""
        if self._data is not None:
            self._data.close()
        if self._episodes:
            path = self._folder / layout.EPISODES.format(chunk=0, file=0)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(self._episodes), path)
            _write_tasks(self._folder / layout.TASKS, self._tasks)

    def _count(self, name: str, found: Moments) -> None:
        known = self._moments.get(name)
        self._moments[name] = found if known is None else merged(known, found)

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


def aligned(
    table: pa.Table, names: Mapping[str, Sequence[str]], features: Mapping[str, Any]
) -> dict[str, NDArray[Any]]:
    """The numbers of a part as the whole dataset has them: columns (N, K) with an entry for every
    name of the features, scalars (N,). A joint that this bag never commanded has its measured
    position, as in `bags.dataset`."""
    found = {name: _numbers(table[name]) for name in layout.SCALARS}
    for name, kind in layout.ARRAYS.items():
        if name not in features:
            continue
        had = {entry: index for index, entry in enumerate(names[kind])}
        values = _numbers(table[name]).reshape(len(table), -1) if had else None
        dtype = features[name]["dtype"]
        wanted = features[name]["names"]
        whole = np.full((len(table), len(wanted)), UNKNOWN.get(name, np.nan), dtype)
        for index, entry in enumerate(wanted):
            if values is not None and entry in had:
                whole[:, index] = values[:, had[entry]]
        found[name] = whole
    state = {entry: index for index, entry in enumerate(names["state"])}
    measured = _numbers(table["observation.state"]).reshape(len(table), -1)
    for name in ("action", "proposed_action"):
        for index, entry in enumerate(features[name]["names"]):
            if entry not in names["action"] and entry in state:
                found[name][:, index] = measured[:, state[entry]]
    return found


def _numbers(column: pa.ChunkedArray) -> NDArray[Any]:
    values = column.combine_chunks()
    if pa.types.is_fixed_size_list(values.type):
        values = values.flatten()
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _arrow(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        inner = pa.array(values.ravel(), kind.value_type)
        return pa.FixedSizeListArray.from_arrays(inner, kind.list_size)
    return pa.array(values.ravel(), kind)


def _write_tasks(path: Path, tasks: Sequence[str]) -> None:
    """Instructions are the index of a table that pandas wrote, and are read as such."""
    index = "__index_level_0__"
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), index: list(tasks)})
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
