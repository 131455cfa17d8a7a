"""LeRobot's dataset format v3, as far as both directions need it: names of files and features.

meta/safevla.json is ours: what the format has no place for (provenance and outcome of each episode,
the names of the costs), so that the way back loses nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from safevla_ros.bags import BagError

VERSION = "v3.0"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-{chunk:03d}/file-{file:03d}.parquet"
DATA = "data/chunk-{chunk:03d}/file-{file:03d}.parquet"
OURS = "meta/safevla.json"
DATA_FILE_MB, CHUNK_FILES = 100, 1000

PICTURES = "observation.images."
KINDS = ("action", "cost", "state")
ARRAYS = {
    "cost": "cost",
    "predicted_cost": "cost",
    "margin": "cost",
    "remaining": "cost",
    "observation.state": "state",
    "action": "action",
    "proposed_action": "action",
    "applicable": "cost",
}
"""Columns of numbers, and of which kind the names of their entries are. To LeRobot every column whose
name begins with `action` is what a policy is trained to put out, so only one does."""
SCALARS = {
    "token": "int64",
    "log_probability": "float32",
    "decision": "int64",
    "imitate": "bool",
    "next.reward": "float32",
    "next.done": "bool",
}
INDICES = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
_ARROW = {"float32": pa.float32(), "int64": pa.int64(), "bool": pa.bool_()}
SAMPLE_KEYS = {
    "action": "action.applied",
    "proposed_action": "action.proposed",
    "token": "action.token",
    "log_probability": "action.log_probability",
    "next.reward": "reward",
    "next.done": "done",
}
"""Columns that a sample has under another name."""


def features(
    names: Mapping[str, Sequence[str]],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    indices: bool = True,
) -> dict[str, Any]:
    """The features of a dataset. `names` are those of the entries of columns by kind, `shapes`
    (H, W, 3) of the pictures by camera; without `indices`, of one whose steps are not numbered."""
    found: dict[str, Any] = {
        PICTURES + name: {
            "dtype": "image",
            "shape": list(shape),
            "names": ["height", "width", "channels"],
        }
        for name, shape in shapes.items()
    }
    for name, kind in ARRAYS.items():
        if entries := list(names[kind]):
            dtype = "bool" if name == "applicable" else "float32"
            found[name] = {"dtype": dtype, "shape": [len(entries)], "names": entries}
    for name, dtype in (SCALARS | (INDICES if indices else {})).items():
        found[name] = {"dtype": dtype, "shape": [1], "names": None}
    return found


def schema(features: Mapping[str, Any]) -> pa.Schema:
    """How parquet files hold these features."""
    return pa.schema([(name, _arrow_type(feature)) for name, feature in features.items()])


def _arrow_type(feature: Mapping[str, Any]) -> pa.DataType:
    if feature["dtype"] == "image":
        return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    kind = _ARROW[feature["dtype"]]
    length = math.prod(feature["shape"])
    return kind if length == 1 else pa.list_(kind, length)  # a list of one is a number to LeRobot


def info(
    features: Mapping[str, Any], *, fps: int, robot: str, episodes: int, frames: int, tasks: int
) -> dict[str, Any]:
    """Contents of meta/info.json."""
    return {
        "codebase_version": VERSION,
        "robot_type": robot or None,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": CHUNK_FILES,
        "data_files_size_in_mb": DATA_FILE_MB,
        "video_files_size_in_mb": 2 * DATA_FILE_MB,
        "fps": fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": dict(features),
    }


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of a dataset. Raises BagError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BagError(f"{path}: expected a LeRobot dataset, which has this file") from error
    except (OSError, ValueError) as error:
        raise BagError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise BagError(f"{path}: expected a JSON object")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
