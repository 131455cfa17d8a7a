"""The memory of the last seconds, which a bag begins with."""

from __future__ import annotations

from safevla_ros.bags import RawMessage
from safevla_ros.bags.recent import RecentMessages

SECOND = 1_000_000_000


def message(topic: str, time_s: float, size: int = 10) -> RawMessage:
    return RawMessage(topic, b"x" * size, round(time_s * SECOND), round(time_s * SECOND) - 5)


def test_only_the_last_seconds_are_kept() -> None:
    recent = RecentMessages(1.0, 10**6)
    for tenth in range(50):
        recent.add(message("/scan", tenth / 10))
    assert [m.log_time_ns for m in recent.head()] == [
        round(tenth / 10 * SECOND) for tenth in range(39, 50)
    ]


def test_memory_is_bounded_in_bytes() -> None:
    recent = RecentMessages(100.0, 1000)
    for number in range(100):
        recent.add(message("/scan", number, size=100))
    assert sum(len(m.data) for m in recent.head()) == 1000
    recent.add(message("/image", 100.0, size=5000))
    assert [m.topic for m in recent.head()] == ["/image"]


def test_a_latched_message_from_long_ago_is_repeated_at_the_beginning() -> None:
    recent = RecentMessages(1.0, 10**6, latched=["/specification"])
    recent.add(message("/specification", 1.0))
    recent.add(message("/specification", 2.0))
    recent.add(message("/scan", 60.0))
    recent.add(message("/scan", 60.5))
    head = recent.head()
    assert [m.topic for m in head] == ["/specification", "/scan", "/scan"]
    assert head[0].log_time_ns == 60 * SECOND
    assert head[0].publish_time_ns == 2 * SECOND - 5


def test_a_latched_message_of_the_last_seconds_keeps_its_place() -> None:
    recent = RecentMessages(1.0, 10**6, latched=["/status"])
    recent.add(message("/status", 10.0))
    recent.add(message("/scan", 19.5))
    recent.add(message("/status", 20.0))
    assert [(m.topic, m.log_time_ns / SECOND) for m in recent.head()] == [
        ("/status", 19.5),
        ("/scan", 19.5),
        ("/status", 20.0),
    ]


def test_nothing_heard_is_an_empty_head() -> None:
    assert RecentMessages(1.0, 1000, latched=["/status"]).head() == []


def test_a_shorter_head_repeats_what_was_latched_before_it() -> None:
    recent = RecentMessages(10.0, 10**6, latched=["/status"])
    recent.add(message("/status", 1.0, size=1))
    recent.add(message("/status", 2.0, size=2))
    recent.add(message("/scan", 8.0))
    recent.add(message("/scan", 9.0))
    head = recent.head(1.0)
    assert [(m.topic, m.log_time_ns / SECOND) for m in head] == [
        ("/status", 8.0),
        ("/scan", 8.0),
        ("/scan", 9.0),
    ]
    assert len(head[0].data) == 2


def test_what_came_since_is_known_as_long_as_it_is_remembered() -> None:
    recent = RecentMessages(3.0, 10**6)
    for second in range(5):
        recent.add(message("/scan", second))
    mark = recent.added
    assert recent.since(mark) == []
    later = [message("/scan", second) for second in (5, 6)]
    for each in later:
        recent.add(each)
    assert recent.since(mark) == later
    for second in range(7, 20):
        recent.add(message("/scan", second))
    assert recent.since(mark) is None
