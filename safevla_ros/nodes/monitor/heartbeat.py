"""Signs of life between cost monitor and watchdog: each sends its own and listens to the other's.

Silence is judged on the steady clock. Whoever did not run itself for a while cannot tell silence
from its own absence. So a listener first reads what has arrived but was not handed to it yet, and
after a pause of its own it grants the other half the timeout before it judges: once per heartbeat,
or whoever runs slowly all the time would never notice.
"""

from __future__ import annotations

import time

from safevla_ros.msg import Heartbeat
from safevla_ros.nodes import topics
from safevla_ros.nodes.lifecycle import GraphNode

PERIOD_S = 0.02
"""Time between two heartbeats, and between two ticks of those who send them."""
_POLL_S = 0.005


class Heartbeats:
    """Sends this node's heartbeat and listens to the other's. Times: steady clock [s]."""

    def __init__(self, node: GraphNode, own_topic: str, other_topic: str, timeout_s: float) -> None:
        self._node = node
        self._timeout_s = timeout_s
        self._sequence = 0
        self._publisher = node.publisher(Heartbeat, own_topic, topics.reliable(depth=1))
        # Best effort also hears a reliable sender, and never an old message sent again.
        self._subscription = node.subscription(
            Heartbeat, other_topic, self._on_heartbeat, topics.sensor(is_reliable=False, depth=1)
        )
        self._listened_s = time.monotonic()
        self._is_graced = False
        self.heard_s: float | None = None
        """When the other was heard last. None: never."""
        self.other_latched = False
        """The other holds a latched stop, as far as it is known."""

    def beat(self, *, latched: bool) -> None:
        """Send one."""
        self._sequence += 1
        message = Heartbeat(sequence=self._sequence, latched=latched)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def silent_for(self, now_s: float) -> float:
        """Seconds since the other was heard; infinite: never."""
        return float("inf") if self.heard_s is None else now_s - self.heard_s

    def is_silent(self, now_s: float) -> bool:
        """Whether the other has been silent for longer than the timeout."""
        return self.silent_for(now_s) > self._timeout_s

    def listen(self, now_s: float) -> None:
        """Be fair before judging. To be called at each tick."""
        paused_s, self._listened_s = now_s - self._listened_s, now_s
        if self.is_silent(now_s):
            self._read_waiting()
        half_s = 0.5 * self._timeout_s
        if self.heard_s is None or self._is_graced or paused_s <= half_s:
            return
        if self.silent_for(now_s) > half_s:
            self._is_graced = True
            self.heard_s = now_s - half_s

    def wait(self, limit_s: float) -> bool:
        """Wait for a heartbeat, within a callback, where the executor cannot deliver one."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            if self._read_waiting():
                return True
            time.sleep(_POLL_S)
        return False

    def _read_waiting(self) -> bool:
        """Take heartbeats that the executor has not delivered yet; whether there was one."""
        any_came = False
        with self._subscription.handle:
            while (taken := self._subscription.handle.take_message(Heartbeat, False)) is not None:
                self._on_heartbeat(taken[0])
                any_came = True
        return any_came

    def _on_heartbeat(self, message: Heartbeat) -> None:
        self.heard_s = time.monotonic()
        self._is_graced = False
        self.other_latched = message.latched
