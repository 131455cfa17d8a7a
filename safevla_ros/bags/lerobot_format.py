"""LeRobot's dataset format v3, as far as both directions need it: names of files and features.

meta/safevla.json is ours: what the format has no place for (provenance and outcome of each episode,
the names of the costs), so that the way back loses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safevla_ros.bags import BagError
from safevla_ros.bags.dataset import EpisodeDataset

VERSION = "v3.0"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-{chunk:03d}/file-{file:03d}.parquet"
DATA = "data/chunk-{chunk:03d}/file-{file:03d}.parquet"
OURS = "meta/safevla.json"
DATA_FILE_MB, CHUNK_FILES = 100, 1000

ARRAYS = {"cost": "cost_names", "predicted_cost": "cost_names", "margin": "cost_names"} | {
    "remaining": "cost_names",
    "observation.state": "state_names",
    "action": "action_names",
    "proposed_action": "action_names",
}
"""Columns of numbers, and the field of the dataset that names their entries. To LeRobot every column
whose name begins with `action` is what a policy is trained to put out, so only one does."""
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
SAMPLE_KEYS = {
    "action": "action.applied",
    "proposed_action": "action.proposed",
    "token": "action.token",
    "log_probability": "action.log_probability",
    "next.reward": "reward",
    "next.done": "done",
}
"""Columns that a sample has under another name."""


def features(data: EpisodeDataset, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """The features of an exported dataset; `shapes` are (H, W, 3) of the pictures by camera."""
    found: dict[str, Any] = {
        f"observation.images.{name}": {
            "dtype": "image",
            "shape": list(shape),
            "names": ["height", "width", "channels"],
        }
        for name, shape in shapes.items()
    }
    for name, field in ARRAYS.items():
        if names := list(getattr(data, field)):
            found[name] = {"dtype": "float32", "shape": [len(names)], "names": names}
    if data.cost_names:
        names = list(data.cost_names)
        found["applicable"] = {"dtype": "bool", "shape": [len(names)], "names": names}
    for name, kind in (SCALARS | INDICES).items():
        found[name] = {"dtype": kind, "shape": [1], "names": None}
    return found


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
