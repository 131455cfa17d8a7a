"""Curves of a run as SVG, drawn over time: costs against budgets, margins against thresholds, and
what the gate did. All share one time axis, so that a moment is at the same place in each.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from safevla_ros.assurance.colours import DECISION, VIOLATION
from safevla_ros.assurance.run_log import RunLog
from safevla_ros.robot.state import NANOSECONDS

WIDTH, LEFT, RIGHT = 1000, 54, 12
CURVE_HEIGHT, STRIP_HEIGHT = 112, 58
TOP, BOTTOM = 20, 18
CURVE, LIMIT, WARNING = "#1f6feb", "#8b1a2b", "#f2d57c"


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """Times of the charts [ns]: from `begin_ns` to `end_ns`."""

    begin_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        """Length of the axis, never 0."""
        return max((self.end_ns - self.begin_ns) / NANOSECONDS, 1e-3)

    def x(self, stamp_ns: float) -> float:
        """Where a stamp stands on a chart."""
        share = (stamp_ns - self.begin_ns) / NANOSECONDS / self.seconds
        return LEFT + share * (WIDTH - LEFT - RIGHT)


def time_axis(log: RunLog) -> TimeAxis:
    """The span of what the bag holds of the run. An episode's clip shows less than the episode."""
    stamps = [step.stamp_ns for step in log.steps]
    stamps += [decision.stamp_ns for decision in log.decisions]
    stamps += [int(stamp) for stamp in log.path[[0, -1], 0]] if len(log.path) else []
    for of_camera in log.camera_stamps.values():
        stamps += of_camera[:1] + of_camera[-1:]
    return TimeAxis(min(stamps, default=log.begin_ns), max(stamps, default=log.end_ns))


def cost_chart(log: RunLog, term: str, axis: TimeAxis) -> str:
    """Episode sum of a term after each step, and its budget."""
    steps = [(s.stamp_ns, s.terms[term]) for s in log.steps if term in s.terms]
    # A step is charged when it ends: from then on its sum holds.
    points = [(stamp_ns, each.cumulative - each.cost) for stamp_ns, each in steps]
    points += [(axis.end_ns, each.cumulative) for _, each in steps[-1:]]
    settings = log.settings.get(term)
    budget = settings.budget if settings else None
    highest = max([1.0, *(value for _, value in points), *([] if budget is None else [budget])])
    scale = _Scale(0.0, 1.1 * highest)
    parts = [scale.line(budget, LIMIT, f"budget {budget:g}")] if budget is not None else []
    parts += [_steps(points, axis, scale), *_charged(log, term, axis)]
    return _chart(parts, axis, scale, CURVE_HEIGHT, f"{term}: cost so far")


def margin_chart(log: RunLog, term: str, axis: TimeAxis) -> str:
    """Smallest margin of a term within each step. Below 0 it is violated; the band warns."""
    points = [(s.stamp_ns, s.terms[term].margin) for s in log.steps if term in s.terms]
    finite = [value for _, value in points if math.isfinite(value)]
    settings = log.settings.get(term)
    warning = settings.warning if settings else 0.0
    unit = settings.unit if settings else "1"
    low, high = min([*finite, 0.0]), max([*finite, warning, 1e-3])
    space = 0.12 * (high - low)
    scale = _Scale(low - space, high + space)
    parts = [
        f'<rect x="{LEFT}" width="{WIDTH - LEFT - RIGHT}" y="{scale.y(warning):.1f}" '
        f'height="{max(0.0, scale.y(0.0) - scale.y(warning)):.1f}" fill="{WARNING}" opacity="0.5"/>',
        scale.line(0.0, LIMIT, "violated below"),
        _steps(points, axis, scale),
        *_charged(log, term, axis),
    ]
    return _chart(
        parts, axis, scale, CURVE_HEIGHT, f"{term}: margin{f' [{unit}]' if unit != '1' else ''}"
    )


