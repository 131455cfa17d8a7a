"""A run as a person sees it while it lasts: a live view in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from itertools import groupby
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from safevla_ros.nodes.run_state import RunState, TermState

BAR_WIDTH = 24
EVENTS_SHOWN = 6
PLAIN_PERIOD_S = 10.0
STARTING = "starting the graph; the first time takes longer, since code is compiled"
_DECISION_STYLE = {
    "PASS": "green",
    "LIMIT": "yellow",
    "HALT": "yellow",
    "STOP": "red",
    "LATCHED": "bold red",
    "SHADOW": "cyan",
}
_EVENT_STYLE = {"violation": "red", "latch": "red", "fault": "red", "intruder": "red"}


class View(Protocol):
    """Shows a run; used in a `with` block."""

    def update(self, state: RunState) -> None:
        """Show the run as it stands now."""

    def __enter__(self) -> View: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def view_for(console: Console, *, plain: bool = False) -> View:
    """The live view where the console is a terminal and `plain` is not wanted."""
    return LiveView(console) if console.is_terminal and not plain else PlainView(console)


class LiveView:
    """Redraws one picture in place."""

    def __init__(self, console: Console) -> None:
        # Redrawn by `update` alone: the run needs the processor more.
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False)

    def update(self, state: RunState) -> None:
        """See View."""
        self._live.update(picture(state), refresh=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()


class PlainView:
    """A line for what is new, and one every ten seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._nodes: dict[str, str] = {}
        self._events = 0
        self._instruction = ""
        self._next_s = 0.0

    def update(self, state: RunState) -> None:
        """See View."""
        if not self._nodes and state.nodes:  # not before: the graph may be refused
            self._print(STARTING)
        for name, what in state.nodes.items():
            if what not in ("starting", "configuring", self._nodes.get(name)):
                self._print(f"{name}: {what}")
        self._nodes = dict(state.nodes)
        if state.instruction != self._instruction:
            self._instruction = state.instruction
            self._print(f"task: {state.instruction} ({state.policy})")
            self._next_s = time.monotonic() + PLAIN_PERIOD_S
        new = min(state.events_seen - self._events, len(state.events))
        for event in list(state.events)[len(state.events) - new :]:
            self._print(f"{_seconds(event.time_s)} {event.kind}: {event.text}")
        self._events = state.events_seen
        if state.instruction and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + PLAIN_PERIOD_S
            told = (term for term in state.terms.values() if _is_of_note(term))
            costs = ", ".join(f"{term.name} {_cost(term)}" for term in told)
            self._print(
                f"{_seconds(state.elapsed_s)} step {state.step}, {state.decision or '-'}; {costs}"
            )

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> PlainView:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


def picture(state: RunState) -> RenderableType:
    """The live view of a run."""
    if not state.instruction:
        return Panel(_starting(state), title=STARTING, border_style="dim")
    parts: list[RenderableType] = [_task(state), _progress(state), Text()]
    if state.terms:
        parts += [_costs(state), Text()]
    parts += [_gate(state), _safety(state)]
    if state.events:
        parts += [Text(), _events(state)]
    return Panel(Group(*parts), title=f"safevla · {escape(state.robot)}", border_style="dim")


def _starting(state: RunState) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for name, what in state.nodes.items():
        table.add_row(name, Text(what, style="green" if what == "active" else "dim"))
    return table


def _task(state: RunState) -> Text:
    text = Text(state.instruction, style="bold")
    text.append(f"  {state.task}, by {state.policy}", style="dim")
    return text


def _progress(state: RunState) -> Text:
    text = Text(f"step {state.step}")
    if state.phase:
        text.append(f" · {state.phase}")
    text.append(f" · {_seconds(state.elapsed_s)}")
    if state.time_limit_s > 0.0:
        text.append(f" of {state.time_limit_s:.0f} s")
    if state.elapsed_wall_s > 1.0:
        text.append(f" ({state.elapsed_s / state.elapsed_wall_s:.2f} x real time)", style="dim")
    text.append(f" · inference {_milliseconds(state.inference_ms)}")
    text.append(f" · camera to command {_milliseconds(state.camera_to_command_ms)}")
    return text


