"""Constrained learning as a person sees it while it lasts: a table with curves in a terminal, plain
lines elsewhere."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

PLAIN_PERIOD_S = 60.0
BLOCKS = "▁▂▃▄▅▆▇█"
CURVE = 30
"""Points that a curve shows."""
HISTORY = 4000
"""Iterations that are remembered for it."""


class OnlineView:
    """Shows the lines of a run's log; used in a `with` block. `steps`: length of the run."""

    def __init__(self, console: Console, steps: int) -> None:
        self._console = console
        self._steps = steps
        self._curves: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=HISTORY))
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._printed_s = -PLAIN_PERIOD_S

    def __enter__(self) -> OnlineView:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def update(self, line: Mapping[str, Any]) -> None:
        """Show a line of the log."""
        self._remember(line)
        if self._live:
            self._live.update(self._picture(line), refresh=True)
        elif time.monotonic() - self._printed_s >= PLAIN_PERIOD_S:
            self._printed_s = time.monotonic()
            self._console.print(_sentence(line), soft_wrap=True, highlight=False)

    def _remember(self, line: Mapping[str, Any]) -> None:
        for task, found in line["episodes"].items():
            self._curves[f"success of {task}"].append(found["success"])
            self._curves[f"return of {task}"].append(found["return"])
        for row, terms in line["constraints"].items():
            for term, found in terms.items():
                for key in ("J", "lambda"):
                    if found.get(key) is not None:
                        self._curves[f"{row}.{term}.{key}"].append(found[key])

    def _picture(self, line: Mapping[str, Any]) -> Group:
        head = Table.grid(padding=(0, 2))
        head.add_column(style="dim")
        head.add_column()
        for name, text in _rows(line):
            head.add_row(name, text)
        for task in line["episodes"]:
            for key in ("success", "return"):
                curve = self._curves[f"{key} of {task}"]
                head.add_row(f"{key} of {task}", f"{curve[-1]:.2f}  {sparkline(curve)}")
        return Group(
            Text(f"{line['steps']:,} of {self._steps:,} steps"),
            ProgressBar(1.0, line["share_done"], width=60),
            head,
            self._constraints(line),
        )

    def _constraints(self, line: Mapping[str, Any]) -> Table:
        names = ("constraint", "budget", "J", "", "satisfied", "error", "lambda", "")
        table = Table(box=None, padding=(0, 2, 0, 0))
        for name in names:
            table.add_column(name, header_style="dim")
        for row, terms in line["constraints"].items():
            for term, found in terms.items():
                key = f"{row}.{term}"
                table.add_row(
                    f"{row} {term}",
                    _number(found["budget"]),
                    _number(found["J"]),
                    sparkline(self._curves[f"{key}.J"]),
                    _number(found["satisfied"]),
                    _number(found.get("error")),
                    _number(found.get("lambda")) + (" cap" if found.get("saturated") else ""),
                    sparkline(self._curves[f"{key}.lambda"]),
                )
        return table


def sparkline(values: Sequence[float] | deque[float]) -> str:
    """A curve of block letters over all values, from their lowest to their highest."""
    if len(values) < 2:
        return ""
    kept = list(values)
    count = min(CURVE, len(kept))
    bounds = [round(i * len(kept) / count) for i in range(count + 1)]
    points = [sum(kept[a:b]) / (b - a) for a, b in pairwise(bounds)]
    low, high = min(points), max(points)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((point - low) * scale)] for point in points)


def _rows(line: Mapping[str, Any]) -> list[tuple[str, str]]:
    ended = sum(found["episodes"] for found in line["episodes"].values())
    return [
        (
            "learning",
            f"{line['steps']:,} steps in {line['elapsed_s'] / 60.0:.1f} min, "
            f"{line['steps_per_s']:.0f} steps/s, {line['collecting']:.0%} of the time playing",
        ),
        ("episodes", f"{ended} ended in the last iteration"),
        (
            "losses",
            ", ".join(f"{name} {value:.3f}" for name, value in line["losses"].items()),
        ),
    ]


def _sentence(line: Mapping[str, Any]) -> str:
    parts = [f"{name}: {text}" for name, text in _rows(line)]
    parts += [
        f"{task}: success {found['success']:.2f}, return {found['return']:.2f}"
        for task, found in line["episodes"].items()
    ]
    parts += [
        f"{row} {term}: J {_number(found['J'])} of {_number(found['budget'])}"
        + (f", lambda {_number(found['lambda'])}" if "lambda" in found else "")
        for row, terms in line["constraints"].items()
        for term, found in terms.items()
        if found["budget"] is not None
    ]
    return "; ".join(parts)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
