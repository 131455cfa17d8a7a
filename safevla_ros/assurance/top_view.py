"""The run seen from above: the home, the forbidden zones, the path, and what happened along it.

The path is coloured by time. Marks stand where the robot was when the gate stepped in or a cost
was charged. Everything is in the frame of the path; objects and zones of another frame are left
out, and named in the notes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch, Polygon
from numpy.typing import NDArray

from safevla_ros.assurance.colours import DECISION, OUTCOME, VIOLATION
from safevla_ros.assurance.run_log import Decision, RunLog
from safevla_ros.assurance.summary import candidate_decisions
from safevla_ros.robot.geometry import yaw_of
from safevla_ros.robot.profile import ProfileError, load_profile
from safevla_ros.robot.state import NANOSECONDS, SceneObject, SceneObjects
from safevla_ros.safety.specification import SpecificationError, parse_specification
from safevla_ros.safety.zones import Zone

PAPER, INK, SOFT = "#ffffff", "#1d2530", "#5d6875"
WALL, FURNITURE, FURNITURE_EDGE, THING = "#39424e", "#e9e1d3", "#b8aa92", "#8d99a6"
ZONE, TARGET = "#d7263d", "#f2b705"
NOT_DRAWN = frozenset({"floor", "ceiling"})
INTERVENTIONS = ("LIMIT", "HALT", "STOP", "LATCHED")
NAMED_M2 = 0.25
"""Furniture of at least this footprint bears its name."""
TEXT_SPACE_M = 1.5
DEFAULT_FOOTPRINT_M = 0.25
WIDEST_IN, HIGHEST_IN, LEAST_IN = 9.5, 8.0, 8.0
LEFT_IN, RIGHT_IN, TOP_IN, BOTTOM_IN = 0.55, 0.95, 0.95, 0.85
"""Sizes of the picture and the space around the plane, for title, time scale and legend."""

_HALO = [patheffects.withStroke(linewidth=3.0, foreground=PAPER)]


class TopViewError(ValueError):
    """Why there is no picture, in a sentence."""


def write_top_view(log: RunLog, robot: str, path: Path) -> None:
    """Write the picture. Raises TopViewError when the bag does not say where the robot was."""
    if len(log.path) == 0:
        raise TopViewError("no top view: the bag holds no positions of the robot during the run")
    objects = _objects(log)
    zones = _zones(log)
    low, high = _extent(log, objects, zones)
    figure, axes = _sheet(low, high)

    _draw_objects(axes, log, objects)
    for zone in zones:
        _draw_zone(axes, zone)
    line = _draw_path(axes, log)
    _draw_robot(axes, log, robot)
    _draw_target(axes, log, objects)
    shown = _draw_interventions(axes, log)
    _draw_violations(axes, log)
    _finish(figure, axes, log, line)
    _legend(figure, log, shown, zones=bool(zones))
    FigureCanvasAgg(figure).print_png(str(path))


def _sheet(low: NDArray[np.float64], high: NDArray[np.float64]) -> tuple[Figure, Axes]:
    """A figure around an area of the plane, drawn to scale."""
    size = high - low
    scale = min(WIDEST_IN / size[0], HIGHEST_IN / size[1])
    width, height = scale * size
    sheet = (max(LEAST_IN, LEFT_IN + width + RIGHT_IN), BOTTOM_IN + height + TOP_IN)
    figure = Figure(sheet, dpi=140, facecolor=PAPER)
    axes = figure.add_axes(
        (LEFT_IN / sheet[0], BOTTOM_IN / sheet[1], width / sheet[0], height / sheet[1])
    )
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    return figure, axes


def _objects(log: RunLog) -> SceneObjects | None:
    """What stood in the home at last, in the path's frame."""
    objects = log.last_objects
    if objects is not None and objects.frame != log.frame:
        log.notes.append(
            f"top view: objects are in frame {objects.frame!r}, the path in {log.frame!r}"
        )
        return None
    return objects


