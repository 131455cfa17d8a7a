"""One stream of messages into any number of bags, each of which begins a little before its cause.

The stream never stops: the last seconds are always in memory (`recent`), so that a bag begun now
holds what led to its beginning, and one that paused can go on without a gap.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from safevla_ros.bags import BagError, RawMessage
from safevla_ros.bags.mcap_file import Topic
from safevla_ros.bags.metadata import Qos
from safevla_ros.bags.recent import RecentMessages
from safevla_ros.bags.writer import BagWriter, Limits

HEAD_S = 1.0
"""An episode's bag begins so long before it: its first step was computed from what came then."""
MEMORY_BYTES = 256 << 20
MOST_BAGS = 4
"""Bags that are open or being closed: each may hold a full queue of messages in memory, and on a
disk that does not answer none of them ever closes."""


class Recorder:
    """Bags under `directory` from one stream of messages. For one thread; nothing in it waits.

    The last `memory_s` seconds are remembered, at most `memory_bytes` of them."""

    def __init__(
        self,
        directory: Path,
        topics: Sequence[Topic],
        limits: Limits,
        distro: str,
        *,
        memory_s: float = HEAD_S,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._directory = directory
        self._topics = topics
        self._limits = limits
        self._distro = distro
        self._recent = RecentMessages(max(memory_s, HEAD_S), memory_bytes, _latched(topics))
        self._writers: list[BagWriter] = []
        self._closing: list[BagWriter] = []
        self._paused: dict[BagWriter, int] = {}

    def take(self, message: RawMessage) -> None:
        """The next message of the stream, of one of the topics."""
        self._recent.add(message)
        for writer in self._writers:
            if writer not in self._paused:
                writer.write(message)

    def begin(self, name: str, provenance: Mapping[str, str], head_s: float = HEAD_S) -> BagWriter:
        """Begin the bag <directory>/<name> with the last `head_s` seconds. Raises BagError when
        that is not possible."""
        self._closing = [writer for writer in self._closing if not writer.closed]
        if len(self._writers) + len(self._closing) >= MOST_BAGS:
            raise BagError(
                f"{self._directory / name}: not recorded: {len(self._writers)} bags are open and "
                f"{len(self._closing)} wait for a disk that does not answer"
            )
        writer = BagWriter(
            self._directory / name, provenance, limits=self._limits, distro=self._distro
        )
        for topic in self._topics:
            writer.add_topic(topic)
        for message in self._recent.head(head_s):
            writer.write(message)
        self._writers.append(writer)
        return writer

    def pause(self, writer: BagWriter) -> None:
        """Write nothing more into a bag unless `resume` is called."""
        self._paused.setdefault(writer, self._recent.added)

    def resume(self, writer: BagWriter) -> bool:
        """Go on with a paused bag: what came since is written now. False: too long ago, some of it
        is forgotten, and the bag stays paused."""
        if writer not in self._paused:
            return True
        missed = self._recent.since(self._paused[writer])
        if missed is None:
            return False
        del self._paused[writer]
        for message in missed:
            writer.write(message)
        return True

    def end(self, writer: BagWriter, provenance: Mapping[str, str]) -> None:
        """End a bag; what waits for the disk is still written, without waiting for it here. A
        second call changes nothing."""
        if writer in self._writers:
            self._writers.remove(writer)
            self._closing.append(writer)
            self._paused.pop(writer, None)
        writer.finish(provenance)


def free_name(directory: Path, wanted: str) -> str:
    """A folder name for a bag that does not exist yet: `wanted` with what no path needs replaced,
    and a number where it is taken."""
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in wanted).lstrip(".") or "bag"
    number = 1
    free = name
    while (directory / free).exists():
        number += 1
        free = f"{name}-{number}"
    return free


def _latched(topics: Sequence[Topic]) -> Collection[str]:
    latched = Qos(durability="transient_local").durability
    return [
        topic.heard
        for topic in topics
        if topic.kept or any(qos.durability == latched for qos in topic.qos)
    ]
