"""A scenario as a film for people: MuJoCo's renderer looks at the home while an expert does the task.

What a policy saw of a run is another matter: see video.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av

from safevla_ros.assurance.video import add_stream, encode
from safevla_ros.simulation.model import TIMESTEP_S
from safevla_ros.simulation.renderer import Renderer
from safevla_ros.simulation.rollout import Rollout
from safevla_ros.simulation.scenario import Scenario
from safevla_ros.simulation.scripted import Style
from safevla_ros.simulation.vendor import VendorRobot

RATE_HZ = 10
SMALLEST_PX = 16
"""Edge of the images that nobody looks at."""


def write_film(
    scenario: Scenario,
    style: Style,
    path: Path,
    size: tuple[int, int],
    vendor: VendorRobot | None = None,
    progress: Callable[[float], None] = lambda time_s: None,
) -> str:
    """Play the scenario in full physics and film it; `size`: width and height [px], even numbers.
    `progress` is told the simulated time. Returns the reason of the outcome. Raises ScenarioError,
    and RendererError where there is no OpenGL."""
    rollout = Rollout(physics="full", image_size=SMALLEST_PX)
    rollout.reset(scenario, style)
    simulation = rollout.simulation
    with Renderer(simulation, *size, vendor) as renderer, av.open(str(path), "w") as container:
        stream = add_stream(container, RATE_HZ, *size)
        steps = frames = 0

        def look() -> None:
            nonlocal steps, frames
            if steps * TIMESTEP_S * RATE_HZ >= frames:
                encode(container, stream, renderer.overview(), frames)
                progress(simulation.time_s)
                frames += 1
            steps += 1

        simulation.on_physics_step = look
        while not rollout.done:
            rollout.step(rollout.expert_token())
        container.mux(stream.encode())
    return rollout.reason
