"""`safevla card`: what is known of a policy, on one page beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safevla_ros.cli.failure import ExitCode, Failure


def card(
    evaluations: Annotated[
        list[Path],
        typer.Argument(help="Files of `safevla eval --json`: the policy's own first, then others."),
    ],
    policy: Annotated[Path, typer.Option(help="Folder of the policy; card.md goes there.")],
    run: Annotated[Path, typer.Option(help="Folder of its training.")],
) -> None:
    """Write a policy's card from its training log and its evaluations.

    Example: `safevla card --policy policies/mine --run runs/base mine.json random.json`
    """
    from safevla_ros.assurance.card import CardError, write_card
    from safevla_ros.policy.interface import PolicyError

    try:
        written = write_card(policy, run, evaluations)
    except (CardError, PolicyError) as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    typer.echo(str(written))
