"""`safevla train offline`: learning a policy from bags, under budgets."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safevla_ros.cli.budgets import read_budgets
from safevla_ros.cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from safevla_ros.policy.selection import Selection
    from safevla_ros.training.offline.run import OfflineResult


def offline(
    bags: Annotated[
        Path | None, typer.Option(help="Folder with the bags, at any depth; --resume knows it.")
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(help="Cost allowed per episode, as TERM=NUMBER; once for each term."),
    ] = None,
    policy: Annotated[
        str,
        typer.Option(
            help="What it begins with: a policy folder with a checkpoint, or new (or new-chunks: "
            "continuous): an untrained one."
        ),
    ] = "new",
    directory: Annotated[
        Path, typer.Option(help="Folder of the run: settings, state, log and the policy.")
    ] = Path("runs/offline"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder, as it was set up.")
    ] = False,
    method: Annotated[
        str,
        typer.Option(
            help="weights, condition, or a baseline: all, within_budget (BC-Safe), binary."
        ),
    ] = "weights",
    weigh: Annotated[
        str,
        typer.Option(
            help="Which actions `weights` weighs: recorded, or own: all that the policy itself might "
            "have taken there. For bags that it made."
        ),
    ] = "recorded",
    updates: Annotated[int, typer.Option(help="Steps of the optimizer in a round.", min=1)] = 2000,
    clone_updates: Annotated[
        int, typer.Option(help="Those by which an untrained policy first clones all.", min=1)
    ] = 2000,
    rounds: Annotated[
        int,
        typer.Option(help="Rounds at most; each lowers the budgets by what is too much.", max=3),
    ] = 3,
    eps: Annotated[
        float,
        typer.Option(help="How far the weighted data may be from the bags [nats].", min=1e-3),
    ] = 0.2,
    freeze_perception: Annotated[
        bool, typer.Option(help="Leave what cameras and words give a trained policy as it is.")
    ] = True,
    charge_proposals: Annotated[
        bool, typer.Option(help="Charge what the gate did not let through as it foresaw.")
    ] = True,
    temperature: Annotated[
        float, typer.Option(help="At which the policy will draw its actions.", min=0.01)
    ] = 0.5,
    streams: Annotated[int, typer.Option(help="Episodes in a batch.", min=1)] = 16,
    window: Annotated[int, typer.Option(help="Steps of each in a batch.", min=2)] = 10,
    learning_rate: Annotated[float, typer.Option(help="Highest rate of AdamW.")] = 2e-4,
    robot: Annotated[str, typer.Option(help="Robot profile that the bags are of.")] = "sim",
    seed: Annotated[int, typer.Option(help="Of the split, weights and draws.", min=0)] = 0,
    workers: Annotated[int, typer.Option(help="Processes that read bags.", min=1)] = 2,
) -> None:
    """Learn from bags alone what keeps a budget, without a simulator or a robot in the loop.

    Weighted cloning, with the weights from a constrained optimisation over what the bags hold. Where
    they do not support a budget, the answer says so, and what to record. Ctrl-C leaves a state that
    --resume goes on from.

    Example: `safevla train offline --bags runs/bags --policy policies/mine --budget collision=0.5`
    """
    from safevla_ros.cli.learning import bad_input, require_torch

    require_torch()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from pydantic import ValidationError
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from safevla_ros.bags import BagError
    from safevla_ros.policy.interface import PolicyError
    from safevla_ros.robot.profile import ProfileError
    from safevla_ros.training.checkpoint import CheckpointError
    from safevla_ros.training.offline.run import SETTINGS, bags_of, fit_offline
    from safevla_ros.training.offline.settings import (
        OfflineError,
        OfflineSettings,
        load_settings,
    )
    from safevla_ros.training.offline.support import NotSupported

    if resume != (directory / SETTINGS).is_file():
        raise Failure(
            ExitCode.BAD_INPUT,
            f"{directory}: there is no run to go on with"
            if resume
            else f"{directory}: holds a run already; --resume goes on with it, or name another folder",
        )
    console = Console()
    try:
        if resume:
            settings = load_settings(directory / SETTINGS)
        else:
            settings = OfflineSettings(
                policy=policy,
                budgets=read_budgets(budget or []),
                method=method,  # type: ignore[arg-type]
                seed=seed,
                freeze_perception=freeze_perception,
                charge_proposals=charge_proposals,
                weigh=weigh,
                rounds=rounds,
                eps=eps,
                clone_updates=clone_updates,
                updates=updates,
                streams=streams,
                window=window,
                learning_rate=learning_rate,
                temperature=temperature,
                robot=robot,
                workers=workers,
            )
        source = bags or (bags_of(directory) if resume else None)
        if source is None:
            raise Failure(ExitCode.BAD_INPUT, "--bags: expected a folder with bags")
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            console=console,
        ) as progress:
            result = fit_offline(settings, source, directory, _reporter(progress))
    except ValidationError as error:
        raise bad_input(error) from error
    except NotSupported as error:
        raise Failure(ExitCode.FAILED, str(error)) from error
    except (OfflineError, BagError, PolicyError, ProfileError, CheckpointError) as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    except KeyboardInterrupt:
        raise Failure(
            ExitCode.INTERRUPTED,
            f"stopped; `safevla train offline --resume --directory {directory}` goes on",
        ) from None
    _print(console, result, settings.budgets)


def export_offline(directory: Path, folder: Path, temperature: float | None) -> bool:
    """Make a policy folder of the offline run in `directory`; False: there is none. A temperature of
    None is the run's. Raises Failure."""
    if not (directory / "result.json").is_file():
        return False
    from safevla_ros.cli.learning import require_torch

    require_torch()
    from safevla_ros.policy.interface import PolicyError
    from safevla_ros.policy.vla.checkpoint import load_checkpoint
    from safevla_ros.policy.vla.export import export_policy
    from safevla_ros.training.offline.run import POLICY, RESULT, SETTINGS
    from safevla_ros.training.offline.settings import NEW_CHUNKS, OfflineError, load_settings

    try:
        settings = load_settings(directory / SETTINGS)
        if settings.policy == NEW_CHUNKS:
            raise OfflineError(f"{directory / POLICY} is a policy folder as it is: copy it")
        model = load_checkpoint(directory / POLICY)
    except (OfflineError, PolicyError) as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    used = settings.temperature if temperature is None else temperature
    notes = {
        "settings": settings.model_dump(mode="json"),
        "result": json.loads((directory / RESULT).read_text(encoding="utf-8")),
    }
    selection: Selection = "sample" if used > 0.0 else "argmax"
    export_policy(folder, model, folder.name, selection, used or 1.0, notes)
    typer.echo(f"{folder}: learnt from bags under the budgets {settings.budgets}")
    return True


