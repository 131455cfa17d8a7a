"""What is deleted to make room, and in which order."""

from __future__ import annotations

import os
import time
from pathlib import Path

from safevla_ros.bags.retention import Retention, make_room

DAY_S = 86400.0


def bag(directory: Path, name: str, age_days: float, *, finished: bool = True) -> Path:
    """A bag of 1000 bytes that was written so long ago."""
    folder = directory / name
    folder.mkdir(parents=True)
    files = [folder / "bag_0.mcap"] + ([folder / "metadata.yaml"] if finished else [])
    for file in files:
        file.write_bytes(b"x" * (1000 // len(files)))
        written_s = time.time() - age_days * DAY_S
        os.utime(file, (written_s, written_s))
    return folder


def left(directory: Path) -> set[str]:
    return {str(f.parent.relative_to(directory)) for f in directory.rglob("*.mcap")}


def test_the_oldest_whole_bags_go_first_and_clips_last(tmp_path: Path) -> None:
    bag(tmp_path, "clips/old", 90)
    bag(tmp_path, "clips/new", 0)
    for age in (3, 1, 2):
        bag(tmp_path, f"episode-{age}", age)
    deleted = make_room(tmp_path, Retention(max_bytes=3500))
    assert [folder.name for folder in deleted] == ["episode-3", "episode-2"]
    assert make_room(tmp_path, Retention(max_bytes=3500)) == []
    make_room(tmp_path, Retention(max_bytes=2000))
    assert left(tmp_path) == {"clips/old", "clips/new"}
    make_room(tmp_path, Retention(max_bytes=1500))
    assert left(tmp_path) == {"clips/new"}


def test_age_takes_whole_bags_only(tmp_path: Path) -> None:
    bag(tmp_path, "clips/clip", 90)
    bag(tmp_path, "old", 31)
    bag(tmp_path, "young", 29)
    make_room(tmp_path, Retention(max_age_s=30 * DAY_S))
    assert left(tmp_path) == {"clips/clip", "young"}


def test_what_is_being_written_or_holds_more_than_a_bag_is_left_alone(tmp_path: Path) -> None:
    spared = bag(tmp_path, "spared", 9)
    bag(tmp_path, "unfinished", 9, finished=False)
    (bag(tmp_path, "with-notes", 9) / "notes.txt").write_text("mine")
    told: list[str] = []
    deleted = make_room(
        tmp_path, Retention(max_bytes=0), spare=[spared], tell=lambda _, why: told.append(why)
    )
    assert deleted == []
    assert told == []
    assert left(tmp_path) == {"spared", "unfinished", "with-notes"}
