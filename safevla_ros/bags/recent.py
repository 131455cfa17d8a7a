"""The last seconds of a recording that has not begun.

What must be known at the first step of an episode (where the robot was, what stood around it) was
published before the episode was, and what led to a violation before the violation. This memory is
bounded in time and in bytes; latched topics are kept however old their message is.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection
from itertools import islice

from safevla_ros.bags import RawMessage


class RecentMessages:
    """Messages of the last `seconds`, at most `max_bytes` of them; of each topic in `latched` also
    the last one before. For one thread."""

    def __init__(self, seconds: float, max_bytes: int, latched: Collection[str] = ()) -> None:
        self._span_ns = round(seconds * 1e9)
        self._max_bytes = max_bytes
        self._latched = frozenset(latched)
        self._before: dict[str, RawMessage] = {}
        self._messages: deque[RawMessage] = deque()
        self._bytes = 0
        self.added = 0
        """Messages that were ever added."""

    def add(self, message: RawMessage) -> None:
        """Remember a message and forget what is now too old or too much."""
        self._messages.append(message)
        self._bytes += len(message.data)
        self.added += 1
        oldest_ns = message.log_time_ns - self._span_ns
        # The newest stays in any case, so that the head has a time.
        while len(self._messages) > 1 and (
            self._messages[0].log_time_ns < oldest_ns or self._bytes > self._max_bytes
        ):
            forgotten = self._messages.popleft()
            self._bytes -= len(forgotten.data)
            if forgotten.topic in self._latched:
                self._before[forgotten.topic] = forgotten

    def head(self, seconds: float = math.inf) -> list[RawMessage]:
        """What belongs at the head of a bag that begins `seconds` before the newest message, or as
        early as is remembered: the latched messages from before, received anew at its beginning,
        then what followed."""
        if not self._messages:
            return []
        newest_ns = self._messages[-1].log_time_ns
        before = dict(self._before)
        head: list[RawMessage] = []
        for message in self._messages:
            if head or newest_ns - message.log_time_ns <= seconds * 1e9:
                head.append(message)
            elif message.topic in self._latched:
                before[message.topic] = message
        start_ns = head[0].log_time_ns
        repeated = [
            RawMessage(each.topic, each.data, start_ns, each.publish_time_ns)
            for each in before.values()
        ]
        return repeated + head

    def since(self, added: int) -> list[RawMessage] | None:
        """Messages that came after the first `added` ones. None: some of them are forgotten."""
        count = self.added - added
        if count > len(self._messages):
            return None
        return list(islice(self._messages, len(self._messages) - count, None))
