"""The closing words of a run: what its summary.json says, in a few lines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_OUTCOME_STYLE = {"SUCCESS": "bold green", "FAILURE": "bold yellow", "ABORTED": "bold red"}
_FILES = {
    "video.mp4": "both cameras, with costs and decisions",
    "top_view.png": "the path from above",
    "summary.json": "all figures",
    "specification.yaml": "the costs in force",
    "bag": "the recording",
    "logs": "what the nodes said",
}


def print_summary(console: Console, summary: Mapping[str, Any], folder: Path) -> None:
    """Print the outcome, the costs, the latency, and where everything lies."""
    outcome = summary["outcome"] or "UNKNOWN"
    head = Text()
    head.append(outcome, style=_OUTCOME_STYLE.get(outcome, "bold"))
    head.append(f"  {summary['instruction']}")
    if summary["reason"]:
        head.append(f": {summary['reason']}", style="dim")
    console.print(head)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, text in _lines(summary):
        table.add_row(name, text)
    console.print(table)
    shown = Path(os.path.relpath(folder))
    if ".." in shown.parts:
        shown = folder
    paths = {str(shown / name): what for name, what in _FILES.items() if (folder / name).exists()}
    width = max(map(len, paths), default=0)
    for path, what in paths.items():
        # Neither wrapped nor cut: a path is there to be copied.
        line = Text.assemble(f"{path:{width}}  ", (what, "dim"))
        console.print(line, soft_wrap=True)


def _lines(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    gate = summary["gate"]
    decisions = ("pass", "limit", "halt", "stop", "latched", "shadow")
    counts = ", ".join(f"{gate[name]} {name}" for name in decisions if gate[name])
    told = {name: cost for name, cost in summary["costs"].items() if _is_of_note(cost)}
    costs = ", ".join(_cost(name, cost) for name, cost in told.items())
    if others := len(summary["costs"]) - len(told):
        costs += f", {others} others without a budget 0" if told else f"{others} terms 0"
    lines = [
        (
            "run",
            f"{summary['steps']} steps in {_number(summary['duration_s'])} s, policy "
            f"{summary['policy']['id']}, mode {summary['mode']}",
        ),
        ("costs", costs or "none"),
        (
            "gate",
            f"{counts or 'nothing was proposed'}; interventions: "
            f"{_share(gate['intervention_rate'])} of the steps",
        ),
    ]
    latency = summary["latency_ms"].get("camera_to_command")
    if latency and latency["count"]:
        figures = ", ".join(f"{key} {_number(latency[key])}" for key in ("p50", "p95", "p99"))
        lines.append(("latency", f"camera to command {figures} ms"))
    if stalled := gate["by_reason"].get("stalled"):
        lines.append(
            (
                "note",
                f"the monitor latched a stop because this machine did not let it run in time "
                f"({stalled} candidates were refused): close other programs and run again",
            )
        )
    lines += [("note", note) for note in summary["notes"]]
    return lines


def _is_of_note(cost: Mapping[str, Any]) -> bool:
    return cost["budget"] is not None or cost["status"] != "ok" or cost["cumulative"] > 0.0


def _cost(name: str, cost: Mapping[str, Any]) -> str:
    if cost["status"] != "ok":
        return f"{name} {cost['status']}"
    budget = "" if cost["budget"] is None else f" of {cost['budget']:g}"
    return f"{name} {cost['cumulative']:g}{budget}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
