"""Whatever happened to a file: what is whole is read, the rest is named, nothing is invented."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from rosbags.rosbag2 import Reader
from rosbags.typesys.store import Typestore

from safevla_ros.bags import BagError, RawMessage
from safevla_ros.bags.mcap_file import McapFile, Topic
from safevla_ros.bags.metadata import COMPLETE, PROBLEM
from safevla_ros.bags.reader import Bag
from safevla_ros.bags.repair import repair

STRING = "std_msgs/msg/String"
MakeTopic = Callable[[str, str], Topic]
MakeText = Callable[..., RawMessage]


@pytest.fixture
def messages(make_text: MakeText) -> list[RawMessage]:
    """12 MB in 300 messages: a dozen chunks, each about 27 messages."""
    return [make_text(number, size=40_000) for number in range(300)]


@pytest.fixture
def whole(tmp_path: Path, make_topic: MakeTopic, messages: list[RawMessage]) -> Path:
    """A finished bag."""
    folder = tmp_path / "whole"
    folder.mkdir()
    file = McapFile(folder / "whole_0.mcap", {"robot": "sim"})
    file.add_topic(make_topic("/text", STRING))
    for number, message in enumerate(messages):
        file.write(message, number)
    file.finish({"outcome": "SUCCESS"})
    return folder


def cut(whole: Path, folder: Path, size: int) -> Path:
    """A bag with the first bytes of another and, as after a kill, no metadata.yaml."""
    folder.mkdir(exist_ok=True)
    (folder / "cut_0.mcap").write_bytes((whole / "whole_0.mcap").read_bytes()[:size])
    return folder


def test_a_file_cut_anywhere_keeps_every_message_of_the_chunks_before_the_cut(
    tmp_path: Path, whole: Path, messages: list[RawMessage]
) -> None:
    path = whole / "whole_0.mcap"
    with path.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    assert len(summary.chunk_indexes) > 8
    chunks = sorted(summary.chunk_indexes, key=lambda chunk: chunk.chunk_start_offset)
    ends = [chunk.chunk_start_offset + chunk.chunk_length for chunk in chunks]
    last_stamps = [chunk.message_end_time for chunk in chunks]

    generator = random.Random(7)
    size = path.stat().st_size
    borders = [end + shift for end in ends for shift in (-1, 0, 1)]
    positions = {0, 1, 7, 8, 9, 20, size - 1, *borders}
    while len(positions) < 200:
        positions.add(generator.randrange(size))
    for position in sorted(positions):
        bag = Bag(cut(whole, tmp_path / "cut", position))
        whole_chunks = [
            stamp for end, stamp in zip(ends, last_stamps, strict=True) if end <= position
        ]
        expected = sum(message.log_time_ns <= max(whole_chunks, default=-1) for message in messages)
        assert list(bag.messages()) == messages[:expected], f"cut at {position}"
        assert not bag.finished


def test_a_cut_says_where_it_is_and_keeps_the_provenance(tmp_path: Path, whole: Path) -> None:
    size = (whole / "whole_0.mcap").stat().st_size // 2
    bag = Bag(cut(whole, tmp_path / "cut", size))
    assert len(list(bag.messages())) > 0
    assert len(bag.damage) == 1
    assert f"of {size}; what comes before is read" in bag.damage[0]
    assert bag.provenance["robot"] == "sim"
    assert "outcome" not in bag.provenance


def test_a_flipped_byte_costs_at_most_what_follows_and_invents_nothing(
    tmp_path: Path, whole: Path, messages: list[RawMessage]
) -> None:
    good = (whole / "whole_0.mcap").read_bytes()
    known = set(messages)
    generator = random.Random(3)
    damaged = tmp_path / "damaged_0.mcap"
    for _ in range(100):
        position = generator.randrange(100, len(good))
        data = bytearray(good)
        data[position] ^= 1 << generator.randrange(8)
        damaged.write_bytes(data)
        bag = Bag(damaged)
        found = list(bag.messages())
        assert set(found) <= known, f"byte {position}"
        assert len(found) == len(messages) or bag.damage, f"byte {position}"


def test_a_damaged_chunk_is_left_out_and_those_after_it_are_read(
    whole: Path, messages: list[RawMessage]
) -> None:
    path = whole / "whole_0.mcap"
    with path.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    second = sorted(summary.chunk_indexes, key=lambda chunk: chunk.chunk_start_offset)[1]
    data = bytearray(path.read_bytes())
    data[second.chunk_start_offset + second.chunk_length - 20] ^= 0xFF
    path.write_bytes(data)
    bag = Bag(whole)
    found = list(bag.messages())
    lost = [message for message in messages if message not in set(found)]
    assert lost
    assert all(second.message_start_time <= m.log_time_ns <= second.message_end_time for m in lost)
    assert len(bag.damage) == 1
    assert "left out" in bag.damage[0]


def test_messages_are_decoded_by_the_definition_in_the_bag(
    tmp_path: Path, types: Typestore, make_topic: MakeTopic
) -> None:
    kind = "safevla_ros/msg/TermMargin"
    message = types.types[kind](
        name="collision", applicable=True, margin=0.25, cumulative=1.0, remaining=2.0, cause="table"
    )
    file = McapFile(tmp_path / "a.mcap", {})
    file.add_topic(make_topic("/margin", kind))
    file.write(RawMessage("/margin", bytes(types.serialize_cdr(message, kind)), 5, 5), 0)
    file.finish({})
    [(raw, decoded)] = Bag(tmp_path / "a.mcap").decoded(["/margin"])
    assert raw.topic == "/margin"
    assert (decoded.name, decoded.margin, decoded.cause) == ("collision", 0.25, "table")


def test_constants_come_from_the_definition_in_the_bag(
    tmp_path: Path, make_topic: MakeTopic, make_text: MakeText
) -> None:
    file = McapFile(tmp_path / "a.mcap", {})
    file.add_topic(make_topic("/episode", "safevla_ros/msg/Episode"))
    file.add_topic(make_topic("/text", STRING))
    file.write(make_text(0), 0)
    file.finish({})
    bag = Bag(tmp_path / "a.mcap")
    list(bag.messages())
    constants = bag.constants("/episode")
    assert (constants["RUNNING"], constants["ENDED"], constants["ABORTED"]) == (0, 1, 3)
    assert bag.constants("/text") == {}


def test_a_message_that_is_not_of_its_type_is_left_out_and_named_once(
    tmp_path: Path, make_topic: MakeTopic, make_text: MakeText
) -> None:
    file = McapFile(tmp_path / "a.mcap", {})
    file.add_topic(make_topic("/text", STRING))
    for number in range(3):
        file.write(RawMessage("/text", b"\0\1\0\0\xff\xff\xff\xff", number, number), number)
    file.write(make_text(0), 3)
    file.finish({})
    bag = Bag(tmp_path / "a.mcap")
    assert [message.data for _, message in bag.decoded()] == ["0:"]
    assert len(bag.damage) == 1
    assert "topic /text: cannot be decoded as std_msgs/msg/String" in bag.damage[0]


@pytest.mark.parametrize("compression", list(CompressionType))
def test_files_of_other_recorders_are_read(
    tmp_path: Path,
    compression: CompressionType,
    make_topic: MakeTopic,
    make_text: MakeText,
) -> None:
    messages = [make_text(number) for number in range(10)]
    with (tmp_path / "other.mcap").open("wb") as stream:
        writer = Writer(
            stream, compression=compression, use_chunking=compression != CompressionType.NONE
        )
        writer.start(profile="ros2")
        text = make_topic("/text", STRING).definition.text.encode()
        channel = writer.register_channel(
            "/text", "cdr", writer.register_schema(STRING, "ros2msg", text)
        )
        json_channel = writer.register_channel("/json", "json", 0)
        for message in messages:
            writer.add_message(channel, message.log_time_ns, message.data, message.publish_time_ns)
            writer.add_message(json_channel, message.log_time_ns, b"{}", 0)
        writer.finish()
    bag = Bag(tmp_path / "other.mcap")
    assert list(bag.messages()) == messages
    assert len(bag.damage) == 1
    assert "topic /json: expected ROS 2 messages" in bag.damage[0]
    assert bag.provenance == {}


@pytest.mark.parametrize("content", [b"", b"not a bag at all, and long enough to look at"])
def test_a_file_that_is_no_bag_is_empty_and_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mcap").write_bytes(content)
    bag = Bag(tmp_path / "a.mcap")
    assert list(bag.messages()) == []
    assert "not an MCAP file" in bag.damage[0]


def test_a_folder_without_a_bag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"expected a bag: a folder with \.mcap files"):
        Bag(tmp_path)


def test_a_repaired_bag_is_read_by_rosbags_and_by_mcap(
    tmp_path: Path, whole: Path, messages: list[RawMessage]
) -> None:
    folder = cut(whole, tmp_path / "cut", (whole / "whole_0.mcap").stat().st_size // 2)
    readable = list(Bag(folder).messages())
    result = repair(folder)
    assert result.changed
    assert result.messages == len(readable) > 50
    bag = Bag(folder)
    assert bag.finished
    assert list(bag.messages()) == readable == messages[: len(readable)]
    assert bag.provenance["robot"] == "sim"
    assert bag.provenance[COMPLETE] == "false"
    assert bag.provenance[PROBLEM].startswith("repaired: ")
    with Reader(folder) as reader:
        assert reader.message_count == len(readable)
        assert [data for _, _, data in reader.messages()] == [m.data for m in readable]
    with (folder / "cut_0.mcap").open("rb") as stream:
        assert sum(1 for _ in make_reader(stream, validate_crcs=True).iter_messages()) == len(
            readable
        )
    assert sorted(file.name for file in folder.iterdir()) == ["cut_0.mcap", "metadata.yaml"]


def test_repair_leaves_a_whole_bag_as_it_is(whole: Path, messages: list[RawMessage]) -> None:
    before = {file: file.stat().st_mtime_ns for file in whole.iterdir()}
    result = repair(whole)
    assert not result.changed
    assert result.messages == len(messages)
    assert {file: file.stat().st_mtime_ns for file in whole.iterdir()} == before


def test_repair_makes_a_missing_metadata_file(whole: Path, messages: list[RawMessage]) -> None:
    (whole / "metadata.yaml").unlink()
    assert repair(whole).changed
    with Reader(whole) as reader:
        assert reader.message_count == len(messages)


def test_repair_of_nothing_leaves_the_file_alone(tmp_path: Path, whole: Path) -> None:
    folder = cut(whole, tmp_path / "cut", 100)
    before = (folder / "cut_0.mcap").read_bytes()
    with pytest.raises(BagError, match="no message can be read"):
        repair(folder)
    assert [file.name for file in folder.iterdir()] == ["cut_0.mcap"]
    assert (folder / "cut_0.mcap").read_bytes() == before
