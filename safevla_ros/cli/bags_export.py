"""`safevla bags export` and `import`: data sets of other projects, and bags of other robots."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safevla_ros.cli.cluster import OnRay, RayAddress, Workers, cores, ray_pool
from safevla_ros.cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from safevla_ros.bags.contract import Contract
    from safevla_ros.bags.contract_import import Imported
    from safevla_ros.bags.ray_pool import RayPool


def export(
    folder: Annotated[
        Path, typer.Argument(help="A bag, or a folder with bags at any depth.", show_default=False)
    ],
    to: Annotated[Path, typer.Argument(help="Folder of the new data set.", show_default=False)],
    fps: Annotated[int, typer.Option(help="Steps a second, as LeRobot counts frames.", min=1)] = 2,
    workers: Workers = None,
    ray: OnRay = False,
    ray_address: RayAddress = "",
) -> None:
    """Export episodes as a LeRobot data set (v3), costs, margins and decisions included.

    The folder appears when it is whole; until then what is done stands in a hidden one beside it, and
    an interrupted export is taken up by calling it again. A bag that cannot be exported is named and
    passed over; the exit code is 1 then.

    Example: `safevla bags export runs lerobot_dataset`
    """
    from rich.progress import Progress, TaskID

    from safevla_ros.bags import BagError
    from safevla_ros.bags.catalogue import bags_below
    from safevla_ros.bags.lerobot_export import export_lerobot

    tasks: dict[str, TaskID] = {}
    try:
        bags = bags_below(folder)
        with ray_pool(ray, ray_address) as pool, Progress() as shown:

            def progress(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = shown.add_task(what)
                shown.update(tasks[what], completed=done, total=total)

            done = export_lerobot(
                bags, to, fps=fps, workers=workers or cores(), pool=pool, progress=progress
            )
    except BagError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    except OSError as error:
        raise Failure(ExitCode.FAILED, f"{to}: cannot be written: {error.strerror}") from error
    for bag, notes in done.notes.items():
        for note in notes:
            print(f"note: {bag}: {note}")
    print(f"{to}: {done.steps} steps of {done.episodes} episodes")
    if done.failures:
        raise Failure(ExitCode.FAILED, "\n".join(done.failures))


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
    workers: Workers = None,
    ray: OnRay = False,
    ray_address: RayAddress = "",
) -> None:
    """Make bags of ours of a LeRobot data set, or of another robot's bag by a contract.

    Episodes that are there already stay, so an interrupted import is taken up by calling it again.
    What cannot be imported is named and passed over; the exit code is 1 then.

    Example: `safevla bags import lerobot_dataset bags`

    Example: `safevla bags import their_bag bags --contract contract.yaml`
    """
    from safevla_ros.bags import BagError

    try:
        with ray_pool(ray, ray_address) as pool:
            if contract is not None:
                _import_bags(source, to, contract, workers or cores(), pool)
            else:
                _import_lerobot(source, to, workers or cores(), pool)
    except (BagError, ValueError) as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    except OSError as error:
        raise Failure(ExitCode.FAILED, f"{to}: cannot be written: {error.strerror}") from error


def _import_lerobot(source: Path, to: Path, workers: int, pool: RayPool | None) -> None:
    from rich.progress import Progress

    from safevla_ros.bags.lerobot_import import import_lerobot

    with Progress() as progress:
        task = progress.add_task("writing episodes")
        done = import_lerobot(
            source,
            to,
            workers=workers,
            pool=pool,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    print(f"{to}: {len(done.bags)} episodes written")
    if done.failures:
        raise Failure(ExitCode.FAILED, "\n".join(done.failures))


def _import_bags(source: Path, to: Path, path: Path, workers: int, pool: RayPool | None) -> None:
    from rich.progress import Progress

    from safevla_ros.bags.catalogue import bags_below
    from safevla_ros.bags.contract import load_contract
    from safevla_ros.bags.many import each_bag
    from safevla_ros.bags.metadata import METADATA_FILE

    contract = load_contract(path)
    to.mkdir(parents=True, exist_ok=True)
    bags, failures = [], []
    for bag in bags_below(source):
        if (to / imported_name(bag, source) / METADATA_FILE).is_file():
            print(f"{to / imported_name(bag, source)}: is there already")
        else:
            bags.append(bag)
    work = functools.partial(
        import_one, source=source.absolute(), to=to.absolute(), contract=contract
    )
    with Progress() as progress:
        task = progress.add_task("importing bags", total=len(bags))

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        for done in each_bag(work, bags, workers=workers, pool=pool, progress=tell):
            if done.result is None:
                failures.append(done.error)
                continue
            progress.console.print(
                f"{to / imported_name(done.path, source)}: {done.result.steps} steps"
            )
            for what, count in done.result.left_out.items():
                progress.console.print(f"  {count} steps left out: {what} is missing")
            for note in done.result.notes:
                progress.console.print(f"  note: {note}")
    if failures:
        raise Failure(ExitCode.FAILED, "\n".join(failures))


def imported_name(bag: Path, source: Path) -> str:
    """What a bag in `source`, or `source` itself, is called once it is imported. Bags in different
    folders may have the same name, and are told apart by those."""
    return "-".join(bag.absolute().relative_to(source.absolute()).parts) or bag.absolute().name


def import_one(bag: Path, *, source: Path, to: Path, contract: Contract) -> Imported:
    """Import a bag by a contract into a folder in `to`, which appears when it is whole. Raises
    BagError, or ValueError where profile or specification of the contract cannot be used."""
    from safevla_ros.bags.contract_import import import_bag

    costs: dict[str, Any] = {}
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
    with tempfile.TemporaryDirectory(prefix=".importing-", dir=to) as folder:
        made = Path(folder) / imported_name(bag, source)
        done = import_bag(bag, made, contract, **costs)
        made.rename(to / made.name)
    return done
