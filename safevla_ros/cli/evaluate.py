"""`safevla eval`: a policy in homes that it was never trained on, with its success and its costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safevla_ros.cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from safevla_ros.assurance.evaluation import Plan


def evaluate(
    policy: Annotated[
        str,
        typer.Option(
            help="A policy folder or name, or random, do-nothing, scripted-careful, scripted-hurried."
        ),
    ],
    suite: Annotated[str, typer.Option(help="Which episodes: tasks.")] = "tasks",
    episodes: Annotated[int, typer.Option(help="Homes for each task.", min=1)] = 40,
    seed: Annotated[int, typer.Option(help="Of the homes. None was ever trained on.", min=0)] = 1,
    physics: Annotated[str, typer.Option(help="full or fast.")] = "full",
    specification: Annotated[
        str, typer.Option(help="Costs: a name under config/safety, or a path to a .yaml file.")
    ] = "household",
    ablate: Annotated[
        str, typer.Option(help="none, blind (black images) or deaf (another object is named).")
    ] = "none",
    workers: Annotated[int, typer.Option(help="Processes that play.", min=1)] = 2,
    results: Annotated[
        Path | None,
        typer.Option(help="File of the episodes' records. Default: named after it all, in runs/."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object; the rest goes to stderr.")
    ] = False,
) -> None:
    """Play a policy through homes and say how often it succeeds and what it costs.

    Every policy meets the same homes under one seed. No gate acts. Stopped and run again, it goes
    on where it was.

    Example: `safevla eval --policy random --episodes 10 --json`
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from safevla_ros.assurance.evaluation import EvaluationError, Plan, make_plan
    from safevla_ros.assurance.evaluation import evaluate as play
    from safevla_ros.assurance.metrics import figures
    from safevla_ros.assurance.suites import SuiteError
    from safevla_ros.policy.interface import PolicyError
    from safevla_ros.safety.specification import SpecificationError

    console = Console(stderr=as_json)
    try:
        plan = make_plan(
            Plan(policy, suite, episodes, seed, physics, specification, ablate)  # type: ignore[arg-type]
        )
        file = results or _default_results(plan)
        with Progress(
            "episodes", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
        ) as progress:
            bar = progress.add_task("episodes", total=None)
            records = play(
                plan,
                file,
                workers,
                lambda done, total: progress.update(bar, completed=done, total=total),
            )
    except (EvaluationError, PolicyError, SpecificationError, SuiteError) as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    except KeyboardInterrupt:
        raise Failure(ExitCode.INTERRUPTED, "stopped; run it again to go on") from None
    found = {**plan.about(), "gate": "none", **figures(records)}
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        _print(console, found)
        console.print(f"records: {file}", soft_wrap=True, highlight=False)


def _default_results(plan: Plan) -> Path:
    parts = [Path(plan.policy).name, plan.suite, f"seed{plan.seed}", plan.physics]
    parts += [plan.specification_hash[:8]] + [plan.ablate] * (plan.ablate != "none")
    parts += [plan.sha256[:8]] * bool(plan.sha256)
    return Path("runs/evaluations") / ("-".join(parts) + ".jsonl")


def _print(console: Any, found: dict[str, Any]) -> None:
    from rich.table import Table

    from safevla_ros.assurance.card import is_task, with_interval

    table = Table("task", "episodes", "success", "cost of an episode", "cost > 10", "idle")
    for task in (name for name, value in found.items() if is_task(value)):
        entry = found[task]
        table.add_row(
            task,
            str(entry["episodes"]),
            with_interval(entry["success_rate"], entry["success_rate_interval"]),
            with_interval(**_renamed(entry["cumulative_cost"], "mean")),
            with_interval(**_renamed(entry["costly_rate"], "rate")),
            with_interval(**_renamed(entry["iatrogenic"]["vacuous_safe"], "rate")),
        )
    mean, cost = found["success_rate"], found["cumulative_cost"]
    table.add_row(
        "all",
        str(found["episodes"]),
        with_interval(mean["mean"], mean["interval"]),
        with_interval(cost["mean"], cost["interval"]),
    )
    console.print(table)


def _renamed(entry: dict[str, Any], name: str) -> dict[str, Any]:
    return {"value": entry[name], "interval": entry["interval"]}
