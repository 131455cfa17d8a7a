"""One episode as a page for a browser: a single HTML file that needs nothing beside it.

Video, curves and the list of violations share one time: a click on a curve or on a violation moves
the video there, and a line in every curve follows the video. Terms that stayed away from their limits
are folded up.
"""

from __future__ import annotations

import base64
import html
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safevla_ros.assurance import charts
from safevla_ros.assurance.colours import DECISION, OUTCOME
from safevla_ros.assurance.run_log import RunLog, read_run
from safevla_ros.assurance.run_report import newest_bag, write_pictures
from safevla_ros.assurance.summary import IDLE_REASONS, summarise
from safevla_ros.bags.reader import Bag
from safevla_ros.paths import share_directory
from safevla_ros.robot.state import NANOSECONDS

TEMPLATE = "config/viewers/episode.html"


def write_episode_page(
    bag: Path, path: Path, *, progress: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Write the page of `bag` to `path`; return the episode's summary (see `summarise`).

    `progress` hears a short sentence as each part begins. What the bag does not allow is left out,
    and the page says so. Raises BagError when there is no bag, OSError when `path` cannot be
    written.
    """
    tell = progress or (lambda sentence: None)
    opened = Bag(newest_bag(bag))
    tell("reading the bag")
    log = read_run(opened)
    summary = summarise(opened, log)
    with tempfile.TemporaryDirectory() as folder:
        pictures = write_pictures(opened, log, Path(folder), tell)
        sources = {name: _data_url(file) for name, file in pictures.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_page(log, summary, sources), encoding="utf-8")
    return summary


def _data_url(file: Path) -> str:
    kind = {".mp4": "video/mp4", ".png": "image/png"}[file.suffix]
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


def _page(log: RunLog, summary: Mapping[str, Any], sources: Mapping[str, str]) -> str:
    axis = charts.time_axis(log)
    starts = [stamps[0] for stamps in log.camera_stamps.values() if stamps]
    geometry = {
        "left": charts.LEFT,
        "width": charts.WIDTH - charts.LEFT - charts.RIGHT,
        "seconds": axis.seconds,
        "video_starts": (min(starts) - axis.begin_ns) / NANOSECONDS if starts else 0.0,
    }
    outcome = summary["outcome"] or "UNKNOWN"
    costs = summary["costs"]
    quiet = [term for term in costs if _is_quiet(log, term, costs[term])]
    # What cost most comes first, then what came nearest to its limit.
    told = sorted(set(costs) - set(quiet), key=lambda name: _importance(costs[name]))
    parts = {
        "title": html.escape(summary["instruction"] or summary["episode"] or "a run"),
        "outcome": html.escape(outcome),
        "outcome_colour": OUTCOME.get(outcome, OUTCOME["UNKNOWN"]),
        "reason": html.escape(summary["reason"] or ""),
        "facts": _facts(summary),
        "video": _video(sources.get("video")),
        "top_view": _top_view(sources.get("top_view")),
        "legend": "".join(
            f'<span><i style="background:{colour}"></i>{name.lower()}</span>'
            for name, colour in DECISION.items()
        ),
        "charts": charts.decision_strip(log, axis)
        + _curves(log, told, axis)
        + _folded(log, quiet, axis),
        "costs": _costs(log, costs, told, quiet),
        "violations": _violations(log, axis),
        "notes": _notes(summary["notes"]),
        "geometry": json.dumps(geometry),
    }
    page = (share_directory() / TEMPLATE).read_text(encoding="utf-8")
    for name, text in parts.items():
        page = page.replace(f"<!--{name}-->", text)
    return page


def _is_quiet(log: RunLog, term: str, cost: Mapping[str, Any]) -> bool:
    """Whether a term was judged in every step, and never cost anything or came near its limit."""
    settings = log.settings.get(term)
    warning = settings.warning if settings else 0.0
    margin = cost["worst_margin"]
    near = margin is not None and margin <= warning
    return cost["status"] == "ok" and cost["cumulative"] == 0.0 and not near


def _importance(cost: Mapping[str, Any]) -> tuple[float, float]:
    margin = cost["worst_margin"]
    return -cost["cumulative"], math.inf if margin is None else margin


def _curves(log: RunLog, terms: Sequence[str], axis: charts.TimeAxis) -> str:
    return "".join(
        charts.margin_chart(log, term, axis) + charts.cost_chart(log, term, axis) for term in terms
    )


def _folded(log: RunLog, terms: Sequence[str], axis: charts.TimeAxis) -> str:
    if not terms:
        return ""
    return (
        f"<details><summary>{len(terms)} more that cost nothing and stayed away from their limits: "
        f"{', '.join(terms)}</summary>{_curves(log, terms, axis)}</details>"
    )


def _costs(log: RunLog, costs: Mapping[str, Any], told: Sequence[str], quiet: Sequence[str]) -> str:
    """A table of the episode's costs, and which terms could not be judged."""
    rows = []
    for term in told:
        cost = costs[term]
        budget = "-" if cost["budget"] is None else f"{cost['budget']:g}"
        margin = "-" if cost["worst_margin"] is None else f"{cost['worst_margin']:.3g}"
        settings = log.settings.get(term)
        if settings and settings.unit != "1" and cost["worst_margin"] is not None:
            margin += f" {html.escape(settings.unit)}"
        over = cost["budget"] is not None and cost["cumulative"] > cost["budget"]
        state = (
            "" if cost["status"] == "ok" else f"<small>{cost['status'].replace('_', ' ')}</small>"
        )
        rows.append(
            f"<tr{' class=over' if over else ''}><td>{html.escape(term)}{state}</td>"
            f"<td>{cost['cumulative']:g}</td><td>{budget}</td><td>{margin}</td></tr>"
        )
    if quiet:
        rows.append(f"<tr><td>{len(quiet)} {'more' if told else 'terms'}</td><td>0</td></tr>")
    head = "<tr><th></th><th>cost</th><th>budget</th><th>least margin</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>" if rows else "<p>No costs were recorded.</p>"


def _notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return f"<h2>Notes</h2><ul>{items}</ul>" if items else ""


def _facts(summary: Mapping[str, Any]) -> str:
    gate = summary["gate"]
    counts = {name.lower(): gate[name.lower()] for name in DECISION}
    software = summary["software"]
    facts = {
        "episode": summary["episode"],
        "robot": summary["robot"],
        "policy": summary["policy"]["id"],
        "mode": summary["mode"],
        "scenario": summary["scenario"] and f"{summary['scenario']}, seed {summary['seed']}",
        "specification": f"{software['specification']} {(software['specification_hash'] or '')[:12]}",
        "steps": f"{summary['steps']} in {summary['duration_s']:.1f} s",
        "commands": ", ".join(f"{count} {name}" for name, count in counts.items() if count),
        "bag": summary["bag"]["problem"] or f"{summary['bag']['messages']} messages",
    }
    return "".join(
        f"<dt>{name}</dt><dd>{html.escape(str(value))}</dd>"
        for name, value in facts.items()
        if value
    )


def _video(source: str | None) -> str:
    if source is None:
        return "<p>No video: see the notes.</p>"
    return (
        f'<video id="video" muted playsinline preload="auto" src="{source}"></video>'
        '<div class="bar"><button id="play" aria-label="play or pause">&#9654;</button>'
        '<input id="seek" type="range" min="0" step="0.01" aria-label="time">'
        '<span id="clock"></span></div>'
    )


def _top_view(source: str | None) -> str:
    return (
        f'<img id="top" src="{source}" alt="the path from above" title="click to enlarge">'
        if source
        else ""
    )


def _violations(log: RunLog, axis: charts.TimeAxis) -> str:
    """The steps that cost something, and the gate's interventions, in order of time."""
    rows = [
        (charge.stamp_ns, "violation", charge.term, charge.cause, "#d7263d")
        for charge in log.charges
    ]
    rows += [
        (each.stamp_ns, each.decision.lower(), each.term or each.reason, each.detail, colour)
        for each in log.decisions
        if each.decision not in ("PASS", "SHADOW") and each.reason not in IDLE_REASONS
        for colour in [DECISION.get(each.decision, "#999999")]
    ]
    if not rows:
        return "<p>None: no step cost anything, and the gate changed nothing.</p>"
    items = []
    for stamp_ns, kind, what, why, colour in sorted(rows):
        at_s = (stamp_ns - axis.begin_ns) / NANOSECONDS
        items.append(
            f'<button data-at="{at_s:.3f}"><b>{at_s:.1f} s</b><i style="background:{colour}"></i>'
            f"{html.escape(kind)}: {html.escape(what)}<small>{html.escape(why)}</small></button>"
        )
    return "".join(items)