def decision_strip(log: RunLog, axis: TimeAxis) -> str:
    """What the gate did with each command, over time."""
    height = STRIP_HEIGHT - BOTTOM
    parts = []
    ends = [decision.stamp_ns for decision in log.decisions[1:]] + [axis.end_ns]
    for decision, until in zip(log.decisions, ends, strict=False):  # none: nothing to end
        colour = DECISION.get(decision.decision, "#999999")
        words = f"{decision.decision}: {decision.reason}"
        if decision.term:
            words += f" ({decision.term})"
        if decision.detail:
            words += f", {decision.detail}"
        left, right = axis.x(decision.stamp_ns), axis.x(until)
        parts.append(
            f'<rect x="{left:.1f}" y="{TOP}" width="{max(1.0, right - left):.1f}" '
            f'height="{height - TOP}" fill="{colour}"><title>{html.escape(words)}</title></rect>'
        )
    return _chart(parts, axis, None, STRIP_HEIGHT, "the gate's decisions")


@dataclass(frozen=True, slots=True)
class _Scale:
    """The vertical axis of a curve."""

    low: float
    high: float

    def y(self, value: float) -> float:
        span = (self.high - self.low) or 1.0
        share = (value - self.low) / span
        return CURVE_HEIGHT - BOTTOM - share * (CURVE_HEIGHT - BOTTOM - TOP)

    def line(self, value: float, colour: str, name: str) -> str:
        y = self.y(value)
        return (
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" '
            f'stroke-dasharray="5 3"/><text x="{WIDTH - RIGHT - 2}" y="{y - 3:.1f}" '
            f'text-anchor="end" fill="{colour}">{html.escape(name)}</text>'
        )


def _steps(points: Sequence[tuple[int, float]], axis: TimeAxis, scale: _Scale) -> str:
    """A curve that holds each value from the stamp before to its own. Unknown values are gaps."""
    runs: list[list[str]] = [[]]
    before_ns = axis.begin_ns
    for stamp_ns, value in points:
        if math.isfinite(value):
            y = scale.y(value)
            runs[-1] += [f"{axis.x(before_ns):.1f},{y:.1f}", f"{axis.x(stamp_ns):.1f},{y:.1f}"]
        elif runs[-1]:
            runs.append([])
        before_ns = stamp_ns
    return "".join(
        f'<polyline points="{" ".join(run)}" fill="none" stroke="{CURVE}" stroke-width="1.6"/>'
        for run in runs
        if run
    )


def _charged(log: RunLog, term: str, axis: TimeAxis) -> Iterable[str]:
    """A mark at each step that the term charged."""
    for charge in log.charges:
        if charge.term == term:
            x = axis.x(charge.stamp_ns)
            yield (
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{CURVE_HEIGHT - BOTTOM}" '
                f'stroke="{VIOLATION}"><title>{html.escape(f"{term}: {charge.cause}")}</title></line>'
            )


def _chart(
    parts: Iterable[str], axis: TimeAxis, scale: _Scale | None, height: int, title: str
) -> str:
    bottom = height - BOTTOM
    frame = [
        f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{bottom - TOP}" '
        'fill="#ffffff" stroke="#d0d7de"/>'
    ]
    ticks = []
    every = next((s for s in (1, 2, 5, 10, 20, 30, 60, 120, 300) if axis.seconds / s <= 15), 600)
    for second in range(0, int(axis.seconds) + 1, every):
        x = axis.x(axis.begin_ns + second * NANOSECONDS)
        ticks.append(f'<text x="{x:.1f}" y="{height - 4}" text-anchor="middle">{second} s</text>')
    if scale is not None:
        for value in (scale.low, scale.high):
            y = min(max(scale.y(value), TOP + 8), bottom)
            ticks.append(f'<text x="{LEFT - 5}" y="{y:.1f}" text-anchor="end">{value:.3g}</text>')
    name = f'<text x="{LEFT}" y="{TOP - 6}" class="name">{html.escape(title)}</text>'
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" class="chart" role="img" '
        f'aria-label="{html.escape(title)}">{"".join(frame)}{"".join(parts)}{name}{"".join(ticks)}'
        f'<line class="cursor" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{bottom}"/></svg>'
    )
