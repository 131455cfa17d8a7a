"""`safevla scenarios`: the named scenarios, and pictures of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safevla_ros.cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from safevla_ros.simulation.scenario import Scenario

WIDTH, HEIGHT = 640, 400


def scenarios(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names or files; all named ones when left out.")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Draw each into this folder: the home, and what the robot sees."),
    ] = None,
) -> None:
    """List scenarios with their hazards, or draw them.

    Example: `safevla scenarios separation separation_benign --pictures pictures`
    """
    from safevla_ros.simulation.scenario import ScenarioError, load_scenario, scenario_names

    try:
        chosen = [load_scenario(name) for name in names or scenario_names()]
    except ScenarioError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    if pictures is None:
        _list(chosen)
        return
    try:
        pictures.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(ExitCode.BAD_INPUT, f"--pictures: {error}") from error
    for scenario in chosen:
        print(_draw(scenario, pictures))


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


def _draw(scenario: Scenario, folder: Path) -> Path:
    """Write the scenario's picture; returns its path."""
    import cv2
    import numpy as np

    from safevla_ros.simulation.renderer import Renderer, RendererError
    from safevla_ros.simulation.scenario import ScenarioError
    from safevla_ros.simulation.simulation import Simulation

    try:
        simulation = Simulation(scenario)
        with Renderer(simulation, WIDTH, HEIGHT) as renderer:
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
