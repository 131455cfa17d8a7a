"""The live view, seen through a websocket as Foxglove sees it."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from safevla_ros.bags import RawMessage
from safevla_ros.bags.mcap_file import Topic
from safevla_ros.bags.metadata import Qos

pytest.importorskip("foxglove", reason="no live view: pip install '.[viewer]'")
client = pytest.importorskip("websockets.sync.client", reason="a websocket client is missing")

from safevla_ros.nodes.bridge.live_view import BACKLOG, LiveView, LiveViewError  # noqa: E402

STRING = "std_msgs/msg/String"
LATCHED = [Qos(durability="transient_local")]


@pytest.fixture
def view(make_topic: Callable[[str, str], Topic]) -> Iterator[LiveView]:
    topics = [
        make_topic("/text", STRING),
        replace(make_topic("/episode", STRING), qos=LATCHED),
        make_topic("/cost_vector", "safevla_ros/msg/CostVector"),
    ]
    served = LiveView("127.0.0.1", 0, topics)
    yield served
    served.close()


class Viewer:
    """Connects, reads what is on offer and subscribes."""

    def __init__(self, port: int) -> None:
        self._connection = client.connect(
            f"ws://127.0.0.1:{port}", subprotocols=["foxglove.sdk.v1"], max_size=None
        )
        self.socket = self._connection.__enter__()
        self.channels: dict[str, Any] = {}
        while len(self.channels) < 3:
            said = json.loads(self.socket.recv(timeout=10.0))
            for channel in said.get("channels", ()):
                self.channels[channel["topic"]] = channel

    def subscribe(self, *topics: str) -> None:
        wanted = [{"id": n, "channelId": self.channels[t]["id"]} for n, t in enumerate(topics)]
        self.socket.send(json.dumps({"op": "subscribe", "subscriptions": wanted}))

    def message(self) -> tuple[int, int, bytes]:
        """Subscription, time [ns] and bytes of the next message."""
        while True:
            said = self.socket.recv(timeout=10.0)
            if isinstance(said, bytes) and said[0] == 1:
                subscription, time_ns = struct.unpack_from("<IQ", said, 1)
                return subscription, time_ns, said[13:]


def deliver(view: LiveView, viewer: Viewer, message: RawMessage) -> tuple[int, int, bytes]:
    """Publish until it is there: a subscription takes its time."""
    viewer.socket.ping()
    for _ in range(200):
        view.publish(message)
        try:
            said = viewer.socket.recv(timeout=0.05)
        except TimeoutError:
            continue
        if isinstance(said, bytes) and said[0] == 1:
            subscription, time_ns = struct.unpack_from("<IQ", said, 1)
            return subscription, time_ns, said[13:]
    raise AssertionError("no message came")


def test_a_client_sees_schemas_and_the_bytes_as_they_came(
    view: LiveView, make_text: Callable[..., RawMessage]
) -> None:
    viewer = Viewer(view.port)
    costs = viewer.channels["/cost_vector"]
    assert (costs["encoding"], costs["schemaName"]) == ("cdr", "safevla_ros/msg/CostVector")
    assert costs["schemaEncoding"] == "ros2msg"
    assert "MSG: safevla_ros/TermCost" in costs["schema"]
    viewer.subscribe("/text")
    sent = make_text(7)
    assert deliver(view, viewer, sent) == (0, sent.log_time_ns, sent.data)
    viewer.socket.close()


def test_who_comes_late_hears_what_latched_topics_said(
    view: LiveView, make_text: Callable[..., RawMessage]
) -> None:
    said = make_text(1, topic="/episode")
    view.publish(said)
    viewer = Viewer(view.port)
    viewer.subscribe("/episode")
    for _ in range(200):
        view.tick()
        try:
            found = viewer.socket.recv(timeout=0.05)
        except TimeoutError:
            continue
        if isinstance(found, bytes):
            break
    assert found[13:] == said.data
    viewer.socket.close()


def test_a_client_that_reads_nothing_holds_nobody_up_and_misses_the_oldest(
    view: LiveView, make_text: Callable[..., RawMessage]
) -> None:
    """Far more is published than sockets and queues of a client hold; it ends up with the last."""
    viewer = Viewer(view.port)
    viewer.subscribe("/text")
    deliver(view, viewer, make_text(0))
    large = [make_text(number, size=200_000) for number in range(1, 40 * BACKLOG)]
    for message in large:  # half a gigabyte
        view.publish(message)
    assert view.problem == ""
    seen = []
    last = large[-1].log_time_ns
    while not seen or seen[-1] != last:
        seen.append(viewer.message()[1])
    assert len(seen) < len(large)
    assert seen == sorted(seen)
    viewer.socket.close()


def test_a_port_that_is_taken_is_named(make_topic: Callable[[str, str], Topic]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LiveViewError, match=f"127.0.0.1:{port}: .*in use"):
            LiveView("127.0.0.1", port, [make_topic("/text", STRING)])
