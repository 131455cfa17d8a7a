"""One bag's part of a LeRobot dataset, as a parquet file that waits to be joined with the others.

A part knows nothing of the other bags, so that it can be made anywhere and in any order: its columns
have this bag's names, it counts neither episodes nor tasks, and each episode is a row group.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
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
from safevla_ros.bags.lerobot_statistics import moments
from safevla_ros.bags.steps import EpisodeRecord, steps_of

Shapes = dict[str, tuple[int, ...]]
"""(H, W, 3) of pictures by camera."""


@dataclass(frozen=True, slots=True)
class PartEpisode:
    """An episode in a part. `pictures` holds the `moments` of each camera's pixels, in 0 to 1."""

    record: EpisodeRecord
    steps: int
    pictures: Mapping[str, list[list[float]]]

    def as_json(self) -> dict[str, Any]:
        """As JSON has it, for `from_json`."""
        return asdict(self) | {"record": asdict(self.record) | {"bag": str(self.record.bag)}}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> PartEpisode:
        """The episode of which `as_json` said this."""
        record = EpisodeRecord(**(said["record"] | {"bag": Path(said["record"]["bag"])}))
        return cls(record, said["steps"], said["pictures"])


@dataclass(frozen=True, slots=True)
class Part:
    """What a bag gave: `file` holds its `episodes`, a row group each. `names` are those of the
    entries of its columns, by the keys of `layout.ARRAYS`."""

    bag: Path
    file: Path
    names: Mapping[str, list[str]]
    shapes: Shapes
    episodes: list[PartEpisode]
    notes: list[str]


def write_part(bag: Path, *, folder: Path) -> dict[str, Any]:
    """Write a bag's part into `folder`, for `read_part`. Without an episode there is no file.

    Raises BagError where nothing can be read, or the pictures of a camera differ in size.
    """
    found = steps_of(bag)
    try:
        data = EpisodeDataset.of([found])
    except BagError as error:
        if found.notes:  # something is wrong with it, rather than nothing in it
            raise BagError(f"{bag}: {error}") from error
        why = "".join(f", {count} left out: {why}" for why, count in found.left_out.items())
        return {"names": {}, "shapes": {}, "episodes": [], "notes": [f"no step of an episode{why}"]}
    names = {kind: list(getattr(data, f"{kind}_names")) for kind in layout.KINDS}
    shapes = _shapes(data[0])
    path = part_file(folder, bag)
    temporary = path.with_suffix(f".{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            episodes = _write(stream, data, names, shapes)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return {
        "names": names,
        "shapes": shapes,
        "episodes": [episode.as_json() for episode in episodes],
        "notes": data.notes,
    }


def read_part(bag: Path, folder: Path, said: Mapping[str, Any]) -> Part:
    """The part of which `write_part` said this, also once it was JSON."""
    return Part(
        bag=bag,
        file=part_file(folder, bag),
        names=said["names"],
        shapes={camera: tuple(shape) for camera, shape in said["shapes"].items()},
        episodes=[PartEpisode.from_json(each) for each in said["episodes"]],
        notes=said["notes"],
    )


def part_file(folder: Path, bag: Path) -> Path:
    """Where a bag's part is; bags in different places may have the same name."""
    return folder / f"{hashlib.sha256(str(bag.absolute()).encode()).hexdigest()[:16]}.parquet"


def _write(
    stream: Any, data: EpisodeDataset, names: Mapping[str, list[str]], shapes: Shapes
) -> list[PartEpisode]:
    schema = layout.schema(layout.features(names, shapes, indices=False))
    counts = np.bincount([step.episode for step in data.steps], minlength=len(data.episodes))
    samples = iter(data)
    episodes = []
    with pq.ParquetWriter(stream, schema) as writer:
        for episode, count in zip(data.episodes, counts, strict=True):
            columns: dict[str, list[Any]] = {name: [] for name in schema.names}
            pictures: dict[str, NDArray[np.float64]] = {}
            for _ in range(count):
                sample = next(samples)
                if (found := _shapes(sample)) != shapes:
                    raise BagError(
                        f"{episode.bag}: pictures change from {described(shapes)} to "
                        f"{described(found)}"
                    )
                for name, value in _row(sample, schema.names).items():
                    columns[name].append(value)
                for camera in shapes:
                    pixels = sample[layout.PICTURES + camera].reshape(-1, 3) / 255.0
                    pictures[camera] = moments(pixels, pictures.get(camera))
            writer.write_table(pa.table(columns, schema=schema))
            shown = {camera: each.tolist() for camera, each in pictures.items()}
            episodes.append(PartEpisode(episode, int(count), shown))
    return episodes


def described(shapes: Shapes) -> str:
    """Cameras and sizes as a sentence has them."""
    return ", ".join(f"{name} {width} x {height}" for name, (height, width, _) in shapes.items())


def _shapes(sample: Sample) -> Shapes:
    return {
        name.removeprefix(layout.PICTURES): value.shape
        for name, value in sample.items()
        if name.startswith(layout.PICTURES)
    }


def _row(sample: Sample, columns: list[str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in columns:
        value = np.asarray(sample[layout.SAMPLE_KEYS.get(name, name)])
        if name.startswith(layout.PICTURES):
            row[name] = {"bytes": _png(value), "path": None}
        else:  # a list of one is a number to LeRobot
            row[name] = value.item() if value.size == 1 else value.tolist()
    return row


def _png(picture: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise BagError(f"a picture of shape {picture.shape} cannot be written as PNG")
    return bytes(data)
