"""`safevla promote`: the release gate between a candidate and the policy that runs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safevla_ros.cli.budgets import read_budgets
from safevla_ros.cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from rich.console import Console

    from safevla_ros.assurance.playing import Plan
    from safevla_ros.assurance.records import Results
    from safevla_ros.assurance.release import Decision

RECORD = "promotion.json"
PREVIOUS = ".previous"


def promote(
    candidate: Annotated[str, typer.Argument(help="The policy that is to run: name or folder.")],
    over: Annotated[str, typer.Option(help="The policy that runs now: name or folder.")],
    to: Annotated[
        Path | None,
        typer.Option(
            help="Folder that robots load: the candidate is put there, and what was there "
            "stays beside it as FOLDER.previous."
        ),
    ] = None,
    specification: Annotated[
        str,
        typer.Option(
            "--spec",
            "--specification",
            help="Costs with budgets: a name under config/safety, or a path.",
        ),
    ] = "household",
    budget: Annotated[
        list[str] | None,
        typer.Option(help="Cost allowed per episode, as TERM=NUMBER. Others: the specification's."),
    ] = None,
    margin: Annotated[
        float, typer.Option(help="By how much success without hazards may fall.", min=0.0, max=1.0)
    ] = 0.05,
    episodes: Annotated[int, typer.Option(help="Homes for each task.", min=1)] = 60,
    least_episodes: Annotated[
        int, typer.Option(help="Fewer of a task are no evidence.", min=1)
    ] = 59,
    seed: Annotated[int, typer.Option(help="Of the homes.", min=0)] = 1,
    physics: Annotated[str, typer.Option(help="full or fast.")] = "full",
    gate: Annotated[str, typer.Option(help="Before the robot: off, observe or enforce.")] = "off",
    workers: Annotated[int, typer.Option(help="Processes that play.", min=1)] = 2,
    results: Annotated[Path | None, typer.Option(help="Folder of the candidate's records.")] = None,
    running_results: Annotated[
        Path | None, typer.Option(help="Folder of the running policy's records.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the decision as JSON; the rest goes to stderr.")
    ] = False,
) -> None:
    """Decide whether a candidate may replace the running policy: exit code 0 if so, 1 if not.

    Both play the suites tasks and benign; what was played before is not played again. The record of
    the decision is written beside the promoted policy as promotion.json.

    Example: `safevla promote policies/mine --over policies/running --to policies/deployed`
    """
    from rich.console import Console

    from safevla_ros.assurance.playing import Plan, PlanError
    from safevla_ros.assurance.records import ResultsError
    from safevla_ros.assurance.release import SUITES, Rules, decide, refused
    from safevla_ros.policy.interface import PolicyError
    from safevla_ros.safety.specification import SpecificationError, load_specification

    console = Console(stderr=as_json)
    if to is not None:
        check_place(candidate, to)
    try:
        costs = load_specification(specification)
    except SpecificationError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    allowed = costs.budgets | read_budgets(budget or [], costs.terms)
    rules = Rules(allowed, margin=margin, least_episodes=least_episodes)

    def plan(policy: str) -> Plan:
        return Plan(
            policy,
            SUITES,
            episodes,
            seed,
            physics,  # type: ignore[arg-type]
            (specification,),
            gate,  # type: ignore[arg-type]
            specification,
        )

    try:
        other = _played(plan(over), running_results, workers, console)
    except PolicyError as error:
        raise Failure(ExitCode.FAILED, f"the running policy: {error}") from error
    try:
        mine = _played(plan(candidate), results, workers, console, may_be_bad=True)
        decision = decide(mine, other, rules, specification)
    except (PlanError, PolicyError) as error:
        decision = refused(candidate, other.name, "checkpoint", f"it cannot be run: {error}")
    except ResultsError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    if decision.promoted:
        put_in_place(candidate, to, decision)
    if as_json:
        print(json.dumps(decision.record(), indent=2))
    else:
        _print(console, decision)
    if not decision.promoted:
        raise typer.Exit(ExitCode.FAILED)


def _played(
    plan: Plan,
    folder: Path | None,
    workers: int,
    console: Console,
    *,
    may_be_bad: bool = False,
) -> Results:
    """An evaluation, played as far as it is not. A candidate `may_be_bad`: PlanError and PolicyError
    are then the caller's. Raises Failure."""
    from safevla_ros.assurance.playing import make_plan
    from safevla_ros.assurance.records import Results
    from safevla_ros.cli.evaluate import default_folder, planned, play

    made = make_plan(plan) if may_be_bad and _is_file(plan.policy) else planned(plan)
    folder = folder or default_folder(made)
    return Results(folder, made.about(), dict(play(made, folder, workers, console)), {})


def _is_file(policy: str) -> bool:
    """Whether a policy comes from a folder that there is; else its name is wrong."""
    from safevla_ros.policy.interface import PolicyError
    from safevla_ros.policy.load import policy_folder

    try:
        policy_folder(policy)
    except PolicyError:
        return Path(policy).is_dir()
    return True


def check_place(candidate: str, to: Path) -> None:
    """Before anything is played: whether the candidate can be put there. Raises Failure."""
    if not Path(candidate).is_dir():
        raise Failure(ExitCode.BAD_INPUT, f"--to: {candidate} has no folder to be put there")
    if to.exists() and not (to / "policy.yaml").is_file():
        raise Failure(
            ExitCode.BAD_INPUT, f"--to {to}: expected a policy's folder, or one that is not there"
        )


def put_in_place(candidate: str, to: Path | None, decision: Decision) -> None:
    """Write the record beside the policy, and the policy where robots load it. What was there is
    kept, and nobody finds half of a policy there. Raises Failure."""
    record = json.dumps(decision.record(), indent=2) + "\n"
    folder = Path(candidate)
    try:
        if folder.is_dir():
            (folder / RECORD).write_text(record, encoding="utf-8")
        if to is None:
            return
        fresh, previous = (to.with_name(to.name + suffix) for suffix in (".new", PREVIOUS))
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(folder, fresh)
        if to.exists():
            shutil.rmtree(previous, ignore_errors=True)
            os.replace(to, previous)
        os.replace(fresh, to)
    except OSError as error:
        raise Failure(ExitCode.FAILED, f"the policy could not be put in place: {error}") from error


def _print(console: Console, decision: Decision) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False)
    for check in decision.checks:
        mark = "[green]holds[/]" if check.holds else "[red]fails[/]"
        table.add_row(mark, check.name, escape(check.sentence))
    console.print(table)
    verdict = "[bold green]promoted[/]" if decision.promoted else "[bold red]refused[/]"
    console.print(f"{escape(decision.candidate)} over {escape(decision.running)}: {verdict}")
