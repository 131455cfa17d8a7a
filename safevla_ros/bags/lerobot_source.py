"""A LeRobot dataset (v3) read episode by episode, in any order: any process can take any of them.

Files hold many episodes. Of a parquet file the row groups that an episode lies in are read, and of a
video what comes after the key frame before it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from safevla_ros.bags import BagError
from safevla_ros.bags import lerobot_format as layout

Images = Mapping[str, NDArray[np.uint8]]
"""Pictures (H, W, 3), rgb, by camera."""
_PLACE = ("data/chunk_index", "data/file_index")


class LerobotSource:
    """The dataset in `folder`. `names` are those of its episodes: as they were recorded where it
    says so, each once, and none that leads out of a folder."""

    def __init__(self, folder: Path) -> None:
        """Read what it says about itself. Raises BagError where this is no such dataset."""
        self.folder = folder
        self.info = layout.read_json(folder / layout.INFO)
        version = self.info.get("codebase_version")
        if not str(version).startswith("v3"):
            raise BagError(
                f"{folder / layout.INFO}: codebase_version: expected v3.x, got {version!r}"
            )
        for key in ("features", "fps", "data_path"):
            if not self.info.get(key):
                raise BagError(f"{folder / layout.INFO}: {key}: expected one, got none")
        ours = layout.read_json(folder / layout.OURS) if (folder / layout.OURS).exists() else {}
        self._ours = ours.get("episodes", [])
        self._tasks = {
            row["task_index"]: next((str(v) for k, v in row.items() if k != "task_index"), "")
            for row in _all_rows(folder, layout.TASKS)
        }
        self._episodes = list(_all_rows(folder, "meta/episodes/*/*.parquet"))
        self._begins: dict[tuple[int, ...], int] = {}
        try:
            for episode in self._episodes:
                place, begin = _place(episode), int(episode["dataset_from_index"])
                self._begins[place] = min(begin, self._begins.get(place, begin))
        except (KeyError, TypeError) as error:
            raise BagError(f"{folder}/meta/episodes: no episode's place: {error}") from error
        self.names = _names([self.said(number) for number in range(len(self._episodes))])
        kinds = {name: each["dtype"] for name, each in self.info["features"].items()}
        self._images = [name for name, kind in kinds.items() if kind == "image"]
        self._videos = [name for name, kind in kinds.items() if kind == "video"]

    def said(self, number: int) -> Mapping[str, Any]:
        """What our own export says of an episode; empty for a dataset that is not of ours."""
        return self._ours[number] if number < len(self._ours) else {}

    def instruction(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """What the episode of these steps asks for."""
        return self._tasks.get(rows[0].get("task_index"), "") if rows else ""

    def steps(self, number: int) -> list[dict[str, Any]]:
        """An episode's rows, without pictures. Raises BagError."""
        return list(self._rows(self._episodes[number], ()))

    def pictures(self, number: int) -> Iterator[Images]:
        """The pictures of each of an episode's steps. Raises BagError."""
        episode = self._episodes[number]
        videos = {name: self._video(episode, name) for name in self._videos}
        rows = self._rows(episode, self._images) if self._images else None
        for _ in range(int(episode["length"])):
            images = {}
            for name, frames in videos.items():
                frame = next(frames, None)
                if frame is None:
                    raise BagError(f"video of {name}: it ends before the episode does")
                images[_camera(name)] = frame
            row = next(rows) if rows is not None else {}
            images |= {_camera(name): _decoded(row[name], name) for name in self._images}
            yield images

    def _rows(self, episode: Mapping[str, Any], columns: Collection[str]) -> Iterator[Any]:
        chunk, file = place = _place(episode)
        path = self.folder / str(self.info["data_path"]).format(chunk_index=chunk, file_index=file)
        begin = int(episode["dataset_from_index"]) - self._begins[place]
        count = 0
        for row in _file_rows(path, columns, begin, begin + int(episode["length"])):
            count += 1
            yield row
        if count < int(episode["length"]):
            raise BagError(f"{path}: it ends before the episode does")

    def _video(self, episode: Mapping[str, Any], name: str) -> Iterator[NDArray[np.uint8]]:
        where = {k: episode[f"videos/{name}/{k}"] for k in ("chunk_index", "file_index")}
        path = self.folder / str(self.info["video_path"]).format(video_key=name, **where)
        half_s = 0.5 / float(self.info["fps"])
        return _frames(path, float(episode[f"videos/{name}/from_timestamp"]) - half_s)


def _place(episode: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(episode[key]) for key in _PLACE)


def _names(said: Sequence[Mapping[str, Any]]) -> list[str]:
    """Folder names of episodes. Of clips several may be of one episode."""
    found: dict[str, None] = {}
    for number, each in enumerate(said):
        told = re.sub(r"[^\w.-]", "_", str(each.get("episode_id") or "")).lstrip(".")
        first = told or f"episode-{number:06d}"
        more = (f"{first}-{count}" for count in itertools.count(2))
        found[next(name for name in itertools.chain([first], more) if name not in found)] = None
    return list(found)


def _all_rows(folder: Path, pattern: str) -> Iterator[dict[str, Any]]:
    """Rows of small parquet files, without each episode's statistics."""
    for path in sorted(folder.glob(pattern)):
        yield from _file_rows(path, (), 0, None)


def _file_rows(
    path: Path, columns: Collection[str], begin: int, end: int | None
) -> Iterator[dict[str, Any]]:
    """Rows `begin` to `end` of a parquet file, a batch at a time in memory; of some columns, or of
    all that hold no pictures. Raises BagError."""
    try:
        with pq.ParquetFile(path) as file:
            plain = [
                field.name
                for field in file.schema_arrow
                if not (pa.types.is_struct(field.type) or field.name.startswith("stats/"))
            ]
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if begin < rows and (end is None or end > 0):
                    at = 0
                    for batch in file.iter_batches(32, [group], list(columns) or plain):
                        first = max(begin - at, 0)
                        last = len(batch) if end is None else min(end - at, len(batch))
                        if first < last:
                            yield from batch.slice(first, last - first).to_pylist()
                        at += len(batch)
                begin, end = max(begin - rows, 0), None if end is None else end - rows
    except (OSError, ValueError) as error:
        raise BagError(f"{path}: cannot be read: {error}") from error


def _frames(path: Path, begin_s: float) -> Iterator[NDArray[np.uint8]]:
    """Frames of a video from a time on. Raises BagError."""
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.time_base is not None
            container.seek(max(0, int(begin_s / stream.time_base)), stream=stream)
            for frame in container.decode(stream):
                if frame.time is None or frame.time >= begin_s:
                    yield frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, OSError) as error:
        raise BagError(f"{path}: cannot be read: {error}") from error


def _decoded(value: Any, name: str) -> NDArray[np.uint8]:
    data = value.get("bytes") if isinstance(value, dict) else None
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if picture is None:
        raise BagError(f"column {name}: expected a picture within the parquet file")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _camera(feature: str) -> str:
    return feature.removeprefix(layout.PICTURES)
