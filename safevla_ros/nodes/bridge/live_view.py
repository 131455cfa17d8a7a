"""What is recorded, served to Foxglove over websocket while it comes.

A message goes into a short queue of each client that asked for its topic, and a client that is too
slow misses the oldest: nobody waits. No ROS is imported.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import foxglove
from foxglove.websocket import ServerListener

from safevla_ros.bags import RawMessage
from safevla_ros.bags.mcap_file import Topic
from safevla_ros.bags.metadata import Qos

BACKLOG = 64
"""Messages that may wait for a client; of the largest images that is about 64 MB."""


class LiveViewError(Exception):
    """There is no server; the message says why."""


class LiveView(ServerListener):
    """A server of topics, as they are heard. `publish` and `tick` are for one thread."""

    def __init__(self, host: str, port: int, topics: Sequence[Topic]) -> None:
        """Serve `topics` on `host`:`port` (0: any port). Raises LiveViewError, as where the port is
        taken."""
        context = self._context = (
            foxglove.Context()
        )  # not the process' own, which would serve what others log
        self._channels = {
            topic.name: foxglove.Channel(
                topic.name,
                schema=foxglove.Schema(
                    name=topic.type, encoding="ros2msg", data=topic.definition.text.encode()
                ),
                message_encoding="cdr",
                context=context,
            )
            for topic in topics
        }
        latched = Qos(durability="transient_local").durability
        self._last: dict[str, RawMessage | None] = {
            topic.name: None
            for topic in topics
            if topic.kept or any(qos.durability == latched for qos in topic.qos)
        }
        self.problem = ""
        """What went wrong last."""
        self._lock = threading.Lock()
        self._asked: set[str] = set()
        try:
            self._server = foxglove.start_server(
                name="safevla_ros",
                host=host,
                port=port,
                server_listener=self,
                context=context,
                message_backlog_size=BACKLOG,
            )
        except (RuntimeError, OSError, ValueError) as error:
            raise LiveViewError(f"{host}:{port}: {error}") from error

    @property
    def port(self) -> int:
        """Where it is served."""
        return self._server.port

    def publish(self, message: RawMessage) -> None:
        """Serve a message of one of the topics to who asked for it."""
        if message.topic in self._last:
            self._last[message.topic] = message
        self._send(message)

    def tick(self) -> None:
        """Tell those who came since what latched topics said last; a client may hear it twice."""
        with self._lock:
            asked, self._asked = self._asked, set()
        for topic in asked:
            last = self._last.get(topic)
            if last is not None:
                self._send(last)

    def close(self) -> None:
        """Send clients away."""
        self._server.stop()
        for channel in self._channels.values():
            channel.close()

    def on_subscribe(self, client: Any, channel: Any) -> None:
        """Foxglove's thread calls this."""
        with self._lock:
            self._asked.add(channel.topic)

    def _send(self, message: RawMessage) -> None:
        channel = self._channels[message.topic]
        try:
            if channel.has_sinks():  # somebody asked for it
                channel.log(message.data, log_time=message.log_time_ns)
        except Exception as error:  # the recording must not suffer from who looks at it
            self.problem = f"live view: {message.topic}: {error!r}"
