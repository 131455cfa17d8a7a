"""One stream of messages, several bags."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from safevla_ros.bags import BagError, RawMessage
from safevla_ros.bags.mcap_file import McapFile, Topic
from safevla_ros.bags.reader import Bag
from safevla_ros.bags.recorder import MOST_BAGS, Recorder, free_name
from safevla_ros.bags.writer import Limits

STRING = "std_msgs/msg/String"
LIMITS = Limits(min_free_bytes=0)
MakeTopic = Callable[[str, str], Topic]
MakeText = Callable[..., RawMessage]


def test_a_bag_begins_a_second_before_and_ends_where_it_is_told(
    tmp_path: Path, make_topic: MakeTopic, make_text: MakeText
) -> None:
    recorder = Recorder(tmp_path, [make_topic("/text", STRING)], LIMITS, "kilted")
    messages = [make_text(number) for number in range(100)]  # ten a second
    for message in messages[:40]:
        recorder.take(message)
    long, short = recorder.begin("long", {}), recorder.begin("short", {})
    for message in messages[40:60]:
        recorder.take(message)
    recorder.end(short, {"outcome": "SUCCESS"})
    for message in messages[60:]:
        recorder.take(message)
    recorder.end(long, {})
    assert short.wait(10.0)
    assert long.wait(10.0)
    assert list(Bag(short.folder).messages()) == messages[29:60]
    assert list(Bag(long.folder).messages()) == messages[29:]
    assert Bag(short.folder).provenance["outcome"] == "SUCCESS"
    assert short.progress.dropped == long.progress.dropped == 0


@pytest.fixture
def stalled_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No bag can be closed until the test is over."""
    answers = threading.Event()
    finish = McapFile.finish

    def wait(file: McapFile, provenance: dict[str, str]) -> None:
        answers.wait(20.0)
        finish(file, provenance)

    monkeypatch.setattr(McapFile, "finish", wait)
    yield
    answers.set()


@pytest.mark.usefixtures("stalled_disk")
def test_a_disk_that_does_not_answer_does_not_fill_the_memory_with_bags(
    tmp_path: Path, make_topic: MakeTopic
) -> None:
    recorder = Recorder(tmp_path, [make_topic("/text", STRING)], LIMITS, "")
    for number in range(MOST_BAGS):
        recorder.end(recorder.begin(f"bag-{number}", {}), {})
    with pytest.raises(BagError, match="4 wait for a disk that does not answer"):
        recorder.begin("one more", {})


@pytest.mark.parametrize(
    ("wanted", "name"),
    [("e-1", "e-1"), ("a/b c", "a_b_c"), ("..", "bag"), ("", "bag"), ("taken", "taken-3")],
)
def test_folder_names_are_safe_and_free(tmp_path: Path, wanted: str, name: str) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken-2").mkdir()
    assert free_name(tmp_path, wanted) == name


def test_a_paused_bag_goes_on_without_a_gap_or_says_that_it_cannot(
    tmp_path: Path, make_topic: MakeTopic, make_text: MakeText
) -> None:
    topics = [make_topic("/text", STRING)]
    recorder = Recorder(tmp_path, topics, LIMITS, "", memory_s=2.0)
    messages = [make_text(number) for number in range(100)]
    recorder.take(messages[0])
    one, other = recorder.begin("one", {}, head_s=0.0), recorder.begin("other", {}, head_s=0.0)
    for number, message in enumerate(messages[1:], start=1):
        if number == 10:
            recorder.pause(one)
            recorder.pause(other)
        if number == 25:
            assert recorder.resume(one)
        if number == 60:
            assert not recorder.resume(other)
        recorder.take(message)
    for writer in (one, other):
        recorder.end(writer, {})
        assert writer.wait(10.0)
    assert list(Bag(one.folder).messages()) == messages
    assert list(Bag(other.folder).messages()) == messages[:10]


def test_what_is_kept_is_at_the_head_however_old_it_is(
    tmp_path: Path, make_topic: MakeTopic, make_text: MakeText
) -> None:
    topics = [replace(make_topic("/map", STRING), kept=True), make_topic("/text", STRING)]
    recorder = Recorder(tmp_path, topics, LIMITS, "")
    for number in range(100):
        recorder.take(make_text(number, topic="/map" if number < 2 else "/text"))
    writer = recorder.begin("bag", {})
    recorder.end(writer, {})
    assert writer.wait(10.0)
    first, *others = Bag(writer.folder).messages()
    assert (first.topic, first.data) == ("/map", make_text(1).data)
    assert {message.topic for message in others} == {"/text"}
