"""MuJoCo's own renderer sees through the same cameras as the ray camera, as it stands and moves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from safevla_ros.robot.state import BaseVelocity
from safevla_ros.simulation.renderer import FAR_M, Renderer, RendererError
from safevla_ros.simulation.simulation import Simulation

SIZE = 160, 120


@pytest.fixture
def renderer(simulation) -> Iterator[Renderer]:
    try:
        renderer = Renderer(simulation, *SIZE)
    except RendererError as error:
        pytest.skip(str(error))
    with renderer:
        yield renderer


def share_alike(simulation: Simulation, renderer: Renderer, camera: str) -> float:
    """Share of pixels in which both cameras see the same depth, to 2 %."""
    _, depth = renderer.look(camera)
    rays = simulation.look(camera, *SIZE).depth
    return float(np.isclose(depth, np.where(np.isfinite(rays), rays, FAR_M), rtol=0.02).mean())


@pytest.mark.parametrize("camera", ["navigation", "manipulation"])
def test_both_renderers_see_the_same_geometry(simulation, renderer, camera):
    simulation.move_joints({"wrist_yaw": 0.7, "arm": 0.2, "lift": 0.8})
    simulation.drive(BaseVelocity(yaw=0.5))
    simulation.advance(2.0)
    assert share_alike(simulation, renderer, camera) > 0.97


def test_pictures_are_alike_but_lit_otherwise(simulation, renderer):
    picture, _ = renderer.look("navigation")
    rays = simulation.render("navigation", *SIZE)
    assert picture.shape == rays.shape
    assert picture.dtype == np.uint8
    bright, other = (image.mean(axis=2).ravel() for image in (picture, rays))
    assert np.corrcoef(bright, other)[0, 1] > 0.6


def test_a_home_is_seen_from_anywhere(simulation, renderer):
    wide, deep = simulation.home.extent
    above = renderer.look_from((wide / 2.0, -3.0, 7.5), (wide / 2.0, deep / 2.0, 0.0), 45.0)
    assert above.shape == (SIZE[1], SIZE[0], 3)
    assert above.std() > 20.0


def test_an_unknown_camera_is_refused_by_name(renderer):
    with pytest.raises(KeyError, match="rear"):
        renderer.look("rear")


def test_without_opengl_the_reason_is_said(simulation, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "none")
    with pytest.raises(RendererError, match="libosmesa6"):
        Renderer(simulation, *SIZE)
