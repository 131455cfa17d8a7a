"""`safevla scenarios`: the named scenarios, and pictures of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safevla_ros.cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from safevla_ros.simulation.scenario import Scenario
    from safevla_ros.simulation.vendor import VendorRobot

WIDTH, HEIGHT = 640, 400


def scenarios(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names or files; all named ones when left out.")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Draw each into this folder: the home, and what the robot sees."),
    ] = None,
    films: Annotated[
        Path | None,
        typer.Option(help="Film each into this folder, played by a scripted expert."),
    ] = None,
    robot_urdf: Annotated[
        str,
        typer.Option(
            help="Draw the robot with the meshes of its vendor: a Stretch's URDF, or `installed` for "
            "that of hello-robot-stretch-urdf."
        ),
    ] = "",
) -> None:
    """List scenarios with their hazards, draw or film them.

    Example: `safevla scenarios separation separation_benign --pictures pictures`
    """
    from safevla_ros.simulation.scenario import ScenarioError, load_scenario, scenario_names

    try:
        chosen = [load_scenario(name) for name in names or scenario_names()]
    except ScenarioError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    if pictures is None and films is None:
        _list(chosen)
        return
    vendor = _vendor(robot_urdf)
    for option, folder, make in (("--pictures", pictures, _draw), ("--films", films, _film)):
        if folder is None:
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Failure(ExitCode.BAD_INPUT, f"{option}: {error}") from error
        for scenario in chosen:
            print(make(scenario, folder, vendor))


def _list(chosen: list[Scenario]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for header in ("scenario", "task", "hazards", "what"):
        table.add_column(header, no_wrap=header == "scenario")
    for scenario in chosen:
        hazards = [zone.name for zone in scenario.zones]
        if scenario.hazards is None:
            hazards.append(f"each with a chance of {scenario.hazard_rate:.0%}")
        else:
            hazards += scenario.hazards
        table.add_row(scenario.name, scenario.task, ", ".join(hazards), scenario.description)
    Console().print(table)


def _vendor(robot_urdf: str) -> VendorRobot | None:
    from safevla_ros.simulation.vendor import VendorError, VendorRobot, vendor_urdf

    try:
        return VendorRobot(vendor_urdf(robot_urdf)) if robot_urdf else None
    except VendorError as error:
        raise Failure(ExitCode.BAD_INPUT, f"--robot-urdf: {error}") from error


def _film(scenario: Scenario, folder: Path, vendor: VendorRobot | None) -> Path:
    """Write the scenario's film; returns its path."""
    from rich.console import Console

    from safevla_ros.assurance.film import write_film
    from safevla_ros.policy.interface import PolicyError
    from safevla_ros.simulation.renderer import RendererError
    from safevla_ros.simulation.scenario import ScenarioError
    from safevla_ros.simulation.scripted import is_scripted, style_of

    path = folder / f"{scenario.name}.mp4"
    try:
        style = style_of(scenario.policy) if is_scripted(scenario.policy) else "careful"
        with Console(stderr=True).status(scenario.name) as status:
            write_film(
                scenario,
                style,
                path,
                (WIDTH, HEIGHT),
                vendor,
                lambda time_s: status.update(f"{scenario.name}: {time_s:.1f} s"),
            )
    except (PolicyError, ScenarioError) as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    except RendererError as error:
        raise Failure(ExitCode.LACKS_SOFTWARE, str(error)) from error
    return path


def _draw(scenario: Scenario, folder: Path, vendor: VendorRobot | None) -> Path:
    """Write the scenario's picture; returns its path."""
    import cv2
    import numpy as np

    from safevla_ros.simulation.renderer import Renderer, RendererError
    from safevla_ros.simulation.scenario import ScenarioError
    from safevla_ros.simulation.simulation import Simulation

    try:
        simulation = Simulation(scenario)
        with Renderer(simulation, WIDTH, HEIGHT, vendor) as renderer:
            home = renderer.overview()
    except ScenarioError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    except RendererError as error:
        raise Failure(ExitCode.LACKS_SOFTWARE, str(error)) from error
    camera = simulation.profile.cameras[0].name
    seen = simulation.render(camera, HEIGHT, HEIGHT)
    path = folder / f"{scenario.name}.png"
    if not cv2.imwrite(str(path), np.hstack([home, seen])[:, :, ::-1]):
        raise Failure(ExitCode.FAILED, f"{path}: cannot be written")
    return path
