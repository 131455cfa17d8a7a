"""`safevla bags export` and `import`: data sets of other projects, and bags of other robots."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safevla_ros.cli.failure import ExitCode, Failure

HOW = "pip install 'safevla-ros[bags]'"


def export(
    folder: Annotated[
        Path, typer.Argument(help="A bag, or a folder with bags at any depth.", show_default=False)
    ],
    to: Annotated[Path, typer.Argument(help="Folder of the new data set.", show_default=False)],
    fps: Annotated[int, typer.Option(help="Steps a second, as LeRobot counts frames.", min=1)] = 2,
    workers: Annotated[int, typer.Option(help="Processes that read bags.", min=1)] = 1,
) -> None:
    """Export episodes as a LeRobot data set (v3), costs, margins and decisions included.

    Example: `safevla bags export runs lerobot_dataset`
    """
    from rich.progress import Progress

    from safevla_ros.bags import BagError

    try:
        from safevla_ros.bags.dataset import EpisodeDataset
        from safevla_ros.bags.lerobot_export import export_lerobot
    except ImportError as error:
        raise Failure(ExitCode.LACKS_SOFTWARE, f"this needs pyarrow: {HOW} ({error})") from error
    try:
        with Progress() as progress:
            reading = progress.add_task("reading bags")
            writing = progress.add_task("writing steps")
            data = EpisodeDataset.open(
                folder,
                workers=workers,
                progress=lambda done, total: progress.update(reading, completed=done, total=total),
            )
            robots = {e.provenance.get("robot", "") for e in data.episodes} - {""}
            export_lerobot(
                data,
                to,
                fps=fps,
                robot=", ".join(sorted(robots)),
                progress=lambda done, total: progress.update(writing, completed=done, total=total),
            )
    except BagError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    except OSError as error:
        raise Failure(ExitCode.FAILED, f"{to}: cannot be written: {error.strerror}") from error
    for note in data.notes:
        print(f"note: {note}")
    print(f"{to}: {len(data)} steps of {len(data.episodes)} episodes")


def import_(
    source: Annotated[
        Path,
        typer.Argument(
            help="A LeRobot data set (v3), or with --contract a bag.", show_default=False
        ),
    ],
    to: Annotated[Path, typer.Argument(help="Folder that the bags go into.", show_default=False)],
    contract: Annotated[
        Path | None,
        typer.Option(help="What the topics of another robot's bag are; see config/contracts/."),
    ] = None,
) -> None:
    """Make bags of ours of a LeRobot data set, or of another robot's bag by a contract.

    Episodes that are there already stay, so an interrupted import is taken up by calling it again.

    Example: `safevla bags import lerobot_dataset bags`

    Example: `safevla bags import their_bag bags --contract contract.yaml`
    """
    from safevla_ros.bags import BagError

    try:
        if contract is not None:
            _import_bags(source, to, contract)
        else:
            _import_lerobot(source, to)
    except ImportError as error:
        raise Failure(ExitCode.LACKS_SOFTWARE, f"something is missing: {HOW} ({error})") from error
    except (BagError, ValueError) as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    except OSError as error:
        raise Failure(ExitCode.FAILED, f"{to}: cannot be written: {error.strerror}") from error


def _import_lerobot(source: Path, to: Path) -> None:
    from rich.progress import Progress

    from safevla_ros.bags.lerobot_import import import_lerobot

    with Progress() as progress:
        task = progress.add_task("writing episodes")
        bags = import_lerobot(
            source,
            to,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    print(f"{to}: {len(bags)} episodes written")


def _import_bags(source: Path, to: Path, path: Path) -> None:
    from safevla_ros.bags.catalogue import bags_below
    from safevla_ros.bags.contract import load_contract
    from safevla_ros.bags.contract_import import import_bag
    from safevla_ros.bags.metadata import METADATA_FILE

    contract = load_contract(path)
    costs = {}
    if contract.robot:
        from safevla_ros.robot.kinematics import Kinematics
        from safevla_ros.robot.profile import load_profile, urdf_path
        from safevla_ros.safety.specification import load_specification

        profile = load_profile(contract.robot)
        costs = {
            "profile": profile,
            "kinematics": Kinematics(urdf_path(profile)),
            "specification": load_specification(contract.specification),
        }
    for bag in bags_below(source):
        target = to / bag.name
        if (target / METADATA_FILE).is_file():
            print(f"{target}: is there already")
            continue
        done = import_bag(bag, target, contract, **costs)
        print(f"{target}: {done.steps} steps")
        for what, count in done.left_out.items():
            print(f"  {count} steps left out: {what} is missing")
        for note in done.notes:
            print(f"  note: {note}")
