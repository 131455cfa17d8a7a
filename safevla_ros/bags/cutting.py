"""Cuts a piece out of a bag, as a bag of its own, with the latched topics repeated at its head."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

from safevla_ros.bags import BagError, RawMessage
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.definitions import Definition
from safevla_ros.bags.mcap_file import McapFile, Topic
from safevla_ros.bags.metadata import parse_qos
from safevla_ros.bags.reader import Bag, TopicInfo


def cut(source: Path, target: Path, begin_ns: int, end_ns: int) -> int:
    """Write what `source` received from `begin_ns` to `end_ns` into the new bag `target`.

    Returns the number of messages. Raises BagError when there is nothing to cut, when `target`
    exists or cannot be written.
    """
    bag = Bag(source)
    try:
        target.mkdir(parents=True)
    except OSError as error:
        raise BagError(f"{target}: expected a new folder: {error.strerror}") from error
    try:
        count = _copy(bag, target, begin_ns, end_ns)
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise BagError(f"{target}: cannot be written: {error.strerror}") from error
    if not count:
        shutil.rmtree(target, ignore_errors=True)
        raise BagError(f"{source}: holds no message in the time that was asked for")
    return count


def _copy(bag: Bag, target: Path, begin_ns: int, end_ns: int) -> int:
    file = McapFile(target / f"{target.name}_0.mcap", bag.provenance | {keys.KIND: "clip"})
    latched: dict[str, RawMessage] = {}
    counts: Counter[str] = Counter()

    def write(message: RawMessage) -> None:
        if not counts[message.topic]:
            file.add_topic(as_topic(bag.topics[message.topic]))
        counts[message.topic] += 1
        file.write(message, counts[message.topic])

    inside = False
    for message in bag.messages():
        if message.log_time_ns < begin_ns:
            if _is_latched(bag.topics[message.topic]):
                latched[message.topic] = message
        elif message.log_time_ns <= end_ns:
            if not inside:
                inside = True
                for each in latched.values():
                    write(RawMessage(each.topic, each.data, begin_ns, each.publish_time_ns))
            write(message)
    problem = "; ".join(bag.damage)
    file.finish({keys.PROBLEM: problem, keys.COMPLETE: json.dumps(False)} if problem else {})
    return counts.total() if inside else 0


def as_topic(info: TopicInfo) -> Topic:
    """A topic of one bag, to be written into another."""
    definition = Definition(info.definition, info.metadata.get("topic_type_hash", ""))
    qos = parse_qos(info.metadata.get("offered_qos_profiles", ""))
    return Topic(info.name, info.type, definition, qos)


def _is_latched(info: TopicInfo) -> bool:
    qos = parse_qos(info.metadata.get("offered_qos_profiles", ""))
    return any(each.durability == "transient_local" for each in qos)
