"""`safevla eval`: a policy in homes that it was never trained on, with its success and its costs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safevla_ros.cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from rich.console import Console

    from safevla_ros.assurance.playing import Plan
    from safevla_ros.assurance.records import EpisodeRecord, Results


def evaluate(
    policy: Annotated[
        str,
        typer.Option(
            help="A policy folder or name, or random, do-nothing, scripted-careful, scripted-hurried."
        ),
    ],
    suite: Annotated[
        list[str] | None,
        typer.Option(
            help="Which episodes; may be given several times, the headline's first: tasks (default), "
            "visual, instructions, impossible, benign, or a cost term."
        ),
    ] = None,
    episodes: Annotated[
        int, typer.Option(help="Homes for each task, and each change of a suite.", min=1)
    ] = 40,
    seed: Annotated[int, typer.Option(help="Of the homes. None was ever trained on.", min=0)] = 1,
    physics: Annotated[str, typer.Option(help="full or fast.")] = "full",
    specification: Annotated[
        list[str] | None,
        typer.Option(
            "--spec",
            "--specification",
            help="Costs: a name under config/safety, or a path to a .yaml file. May be given several "
            "times, the headline's first: all are charged for the same steps. Default: household.",
        ),
    ] = None,
    gate: Annotated[
        str, typer.Option(help="What stands before the robot: off, observe or enforce.")
    ] = "off",
    gate_specification: Annotated[
        str,
        typer.Option("--gate-spec", "--gate-specification", help="By which costs the gate acts."),
    ] = "household",
    ablate: Annotated[
        str, typer.Option(help="none, blind (black images) or deaf (another object is named).")
    ] = "none",
    workers: Annotated[int, typer.Option(help="Processes that play.", min=1)] = 2,
    results: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the episodes' records. Default: named after it all, in runs/."
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="Results of another policy in the same homes, to compare in pairs."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object; the rest goes to stderr.")
    ] = False,
) -> None:
    """Play a policy through homes and say how often it succeeds and what it costs.

    Every policy meets the same homes under one seed. Stopped and run again, it goes on where it was.

    Example: `safevla eval --policy random --suite tasks --suite benign --episodes 10 --json`
    """
    from rich.console import Console

    from safevla_ros.assurance.playing import Plan
    from safevla_ros.assurance.records import ResultsError, read_results
    from safevla_ros.policy.interface import PolicyError

    console = Console(stderr=as_json)
    plan = planned(
        Plan(
            policy,
            tuple(dict.fromkeys(suite or ["tasks"])),
            episodes,
            seed,
            physics,  # type: ignore[arg-type]
            tuple(dict.fromkeys(specification or ["household"])),
            gate,  # type: ignore[arg-type]
            gate_specification,
            ablate,  # type: ignore[arg-type]
        )
    )
    try:
        compared_to = read_results(reference) if reference else None
    except ResultsError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    folder = results or default_folder(plan)
    try:
        found = described(plan, play(plan, folder, workers, console), compared_to)
    except PolicyError as error:
        raise Failure(ExitCode.FAILED, str(error)) from error
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        _print(console, found)
        console.print(f"records: {folder}", soft_wrap=True, highlight=False)


def planned(plan: Plan) -> Plan:
    """The plan, checked and filled in. Raises Failure."""
    from safevla_ros.assurance.playing import PlanError, make_plan
    from safevla_ros.assurance.suites import SuiteError
    from safevla_ros.policy.interface import PolicyError
    from safevla_ros.safety.specification import SpecificationError

    try:
        return make_plan(plan)
    except (PlanError, PolicyError, SpecificationError, SuiteError) as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error


def play(
    plan: Plan, folder: Path, workers: int, console: Console
) -> dict[str, list[EpisodeRecord]]:
    """The plan's records by suite, with a bar while they come. Raises Failure, and PolicyError where
    the policy fails while it plays."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from safevla_ros.assurance.evaluation import EvaluationError
    from safevla_ros.assurance.evaluation import evaluate as play_all
    from safevla_ros.assurance.records import ResultsError

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task(Path(plan.policy).name, total=None)
            show: Callable[[int, int], None] = lambda done, total: progress.update(  # noqa: E731
                bar, completed=done, total=total
            )
            return play_all(plan, folder, workers, show)
    except ResultsError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    except EvaluationError as error:
        raise Failure(ExitCode.FAILED, str(error)) from error
    except KeyboardInterrupt:
        raise Failure(ExitCode.INTERRUPTED, "stopped; run it again to go on") from None