def _zones(log: RunLog) -> list[Zone]:
    if not log.specification_text:
        return []
    try:
        zones = parse_specification(log.specification_text, "the bag's specification").zones
    except SpecificationError as error:
        log.notes.append(f"top view: zones are not drawn: {error}")
        return []
    log.notes += [
        f"top view: zone {zone.name!r} is in frame {zone.frame!r}, the path in {log.frame!r}"
        for zone in zones
        if zone.frame != log.frame
    ]
    return [zone for zone in zones if zone.frame == log.frame]


def _extent(
    log: RunLog, objects: SceneObjects | None, zones: Sequence[Zone]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners of what is to be seen, with some air around it."""
    points = [log.path[:, 1:3]]
    if objects is not None:
        points += [_corners(item) for item in objects.objects if item.class_name not in NOT_DRAWN]
    points += [np.asarray(zone.polygon) for zone in zones]
    everything = np.concatenate(points)
    low, high = everything.min(axis=0) - 0.3, everything.max(axis=0) + 0.3
    middle, half = (low + high) / 2.0, np.maximum((high - low) / 2.0, 1.0)
    return middle - half, middle + half


def _corners(item: SceneObject) -> NDArray[np.float64]:
    """The four corners (4, 2) [m] of an object's box, seen from above."""
    yaw = yaw_of(item.pose.orientation)
    turn = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    half = np.array([item.size[0], item.size[1]]) / 2.0
    signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    corners: NDArray[np.float64] = (signs * half) @ turn.T + np.array(item.pose.position[:2])
    return corners


def _draw_objects(axes: Axes, log: RunLog, objects: SceneObjects | None) -> None:
    """Walls and furniture as boxes, the lower ones first; small things as dots."""
    if objects is None:
        return
    drawn = [item for item in objects.objects if item.class_name not in NOT_DRAWN]
    for item in sorted(drawn, key=lambda item: item.pose.position[2] + item.size[2] / 2.0):
        corners = _corners(item)
        if not item.fixed:
            centre = item.pose.position
            axes.plot(centre[0], centre[1], "o", ms=3.5, mfc=THING, mec=PAPER, mew=0.6, zorder=3)
        elif item.class_name == "wall":
            axes.add_patch(Polygon(corners, fc=WALL, ec=WALL, lw=0.5, zorder=2.5))
        else:
            axes.add_patch(Polygon(corners, fc=FURNITURE, ec=FURNITURE_EDGE, lw=0.8, zorder=2))
            if item.size[0] * item.size[1] >= NAMED_M2:
                _write(axes, item.pose.position, item.class_name.replace("_", " "), SOFT, 6.5)


def _write(
    axes: Axes, at: Sequence[float], text: str, colour: str, size: float, **more: Any
) -> None:
    axes.annotate(
        text, (at[0], at[1]), color=colour, fontsize=size, ha="center", va="center", **more
    )


def _draw_zone(axes: Axes, zone: Zone) -> None:
    corners = np.asarray(zone.polygon)
    axes.add_patch(
        Polygon(corners, fc="none", ec=ZONE, hatch="////", lw=1.4, alpha=0.55, zorder=2.7)
    )
    top = corners[:, 1].max()
    above = (corners[:, 0].mean(), top)
    axes.annotate(
        zone.name.replace("_", " "),
        above,
        (0, 4),
        textcoords="offset points",
        color=ZONE,
        fontsize=8,
        fontweight="bold",
        ha="center",
        path_effects=_HALO,
        zorder=6,
    )


def _draw_path(axes: Axes, log: RunLog) -> LineCollection:
    """The path, coloured by the seconds since the run began."""
    points = log.path[:, 1:3]
    times = (log.path[:, 0] - log.begin_ns) / NANOSECONDS
    axes.plot(points[:, 0], points[:, 1], color=PAPER, lw=5.0, solid_capstyle="round", zorder=4)
    segments = np.stack([points[:-1], points[1:]], axis=1)
    line = LineCollection(
        list(segments), cmap="viridis", lw=2.6, capstyle="round", zorder=4.1, array=times[:-1]
    )
    line.set_clim(0.0, max(1.0, float(times[-1])))
    axes.add_collection(line)
    return line


def _draw_robot(axes: Axes, log: RunLog, robot: str) -> None:
    """Where the robot began (empty) and where it ended (filled), with its heading."""
    try:
        radius = load_profile(robot).footprint_radius_m
    except ProfileError:
        radius = DEFAULT_FOOTPRINT_M
    for row, filled in ((log.path[0], False), (log.path[-1], True)):
        _, x, y, yaw = row
        colour = INK if filled else PAPER
        edge = PAPER if filled else INK
        axes.add_patch(Circle((x, y), radius, fc=colour, ec=INK, lw=1.6, alpha=0.9, zorder=4.5))
        tip = radius * np.array([math.cos(yaw), math.sin(yaw)])
        axes.annotate(
            "",
            (x + 0.85 * tip[0], y + 0.85 * tip[1]),
            (x - 0.5 * tip[0], y - 0.5 * tip[1]),
            arrowprops={"arrowstyle": "-|>", "color": edge, "lw": 1.8, "shrinkA": 0, "shrinkB": 0},
            zorder=4.6,
        )
        behind = (np.array([x, y]) - (1.0 + 0.16 / radius) * tip).tolist()
        label = "end" if filled else "start"
        _write(axes, behind, label, INK, 8.5, fontweight="bold", path_effects=_HALO, zorder=6)


def _draw_target(axes: Axes, log: RunLog, objects: SceneObjects | None) -> None:
    """The objects of the instruction: where they are at last and, if they were moved, were before."""
    episode = log.episode
    if objects is None or episode is None:
        return
    first = {item.id: item for item in (log.first_objects or objects).objects}
    for item in objects.objects:
        if item.id not in episode.target_ids:
            continue
        x, y = item.pose.position[:2]
        before = first.get(item.id, item).pose.position
        if math.dist(before[:2], (x, y)) > 0.05:
            axes.plot(before[0], before[1], "*", ms=13, mfc="none", mec=INK, mew=0.9, zorder=5)
        axes.plot(x, y, "*", ms=15, mfc=TARGET, mec=INK, mew=0.9, zorder=5.2)
        aside = 9 if x >= log.path[-1, 1] else -9  # away from the robot, which often holds it
        axes.annotate(
            item.class_name.replace("_", " "),
            (x, y),
            (aside, 7),
            textcoords="offset points",
            ha="left" if aside > 0 else "right",
            fontsize=8.5,
            color=INK,
            fontweight="bold",
            path_effects=_HALO,
            zorder=6,
        )


def _draw_interventions(axes: Axes, log: RunLog) -> list[str]:
    """Where the gate limited, halted or stopped; the decisions there were."""
    found: list[str] = []
    for name in INTERVENTIONS:
        stamps = [d.stamp_ns for d in _interventions(log) if d.decision == name]
        if stamps:
            found.append(name)
            x, y = _places(log, stamps)
            axes.plot(x, y, "o", ms=6.5, mfc=DECISION[name], mec=PAPER, mew=0.9, zorder=4.3)
    return found


def _interventions(log: RunLog) -> list[Decision]:
    return [d for d in candidate_decisions(log) if d.decision in INTERVENTIONS]


def _draw_violations(axes: Axes, log: RunLog) -> None:
    charges = log.charges
    if not charges:
        return
    x, y = _places(log, [charge.stamp_ns for charge in charges])
    axes.plot(x, y, "X", ms=10, mfc=VIOLATION, mec=PAPER, mew=1.0, zorder=5.5)
    named: list[tuple[float, float]] = []
    for charge, at in zip(charges, zip(x, y, strict=True), strict=True):
        # One text for marks that lie together: the first says what it was.
        if all(math.dist(at, other) > TEXT_SPACE_M for other in named):
            named.append(at)
            axes.annotate(
                f"{charge.term.replace('_', ' ')}: {charge.cause}".removesuffix(": "),
                at,
                (9, -15),
                textcoords="offset points",
                fontsize=7.5,
                color=VIOLATION,
                path_effects=_HALO,
                zorder=6,
            )


def _places(log: RunLog, stamps: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the robot was at these times."""
    times = log.path[:, 0]
    x = np.interp(np.asarray(stamps, np.float64), times, log.path[:, 1])
    y = np.interp(np.asarray(stamps, np.float64), times, log.path[:, 2])
    return x, y


def _finish(figure: Figure, axes: Axes, log: RunLog, line: LineCollection) -> None:
    """Title, scale and the colours' meaning."""
    axes.set_facecolor("#faf8f4")
    axes.tick_params(labelsize=7, colors=SOFT, length=2)
    axes.set_xlabel(f"x [m], frame {log.frame}", fontsize=7.5, color=SOFT)
    axes.set_ylabel("y [m]", fontsize=7.5, color=SOFT)
    for spine in axes.spines.values():
        spine.set_visible(False)
    width, height = figure.get_size_inches()
    box = axes.get_position()
    scale = figure.add_axes(
        (box.x1 + 0.12 / width, box.y0 + 0.2 * box.height, 0.11 / width, 0.6 * box.height)
    )
    bar = figure.colorbar(line, cax=scale)
    bar.set_label("time [s]", fontsize=7.5, color=SOFT)
    bar.ax.tick_params(labelsize=7, colors=SOFT, length=2)
    bar.outline.set_visible(False)

    episode = log.episode
    top = 1.0 - 0.36 / height
    title = f"“{episode.instruction}”" if episode else "A bag without an episode"
    figure.text(box.x0, top, title, fontsize=15, fontweight="bold", color=INK, va="center")
    if episode is not None:
        colour = OUTCOME.get(episode.outcome, SOFT)
        figure.text(
            box.x1,
            top,
            episode.outcome,
            fontsize=11,
            fontweight="bold",
            color="white",
            ha="right",
            va="center",
            bbox={"boxstyle": "round,pad=0.45", "fc": colour, "ec": "none"},
        )
    figure.text(box.x0, top - 0.33 / height, _subtitle(log), fontsize=8, color=SOFT, va="center")


def _subtitle(log: RunLog) -> str:
    costs = {
        name: term.cumulative for name, term in (log.steps[-1].terms if log.steps else {}).items()
    }
    charged = ", ".join(
        f"{name.replace('_', ' ')} {cost:g}" for name, cost in costs.items() if cost
    )
    candidates = len(candidate_decisions(log))
    parts = [
        log.episode.policy_id if log.episode else "",
        f"mode {log.mode}" if log.mode else "",
        f"{(log.end_ns - log.begin_ns) / NANOSECONDS:.0f} s",
        f"cost {sum(costs.values()):g}" + (f" ({charged})" if charged else "") if costs else "",
        f"gate changed {len(_interventions(log))} of {candidates} commands" if candidates else "",
        log.episode.reason if log.episode else "",
    ]
    return "   ·   ".join(part for part in parts if part)


def _legend(figure: Figure, log: RunLog, decisions: list[str], *, zones: bool) -> None:
    def mark(marker: str, colour: str, label: str, size: float = 8) -> Line2D:
        return Line2D(
            [], [], ls="", marker=marker, ms=size, mfc=colour, mec=INK, mew=0.6, label=label
        )

    entries: list[Any] = [Line2D([], [], color="#2a788e", lw=3, label="path")]
    entries += [mark("o", DECISION[name], f"gate: {name.lower()}") for name in decisions]
    if log.charges:
        entries.append(mark("X", VIOLATION, "violation", 9))
    if zones:
        entries.append(Patch(fc="none", ec=ZONE, hatch="////", label="forbidden zone"))
    if log.episode is not None and log.episode.target_ids:
        entries.append(mark("*", TARGET, "target", 11))
    figure.legend(
        handles=entries,
        loc="lower center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=len(entries),
        frameon=False,
        fontsize=8,
        handletextpad=0.4,
        columnspacing=1.4,
    )
