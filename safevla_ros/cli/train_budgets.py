"""`safevla train budgets`: what a constrained run may cost, from what an unconstrained one does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safevla_ros.cli.failure import ExitCode, Failure


def budgets(
    directory: Annotated[Path, typer.Option(help="Folder of the unconstrained run.")] = Path(
        "runs/online"
    ),
    share: Annotated[
        float, typer.Option(help="Budget as a share of the cost that was measured.", min=0.0)
    ] = 0.1,
    episodes: Annotated[
        int, typer.Option(help="How many of its last episodes count, of each task.", min=1)
    ] = 500,
) -> None:
    """Print budgets for `train online --budgets`: a share of what an online run costs at its end.

    By task and term: the mean over the last episodes. Write them to a file before the constrained
    run begins, and leave it alone.

    Example: `safevla train budgets --directory runs/unconstrained > budgets.yaml`
    """
    import yaml

    from safevla_ros.training.online.budgets import BudgetError, recent_costs
    from safevla_ros.training.online.settings import LOG

    try:
        costs = recent_costs(directory / LOG, episodes)
    except BudgetError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    typer.echo(
        f"# {share:.0%} of the mean cost of an episode, over the last of {directory.name} at "
        f"{costs.steps:,} steps:"
    )
    counts = ", ".join(f"{count} {task}" for task, count in costs.episodes.items())
    typer.echo(f"# {counts}.")
    allowed = {
        task: {term: round(share * cost, 4) for term, cost in terms.items()}
        for task, terms in costs.means.items()
    }
    typer.echo(yaml.safe_dump(allowed, sort_keys=False), nl=False)
