"""Reads bags, also those that were cut off or damaged.

A file is read from its beginning, record by record, and every record is checked against the file's
size and every chunk against its checksum before anything in it is believed. What is damaged is left
out and named in `Bag.damage`; nothing is guessed. Messages come in the order of the file. They are
decoded with the definitions that the bag itself carries, into objects with the fields of the ROS
message; arrays of numbers are numpy arrays.
"""

from __future__ import annotations

import re
import struct
import threading
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import zstandard
from mcap import records
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.stream_reader import get_chunk_data_stream
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from safevla_ros.bags import BagError, RawMessage
from safevla_ros.bags.metadata import PROVENANCE_RECORD, read_provenance

MAGIC = b"\x89MCAP0\r\n"
UNREAD = {
    ".mcap.zstd": "compressed as a whole: `zstd -d` it first",
    ".db3": "SQLite: `rosbags-convert` makes MCAP of it",
    ".db3.zstd": "compressed SQLite: `zstd -d` it, and `rosbags-convert` makes MCAP of it",
}
"""Files of rosbag2 that are not read, by how their names end, and what to do."""
_RECORD = struct.Struct("<BQ")  # opcode, length
_MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
_CHUNK = struct.Struct("<QQQII")  # first and last time, size, checksum, length of the next text
_SIZE = struct.Struct("<Q")
_DAMAGE = (ValueError, struct.error, McapError, zstandard.ZstdError, RuntimeError, MemoryError)


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A topic of a bag: `definition` is the text of its type with all parts."""

    name: str
    type: str
    definition: str
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Location:
    """Where a message stands: the record of `file` at `offset`, and within its chunk, if it is one,
    the message at `inner`."""

    file: Path
    offset: int
    inner: int


@dataclass(frozen=True, slots=True)
class _Content:
    """A checked piece of a file: one record's opcode and bytes, and where it stands. The bytes hold
    until the next piece is asked for."""

    opcode: int
    data: memoryview
    offset: int


class Bag:
    """A bag on disk. `path` is a bag's folder or one .mcap file.

    `finished` tells whether every file has its ending. `provenance` holds what metadata.yaml, or
    else the file itself, says about the recording. `damage` lists, in sentences, what had to be left
    out, as far as the bag was read by now.
    """

    def __init__(self, path: Path) -> None:
        """Find the bag's files and its provenance. Raises BagError when there is no bag."""
        self.path = path
        self.files = _mcap_files(path)
        self._unread = _unread_files(path)
        self.damage: list[str] = []
        self.topics: dict[str, TopicInfo] = {}
        self._readers: dict[Path, _FileReader] = {}
        self.finished = all(_has_ending(file) for file in self.files)
        folder = path if path.is_dir() else path.parent
        self.provenance = read_provenance(folder) or self.recorded_provenance()

    @property
    def size_bytes(self) -> int:
        """Size of the bag's files."""
        return sum(file.stat().st_size for file in self.files)

    def messages(self, topics: Collection[str] | None = None) -> Iterator[RawMessage]:
        """Messages of `topics` (None: all), in the order of the file. `topics` of the bag fills
        up while it is read."""
        for _, message in self.located(topics):
            yield message

    def located(
        self, topics: Collection[str] | None = None
    ) -> Iterator[tuple[Location, RawMessage]]:
        """As `messages`, each with where it stands, for `read_at`."""
        self.damage[:] = self._unread
        for file in self.files:
            reader = _FileReader(file, self.topics, self.damage.append)
            self._readers[file] = reader
            yield from reader.messages(topics)

    def read_at(self, location: Location) -> RawMessage:
        """The message at a place that `located` of this bag gave. Raises BagError."""
        reader = self._readers.get(location.file)
        message = reader.message_at(location) if reader is not None else None
        if message is None:
            raise BagError(f"{location.file}: no message at byte {location.offset} any more")
        return message

    def forget(self) -> None:
        """Give back the memory that `read_at` keeps."""
        for reader in self._readers.values():
            reader.forget()

    def decoded(self, topics: Collection[str] | None = None) -> Iterator[tuple[RawMessage, Any]]:
        """As `messages`, each with its decoded message. Those that cannot be decoded are left out
        and named in `damage`, one sentence a topic."""
        refused: set[str] = set()
        for raw in self.messages(topics):
            message = self._decode_or_report(raw, refused)
            if message is not None:
                yield raw, message

    def _decode_or_report(self, raw: RawMessage, refused: set[str]) -> Any | None:
        try:
            return self.decode(raw)
        except BagError as error:
            if raw.topic not in refused:
                refused.add(raw.topic)
                self.damage.append(str(error))
            return None

    def decode(self, raw: RawMessage) -> Any:
        """The message as an object with the fields of its type. Raises BagError."""
        topic = self.topics[raw.topic]
        data = memoryview(raw.data)  # of bytes rosbags would make a copy
        try:
            return _types(topic.type, topic.definition).deserialize_cdr(data, topic.type)
        except Exception as error:  # rosbags raises many kinds on damaged bytes
            raise BagError(
                f"{self.path}: topic {raw.topic}: cannot be decoded as {topic.type}: {error}"
            ) from error

    def constants(self, topic: str, part: str = "") -> dict[str, int]:
        """Names and values of the constants in the definition of a topic's type, or of the type
        `part` within it."""
        info = self.topics[topic]
        constants, _ = _types(info.type, info.definition).fielddefs[part or info.type]
        return {name: value for name, _, value in constants if isinstance(value, int)}

    def recorded_provenance(self) -> dict[str, str]:
        """Provenance from the metadata records in the files; a later one overrides an earlier. What
        was learnt after the recording is in metadata.yaml alone."""
        found: dict[str, str] = {}
        for file in self.files:
            for content in _contents(file, lambda sentence: None, wanted={Opcode.METADATA}):
                with suppress(*_DAMAGE):
                    record = records.Metadata.read(_stream(content.data))
                    if record.name == PROVENANCE_RECORD:
                        found |= record.metadata
        return found


