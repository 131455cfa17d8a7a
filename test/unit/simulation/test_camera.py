"""The ray camera against MuJoCo's own rays, and its calibration."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from safevla_ros.robot.pictures import Resize
from safevla_ros.robot.state import BaseVelocity
from safevla_ros.simulation.simulation import Simulation

from .conftest import make_scenario

CAMERAS = ("navigation", "manipulation")


def mujoco_rays(
    simulation: Simulation, camera: str, width: int, height: int, pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Depth along the optical axis and geom id of pixels (N, 2) = (u, v), by mj_ray."""
    info = simulation.camera_info(camera, width, height)
    model, data = simulation._model, simulation._data
    body = model.body(info.frame).id
    eye, axes = np.array(data.xpos[body]), np.array(data.xmat[body]).reshape(3, 3)
    groups = np.array([1, 1, 1, 0, 0, 0], np.uint8)
    depths, geoms = [], []
    for u, v in pixels:
        ray = axes @ ((u + 0.5 - info.cx) / info.fx, (v + 0.5 - info.cy) / info.fy, 1.0)
        hit = np.full(1, -1, np.int32)
        # Directions need not have unit length: with 1 along the axis, distance is depth.
        distance = mujoco.mj_ray(model, data, eye, ray, groups, True, -1, hit)
        depths.append(distance if hit[0] >= 0 else np.inf)
        geoms.append(int(hit[0]))
    return np.array(depths), np.array(geoms)


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("seed", [1, 4, 20])
def test_depth_and_geoms_are_those_of_mujocos_rays(camera, seed):
    simulation = Simulation(make_scenario(seed))
    simulation.move_joints({"wrist_yaw": 0.7, "arm": 0.2, "lift": 0.8})
    simulation.advance(2.0)
    width, height = 160, 120
    view = simulation.look(camera, width, height)
    rng = np.random.default_rng(seed)
    pixels = np.column_stack([rng.integers(0, width, 1500), rng.integers(0, height, 1500)])
    depths, geoms = mujoco_rays(simulation, camera, width, height, pixels)
    seen = view.depth[pixels[:, 1], pixels[:, 0]]
    same_depth = np.isclose(seen, depths, rtol=1e-3, atol=1e-4)
    same_geom = view.geom[pixels[:, 1], pixels[:, 0]] == geoms
    # Rays that graze an edge may fall on either side of it.
    assert same_depth.mean() > 0.995
    assert same_geom.mean() > 0.99


@pytest.mark.parametrize("name", ["apple", "ball", "cactus", "bottle", "plush", "vase"])
def test_round_things_are_seen_as_mujocos_rays_see_them(name):
    simulation = Simulation(make_scenario(3, "pick_up", target_class=name))
    width, height = 320, 240
    view = simulation.look("navigation", width, height)
    owned = [geom for geom, id_ in simulation._world.owners.items() if id_ == f"{name}-1"]
    rows, columns = np.nonzero(np.isin(view.geom, owned))
    assert len(rows) > 50
    pixels = np.column_stack(
        [grid.ravel() for grid in np.meshgrid(
            np.arange(columns.min() - 2, columns.max() + 3),
            np.arange(rows.min() - 2, rows.max() + 3),
        )]
    )  # fmt: skip
    inside = (pixels >= 0).all(axis=1) & (pixels < (width, height)).all(axis=1)
    pixels = pixels[inside]
    depths, geoms = mujoco_rays(simulation, "navigation", width, height, pixels)
    seen = view.depth[pixels[:, 1], pixels[:, 0]]
    assert np.isclose(seen, depths, rtol=1e-3, atol=1e-4).mean() > 0.98
    assert (view.geom[pixels[:, 1], pixels[:, 0]] == geoms).mean() > 0.97


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("seed", [0, 2])
def test_a_frame_that_is_resized_shows_what_policies_are_trained_on(camera, seed):
    # In training images are drawn at the policy's size; on the graph camera_ingest makes them of the
    # robot's frames.
    simulation = Simulation(make_scenario(seed, "pick_up"))
    drawn = simulation.render(camera, 80, 80).astype(int)
    resized = Resize(224, 224, 80, 80).image(simulation.render(camera, 224, 224)).astype(int)
    apart = np.abs(resized - drawn).mean()
    assert apart < 4.0
    # The same part of the picture: a pixel aside is much worse.
    for shift in (1, -1):
        for axis in (0, 1):
            assert np.abs(np.roll(resized, shift, axis) - drawn).mean() > 1.5 * apart


def test_an_image_has_the_size_that_is_asked_for_and_is_not_empty(simulation):
    image = simulation.render("navigation", 96, 64)
    assert image.shape == (64, 96, 3)
    assert image.dtype == np.uint8
    assert image.std() > 5.0


def test_an_image_changes_when_the_robot_moves(simulation):
    before = simulation.render("navigation", 96, 64).astype(int)
    for _ in range(5):
        simulation.drive(BaseVelocity(yaw=0.4))
        simulation.advance(0.1)
    after = simulation.render("navigation", 96, 64).astype(int)
    assert np.abs(before - after).mean() > 3.0


def test_calibration_has_the_profiles_field_of_view(simulation):
    info = simulation.camera_info("navigation", 320, 240)
    fov = np.degrees(2.0 * np.arctan(info.height / 2.0 / info.fy))
    assert fov == pytest.approx(simulation.profile.cameras[0].vertical_fov_deg)
    assert (info.cx, info.cy) == (160.0, 120.0)
    assert info.frame == "camera_navigation_optical"


def test_an_unknown_camera_is_refused_by_name(simulation):
    with pytest.raises(KeyError, match="rear"):
        simulation.render("rear", 64, 64)
