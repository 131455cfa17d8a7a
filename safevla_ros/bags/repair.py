"""Finishes a bag that was cut off, so that every reader takes it.

`ros2 bag`, `rosbags` and most tools need the index at a file's end. Whatever can be read is written
into a new file, which then takes the place of the old one; what cannot be read was unreadable
before and is reported. metadata.yaml is made anew from what the file holds.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from safevla_ros.bags import BagError
from safevla_ros.bags.cutting import as_topic
from safevla_ros.bags.mcap_file import McapFile
from safevla_ros.bags.metadata import COMPLETE, METADATA_FILE, PROBLEM, read_span
from safevla_ros.bags.reader import Bag


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair found. `changed`: the bag was not whole before."""

    changed: bool
    messages: int
    damage: tuple[str, ...]


def repair(folder: Path) -> Repaired:
    """Finish the bag in `folder`, or make its metadata.yaml. A whole bag is left as it is.

    Raises BagError when nothing can be read, or the new file cannot be written; then the old one
    is untouched.
    """
    bag = Bag(folder)
    if bag.finished and read_span(folder) is not None:
        return Repaired(False, sum(1 for _ in bag.messages()), tuple(bag.damage))
    if len(bag.files) != 1:
        raise BagError(f"{folder}: expected one .mcap file to repair, found {len(bag.files)}")

    old = bag.files[0]
    workplace = folder / ".repair"
    try:
        shutil.rmtree(workplace, ignore_errors=True)
        workplace.mkdir()
        messages = _copy(bag, workplace / old.name)
        # The file first: metadata.yaml beside a cut file only means that repair is called again.
        (workplace / old.name).replace(old)
        (workplace / METADATA_FILE).replace(folder / METADATA_FILE)
    except OSError as error:
        raise BagError(f"{folder}: cannot be repaired: {error.strerror}") from error
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    return Repaired(True, messages, tuple(bag.damage))


def _copy(bag: Bag, path: Path) -> int:
    """Write all that can be read of `bag` into a new file at `path`, metadata.yaml beside it.
    Returns the number of messages. Raises BagError when there are none."""
    new = McapFile(path, bag.provenance)
    counts: Counter[str] = Counter()
    for message in bag.messages():
        if not counts[message.topic]:
            new.add_topic(as_topic(bag.topics[message.topic]))
        counts[message.topic] += 1
        new.write(message, counts[message.topic])
    if not counts:
        raise BagError(f"{bag.path}: nothing to repair: no message can be read")
    for name, info in bag.topics.items():
        if name not in counts:
            new.add_topic(as_topic(info))
    problem = "; ".join(bag.damage) or "the recording was not finished"
    new.finish({COMPLETE: json.dumps(False), PROBLEM: f"repaired: {problem}"})
    return counts.total()
