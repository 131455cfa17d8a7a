"""Policies side by side, on one page for a browser and as a table for a card: what they do, what it
costs, what that may have been bought with, and what is not known of them.

The first results are the policy that the page is about, unless another is named; every figure comes
from the records.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safevla_ros.assurance import report_charts, safety_case
from safevla_ros.assurance.card import with_interval
from safevla_ros.assurance.comparison import compared
from safevla_ros.assurance.evaluation_report import of_suite
from safevla_ros.assurance.records import Results, ResultsError
from safevla_ros.assurance.replay_clip import clip, worst
from safevla_ros.assurance.training_log import read_training_log
from safevla_ros.paths import share_directory
from safevla_ros.safety.specification import Specification, load_specification

TEMPLATE = "config/viewers/report.html"
TASKS = "tasks"

Row = Sequence[str]
Figures = Mapping[str, Any]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """What a page is made of. All results have suite `tasks` and share the headline's
    specification; `subject` is the policy that the page is about, `reference` the one that the
    others are compared with."""

    results: Sequence[Results]
    subject: Results
    reference: Results
    logs: Sequence[Path] = ()
    clips: int = 2

    @property
    def headline(self) -> str:
        """Name of the specification that the main figures are of."""
        return self.subject.specifications[0]

    @property
    def beside(self) -> tuple[str, ...]:
        """Names of the other specifications, of the policy that the page is about."""
        return self.subject.specifications[1:]


def make_report(
    results: Sequence[Results],
    subject: str = "",
    reference: str = "",
    logs: Sequence[Path] = (),
    clips: int = 2,
) -> Report:
    """Raises ResultsError on results that cannot stand in one table, or names that are not there."""
    for each in results:
        if TASKS not in each.suites:
            raise ResultsError(f"{each.path}: expected suite tasks (safevla eval --suite tasks)")
        for key in ("seed", "physics"):
            if each.about[key] != results[0].about[key]:
                raise ResultsError(
                    f"{each.path}: {key} {each.about[key]}: expected {results[0].about[key]}, as in "
                    f"{results[0].path}"
                )
        headline = results[0].specifications[0]
        if each.about["hashes"].get(headline) != results[0].about["hashes"][headline]:
            raise ResultsError(f"{each.path}: expected costs of {headline} as in {results[0].path}")
    names = {each.name: each for each in results}
    for name in (subject, reference):
        if name and name not in names:
            raise ResultsError(f"{name!r}: expected one of {', '.join(names)}")
    return Report(
        results, names.get(subject, results[0]), names.get(reference, results[0]), logs, clips
    )


def markdown(report: Report) -> str:
    """The main table, for a card."""
    head, *rows = _main(report)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_one_line(cell) for cell in line) + " |" for line in lines)


def write_page(report: Report, path: Path, tell: Tell = lambda sentence: None) -> None:
    """Write the page. Clips are left out, with a note, where an episode cannot be played again.
    `tell` hears a short sentence as each part begins. Raises OSError, SpecificationError."""
    specification = load_specification(report.beside[-1] if report.beside else report.headline)
    tell("figures")
    parts = {
        "title": html.escape(f"Safety report: {report.subject.name}"),
        "about": html.escape(_about(report)),
        "main": _table(_main(report)),
        "main_note": html.escape(_main_note(report)),
        "figures": "".join(_figures(report)),
        "tasks": _table(_by_task(report)),
        "iatrogenic": _table(_iatrogenic(report)),
        "suites": _table(_other_suites(report)),
        "training": _training(report),
        "subject": html.escape(_subject_note(report, specification)),
        "constraints": _table(_constraints(report.subject, specification)),
        "blind": _list(safety_case.blind_spots(report.subject, specification)),
        "untested": _list(safety_case.untested(report.subject, specification)),
        "provenance": _table(_provenance(report)),
        "clips": "".join(_clips(report, tell)),
    }
    page = (share_directory() / TEMPLATE).read_text(encoding="utf-8")
    for name, text in parts.items():
        page = page.replace(f"<!--{name}-->", text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _about(report: Report) -> str:
    about = report.subject.about
    return (
        f"Homes never trained on, seed {about['seed']}, {about['physics']} physics. Costs by "
        f"specification {report.headline} (sha256 {about['hashes'][report.headline][:12]}). "
        "Intervals hold 95 %. Results in these simulated homes are not results on the SafeVLA "
        "paper's benchmark, and this is no certified safety function."
    )


def _main(report: Report) -> Iterator[Row]:
    yield [
        "policy",
        "episodes",
        "success",
        f"cost ({report.headline}), sum over tasks",
        *(f"cost ({name})" for name in report.beside),
        "P(cost > 10)",
        "P(cost > median of reference)",
        "P(unsafe)",
        "P(success and unsafe)",
        "idle",
        "cost / reference",
        "success - reference",
    ]
    for each in report.results:
        found = of_suite(each.suites, TASKS, report.headline)
        yield [
            each.name,
            str(found["episodes"]),
            _value(found["success_rate"]),
            _sum(found),
            *(
                _sum(of_suite(each.suites, TASKS, name)) if name in each.specifications else "-"
                for name in report.beside
            ),
            _value(found["costly_rate"]),
            *_against(each, report),
        ]


def _against(each: Results, report: Report) -> Iterator[str]:
    records = each.suites[TASKS]
    change = compared(records, report.reference.suites[TASKS], report.headline)
    found = of_suite(each.suites, TASKS, report.headline)
    safety = [_value(found["unsafe_rate"]), _value(found["sbu"])]
    idle = _value(found["iatrogenic"]["vacuous_safe"])
    if change is None or each is report.reference:
        own = change["above_median"] if change else {"rate": None, "interval": None}
        yield from (_value(own), *safety, idle, "reference", "reference")
        return
    ratio, difference = change["cost_ratio"], change["success_difference"]
    yield from (_value(change["above_median"]), *safety, idle)
    yield _value({"ratio": ratio["ratio"], "interval": ratio["interval"]})
    yield _value(difference, "+.2f")


def _main_note(report: Report) -> str:
    return (
        f"Reference: {report.reference.name}; compared in pairs of the same task and home. A policy "
        "that does nothing costs nothing: read the cost beside success and idle."
    )


def _figures(report: Report) -> Iterator[str]:
    found = {each.name: of_suite(each.suites, TASKS, report.headline) for each in report.results}
    yield report_charts.safety_plane(found)
    yield report_charts.cost_tails(
        {
            each.name: [record.under(report.headline).cost for record in each.suites[TASKS]]
            for each in report.results
        }
    )
    rates = {
        name: (entry["iatrogenic"]["intervention_rate"]["rate"], None)
        for name, entry in found.items()
        if entry["iatrogenic"]["intervention_rate"]["rate"] is not None
    }
    for each in report.results:
        if each.name in rates and "benign" in each.suites:
            benign = of_suite(each.suites, "benign", report.headline)["iatrogenic"]
            rates[each.name] = (rates[each.name][0], benign["false_intervention_rate"]["rate"])
    if rates:
        yield report_charts.interventions(rates)
    for log in report.logs:
        svg = report_charts.multiplier_traces(read_training_log(log), log.parent.name)
        if svg is not None:
            yield svg


def _by_task(report: Report) -> Iterator[Row]:
    tasks = list(dict.fromkeys(record.task for record in report.subject.suites[TASKS]))
    yield ["policy", *(f"success, {task}" for task in tasks), *(f"cost, {task}" for task in tasks)]
    for each in report.results:
        found = of_suite(each.suites, TASKS, report.headline)
        yield [
            each.name,
            *(
                with_interval(found[task]["success_rate"], found[task]["success_rate_interval"])
                for task in tasks
            ),
            *(_value(found[task]["cumulative_cost"]) for task in tasks),
        ]


def _iatrogenic(report: Report) -> Iterator[Row]:
    keys = {
        "idle": "vacuous_safe",
        "froze": "freeze_rate",
        "dithered": "dither",
        "stood for 5 s": "deadlock_rate",
        "gate changed": "intervention_rate",
    }
    yield ["policy", "reached", "manipulated", *keys, "refused", "needless"]
    for each in report.results:
        found = of_suite(each.suites, TASKS, report.headline)["iatrogenic"]
        harmless = found
        if "benign" in each.suites:
            harmless = of_suite(each.suites, "benign", report.headline)["iatrogenic"]
        yield [
            each.name,
            _value(found["engagement"]["reached"]),
            _value(found["engagement"]["manipulated"]),
            *(_value(found[key]) for key in keys.values()),
            _value(harmless["over_refusal"]),
            _value(harmless["false_intervention_rate"]),
        ]


def _other_suites(report: Report) -> Iterator[Row]:
    yield [
        "policy",
        "suite",
        "episodes",
        "success",
        "cost of an episode",
        "ended",
        "cost / unchanged",
    ]
    for each in report.results:
        for suite in each.suites:
            if suite == TASKS:
                continue
            found = of_suite(each.suites, suite, report.headline)
            for condition, group in found.get("conditions", {"": found}).items():
                change = group.get("change")
                yield [
                    each.name,
                    f"{suite}: {condition}" if condition else suite,
                    str(group["episodes"]),
                    _value(group["success_rate"]),
                    _value(group["cumulative_cost"]),
                    _value(group["ended_rate"]),
                    "-" if change is None else _value(change["cost_ratio"]),
                ]


def _training(report: Report) -> str:
    if not report.logs:
        return ""
    rows: list[Row] = [["run", "steps", "hours", "row", "term", "budget", "J", "multiplier"]]
    for log in report.logs:
        lines = read_training_log(log)
        last = lines[-1]
        for row, terms in last.get("constraints", {}).items():
            for term, entry in terms.items():
                shown = [entry.get(key) for key in ("budget", "J", "lambda")]
                rows.append(
                    [
                        log.parent.name,
                        f"{last['steps']:,}",
                        f"{last.get('elapsed_s', 0.0) / 3600.0:.2f}",
                        row,
                        term,
                        *("-" if value is None else f"{value:.3g}" for value in shown),
                    ]
                )
    return f'<h2>Training</h2><div class="scroll">{_table(rows)}</div>'


def _subject_note(report: Report, specification: Specification) -> str:
    return (
        f"{report.subject.name}, under specification {specification.name}. A bound is the upper end "
        "of the 95 % interval of the share of episodes that a term charged, over all suites played."
    )


def _constraints(subject: Results, specification: Specification) -> Iterator[Row]:
    yield [
        "not to violate",
        "threshold",
        "budget",
        "response of the gate",
        "episodes",
        "charged in",
        "bound",
        "in homes made for it",
    ]
    for each in safety_case.constraints(subject, specification):
        yield [
            each.term,
            each.threshold,
            "not constrained" if each.budget is None else f"{each.budget:g} an episode",
            each.response,
            str(each.episodes),
            f"{each.rate:.1%}",
            f"{each.upper:.1%}",
            str(each.own_suite) if each.own_suite else "none",
        ]


def _provenance(report: Report) -> Iterator[Row]:
    yield ["policy", "checkpoint sha256", "records", "records' sha256", "played in", "machine"]
    for each in report.results:
        digest = hashlib.sha256()
        for file in sorted(each.path.glob("*.jsonl")):
            digest.update(file.read_bytes())
        spent = each.compute.get("process_s")
        yield [
            each.name,
            each.about["sha256"] or "no file",
            f"{sum(map(len, each.suites.values()))} episodes of {', '.join(each.suites)}",
            digest.hexdigest()[:16],
            "-" if spent is None else f"{spent / 3600.0:.2f} process hours",
            str(each.compute.get("machine", "-")),
        ]
    for name, value in report.subject.about["hashes"].items():
        yield [f"specification {name}", value, "", "", "", ""]


def _clips(report: Report, tell: Tell) -> Iterator[str]:
    any_cost = False
    for each in report.results:
        for record in worst(each, report.clips):
            any_cost = True
            tell(f"a clip of {each.name}")
            what = (
                f"{each.name}, {record.suite} {record.condition} {record.task}, home {record.seed}"
            )
            cost = record.under(report.headline)
            terms = ", ".join(f"{name} {value:g}" for name, value in cost.costs.items() if value)
            words = f"{what}: cost {cost.cost:g} ({terms}). {record.reason}"
            try:
                video = base64.b64encode(clip(each, record)).decode()
            except ResultsError as error:
                yield f"<figure><figcaption>{html.escape(f'{words} {error}')}</figcaption></figure>"
                continue
            yield (
                f'<figure><video controls muted loop preload="metadata" '
                f'src="data:video/mp4;base64,{video}"></video>'
                f"<figcaption>{html.escape(words)}</figcaption></figure>"
            )
    if report.clips and not any_cost:
        yield "<p>No episode cost anything.</p>"


def _sum(found: Figures) -> str:
    cost = found["cumulative_cost"]
    return with_interval(cost["sum"], cost["sum_interval"])


def _value(entry: Figures, how: str = ".2f") -> str:
    """A figure as metrics.py gives it, under whichever name, with its interval."""
    value = next(v for k, v in entry.items() if k in ("rate", "mean", "ratio", "difference"))
    interval = entry["interval"]
    if value is None or interval is None:
        return "-"
    low, high = ("-" if bound is None else format(bound, how) for bound in interval)
    return f"{value:{how}} ({low} to {high})"


def _one_line(cell: str) -> str:
    return cell.replace("|", "\\|")


def _table(rows: Iterator[Row] | Sequence[Row]) -> str:
    head, *body = rows
    if not body:
        return "<p>None.</p>"
    lines = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(map(_cell, row)) + "</tr>" for row in body]
    return f"<table>{''.join(lines)}</table>"


def _cell(text: str) -> str:
    value, bracket, interval = text.partition(" (")
    small = f"<small>({html.escape(interval)}</small>" if bracket and interval.endswith(")") else ""
    return f"<td>{html.escape(value) + small if small else html.escape(text)}</td>"


def _list(sentences: Iterator[str]) -> str:
    return "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
