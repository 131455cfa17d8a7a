"""Makes room: old bags are deleted, clips of violations last.

Whole episodes and demonstrations go when they are too old, and the oldest of them when there is too
much. A clip goes only when no whole bag is left to be deleted. Only finished bags are touched, and
only folders that hold nothing but a bag.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from safevla_ros.bags.clips import CLIPS
from safevla_ros.bags.metadata import METADATA_FILE


@dataclass(frozen=True, slots=True)
class Retention:
    """What may stay. None: no bound."""

    max_bytes: int | None = None
    max_age_s: float | None = None

    def __bool__(self) -> bool:
        return self.max_bytes is not None or self.max_age_s is not None


@dataclass(frozen=True, slots=True)
class _Stored:
    folder: Path
    bytes: int
    ended_s: float
    deletable: bool


def make_room(
    directory: Path,
    retention: Retention,
    *,
    spare: Collection[Path] = (),
    tell: Callable[[Path, str], None] = lambda folder, why: None,
) -> list[Path]:
    """Delete below `directory` what `retention` does not allow; returns what was deleted.

    `spare` names folders that must stay. `tell` hears each folder and the reason. A bag that
    cannot be deleted is passed over, and told.
    """
    whole = _stored(directory.glob("*/*.mcap"), spare)
    clips = _stored(directory.glob(f"{CLIPS}/*/*.mcap"), spare)
    deleted: list[Path] = []

    def delete(bag: _Stored, why: str) -> bool:
        try:
            shutil.rmtree(bag.folder)
        except OSError as error:
            tell(bag.folder, f"cannot be deleted: {error.strerror}")
            return False
        tell(bag.folder, why)
        deleted.append(bag.folder)
        return True

    total = sum(bag.bytes for bag in whole + clips)
    oldest_s = -float("inf") if retention.max_age_s is None else time.time() - retention.max_age_s
    for bag in [bag for bag in whole if bag.deletable and bag.ended_s < oldest_s]:
        if delete(bag, "older than allowed"):
            total -= bag.bytes
            whole.remove(bag)
    for bag in [bag for bag in whole + clips if bag.deletable]:
        if retention.max_bytes is None or total <= retention.max_bytes:
            break
        if delete(bag, "more bags than allowed"):
            total -= bag.bytes
    return deleted


def _stored(files: Iterable[Path], spare: Collection[Path]) -> list[_Stored]:
    """The bags with these files, the oldest first."""
    found = []
    for folder in sorted({file.parent for file in files}):
        inside = list(folder.iterdir())
        metadata = folder / METADATA_FILE
        only_a_bag = all(file.suffix == ".mcap" or file == metadata for file in inside)
        found.append(
            _Stored(
                folder,
                sum(file.stat().st_size for file in inside if file.is_file()),
                max(file.stat().st_mtime for file in inside),
                deletable=only_a_bag and metadata in inside and folder not in spare,
            )
        )
    return sorted(found, key=lambda bag: bag.ended_s)
