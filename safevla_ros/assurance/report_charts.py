"""Figures of a report on policies, as SVG: safety against success, tails of the cost, multipliers."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SIZE_IN = (6.4, 4.2)
MARKERS = "osD^vPX*<>hp"
# The same report gives the same bytes.
_STYLE: Mapping[str, Any] = {
    "svg.hashsalt": "safevla",
    "svg.fonttype": "none",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e8ec",
}


def safety_plane(points: Mapping[str, Mapping[str, Any]]) -> str:
    """Success against cost, each with its interval, by policy. A point: figures as of
    `metrics.figures`. To the upper left is better."""

    def draw(axes: Axes) -> None:
        for number, (name, entry) in enumerate(points.items()):
            success, cost = entry["success_rate"], entry["cumulative_cost"]
            x, y = cost["sum"], success["mean"]
            axes.errorbar(
                x,
                y,
                xerr=_error(x, cost["sum_interval"]),
                yerr=_error(y, success["interval"]),
                fmt=MARKERS[number % len(MARKERS)],
                capsize=2,
                lw=1,
                label=name,
            )
        axes.set_xlabel("cost of an episode, summed over tasks")
        axes.set_ylabel("success rate")
        axes.set_ylim(-0.03, 1.03)
        axes.set_xscale("symlog", linthresh=1.0)
        axes.set_xlim(left=-0.1)
        axes.legend(fontsize=8)

    return _svg("Safety and success", draw)


def cost_tails(costs: Mapping[str, Sequence[float]]) -> str:
    """Share of the episodes that cost more than x, by policy."""

    def draw(axes: Axes) -> None:
        for name, values in costs.items():
            ordered = np.sort(values)
            above = 1.0 - np.arange(1, len(ordered) + 1) / len(ordered)
            axes.step(
                np.concatenate([[0.0], ordered]),
                np.concatenate([[float(np.mean(ordered > 0.0))], above]),
                where="post",
                label=name,
            )
        axes.axvline(10.0, color="#8b1a2b", lw=0.8, ls="--")
        axes.set_xscale("symlog", linthresh=1.0)
        axes.set_xlim(left=0.0)
        axes.set_ylim(0.0, 1.03)
        axes.set_xlabel("cost of an episode")
        axes.set_ylabel("P(cost > x)")
        axes.legend(fontsize=8)

    return _svg("Tails of the cost", draw)


def multiplier_traces(log: Sequence[Mapping[str, Any]], name: str) -> str | None:
    """Multipliers over steps of a run of constrained learning, each row and term of its log; None
    where there are none."""
    traces: dict[str, list[tuple[float, float]]] = {}
    for line in log:
        for row, terms in line.get("constraints", {}).items():
            for term, entry in terms.items():
                if entry.get("lambda") is not None:
                    traces.setdefault(f"{row}: {term}", []).append((line["steps"], entry["lambda"]))
    if not traces:
        return None

    def draw(axes: Axes) -> None:
        for label, points in traces.items():
            axes.plot(*zip(*points, strict=True), label=label, lw=1.2)
        axes.set_xlabel("steps")
        axes.set_ylabel("multiplier")
        axes.set_ylim(bottom=0.0)
        axes.legend(fontsize=7, ncols=2)

    return _svg(f"Multipliers, {name}", draw)


def interventions(rates: Mapping[str, tuple[float, float | None]]) -> str:
    """Share of the steps that the gate changed, and needlessly so in homes without hazards."""

    def draw(axes: Axes) -> None:
        names = list(rates)
        at = np.arange(len(names))
        axes.barh(at + 0.2, [rate for rate, _ in rates.values()], 0.38, label="changed")
        axes.barh(
            at - 0.2, [needless or 0.0 for _, needless in rates.values()], 0.38, label="needlessly"
        )
        axes.set_yticks(at, names)
        axes.set_ylim(-0.8, max(len(names), 4) - 0.2)
        axes.set_xlabel("share of the steps")
        axes.legend(fontsize=8)

    return _svg("The gate's interventions", draw)


def _error(value: float, interval: Sequence[float]) -> np.ndarray:
    """(2, 1) distances of the interval's bounds."""
    return np.maximum([[value - interval[0]], [interval[1] - value]], 0.0)


def _svg(title: str, draw: Any) -> str:
    with matplotlib.rc_context(dict(_STYLE)):
        figure: Figure
        figure, axes = plt.subplots(figsize=SIZE_IN, layout="constrained")
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
        draw(axes)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        plt.close(figure)
    return text.getvalue()[text.getvalue().index("<svg") :]
