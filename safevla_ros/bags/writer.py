"""Records messages into a bag without ever holding up who hands them over.

`write` puts a message into a bounded queue and returns. A thread of its own takes them to the disk
and flushes twice a second, so that a killed process loses less than a second. When the disk is
slower than the messages, the queue fills and messages are dropped and counted: images first, since
the last eighth of the queue is kept for small messages, which say what happened. Images that are to be
compressed wait in the same queue as they came, and are compressed by the same thread. When the disk is
nearly full or fails, recording stops with a reason; the caller goes on as if nothing had happened
and reads it in `progress`.
"""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from safevla_ros.bags import BagError, RawMessage
from safevla_ros.bags.mcap_file import McapFile, Topic
from safevla_ros.bags.metadata import COMPLETE, DROPPED, PROBLEM

MIB = 1 << 20
LARGE_BYTES = 64 << 10
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a recording. `flush_s`: so much is lost at most when the process is killed."""

    queue_bytes: int = 256 * MIB
    min_free_bytes: int = 512 * MIB
    flush_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Progress:
    """State of a recording. `bytes` are those of the recorded messages, before the file compresses
    them; `unencodable` says why messages could not be made what they are to be recorded as, and
    `problem` why recording stopped early; both are empty while all is well."""

    messages: int
    bytes: int
    dropped: int
    free_bytes: int
    problem: str
    unencodable: str


@dataclass(frozen=True, slots=True)
class _Queued:
    message: RawMessage
    sequence: int


class BagWriter:
    """A bag being recorded. Any thread may call it; no method but the constructor raises."""

    def __init__(
        self,
        folder: Path,
        provenance: Mapping[str, str],
        *,
        limits: Limits = Limits(),
        distro: str = "",
    ) -> None:
        """Create the bag's folder, which must not exist, and start the writing thread.

        Raises BagError when the folder cannot be made or the disk is already nearly full.
        """
        self._limits = limits
        self._folder = folder
        self._messages = 0
        self._bytes = 0
        try:
            folder.mkdir(parents=True)
        except FileExistsError as error:
            raise BagError(f"{folder}: expected a new folder, but it exists") from error
        except OSError as error:
            raise BagError(f"{folder}: cannot be made: {error.strerror}") from error
        try:
            self._free_bytes = shutil.disk_usage(folder).free
            if self._free_bytes < limits.min_free_bytes:
                raise BagError(f"{folder}: not recorded: {self._low_disk()}")
            self._file = McapFile(folder / f"{folder.name}_0.mcap", provenance, distro=distro)
        except (OSError, BagError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, BagError):
                raise
            raise BagError(f"{folder}: cannot be recorded into: {error.strerror}") from error

        self._lock = threading.Lock()
        self._queue: deque[_Queued | Topic] = deque()
        self._waiting_bytes = 0
        self._offered: Counter[str] = Counter()
        self._dropped = 0
        self._problem = ""
        self._unencodable = ""
        self._recorded: dict[str, Topic] = {}
        self._final: dict[str, str] | None = None
        self._wake = threading.Event()
        self._done = threading.Event()
        # A daemon: a disk that never answers must not keep the process from leaving.
        threading.Thread(target=self._run, name=f"bag {folder.name}", daemon=True).start()

    @property
    def folder(self) -> Path:
        """The bag."""
        return self._folder

    @property
    def progress(self) -> Progress:
        """How far the recording is."""
        with self._lock:
            return Progress(
                self._messages,
                self._bytes,
                self._dropped,
                self._free_bytes,
                self._problem,
                self._unencodable,
            )

    def add_topic(self, topic: Topic) -> None:
        """Make a topic known, before its first message."""
        with self._lock:
            self._recorded[topic.heard] = topic
            self._queue.append(topic)

    def write(self, message: RawMessage) -> bool:
        """Hand over a message of a known topic. False: it was dropped, and counted."""
        size = len(message.data)
        room = self._limits.queue_bytes
        if size >= LARGE_BYTES:
            room -= room // 8
        with self._lock:
            self._offered[message.topic] += 1
            full = self._waiting_bytes + size > room
            if full or self._problem or self._final is not None:
                self._dropped += 1
                return False
            self._queue.append(_Queued(message, self._offered[message.topic]))
            self._waiting_bytes += size
            crowded = self._waiting_bytes > room // 4
        if crowded:
            self._wake.set()
        return True

    def finish(self, provenance: Mapping[str, str] | None = None) -> None:
        """Take no more messages; write what waits, then index and metadata, and end. Does not wait.

        `provenance` adds to what the constructor was given. A second call changes nothing.
        """
        with self._lock:
            if self._final is None:
                self._final = dict(provenance or {})
        self._wake.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the bag is closed. False: not within `timeout_s`."""
        return self._done.wait(timeout_s)

    @property
    def ended(self) -> bool:
        """Whether `finish` was called."""
        return self._final is not None

    @property
    def closed(self) -> bool:
        """Whether nothing more will be written: it is finished, or has failed."""
        return self._done.is_set()

    # What follows runs in the writing thread.

    def _run(self) -> None:
        try:
            self._record()
            self._file.finish(self._closing())
        except OSError as error:
            self._fail(f"writing failed: {error.strerror}")
        except Exception as error:  # a recorder that dies says so, and nobody else suffers
            self._fail(f"recording failed: {error!r}")
        finally:
            self._done.set()

    def _record(self) -> None:
        """Until `finish` is called and the queue is empty, or the disk is low."""
        flushed_s, flushed_bytes = time.monotonic(), 0
        # A fast writer can fill what is to be kept free within one flush.
        most_bytes = self._limits.min_free_bytes // 4 or math.inf
        while True:
            with self._lock:
                item = self._queue.popleft() if self._queue else None
                finished = item is None and self._final is not None
            if item is not None:
                self._store(item)
            elif finished:
                return
            else:
                self._wake.wait(POLL_S)
                self._wake.clear()
            filled = self._bytes - flushed_bytes >= most_bytes
            if filled or time.monotonic() - flushed_s >= self._limits.flush_s:
                self._file.flush(sync=True)
                flushed_s, flushed_bytes = time.monotonic(), self._bytes
                self._free_bytes = shutil.disk_usage(self._folder).free
                if self._free_bytes < self._limits.min_free_bytes:
                    self._stop(self._low_disk())
                    return

    def _store(self, item: _Queued | Topic) -> None:
        if isinstance(item, Topic):
            self._file.add_topic(item)
            return
        recorded = self._encoded(item.message)
        if recorded is not None:
            self._file.write(recorded, item.sequence)
            self._messages += 1
            self._bytes = self._file.bytes
        with self._lock:
            self._waiting_bytes -= len(item.message.data)

    def _encoded(self, message: RawMessage) -> RawMessage | None:
        """The message as its topic is recorded. None: that is not possible; it counts as dropped."""
        topic = self._recorded[message.topic]
        if topic.encode is None:
            return message
        try:
            data = topic.encode(message.data)
        except ValueError as error:
            with self._lock:
                self._dropped += 1
                self._unencodable = f"{message.topic}: not recorded: {error}"
            return None
        return replace(message, topic=topic.name, data=data)

    def _stop(self, problem: str) -> None:
        """Refuse further messages; those that wait are lost."""
        with self._lock:
            self._problem = problem
            self._queue.clear()

    def _fail(self, problem: str) -> None:
        """Keep what was flushed. The disk may refuse even that: the reason is known by then."""
        self._stop(problem)
        with suppress(OSError):
            self._file.roll_back()
        with suppress(OSError):
            self._file.abandon(self._closing())

    def _closing(self) -> dict[str, str]:
        """Provenance that is known at the end only. Sets the final counts."""
        counts = self._file.counts
        with self._lock:
            names = {heard: topic.name for heard, topic in self._recorded.items()}
            written = {heard: counts.get(names.get(heard, heard), 0) for heard in self._offered}
            lost = {
                names.get(heard, heard): offered - written[heard]
                for heard, offered in self._offered.items()
                if offered > written[heard]
            }
            self._messages = sum(counts.values())
            self._bytes = self._file.bytes
            self._dropped = sum(lost.values())
            closing = dict(self._final or {})
            if self._problem:
                closing[PROBLEM] = self._problem
        closing[DROPPED] = json.dumps(lost)
        closing[COMPLETE] = json.dumps(not lost and PROBLEM not in closing)
        return closing

    def _low_disk(self) -> str:
        free, least = self._free_bytes // MIB, self._limits.min_free_bytes // MIB
        return f"{free} MiB of disk left, expected at least {least} MiB"