class _FileReader:
    """Messages of one file. Channel numbers are the file's own."""

    def __init__(
        self, path: Path, topics: dict[str, TopicInfo], report: Callable[[str], None]
    ) -> None:
        self._path = path
        self._topics = topics
        self._report = report
        self._schemas: dict[int, records.Schema] = {}
        self._channels: dict[int, str] = {}
        self._chunk: tuple[int, dict[Location, RawMessage]] | None = None

    def messages(self, wanted: Collection[str] | None) -> Iterator[tuple[Location, RawMessage]]:
        kinds = {Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE, Opcode.CHUNK}
        for content in _contents(self._path, self._report, wanted=kinds):
            yield from self._messages_in(content, wanted)

    def message_at(self, location: Location) -> RawMessage | None:
        """The message at a location; the chunk that was read last is kept."""
        if self._chunk is None or self._chunk[0] != location.offset:
            content = _content_at(self._path, location.offset)
            if content is None:
                return None
            found = dict(self._messages_in(content, None))
            self._chunk = (location.offset, found)
        return self._chunk[1].get(location)

    def forget(self) -> None:
        self._chunk = None

    def _messages_in(
        self, content: _Content, wanted: Collection[str] | None
    ) -> list[tuple[Location, RawMessage]]:
        """All of a chunk's messages, or none of them when it is damaged."""
        try:
            if content.opcode == Opcode.CHUNK:
                inner = _chunk_contents(content)
            else:
                inner = [(content.opcode, content.data)]
            found = [
                (Location(self._path, content.offset, number), self._message(opcode, data, wanted))
                for number, (opcode, data) in enumerate(inner)
            ]
        except _DAMAGE as error:
            self._report(f"{self._path}: damaged at byte {content.offset}, left out: {error}")
            return []
        return [(location, message) for location, message in found if message is not None]

    def _message(
        self, opcode: int, data: memoryview, wanted: Collection[str] | None
    ) -> RawMessage | None:
        if opcode == Opcode.SCHEMA:
            schema = records.Schema.read(_stream(data))
            self._schemas[schema.id] = schema
        elif opcode == Opcode.CHANNEL:
            channel = records.Channel.read(_stream(data))
            if channel.id not in self._channels:
                self._add_channel(channel)
        elif opcode == Opcode.MESSAGE:
            channel_id, _, log_time_ns, publish_time_ns = _MESSAGE.unpack_from(data)
            topic = self._channels.get(channel_id)
            if topic is not None and (wanted is None or topic in wanted):
                return RawMessage(topic, bytes(data[_MESSAGE.size :]), log_time_ns, publish_time_ns)
        return None

    def _add_channel(self, channel: records.Channel) -> None:
        schema = self._schemas.get(channel.schema_id)
        if channel.message_encoding != "cdr" or schema is None or schema.encoding != "ros2msg":
            self._report(f"{self._path}: topic {channel.topic}: expected ROS 2 messages, left out")
            return
        info = TopicInfo(channel.topic, schema.name, schema.data.decode(), channel.metadata)
        known = self._topics.setdefault(channel.topic, info)
        if known.type != info.type:
            both = f"both {known.type} and {info.type}; the latter is left out"
        elif _fields(known.definition) != _fields(info.definition):
            both = f"two definitions of {info.type}; what has the latter is left out"
        else:
            self._channels[channel.id] = channel.topic
            return
        self._report(f"{self._path}: topic {channel.topic}: {both}")


def _fields(definition: str) -> list[list[str]]:
    """A definition without comments and spaces."""
    lines = (line.split("#", 1)[0].split() for line in definition.splitlines())
    return [words for words in lines if words]