def _reporter(progress: Progress) -> Callable[[Mapping[str, Any]], None]:
    """Shows a bar for each stage."""
    bars: dict[str, Any] = {}

    def report(line: Mapping[str, Any]) -> None:
        stage = line["stage"]
        if stage not in bars:
            bars[stage] = progress.add_task(stage, total=line["total"], loss="")
        loss = f"loss {line['loss']:.3f}" if "loss" in line else ""
        progress.update(bars[stage], completed=line["done"], total=line["total"], loss=loss)

    return report


def _print(console: Console, result: OfflineResult, budgets: Mapping[str, float]) -> None:
    from rich.table import Table

    table = Table("term", "budget", "price", "bags cost", "estimate", "bound", "test")
    for term, budget in budgets.items():
        estimate, test = result.estimate[term], result.test[term]
        table.add_row(
            term,
            f"{budget:g}",
            f"{result.prices[term]:.2f}",
            f"{estimate.data:.2f}",
            f"{estimate.mean:.2f} +- {estimate.deviation:.2f}",
            "-" if test.upper is None else f"{test.upper:.2f}",
            f"{test.verdict}: {test.why}" if test.why else test.verdict,
        )
    console.print(table)
    for note in result.notes:
        console.print(f"note: {note}", soft_wrap=True, highlight=False)
    console.print(
        f"{result.policy}: {result.steps:,} steps of {sum(result.episodes.values())} episodes learnt from",
        soft_wrap=True,
        highlight=False,
    )
