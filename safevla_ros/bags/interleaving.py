"""Two sessions in one bag: two graphs that were recorded at once under the same names.

Which odometry, picture or command belongs to which of them is not to be told.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby


def interleaved(episodes: Iterable[str]) -> list[str]:
    """Of the episodes that a bag's messages name, one after the other, those that alternate: which
    go on after another one began, and which began in between. In order; none where each ends before
    the next one begins."""
    runs = [episode for episode, _ in groupby(episodes)]
    last = {episode: index for index, episode in enumerate(runs)}
    found: dict[str, None] = {}
    until = -1
    for index, episode in enumerate(runs):
        until = max(until, last[episode])
        if index < until:
            found |= dict.fromkeys(runs[index : until + 1])
    return list(found)


def mixed_up(episodes: Iterable[str]) -> str:
    """What is said of episodes that alternate."""
    return (
        f"two sessions interleaved: the messages alternate between episodes {', '.join(episodes)}"
    )