def _mcap_files(path: Path) -> list[Path]:
    files = sorted(path.glob("*.mcap"), key=_counted) if path.is_dir() else [path]
    unread = _unread_files(path)
    if unread and files in ([], [path]):
        raise BagError("; ".join(unread))
    if not files or not all(file.is_file() for file in files):
        raise BagError(f"{path}: expected a bag: a folder with .mcap files, or one such file")
    return files


def _counted(file: Path) -> list[tuple[int, str]]:
    """Orders the files of a split recording: the 10th comes after the 9th."""
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", file.name)]


def _unread_files(path: Path) -> list[str]:
    """Of rosbag2's files those that are not read, each in a sentence."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [
        f"{file}: {what}"
        for file in files
        for ending, what in UNREAD.items()
        if file.name.endswith(ending)
    ]


def _has_ending(path: Path) -> bool:
    """Whether the file has the magic with which a finished file ends."""
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        if size < 2 * len(MAGIC):
            return False
        stream.seek(-len(MAGIC), 2)
        return stream.read() == MAGIC


def _contents(
    path: Path, report: Callable[[str], None], *, wanted: Collection[int]
) -> Iterator[_Content]:
    """Whole records of the wanted kinds, up to the end of the data or to where the file is cut."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            if stream.read(len(MAGIC)) != MAGIC:
                report(f"{path}: not an MCAP file, or cut within its first bytes")
                return
            yield from _whole_records(stream, size, path, report, wanted)
    except OSError as error:
        report(f"{path}: cannot be read: {error.strerror}")


def _content_at(path: Path, offset: int) -> _Content | None:
    """The record at a place that was read before; None when it is not there any more."""
    with path.open("rb") as stream:
        stream.seek(offset)
        head = stream.read(_RECORD.size)
        if len(head) < _RECORD.size:
            return None
        opcode, length = _RECORD.unpack(head)
        data = stream.read(length)
    return _Content(opcode, memoryview(data), offset) if len(data) == length else None


def _whole_records(
    stream: BufferedReader,
    size: int,
    path: Path,
    report: Callable[[str], None],
    wanted: Collection[int],
) -> Iterator[_Content]:
    offset = len(MAGIC)
    buffer = memoryview(bytearray())  # new memory for each record would take longer than reading it
    while offset + _RECORD.size <= size:
        opcode, length = _RECORD.unpack(stream.read(_RECORD.size))
        if opcode in (Opcode.DATA_END, Opcode.FOOTER):
            return
        if offset + _RECORD.size + length > size:
            break
        if opcode in wanted:
            if length > len(buffer):
                buffer = memoryview(bytearray(length))
            if stream.readinto(buffer[:length]) < length:
                break
            yield _Content(opcode, buffer[:length], offset)
        offset += _RECORD.size + length
        stream.seek(offset)
    report(f"{path}: cut off at byte {offset} of {size}; what comes before is read")


def _chunk_contents(content: _Content) -> list[tuple[int, memoryview]]:
    """Records within a chunk whose checksum is right. Raises one of _DAMAGE."""
    view = memoryview(_unpacked(content.data))
    found = []
    offset, length = 0, len(view)
    while offset < length:
        opcode, size = _RECORD.unpack_from(view, offset)
        offset += _RECORD.size
        if offset + size > length:
            raise ValueError("a record reaches beyond its chunk")
        found.append((opcode, view[offset : offset + size]))
        offset += size
    return found


def _unpacked(chunk: memoryview) -> bytes:
    """What a chunk holds, its checksum compared. Raises one of _DAMAGE."""
    _, _, size, checksum, text_length = _CHUNK.unpack_from(chunk)
    begin = _CHUNK.size + text_length + _SIZE.size
    if bytes(chunk[_CHUNK.size : _CHUNK.size + text_length]) != b"zstd":
        stream, length = get_chunk_data_stream(
            records.Chunk.read(_stream(chunk)), validate_crc=True
        )
        return stream.read(length)
    (packed,) = _SIZE.unpack_from(chunk, begin - _SIZE.size)
    data = _unpacker.zstd.decompress(chunk[begin : begin + packed], max_output_size=size)
    if checksum and zlib.crc32(data) != checksum:
        raise ValueError("its checksum is wrong")
    return data


class _Unpacker(threading.local):
    """To make one takes longer than to unpack a chunk, and it is for one thread."""

    def __init__(self) -> None:
        self.zstd = zstandard.ZstdDecompressor()


_unpacker = _Unpacker()


def _stream(data: bytes | memoryview) -> ReadDataStream:
    return ReadDataStream(BytesIO(data))


@cache
def _types(type_name: str, definition: str) -> Typestore:
    """Decoders for one type. Each type has its own: two bags may disagree on a common part."""
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(definition, type_name))
    return store
