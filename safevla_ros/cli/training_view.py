"""An imitation run as a person sees it while it lasts: a table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

PLAIN_PERIOD_S = 60.0


class TrainingView:
    """Shows the lines of a run's log; used in a `with` block. `minutes`: length of the run."""

    def __init__(self, console: Console, minutes: float) -> None:
        self._console = console
        self._minutes = minutes
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._printed_s = -PLAIN_PERIOD_S

    def __enter__(self) -> TrainingView:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def update(self, line: Mapping[str, Any]) -> None:
        """Show a line of the log, or how many episodes are still waited for."""
        if self._live:
            self._live.update(self._picture(line), refresh=True)
        elif time.monotonic() - self._printed_s >= PLAIN_PERIOD_S:
            self._printed_s = time.monotonic()
            self._console.print(_sentence(line), soft_wrap=True, highlight=False)

    def _picture(self, line: Mapping[str, Any]) -> Group:
        if "waiting_for" in line:
            return Group(Text(_sentence(line)))
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim")
        table.add_column()
        for name, text in _rows(line):
            table.add_row(name, text)
        minutes = line["elapsed_s"] / 60.0
        head = Text(f"{minutes:.1f} of {self._minutes:g} minutes")
        return Group(head, ProgressBar(1.0, line["share_done"], width=60), table)


def _rows(line: Mapping[str, Any]) -> list[tuple[str, str]]:
    accuracy = {name: value for name, value in line["accuracy"].items() if value is not None}
    return [
        (
            "learning",
            f"{line['frames']:,} frames in {line['updates']:,} updates, "
            f"{line['frames_per_s']:.0f} frames/s, rate {line['learning_rate']:.1e}",
        ),
        (
            "episodes",
            f"{line['episodes']:,} with {line['episode_frames']:,} frames; the expert has "
            f"{line['expert_turns']:.0%} of the turns",
        ),
        ("losses", ", ".join(f"{name} {value:.3f}" for name, value in line["losses"].items())),
        ("accuracy", ", ".join(f"{name} {value:.2f}" for name, value in accuracy.items())),
        *((f"success of {who}", _success(found)) for who, found in line["success"].items()),
    ]


def _success(found: Mapping[str, Mapping[str, float]]) -> str:
    if not found:
        return "no episode yet"
    return ", ".join(
        f"{task} {entry['rate']:.2f} (of {entry['episodes']})" for task, entry in found.items()
    )


def _sentence(line: Mapping[str, Any]) -> str:
    if "waiting_for" in line:
        return f"waiting for the first episodes; {line['waiting_for']} more"
    return f"{line['elapsed_s'] / 60.0:.1f} min: " + "; ".join(
        f"{name}: {text}" for name, text in _rows(line)
    )
