"""What a run has done lately, for the log and the terminal."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.action_codec import ACTIONS, TOKENS

GROUPS: Mapping[str, tuple[str, ...]] = {
    "drive": ("move_ahead", "move_back"),
    "turn": tuple(name for name in ACTIONS if name.startswith("rotate")),
    "arm": tuple(name for name in ACTIONS if name.startswith(("lift", "arm", "wrist"))),
    "pick_up": ("pick_up",),
    "end": ("end",),
    "wait": ("sub_goal_done",),
}
"""Actions whose accuracy is reported together."""

RECENT = 60
"""Episodes of a task that its recent success is the mean of."""


class Accuracy:
    """How often the likeliest token is the expert's, by group of the expert's token; and the share
    of its `end` that are the expert's too (a policy that ends too early fails). `told_apart`: of the
    squares of images that show one class, the share in which it is recognised."""

    def __init__(self) -> None:
        self._right = np.zeros(len(ACTIONS))
        self._labels = np.zeros(len(ACTIONS))
        self._said = np.zeros(len(ACTIONS))
        self._told_apart = [0, 0]

    def add(self, chosen: NDArray, label: NDArray, weight: NDArray) -> None:
        """Count tokens chosen and wanted, of one shape; steps of weight 0 do not count."""
        counts = weight > 0
        chosen, label = chosen[counts], label[counts]
        size = len(ACTIONS)
        self._right += np.bincount(label[chosen == label], minlength=size)
        self._labels += np.bincount(label, minlength=size)
        self._said += np.bincount(chosen, minlength=size)

    def add_told_apart(self, right: int, squares: int) -> None:
        """Count squares of images, and in how many the right class was recognised."""
        self._told_apart[0] += right
        self._told_apart[1] += squares

    def take(self) -> dict[str, float | None]:
        """Shares since the last call; None where there was nothing."""
        shares = {"all": _share(self._right.sum(), self._labels.sum())}
        for group, names in GROUPS.items():
            tokens = [TOKENS[name] for name in names]
            shares[group] = _share(self._right[tokens].sum(), self._labels[tokens].sum())
        end = TOKENS["end"]
        shares["end_precision"] = _share(self._right[end], self._said[end])
        shares["told_apart"] = _share(*self._told_apart)
        self.__init__()  # type: ignore[misc]
        return shares


class RecentEpisodes:
    """Success of the episodes that came in lately, by who acted and by task."""

    def __init__(self) -> None:
        self.episodes = 0
        self.frames = 0
        self._outcomes: dict[tuple[str, str], deque[bool]] = defaultdict(
            lambda: deque(maxlen=RECENT)
        )

    def add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Count lines of a store's index."""
        for line in lines:
            self.episodes += 1
            self.frames += line["steps"]
            self._outcomes[line["who"], line["task"]].append(line["success"])

    def success(self, who: str) -> dict[str, dict[str, float]]:
        """By task: the rate of success and how many episodes it is of."""
        return {
            task: {"rate": round(float(np.mean(outcomes)), 3), "episodes": len(outcomes)}
            for (actor, task), outcomes in sorted(self._outcomes.items())
            if actor == who
        }


def _share(part: float, whole: float) -> float | None:
    return round(float(part / whole), 4) if whole else None
