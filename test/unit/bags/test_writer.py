"""What the writer promises: every byte as it came, no waiting, honest counts, a bag at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader

from safevla_ros.bags import BagError, RawMessage
from safevla_ros.bags.mcap_file import Topic
from safevla_ros.bags.metadata import COMPLETE, DROPPED, PROBLEM, Qos
from safevla_ros.bags.reader import Bag
from safevla_ros.bags.writer import BagWriter, Limits

STRING = "std_msgs/msg/String"
UNGUARDED = Limits(min_free_bytes=0)
MakeTopic = Callable[[str, str], Topic]
MakeText = Callable[..., RawMessage]


def record(folder: Path, topics: list[Topic], messages: list[RawMessage], **final: str) -> None:
    writer = BagWriter(folder, {"robot": "sim"}, limits=UNGUARDED, distro="kilted")
    for topic in topics:
        writer.add_topic(topic)
    for message in messages:
        assert writer.write(message)
    writer.finish(final)
    assert writer.wait(10.0)
    assert writer.progress.problem == ""


def test_bytes_come_back_as_they_were_handed_over(
    tmp_path: Path, make_topic: MakeTopic, make_text: MakeText
) -> None:
    messages = [make_text(number, size=number) for number in range(500)]
    record(tmp_path / "bag", [make_topic("/text", STRING)], messages)
    bag = Bag(tmp_path / "bag")
    assert list(bag.messages()) == messages
    assert bag.finished
    assert bag.damage == []


def test_rosbags_reads_the_folder(
    tmp_path: Path, make_topic: MakeTopic, make_text: MakeText
) -> None:
    messages = [make_text(number) for number in range(20)]
    record(tmp_path / "bag", [make_topic("/text", STRING)], messages, outcome="SUCCESS")
    with Reader(tmp_path / "bag") as reader:
        assert reader.message_count == 20
        assert reader.duration == 19 * 100_000_000 + 1
        assert [item.topic for item in reader.connections] == ["/text"]
        custom = reader.storage.metadata.custom
    assert custom is not None
    assert custom["robot"] == "sim"
    assert custom["outcome"] == "SUCCESS"
    assert json.loads(custom[COMPLETE]) is True
    with AnyReader([tmp_path / "bag"]) as any_reader:
        texts = [
            any_reader.deserialize(data, connection.msgtype).data
            for connection, _, data in any_reader.messages()
        ]
    assert texts == [f"{number}:" for number in range(20)]


def test_the_mcap_reader_reads_the_file_and_decodes_it(
    tmp_path: Path, make_topic: MakeTopic, make_text: MakeText
) -> None:
    record(tmp_path / "bag", [make_topic("/text", STRING)], [make_text(n) for n in range(5)])
    with (tmp_path / "bag" / "bag_0.mcap").open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True, decoder_factories=[DecoderFactory()])
        decoded = [item.decoded_message.data for item in reader.iter_decoded_messages()]
        assert reader.get_header().profile == "ros2"
        names = {item.name for item in reader.iter_metadata()}
    assert decoded == [f"{number}:" for number in range(5)]
    assert names == {"safevla_ros", "rosbag2"}


def test_metadata_is_what_rosbag2_writes_in_its_version_9(
    tmp_path: Path, make_topic: MakeTopic, make_text: MakeText
) -> None:
    topic = make_topic("/text", STRING)
    latched = Topic("/latched", STRING, topic.definition, [Qos(durability="transient_local")])
    record(tmp_path / "bag", [topic, latched], [make_text(n) for n in range(3)])
    data = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())
    info = data["rosbag2_bagfile_information"]
    assert info["version"] == 9
    assert info["storage_identifier"] == "mcap"
    assert info["relative_file_paths"] == ["bag_0.mcap"]
    assert info["message_count"] == 3
    assert info["ros_distro"] == "kilted"
    counts = {
        t["topic_metadata"]["name"]: t["message_count"] for t in info["topics_with_message_count"]
    }
    assert counts == {"/text": 3, "/latched": 0}
    offered = info["topics_with_message_count"][1]["topic_metadata"]["offered_qos_profiles"]
    assert offered[0]["durability"] == "transient_local"
    assert info["topics_with_message_count"][0]["topic_metadata"][
        "type_description_hash"
    ].startswith("RIHS01_")


def test_everything_offered_is_either_stored_or_counted_as_dropped(
    tmp_path: Path, make_topic: MakeTopic, make_text: MakeText
) -> None:
    writer = BagWriter(tmp_path / "bag", {}, limits=Limits(queue_bytes=200_000, min_free_bytes=0))
    writer.add_topic(make_topic("/text", STRING))
    offered = [make_text(number, size=10_000) for number in range(2000)]
    taken = sum(writer.write(message) for message in offered)
    writer.finish()
    assert writer.wait(10.0)
    bag = Bag(tmp_path / "bag")
    stored = list(bag.messages())
    assert 0 < len(stored) == taken < len(offered)
    assert writer.progress.messages == taken
    assert writer.progress.dropped == len(offered) - taken
    assert json.loads(bag.provenance[DROPPED]) == {"/text": len(offered) - taken}
    assert json.loads(bag.provenance[COMPLETE]) is False


def test_a_gap_in_the_sequence_shows_where_messages_were_dropped(
    tmp_path: Path, make_topic: MakeTopic, make_text: MakeText
) -> None:
    writer = BagWriter(tmp_path / "bag", {}, limits=Limits(queue_bytes=10_000, min_free_bytes=0))
    writer.add_topic(make_topic("/text", STRING))
    assert writer.write(make_text(0))
    assert not writer.write(make_text(1, size=20_000))  # larger than the whole queue
    assert writer.write(make_text(2))
    writer.finish()
    assert writer.wait(10.0)
    with (tmp_path / "bag" / "bag_0.mcap").open("rb") as stream:
        numbers = [message.sequence for _, _, message in make_reader(stream).iter_messages()]
    assert numbers == [1, 3]


def test_large_messages_leave_room_for_small_ones(
    tmp_path: Path, make_topic: MakeTopic, make_text: MakeText, monkeypatch: pytest.MonkeyPatch
) -> None:
    stalled = threading.Event()
    monkeypatch.setattr(  # a disk that does not answer
        "safevla_ros.bags.mcap_file.McapFile.add_topic", lambda *_: stalled.wait(10.0)
    )
    writer = BagWriter(tmp_path / "bag", {}, limits=Limits(queue_bytes=800_000, min_free_bytes=0))
    writer.add_topic(make_topic("/text", STRING))
    image, event = make_text(0, size=100_000), make_text(1)
    while writer.write(image):
        pass
    begin = time.monotonic()
    assert all(writer.write(event) for _ in range(1000))
    assert time.monotonic() - begin < 1.0
    assert writer.progress.dropped == 1
    stalled.set()


def test_a_disk_that_is_nearly_full_refuses_to_begin(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"MiB of disk left, expected at least"):
        BagWriter(tmp_path / "bag", {}, limits=Limits(min_free_bytes=1 << 60))
    assert not (tmp_path / "bag").exists()


def test_a_folder_that_exists_is_not_recorded_over(tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    with pytest.raises(BagError, match="expected a new folder"):
        BagWriter(tmp_path / "bag", {})


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BagError, match=r"file/bag: cannot be made"):
        BagWriter(tmp_path / "file" / "bag", {})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(mount)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def fill(writer: BagWriter, make_text: MakeText) -> int:
    """Write noise, which cannot be compressed, until the writer refuses; messages taken."""
    taken = 0
    for number in range(500):
        message = make_text(number)
        data = message.data[:4] + (100_000).to_bytes(4, "little") + os.urandom(100_000)
        writer.write(RawMessage("/text", data, message.log_time_ns, message.publish_time_ns))
        taken += 1
        if writer.closed:
            break
        time.sleep(0.002)
    return taken


def test_a_full_disk_stops_the_recording_and_keeps_what_was_flushed(
    small_disk: Path, make_topic: MakeTopic, make_text: MakeText
) -> None:
    writer = BagWriter(
        small_disk / "bag", {"robot": "sim"}, limits=Limits(min_free_bytes=0, flush_s=60.0)
    )
    writer.add_topic(make_topic("/text", STRING))
    offered = fill(writer, make_text)
    assert writer.wait(10.0)
    assert "No space left on device" in writer.progress.problem
    bag = Bag(small_disk / "bag")
    stored = list(bag.messages())
    assert len(stored) == writer.progress.messages > 30
    assert writer.progress.dropped == offered - len(stored)
    assert bag.provenance["robot"] == "sim"
    assert bag.provenance[PROBLEM] == writer.progress.problem


def test_low_disk_ends_the_bag_properly_before_the_disk_is_full(
    small_disk: Path, make_topic: MakeTopic, make_text: MakeText
) -> None:
    writer = BagWriter(small_disk / "bag", {}, limits=Limits(min_free_bytes=4 << 20, flush_s=0.02))
    writer.add_topic(make_topic("/text", STRING))
    fill(writer, make_text)
    assert writer.wait(10.0)
    assert "MiB of disk left, expected at least 4 MiB" in writer.progress.problem
    with Reader(small_disk / "bag") as reader:
        assert reader.message_count == writer.progress.messages > 10


@pytest.fixture
def freezing_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that can be frozen: who writes then waits, as for a disk that does not answer."""
    image, mount = tmp_path / "image", tmp_path / "mount"
    mount.mkdir()
    with image.open("wb") as stream:
        stream.truncate(64 << 20)
    for command in (
        ["mkfs.ext4", "-q", str(image)],
        ["mount", "-o", "loop", str(image), str(mount)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield mount
    subprocess.run(["fsfreeze", "--unfreeze", str(mount)], capture_output=True, check=False)
    subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system takes root")
def test_a_disk_that_stalls_holds_nobody_up_and_costs_what_the_queue_cannot_hold(
    freezing_disk: Path, make_topic: MakeTopic, make_text: MakeText
) -> None:
    writer = BagWriter(
        freezing_disk / "bag", {}, limits=Limits(queue_bytes=2_000_000, min_free_bytes=0)
    )
    writer.add_topic(make_topic("/text", STRING))
    assert writer.write(make_text(0))
    subprocess.run(["fsfreeze", "--freeze", str(freezing_disk)], check=True)
    offered = [make_text(number, size=20_000) for number in range(1, 400)]
    taken = sum(writer.write(message) for message in offered)  # would never return if it waited
    assert 0 < taken < len(offered)
    subprocess.run(["fsfreeze", "--unfreeze", str(freezing_disk)], check=True)
    writer.finish()
    assert writer.wait(60.0)
    bag = Bag(freezing_disk / "bag")
    assert sum(1 for _ in bag.messages()) == 1 + taken
    assert json.loads(bag.provenance[DROPPED]) == {"/text": len(offered) - taken}


def test_writing_after_the_end_is_refused_and_counted(
    tmp_path: Path, make_topic: MakeTopic, make_text: MakeText
) -> None:
    writer = BagWriter(tmp_path / "bag", {}, limits=UNGUARDED)
    writer.add_topic(make_topic("/text", STRING))
    writer.finish()
    assert not writer.write(make_text(0))
    assert writer.wait(10.0)
    assert writer.progress.dropped == 1


def test_a_killed_recorder_loses_less_than_a_second(tmp_path: Path) -> None:
    script = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from safevla_ros.bags import RawMessage
from safevla_ros.bags.definitions import Definition
from safevla_ros.bags.mcap_file import Topic
from safevla_ros.bags.writer import BagWriter, Limits
writer = BagWriter(Path({str(tmp_path / "bag")!r}), {{"robot": "sim"}}, limits=Limits(min_free_bytes=0))
writer.add_topic(Topic("/text", "std_msgs/msg/String", Definition("string data\\n")))
for number in range(100000):
    writer.write(RawMessage("/text", b"\\0\\1\\0\\0\\1\\0\\0\\0\\0", time.time_ns(), 0))
    print(time.time_ns(), flush=True)
    time.sleep(0.005)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    last_ns = 0
    for count, line in enumerate(process.stdout):
        last_ns = int(line)
        if count == 400:
            break
    process.kill()
    process.wait(10.0)
    process.stdout.close()
    bag = Bag(tmp_path / "bag")
    stamps = [message.log_time_ns for message in bag.messages()]
    assert not bag.finished
    assert bag.provenance["robot"] == "sim"
    assert last_ns - stamps[-1] < 1_000_000_000
