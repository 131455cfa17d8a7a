"""A bag in the making, and what any bag says about this machine."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import platform
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future

from safevla_ros import __version__
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.catalogue import Worst
from safevla_ros.bags.clips import ClipWindow, Event
from safevla_ros.bags.writer import BagWriter
from safevla_ros.nodes.lifecycle import ConfigurationError


@dataclass(slots=True)
class Recording:
    """A bag in the making. `end_s`: when to end it, on the steady clock. `episode_id`: the bag, or
    the clip, is that episode's; empty for others. `outcome` empty: not known yet. `worst`: the
    deepest violation, `deepest` in units of the term's scale. `window` and `events` are a clip's,
    `goal` and `done` a demonstration's."""

    name: str
    writer: BagWriter
    lost_before: Counter[str]
    episode_id: str = ""
    end_s: float | None = None
    outcome: dict[str, str] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    worst: Worst | None = None
    deepest: float = 0.0
    window: ClipWindow | None = None
    events: list[Event] = field(default_factory=list)
    goal: ServerGoalHandle | None = None
    done: Future | None = None

    @property
    def whole_episode(self) -> bool:
        """Whether it is the bag of an episode, and neither a clip nor a demonstration."""
        return bool(self.episode_id) and self.window is None

    def charge(self, step: int, terms: Iterable[Any], scales: Mapping[str, float]) -> None:
        """Note the costs of a closed step; `terms` are the TermCost messages of its CostVector."""
        for term in terms:
            self.costs[term.name] = term.cumulative
            depth = -term.margin / scales.get(term.name, 1.0)
            if depth > self.deepest:
                self.deepest, self.worst = depth, Worst(term.name, term.margin, step)

    def conclusion(self) -> dict[str, str]:
        """Provenance that is known at the end only."""
        worst = {} if self.worst is None else asdict(self.worst)
        said = {keys.OUTCOME: "UNKNOWN", keys.OUTCOME_REASON: ""} | self.outcome
        said |= {keys.COSTS: json.dumps(self.costs), keys.WORST: json.dumps(worst)}
        if self.events:
            said[keys.EVENTS] = json.dumps([event.as_json() for event in self.events])
        return said


def machine_facts() -> dict[str, str]:
    """Provenance of every bag recorded here."""
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "distro": distro(),
    }
    return {keys.SOFTWARE_VERSION: __version__, keys.MACHINE: json.dumps(machine)}


@functools.cache
def distro() -> str:
    """Name of the ROS 2 distribution: a sourced one, or the one whose wheels are installed."""
    wheels = (
        re.fullmatch(r"ros-(\w+)-rclpy", distribution.name or "")
        for distribution in importlib.metadata.distributions()
    )
    return os.environ.get("ROS_DISTRO") or next((match[1] for match in wheels if match), "")


def usable_directory(directory: str) -> Path:
    """The recording directory, made and tried. Raises ConfigurationError."""
    if not directory:
        raise ConfigurationError("parameter directory: expected a folder to record into")
    path = Path(directory).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"parameter directory: {path}: expected a folder that can be written: {error.strerror}"
        ) from error
    return path
