"""One MCAP file in rosbag2's layout, written in order by a single thread.

Chunks are compressed with zstd. What was flushed stays readable whatever happens next: everything
before the last `flush` is whole chunks, and a chunk that a full disk cut in two is taken back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcap.writer import CompressionType, Writer

from safevla_ros.bags import RawMessage
from safevla_ros.bags.definitions import Definition
from safevla_ros.bags.metadata import (
    PROVENANCE_RECORD,
    ROSBAG2_RECORD,
    BagSummary,
    Qos,
    TopicSummary,
    dump_qos,
    dump_summary,
    write_summary,
)

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic to be recorded. `kept`: what it said last stays true however long it is silent, as a
    map or the pose of a robot that stands; so do latched topics.

    `source`: the topic whose messages are recorded here, when that is another; `encode` makes the
    bytes to be recorded of theirs, in the writing thread, and may raise ValueError."""

    name: str
    type: str
    definition: Definition
    qos: Sequence[Qos] = ()
    kept: bool = False
    source: str = ""
    encode: Callable[[bytes], bytes] | None = None

    @property
    def heard(self) -> str:
        """Topic of the messages that are handed over."""
        return self.source or self.name


@dataclass(frozen=True, slots=True)
class _Flushed:
    """What is certainly in the file: its size, messages by topic, and their bytes."""

    size: int
    counts: dict[str, int]
    bytes: int


class _File:
    """The file below the MCAP writer: unbuffered, so that nothing is written behind its back."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._position = 0

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            self._position += written
            view = view[written:]
        return len(data)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        """Nothing is held back here."""

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def cut(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        os.close(self._descriptor)


class McapFile:
    """An MCAP file being written. Every method may raise OSError; then call `abandon`."""

    def __init__(self, path: Path, provenance: Mapping[str, str], *, distro: str = "") -> None:
        """Create the file, which must not exist, and put the provenance at its head."""
        self._path = path
        self._provenance = dict(provenance)
        self._distro = distro
        self._topics: dict[str, Topic] = {}
        self._schemas: dict[tuple[str, str], int] = {}
        self._channels: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._bytes = 0
        self._flushed = _Flushed(0, {}, 0)
        self._first_ns: int | None = None
        self._last_ns = 0
        self._file = _File(path)
        self._mcap = Writer(
            self._file,  # of a stream it asks for write, tell and flush only
            chunk_size=CHUNK_BYTES,
            compression=CompressionType.ZSTD,
        )
        self._mcap.start(profile="ros2", library="safevla_ros")
        self._mcap.add_metadata(PROVENANCE_RECORD, self._provenance)
        self._flushed = _Flushed(self._file.tell(), {}, 0)

    @property
    def counts(self) -> dict[str, int]:
        """Messages by topic, those included that are not flushed yet. For the writing thread."""
        return self._counts

    @property
    def bytes(self) -> int:
        """Bytes of the messages, before compression."""
        return self._bytes

    def add_topic(self, topic: Topic) -> None:
        """Make a topic known; its messages may follow."""
        key = (topic.type, topic.definition.text)
        if key not in self._schemas:
            self._schemas[key] = self._mcap.register_schema(
                topic.type, "ros2msg", topic.definition.text.encode()
            )
        self._channels[topic.name] = self._mcap.register_channel(
            topic.name,
            "cdr",
            self._schemas[key],
            {
                "offered_qos_profiles": dump_qos(topic.qos),
                "topic_type_hash": topic.definition.type_hash,
            },
        )
        self._topics[topic.name] = topic
        self._counts[topic.name] = 0

    def write(self, message: RawMessage, sequence: int) -> None:
        """Append a message of a known topic. `sequence` counts what was offered, so that a gap
        shows where something was dropped."""
        self._mcap.add_message(
            self._channels[message.topic],
            message.log_time_ns,
            message.data,
            message.publish_time_ns,
            sequence,
        )
        self._counts[message.topic] += 1
        self._bytes += len(message.data)
        first = message.log_time_ns if self._first_ns is None else self._first_ns
        self._first_ns = min(first, message.log_time_ns)
        self._last_ns = max(self._last_ns, message.log_time_ns)
        if self._file.tell() > self._flushed.size:  # a chunk was full, with this message the last
            self._mark_flushed()

    def flush(self, *, sync: bool) -> None:
        """Finish the chunk in progress and write it; with `sync`, through to the disk."""
        self._mcap.flush()
        if sync:
            self._file.sync()
        self._mark_flushed()

    def _mark_flushed(self) -> None:
        self._flushed = _Flushed(self._file.tell(), dict(self._counts), self._bytes)

    def finish(self, provenance: Mapping[str, str]) -> None:
        """Write what is left, the final provenance, the index and metadata.yaml; close."""
        self._provenance |= provenance
        self.flush(sync=False)
        self._mcap.add_metadata(PROVENANCE_RECORD, self._provenance)
        self._mcap.add_metadata(
            ROSBAG2_RECORD, {"serialized_metadata": dump_summary(self._summary(), wrapped=False)}
        )
        self._mcap.finish()
        self._file.sync()
        self._file.close()
        write_summary(self._path.parent, self._summary())

    def roll_back(self) -> None:
        """After an OSError: go back to what was flushed. Then `abandon`."""
        self._counts = dict(self._flushed.counts)
        self._bytes = self._flushed.bytes
        self._file.cut(self._flushed.size)

    def abandon(self, provenance: Mapping[str, str]) -> None:
        """Close the file as it is and write metadata.yaml if the disk allows. The file stays
        without an index; `reader` reads it and `repair` finishes it."""
        self._provenance |= provenance
        self._file.close()
        write_summary(self._path.parent, self._summary())

    def _summary(self) -> BagSummary:
        return BagSummary(
            file=self._path.name,
            start_ns=self._first_ns or 0,
            end_ns=self._last_ns,
            topics=[
                TopicSummary(
                    topic.name,
                    topic.type,
                    self._counts.get(topic.name, 0),
                    topic.qos,
                    topic.definition.type_hash,
                )
                for topic in self._topics.values()
            ],
            provenance=self._provenance,
            distro=self._distro,
        )
