"""Demonstrations without a learner: the expert plays, the store fills."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from safevla_ros.training.episodes import IndexReader
from safevla_ros.training.players import EPISODES, players
from safevla_ros.training.settings import ImitationSettings
from safevla_ros.training.tally import RecentEpisodes

LOOK_S = 0.5


def generate(
    settings: ImitationSettings,
    folder: Path,
    episodes: int,
    report: Callable[[RecentEpisodes], None],
) -> RecentEpisodes:
    """Play until the store in `folder` has so many episodes; those that are there count. Raises
    PlayerError."""
    index, recent = IndexReader(folder / EPISODES), RecentEpisodes()
    recent.add(index.new())
    if recent.episodes >= episodes:
        return recent
    with players(settings, folder, episodes) as check:
        while recent.episodes < episodes:
            time.sleep(LOOK_S)
            recent.add(index.new())
            report(recent)
            check()
    return recent
