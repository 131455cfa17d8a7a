"""The report of one run, made from its bag alone: summary.json, video.mp4, top_view.png, and
specification.yaml with the costs that were in force.

A robot's bag is as good as a simulated one: nothing but the bag is read, beside the robot's profile
where it is known here by its name (for footprint and gripper).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safevla_ros.assurance.run_log import RunLog, read_run
from safevla_ros.assurance.summary import summarise
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.catalogue import bags_below, began_ns
from safevla_ros.bags.clips import CLIPS
from safevla_ros.bags.reader import Bag

SUMMARY, VIDEO, TOP_VIEW = "summary.json", "video.mp4", "top_view.png"
SPECIFICATION = "specification.yaml"


def write_run_report(
    bag: Path, folder: Path, *, progress: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Write the report of `bag` into `folder`; return what summary.json says.

    `bag` is a bag's folder, an .mcap file, or a folder of bags, of which the newest is taken.
    `progress` hears one short sentence as each part begins. What the bag does not allow (no
    images, no positions, no episode) is left out and named in the summary's `notes`. Raises
    BagError when there is no bag to read, and OSError when the folder cannot be written.
    """
    tell = progress or (lambda sentence: None)
    opened = Bag(newest_bag(bag))
    folder.mkdir(parents=True, exist_ok=True)
    tell("reading the bag")
    log = read_run(opened)
    summary = summarise(opened, log)  # its notes are the log's, and grow with it
    if log.specification_text:
        (folder / SPECIFICATION).write_text(log.specification_text, encoding="utf-8")
    write_pictures(opened, log, folder, tell)
    written: dict[str, Any] = _without_nan(summary)
    text = json.dumps(written, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / SUMMARY).write_text(text + "\n", encoding="utf-8")
    return written


def write_pictures(
    bag: Bag, log: RunLog, folder: Path, tell: Callable[[str], None]
) -> dict[str, Path]:
    """Write `video` and `top_view` into `folder`; the files that were made. Why one was not stands
    in the log's notes."""
    tell("drawing the top view")
    _attempt(log, folder / TOP_VIEW, lambda path: _top_view(bag, log, path))
    tell("making the video")
    _attempt(log, folder / VIDEO, lambda path: _video(bag, log, path))
    files = {"video": folder / VIDEO, "top_view": folder / TOP_VIEW}
    return {name: file for name, file in files.items() if file.is_file()}


def newest_bag(path: Path) -> Path:
    """`path` if it is a bag, else the newest bag in it at any depth; a clip only where there is
    nothing else. Raises BagError."""
    bags = bags_below(path)
    whole = [bag for bag in bags if CLIPS not in bag.relative_to(path).parts]
    return max(whole or bags, key=began_ns)


def _top_view(bag: Bag, log: RunLog, path: Path) -> None:
    from safevla_ros.assurance.top_view import write_top_view

    write_top_view(log, bag.provenance.get(keys.ROBOT, ""), path)


def _video(bag: Bag, log: RunLog, path: Path) -> None:
    from safevla_ros.assurance.video import write_video

    write_video(bag, log, path)


def _attempt(log: RunLog, path: Path, make: Callable[[Path], None]) -> None:
    """Make one part of the report, or say why there is none. An old one never stays."""
    path.unlink(missing_ok=True)
    try:
        make(path)
    except (ValueError, ImportError) as error:
        path.unlink(missing_ok=True)
        log.notes.append(str(error))


def _without_nan(value: Any) -> Any:
    """JSON has no numbers that are not finite: None in their place."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