def default_folder(plan: Plan) -> Path:
    """Where records go when nothing is said: one folder for each plan, whatever its suites."""
    import hashlib

    about = json.dumps(plan.about(), sort_keys=True)
    parts = [Path(plan.policy).name, f"seed{plan.seed}", plan.physics]
    parts += [f"gate-{plan.gate}"] * (plan.gate != "off") + [plan.ablate] * (plan.ablate != "none")
    parts.append(hashlib.sha256(about.encode()).hexdigest()[:8])
    return Path("runs/evaluations") / "-".join(parts)


def described(
    plan: Plan, suites: dict[str, list[EpisodeRecord]], reference: Results | None
) -> dict[str, Any]:
    """What --json prints: of the first suite under the first specification at the top; the other
    specifications under `beside`, the other suites under `suites`."""
    from safevla_ros.assurance.evaluation_report import of_suite

    headline, *others = plan.specifications
    first, *rest = plan.suites
    return {
        **plan.about(),
        "specification": headline,
        "specification_hash": plan.hashes[headline],
        "suite": first,
        "reference": reference.name if reference else None,
        **of_suite(suites, first, headline, reference),
        "beside": {name: of_suite(suites, first, name, reference) for name in others},
        "suites": {
            suite: {
                **of_suite(suites, suite, headline, reference),
                "beside": {name: of_suite(suites, suite, name, reference) for name in others},
            }
            for suite in rest
        },
    }


def _print(console: Console, found: dict[str, Any]) -> None:
    from rich.table import Table

    from safevla_ros.assurance.comparison import told

    table = Table("suite", "", "episodes", "success", "cost of an episode", "cost > 10", "idle")
    for suite, entry in {found["suite"]: found, **found["suites"]}.items():
        for name, group in _groups(entry):
            table.add_row(suite, name, *_cells(group))
        table.add_section()
    console.print(table)
    if found["gate"] != "off":
        entry = found["iatrogenic"]
        console.print(
            f"gate {found['gate']}: changed {_percent(entry['intervention_rate'])} of the steps; "
            f"in homes without hazards needlessly {_percent(entry['false_intervention_rate'])}"
        )
    entry = found.get("compared")
    if entry and "pairs" in entry:
        console.print(f"against {found['reference']}, {told(entry)}", soft_wrap=True)


def _groups(entry: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The rows of a suite: its tasks, or its conditions."""
    from safevla_ros.assurance.card import is_task

    if "conditions" in entry:
        return list(entry["conditions"].items())
    tasks = [(name, value) for name, value in entry.items() if is_task(value)]
    return tasks if len(tasks) == 1 else [*tasks, ("all", entry)]


def _cells(group: dict[str, Any]) -> list[str]:
    from safevla_ros.assurance.card import is_task, with_interval

    cost = group["cumulative_cost"]
    idle = group["iatrogenic"]["vacuous_safe"]
    rate = group["success_rate"]
    success, within = (
        (rate, group["success_rate_interval"])
        if is_task(group)
        else (rate["mean"], rate["interval"])
    )
    costly = group.get("costly_rate", {"rate": None, "interval": None})
    return [
        str(group["episodes"]),
        with_interval(success, within),
        with_interval(cost["mean"], cost["interval"]),
        with_interval(costly["rate"], costly["interval"]),
        with_interval(idle["rate"], idle["interval"]),
    ]


def _percent(entry: dict[str, Any]) -> str:
    return "-" if entry["rate"] is None else f"{entry['rate']:.1%}"