def _costs(state: RunState) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
    for column in ("cost", "of the budget", "", "margin", "nearest"):
        table.add_column(column, no_wrap=column != "nearest")
    shown = [term for term in state.terms.values() if _is_of_note(term)]
    for term in shown:
        if term.applicable:
            margin = Text(_margin(term), style=_margin_style(term))
        else:
            margin = Text("not applicable", style="yellow")
        table.add_row(term.name, _bar(term), _cost(term), margin, Text(term.cause, style="dim"))
    if others := len(state.terms) - len(shown):
        table.add_row(
            Text(f"{others} others", style="dim"), Text("no budget, no cost", style="dim")
        )
    return table


def _is_of_note(term: TermState) -> bool:
    """Not all terms fit into a small terminal."""
    has_budget = not math.isnan(term.budget)
    return has_budget or not term.applicable or term.cumulative > 0.0 or term.margin < 0.0


def _gate(state: RunState) -> Text:
    text = Text("gate  ", style="dim")
    text.append(state.decision or "-", style=_DECISION_STYLE.get(state.decision, ""))
    if state.decision_reason:
        text.append(f" {state.decision_reason}")
    if state.detail:
        text.append(f": {state.detail}", style="dim")
    counts = ", ".join(
        f"{state.counts[name]} {name.lower()}" for name in ("PASS", "LIMIT", "HALT", "STOP")
    )
    text.append(f"\n      {counts}")
    return text


def _safety(state: RunState) -> Text:
    text = Text(f"mode  {state.mode or '-'} · source {state.active_source or 'none'} · watchdog ")
    text.append(*(("alive", "green") if state.watchdog_alive else ("silent", "red")))
    if state.latched:
        text.append(" · latched stop", style="bold red")
    if state.estop:
        text.append(" · e-stop", style="bold red")
    if state.stale_signals:
        text.append(f" · stale: {', '.join(state.stale_signals)}", style="yellow")
    text.stylize("dim", 0, 4)
    return text


def _events(state: RunState) -> Table:
    table = Table.grid(padding=(0, 2))
    groups = [list(group) for _, group in groupby(state.events, key=lambda e: (e.kind, e.text))]
    for group in groups[-EVENTS_SHOWN:]:
        event = group[-1]
        text = Text(event.text)
        if len(group) > 1:
            text.append(f"  {len(group)} times", style="dim")
        table.add_row(
            Text(_seconds(event.time_s), style="dim"),
            Text(event.kind, style=_EVENT_STYLE.get(event.kind, "yellow")),
            text,
        )
    return table


def _bar(term: TermState) -> Text:
    if math.isnan(term.budget):
        return Text("no budget", style="dim")
    share = term.cumulative / term.budget if term.budget > 0.0 else float(term.cumulative > 0.0)
    filled = round(min(share, 1.0) * BAR_WIDTH)
    style = "red" if share > 1.0 else "yellow" if share > 0.5 else "green"
    return Text("━" * filled, style=style) + Text("━" * (BAR_WIDTH - filled), style="grey30")


def _cost(term: TermState) -> str:
    if math.isnan(term.budget):
        return f"{term.cumulative:g}"
    return f"{term.cumulative:g}/{term.budget:g}"


def _margin(term: TermState) -> str:
    if math.isnan(term.margin):
        return "-"
    unit = "" if term.unit == "1" else term.unit
    return f"{term.margin:+.2f} {unit}".rstrip()


def _margin_style(term: TermState) -> str:
    if math.isnan(term.margin):
        return "dim"
    return "red" if term.margin < 0.0 else "yellow" if term.margin < term.warning else "green"


def _seconds(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.1f} s"


def _milliseconds(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0f} ms"
