"""`safevla data`: data to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safevla_ros.cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from safevla_ros.training.tally import RecentEpisodes

app = typer.Typer(
    help="Make data to learn from.\n\nExample: `safevla data generate --episodes 100`",
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    pass


@app.command()
def generate(
    episodes: Annotated[int, typer.Option(help="How many the folder shall hold.", min=1)],
    directory: Annotated[Path, typer.Option(help="Folder that they go into.")] = Path(
        "runs/demonstrations"
    ),
    seed: Annotated[int, typer.Option(help="Of homes and draws.", min=0)] = 0,
    workers: Annotated[int, typer.Option(help="Processes that play.", min=1)] = 2,
    styles: Annotated[
        str, typer.Option(help="Styles of the experts, separated by commas.")
    ] = "careful,hurried",
    tasks: Annotated[str, typer.Option(help="Tasks, separated by commas.")] = "find,pick_up,fetch",
    store_gib: Annotated[
        float, typer.Option(help="Size at which the oldest episodes go [GiB].", min=0.01)
    ] = 8.0,
) -> None:
    """Demonstrations by the scripted experts: one file an episode, and an index of them.

    Run again, it goes on where it was stopped.

    Example: `safevla data generate --episodes 100`
    """
    from pydantic import ValidationError
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from safevla_ros.cli.learning import bad_input, names
    from safevla_ros.training.generate import generate as play
    from safevla_ros.training.players import EPISODES, PlayerError
    from safevla_ros.training.settings import EpisodeSettings, ImitationSettings

    try:
        settings = ImitationSettings(
            workers=workers,
            store_gib=store_gib,
            episodes=EpisodeSettings(seed=seed, styles=names(styles), tasks=names(tasks)),
        )
    except ValidationError as error:
        raise bad_input(error) from error
    progress = Progress("episodes", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with progress:
            bar = progress.add_task("episodes", total=episodes)

            def report(recent: RecentEpisodes) -> None:
                progress.update(bar, completed=min(recent.episodes, episodes))

            recent = play(settings, directory, episodes, report)
    except PlayerError as error:
        raise Failure(ExitCode.FAILED, str(error)) from error
    except KeyboardInterrupt:
        raise Failure(
            ExitCode.INTERRUPTED, f"stopped; run it again to go on in {directory}"
        ) from None
    typer.echo(f"{recent.episodes} episodes, {recent.frames:,} steps: {directory / EPISODES}")


@app.command()
def bags(
    episodes: Annotated[int, typer.Option(help="How many the folder shall hold.", min=1)],
    bags: Annotated[Path, typer.Option("--bags", help="Folder that they go into.")] = Path(
        "runs/bags"
    ),
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="Who plays: a policy folder or name, scripted-careful or scripted-hurried; more than "
            "one take turns.  [default: scripted-careful, scripted-hurried]",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of homes and draws.", min=0)] = 0,
    tasks: Annotated[str, typer.Option(help="Tasks, separated by commas.")] = "find,pick_up,fetch",
    physics: Annotated[str, typer.Option(help="full or fast.")] = "fast",
    specification: Annotated[
        str,
        typer.Option(
            "--spec",
            "--specification",
            help="Costs: a name under config/safety, or a path to a .yaml file.",
        ),
    ] = "household",
    image_size: Annotated[
        int,
        typer.Option(help="Edge of the images [px]; a policy folder's own goes before.", min=16),
    ] = 80,
    workers: Annotated[int, typer.Option(help="Processes that play.", min=1)] = 2,
) -> None:
    """Episodes in simulation as bags, as the graph records them, but as fast as the machine can.

    In training homes, without a gate. Run again, it goes on where it was stopped.

    Example: `safevla data bags --episodes 500 --policy scripted-hurried --bags runs/bags`
    """
    from pydantic import ValidationError
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from safevla_ros.cli.learning import bad_input, names
    from safevla_ros.policy.interface import PolicyError
    from safevla_ros.safety.specification import SpecificationError
    from safevla_ros.training.recording import (
        RecordingError,
        RecordingPlan,
        make_recording_plan,
        record_episodes,
    )

    progress = Progress("episodes", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        plan = make_recording_plan(
            RecordingPlan(
                policies=tuple(policy or ("scripted-careful", "scripted-hurried")),
                seed=seed,
                tasks=tuple(names(tasks)),  # type: ignore[arg-type]
                physics=physics,  # type: ignore[arg-type]
                specification=specification,
                image_size=image_size,
            )
        )
        with progress:
            bar = progress.add_task("episodes", total=episodes)
            record_episodes(
                plan,
                bags,
                episodes,
                workers,
                lambda done, total: progress.update(bar, completed=done, total=total),
            )
    except ValidationError as error:
        raise bad_input(error) from error
    except (PolicyError, SpecificationError, RecordingError) as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    except KeyboardInterrupt:
        raise Failure(ExitCode.INTERRUPTED, f"stopped; run it again to go on in {bags}") from None
    typer.echo(f"{episodes} episodes: {bags}")
