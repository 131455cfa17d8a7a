"""`safevla train`: learning a policy."""

from __future__ import annotations

import signal
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from safevla_ros.cli.failure import ExitCode, Failure
from safevla_ros.cli.train_budgets import budgets
from safevla_ros.cli.train_offline import offline
from safevla_ros.cli.train_online import online

app = typer.Typer(
    help="Train a policy: from demonstrations, in simulation, or from bags."
    "\n\nExample: `safevla train imitation --minutes 70`",
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    pass


app.command()(offline)
app.command()(online)
app.command()(budgets)


@app.command()
def imitation(
    directory: Annotated[
        Path, typer.Option(help="Folder of the run: settings, state, log and episodes.")
    ] = Path("runs/imitation"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder, as it was set up.")
    ] = False,
    minutes: Annotated[float, typer.Option(help="Length of the run.", min=0.05)] = 70.0,
    seed: Annotated[int, typer.Option(help="Of homes, weights and draws.", min=0)] = 0,
    workers: Annotated[
        int, typer.Option(help="Processes that play episodes beside the one that learns.", min=1)
    ] = 1,
    styles: Annotated[
        str, typer.Option(help="Styles of the experts, separated by commas.")
    ] = "careful,hurried",
    tasks: Annotated[str, typer.Option(help="Tasks, separated by commas.")] = "find,pick_up,fetch",
    store_gib: Annotated[
        float, typer.Option(help="Size at which the oldest episodes go [GiB].", min=0.01)
    ] = 8.0,
    streams: Annotated[int, typer.Option(help="Episodes in a batch.", min=1)] = 16,
    window: Annotated[int, typer.Option(help="Steps of each in a batch.", min=2)] = 10,
    learning_rate: Annotated[float, typer.Option(help="Highest rate of AdamW.")] = 1.5e-3,
    bfloat16: Annotated[
        bool, typer.Option(help="Multiply in bfloat16: twice as fast where the CPU has it.")
    ] = False,
) -> None:
    """Clone the scripted experts, with DAgger: find, pick up and fetch in homes made on the way.

    One process learns, others play. Ctrl-C leaves a state that --resume goes on from.

    Example: `safevla train imitation --minutes 70 --directory runs/base`
    """
    from safevla_ros.cli.learning import bad_input, names, require_torch

    require_torch()
    # Both leave a state to go on from, also where the shell made Ctrl-C ignored (a job in the
    # background).
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from pydantic import ValidationError
    from rich.console import Console

    from safevla_ros.cli.training_view import TrainingView
    from safevla_ros.training.checkpoint import CheckpointError
    from safevla_ros.training.imitation import SETTINGS, STATE, Imitation
    from safevla_ros.training.players import PlayerError
    from safevla_ros.training.settings import (
        EpisodeSettings,
        ImitationSettings,
        SettingsError,
        load_settings,
    )

    if resume != (directory / SETTINGS).is_file():
        raise Failure(
            ExitCode.BAD_INPUT,
            f"{directory}: there is no run to go on with"
            if resume
            else f"{directory}: holds a run already; --resume goes on with it, or name another folder",
        )
    try:
        if resume:
            settings = load_settings(directory / SETTINGS)
        else:
            settings = ImitationSettings(
                minutes=minutes,
                workers=workers,
                episodes=EpisodeSettings(seed=seed, styles=names(styles), tasks=names(tasks)),
                store_gib=store_gib,
                streams=streams,
                window=window,
                learning_rate=learning_rate,
                bfloat16=bfloat16,
            )
        with TrainingView(Console(), settings.minutes) as view:
            run = Imitation(settings, directory, view.update)
            run.run()
    except ValidationError as error:
        raise bad_input(error) from error
    except (SettingsError, CheckpointError) as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    except PlayerError as error:
        raise Failure(ExitCode.FAILED, f"{error}; --resume goes on from {directory}") from error
    except KeyboardInterrupt:
        raise Failure(
            ExitCode.INTERRUPTED,
            f"stopped; `safevla train imitation --resume --directory {directory}` goes on",
        ) from None
    typer.echo(f"{run.progress.frames:,} frames learnt from; state: {directory / STATE}")


@app.command()
def export(
    name: Annotated[str, typer.Option(help="Id of the policy, and name of its folder.")],
    directory: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/imitation"),
    output: Annotated[Path, typer.Option(help="Folder that the policy's folder goes into.")] = Path(
        "policies"
    ),
    temperature: Annotated[
        float | None,
        typer.Option(
            help="At which actions are drawn; 0: the likeliest. Default: 0.5, or that of an online "
            "run.",
            min=0.0,
        ),
    ] = None,
) -> None:
    """Make a policy folder of a run, as far as it is: what a robot and `safevla eval` load.

    Example: `safevla train export --name mine --directory runs/base`
    """
    from safevla_ros.cli.train_offline import export_offline

    if export_offline(directory, output / name, temperature):
        return
    from safevla_ros.cli.learning import require_torch

    require_torch()
    from safevla_ros.policy.interface import PolicyError
    from safevla_ros.policy.vla.export import export_policy
    from safevla_ros.safety.specification import SpecificationError
    from safevla_ros.training import imitation
    from safevla_ros.training.checkpoint import CheckpointError
    from safevla_ros.training.online import home_run
    from safevla_ros.training.online.budgets import BudgetError
    from safevla_ros.training.settings import SettingsError, load_settings

    notes: dict[str, Any]
    try:
        if (directory / home_run.SETTINGS).is_file():
            model, told, steps = home_run.trained_policy(directory)
            used, learnt = told.homes.temperature, f"{steps:,} steps"
            notes = {"settings": told.model_dump(mode="json"), "progress": {"steps": steps}}
        else:
            settings = load_settings(directory / imitation.SETTINGS)
            model, progress = imitation.load_averaged(settings, directory)
            used, learnt = 0.5, f"{progress.frames:,} frames"
            notes = {"settings": settings.model_dump(mode="json"), "progress": asdict(progress)}
    except (
        BudgetError,
        CheckpointError,
        PolicyError,
        SettingsError,
        SpecificationError,
    ) as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    used = used if temperature is None else temperature
    try:
        export_policy(
            output / name,
            model,
            name,
            selection="sample" if used > 0.0 else "argmax",
            temperature=used or 1.0,
            notes=notes,
        )
    except OSError as error:
        raise Failure(ExitCode.BAD_INPUT, f"{output / name}: cannot be written: {error}") from error
    typer.echo(f"{output / name}: {learnt} learnt from")
