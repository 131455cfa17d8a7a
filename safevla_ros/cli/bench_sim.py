"""`safevla bench sim`: steps a second by mode and camera, against plain MuJoCo in the same run."""

from __future__ import annotations

import copy
import ctypes.util
import json
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import typer

from safevla_ros.assurance.statistics import percentiles

OPENGL = {"egl": "EGL", "osmesa": "OSMesa"}
"""Kinds of OpenGL that need no display, with the library of each."""


def sim(
    steps: Annotated[int, typer.Option(min=10, help="Steps to time in each mode.")] = 400,
    size: Annotated[int, typer.Option(min=8, help="Edge of both cameras' images [px].")] = 64,
    episodes: Annotated[
        int, typer.Option(min=0, help="Episodes in which both modes are compared.")
    ] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first home.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time steps of 0.5 s with both cameras: fast mode and full physics, the ray camera and MuJoCo's
    OpenGL renderer, beside plain MuJoCo (the same model stepped for as long and drawn without
    shadows). In processor time. Then say how far the modes differ after the same actions.

    Example: safevla bench sim --json
    """
    _choose_opengl()
    report = measure(steps, size, seed)
    if episodes:
        report["difference"] = difference(episodes, seed)
    if as_json:
        print(json.dumps(report, indent=2))
        return
    print(f"OpenGL: {report['opengl']}; two cameras of {size} px; processor time")
    for mode in ("plain", "fast", "full"):
        for camera, figures in report[mode].items():
            ratio = f", {figures['ratio']} times plain" if figures.get("ratio") else ""
            print(f"{mode:<6} {camera:<7} {figures['steps_per_s']:8.0f} steps/s{ratio}")
    print(
        f"home   {report['home']['generate_ms']} ms to generate, {report['home']['build_ms']} to build"
    )
    if episodes:
        for name, figure in report["difference"].items():
            print(f"fast against full: {name} {json.dumps(figure)}")


def measure(steps: int, size: int, seed: int) -> dict[str, Any]:
    """Steps a second by mode and camera; `ratio` is to plain MuJoCo with OpenGL (without cameras:
    to plain stepping), absent where there is no OpenGL."""
    from safevla_ros.simulation.home import generate_home
    from safevla_ros.simulation.simulation import Simulation

    episodes = _episodes(seed, steps)
    homes = [_scenario(seed + index) for index in range(5)]
    generate_s = _seconds(lambda: [generate_home(scenario) for scenario in homes])
    report: dict[str, Any] = {
        "steps": steps,
        "homes": len(episodes),
        "image": size,
        "clock": "processor",
        "opengl": "",
    }
    seconds: dict[str, Counter[str]] = {mode: Counter() for mode in ("plain", "fast", "full")}
    for scenario, tokens in episodes:  # taking turns, so that whatever else runs meets all of them
        for mode in ("fast", "full"):
            simulation = Simulation(scenario, physics=mode)
            draw, report["opengl"] = _opengl(simulation, size)
            seconds[mode].update(_play(simulation, tokens, size, draw))
            if mode == "full":
                seconds["plain"].update(_plain(simulation, len(tokens), draw))

    def rebuild() -> None:
        for _ in range(5):
            simulation.reset()

    rebuild_s = _seconds(rebuild)
    for mode, spent in seconds.items():
        report[mode] = {}
        for camera in spent.keys() - {"none"}:
            report[mode][camera] = {"steps_per_s": steps / (spent["none"] + spent[camera])}
        report[mode]["none"] = {"steps_per_s": steps / spent["none"]}
    for mode in ("fast", "full"):
        for camera, figures in report[mode].items():
            baseline = report["plain"].get("none" if camera == "none" else "opengl")
            if baseline:
                figures["ratio"] = round(figures["steps_per_s"] / baseline["steps_per_s"], 2)
    for mode in seconds:
        for figures in report[mode].values():
            figures["steps_per_s"] = round(figures["steps_per_s"], 1)
    report["home"] = {
        "generate_ms": round(1e3 * generate_s / len(homes), 1),
        "build_ms": round(1e3 * rebuild_s / 5, 1),
    }
    return report


def difference(episodes: int, seed: int) -> dict[str, Any]:
    """How far fast mode and full physics are apart after the same actions: an expert's, a quarter
    of them replaced by random ones; over all steps of all episodes."""
    from safevla_ros.simulation.comparison import compare

    results = [compare(_scenario(seed + k), _tokens(seed + k, 80)) for k in range(episodes)]
    steps = [step for result in results for step in result.steps]
    return {
        "episodes": episodes,
        "steps": len(steps),
        "base_mm": percentiles([1e3 * step.base_m for step in steps]),
        "heading_deg": percentiles([math.degrees(step.yaw_rad) for step in steps]),
        "joint_mm": percentiles([1e3 * step.joint_m for step in steps]),
        "same_held": round(sum(step.same_held for step in steps) / len(steps), 3),
        "same_touched": sum(r.touched_fast == r.touched_full for r in results) / episodes,
    }


def _scenario(seed: int) -> Any:
    from safevla_ros.simulation.scenario import Scenario

    return Scenario(name="bench", seed=seed, task="fetch")


def _episodes(seed: int, steps: int) -> list[tuple[Any, list[int]]]:
    """Scenarios from `seed` on and what is done in each, so many steps together."""
    episodes: list[tuple[Any, list[int]]] = []
    while steps > 0:
        tokens = _tokens(seed + len(episodes), steps)
        episodes.append((_scenario(seed + len(episodes)), tokens))
        steps -= len(tokens)
    return episodes


def _tokens(seed: int, most: int) -> list[int]:
    """What the expert does until it says `end`, at most so many actions, every fourth of them
    replaced by a random one that moves something."""
    from safevla_ros.robot.action_codec import TOKENS
    from safevla_ros.simulation.rollout import Rollout

    rng = np.random.default_rng(seed)
    rollout = Rollout(image_size=8)
    rollout.reset(_scenario(seed))
    tokens: list[int] = []
    while not rollout.done and len(tokens) < most:
        token = rollout.expert_token()
        if len(tokens) % 4 == 3:
            token = int(rng.integers(TOKENS["end"]))
        elif token == TOKENS["end"]:
            break
        tokens.append(token)
        rollout.step(token)
    return tokens


def _play(
    simulation: Any, tokens: list[int], size: int, draw: Callable[[], object] | None
) -> dict[str, float]:
    """Seconds spent on moving (`none`), and on each kind of camera."""
    from safevla_ros.robot.action_codec import decode

    def look() -> None:
        for camera in simulation.profile.cameras:
            simulation.look(camera.name, size, size)

    kinds = {"ray": look, **({"opengl": draw} if draw else {})}
    for kind in kinds.values():
        kind()  # compiled, or loaded, on first use
    spent = dict.fromkeys(("none", *kinds), 0.0)
    for token in tokens:
        command = decode(token, simulation.joints(), simulation.profile)
        simulation.apply(command)
        spent["none"] += _seconds(lambda: simulation.advance(simulation.profile.step_s))
        for name, kind in kinds.items():
            spent[name] += _seconds(kind)
    return spent


def _plain(simulation: Any, steps: int, draw: Callable[[], object] | None) -> dict[str, float]:
    """Seconds of MuJoCo alone: the same model stepped for as long from where it is, and drawn."""
    import mujoco

    model, data = simulation.model, copy.copy(simulation.data)
    count = round(simulation.profile.step_s / model.opt.timestep)
    spent = {"none": _seconds(lambda: [mujoco.mj_step(model, data, count) for _ in range(steps)])}
    if draw:
        spent["opengl"] = _seconds(lambda: [draw() for _ in range(steps)])
    return spent


def _opengl(simulation: Any, size: int) -> tuple[Callable[[], object] | None, str]:
    """What draws both cameras with MuJoCo's renderer, without shadows, and which OpenGL that is;
    None where there is no OpenGL, and why."""
    import mujoco

    platform = os.environ.get("MUJOCO_GL", "")
    if platform not in OPENGL:  # the others need a display, and end the process without one
        return (
            None,
            f"not available: MUJOCO_GL is {platform!r}, expected one of {', '.join(OPENGL)}",
        )
    model, data = simulation.model, simulation.data
    model.vis.quality.offsamples = model.vis.quality.shadowsize = 0
    model.vis.global_.fovy = simulation.profile.cameras[0].vertical_fov_deg
    try:
        renderer = mujoco.Renderer(model, size, size)
    except (ImportError, AttributeError, OSError, RuntimeError, mujoco.FatalError) as error:
        return None, f"not available: {error}"
    frames = [model.body(camera.frame).id for camera in simulation.profile.cameras]
    view = mujoco.MjvCamera()
    view.distance = 1.0

    def draw() -> None:
        for frame in frames:
            ahead = data.xmat[frame].reshape(3, 3)[:, 2]
            view.lookat = data.xpos[frame] + ahead
            view.azimuth = math.degrees(math.atan2(ahead[1], ahead[0]))
            view.elevation = math.degrees(math.asin(ahead[2]))
            renderer.update_scene(data, view)
            renderer.render()

    return draw, platform


def _choose_opengl() -> None:
    """Draw without a display where the libraries for that are; MuJoCo reads this when imported."""
    for name, library in OPENGL.items():
        if "mujoco" not in sys.modules and ctypes.util.find_library(library):
            os.environ.setdefault("MUJOCO_GL", name)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun
