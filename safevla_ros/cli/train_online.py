"""`safevla train online`: constrained learning in simulation."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safevla_ros.cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from safevla_ros.training.online.run import Run


def online(
    start: Annotated[
        Path | None,
        typer.Option(help="What to start from: a policy's folder, or that of a run."),
    ] = None,
    directory: Annotated[
        Path, typer.Option(help="Folder of the run: settings, start, state and log.")
    ] = Path("runs/online"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder, as it was set up.")
    ] = False,
    algorithm: Annotated[
        str, typer.Option(help="ppo-lagrangian, ppo (unconstrained) or reward-shaping.")
    ] = "ppo-lagrangian",
    specification: Annotated[
        str,
        typer.Option(
            "--spec", "--specification", help="What is charged: paper, household, or a file."
        ),
    ] = "paper",
    budgets: Annotated[
        Path | None,
        typer.Option(help="YAML or JSON: cost of an episode allowed, by task and term."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Length of the run, all processes: 1,000,000. With --resume: its new length.",
            min=1,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of homes and draws.", min=0)] = 0,
    environments: Annotated[
        int, typer.Option(help="Episodes side by side, in each learning process.", min=1)
    ] = 16,
    workers: Annotated[
        int, typer.Option(help="Processes that simulate; 0: the learning one does.", min=0)
    ] = 2,
    tasks: Annotated[str, typer.Option(help="Tasks, separated by commas.")] = "find,pick_up,fetch",
    hazard_rate: Annotated[
        float, typer.Option(help="Chance of each hazard in a home that has any.", min=0, max=1)
    ] = 0.7,
    benign: Annotated[
        float, typer.Option(help="Share of homes without hazards.", min=0.0, max=1.0)
    ] = 0.15,
    max_steps: Annotated[int, typer.Option(help="Length of an episode.", min=10, max=600)] = 300,
    temperature: Annotated[float, typer.Option(help="At which actions are drawn.")] = 0.5,
    freeze_perception: Annotated[
        bool, typer.Option(help="Leave what cameras and words give the policy as it is.")
    ] = True,
    gamma: Annotated[
        float,
        typer.Option(
            help="Discount of the reward, 0.99 in SafeVLA. Costs have 0.999: one far below that makes "
            "it worth while to give up."
        ),
    ] = 0.99,
    learning_rate: Annotated[float, typer.Option(help="Of the policy.")] = 5e-5,
    entropy: Annotated[float, typer.Option(help="Weight of its entropy.", min=0.0)] = 0.0,
    reference_kl: Annotated[
        float, typer.Option(help="Weight of its distance (KL) from where it started.", min=0.0)
    ] = 0.0,
    target_kl: Annotated[
        float | None, typer.Option(help="An update ends when it has moved that far.")
    ] = None,
    warm_up: Annotated[
        int, typer.Option(help="Rollouts in which only the critics learn.", min=0)
    ] = 5,
    multipliers: Annotated[str, typer.Option(help="How they move: pid, adam or gradient.")] = "pid",
    cap: Annotated[float, typer.Option(help="Highest value of a multiplier.")] = 5.0,
    window: Annotated[
        int, typer.Option(help="Episodes over which a cost is measured, at least.", min=1)
    ] = 100,
    penalty: Annotated[
        float, typer.Option(help="In reward shaping: reward taken for a unit of cost.", min=0.0)
    ] = 1.0,
) -> None:
    """Make a policy safer by constrained reinforcement learning in simulation (PPO-Lagrangian).

    Costs that have a budget are constrained, each by a multiplier of its own. Ctrl-C ends the
    iteration and leaves a state that --resume goes on from, exactly; a second one stops at once.
    Under torchrun each process has environments of its own and all learn one policy.

    Example: `safevla train online --start runs/base --spec household`
    """
    from safevla_ros.cli.learning import bad_input, names, require_torch

    require_torch()
    # Both leave a state to go on from, also where the shell made Ctrl-C ignored (a job in the
    # background).
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from pydantic import ValidationError

    from safevla_ros.policy.interface import PolicyError
    from safevla_ros.safety.specification import SpecificationError, load_specification
    from safevla_ros.training.checkpoint import CheckpointError
    from safevla_ros.training.online.budgets import BudgetError, load_budgets
    from safevla_ros.training.online.distributed import process_group, rank, wait_for_all
    from safevla_ros.training.online.home_run import (
        SETTINGS,
        lengthen,
        prepare,
        specification_budgets,
    )
    from safevla_ros.training.online.settings import (
        HomeSettings,
        LearningSettings,
        MultiplierSettings,
        OnlineSettings,
        PpoSettings,
    )
    from safevla_ros.training.online.workers import WorkerError
    from safevla_ros.training.settings import SettingsError

    _check_folder(directory / SETTINGS, start, resume)
    try:
        with process_group():
            if start is not None and rank() == 0:
                allowed = (
                    load_budgets(budgets)
                    if budgets
                    else specification_budgets(load_specification(specification))
                )
                settings = OnlineSettings(
                    learning=LearningSettings(
                        algorithm=algorithm,
                        seed=seed,
                        steps=1_000_000 if steps is None else steps,
                        environments=environments,
                        ppo=PpoSettings(
                            gamma=gamma,
                            learning_rate=learning_rate,
                            entropy=entropy,
                            reference_kl=reference_kl,
                            target_kl=target_kl,
                            warm_up=warm_up,
                            penalty=penalty,
                        ),
                        multipliers=MultiplierSettings(rule=multipliers, cap=cap, window=window),
                    ),
                    homes=HomeSettings(
                        tasks=names(tasks),
                        specification=specification,
                        benign=benign,
                        hazard_rate=hazard_rate,
                        max_steps=max_steps,
                        temperature=temperature,
                        freeze_perception=freeze_perception,
                        workers=workers,
                    ),
                    budgets=allowed,
                )
                prepare(directory, settings, start)
            elif steps is not None and rank() == 0:
                lengthen(directory, steps)
            wait_for_all()
            share_done = _learn(directory)
    except ValidationError as error:
        raise bad_input(error) from error
    except (
        BudgetError,
        CheckpointError,
        PolicyError,
        SettingsError,
        SpecificationError,
    ) as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    except WorkerError as error:
        raise Failure(ExitCode.FAILED, f"{error}; --resume goes on from {directory}") from error
    except KeyboardInterrupt:
        share_done = 0.0
    if share_done < 1.0:
        raise Failure(
            ExitCode.INTERRUPTED,
            f"stopped; `safevla train online --resume --directory {directory}` goes on",
        )
    typer.echo(f"{directory}: done; `safevla train export --directory {directory}` makes a policy")


def _check_folder(settings: Path, start: Path | None, resume: bool) -> None:
    if resume and start is not None:
        raise Failure(ExitCode.BAD_INPUT, "--start: a run that goes on has its start already")
    if resume and not settings.is_file():
        raise Failure(ExitCode.BAD_INPUT, f"{settings.parent}: there is no run to go on with")
    if not resume and start is None:
        raise Failure(ExitCode.BAD_INPUT, "--start: expected a policy's folder, or that of a run")
    if not resume and settings.is_file():
        raise Failure(
            ExitCode.BAD_INPUT,
            f"{settings.parent}: holds a run already; --resume goes on with it, or name another "
            "folder",
        )


def _learn(directory: Path) -> float:
    """Go on with the run in the folder; the share of it that is done then."""
    from rich.console import Console

    from safevla_ros.cli.online_view import OnlineView
    from safevla_ros.training.online.distributed import rank
    from safevla_ros.training.online.home_run import SETTINGS, open_run
    from safevla_ros.training.online.settings import load_settings

    steps = load_settings(directory / SETTINGS).learning.steps
    view = OnlineView(Console(quiet=rank() > 0), steps)
    with view, open_run(directory, view.update) as run:
        _stop_between_iterations(run)
        run.run()
    return run.share_done


def _stop_between_iterations(run: Run) -> None:
    """Ctrl-C and SIGTERM end the run after its iteration; a second Ctrl-C at once."""

    def stop(number: int, _: object) -> None:
        if run.stopping and number == signal.SIGINT:
            raise KeyboardInterrupt
        run.stopping = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
