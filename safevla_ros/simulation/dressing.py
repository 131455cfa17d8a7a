"""The model of a home as MuJoCo's own renderer draws it: lamps that cast shadows, and materials.

Only for pictures: physics and ray camera know nothing of it. Its bodies and joints are those of the
model that is simulated, by the same names, so that positions can be taken over; with a vendor's robot
it has that one's too.
"""

from __future__ import annotations

import mujoco
import numpy as np

from safevla_ros.robot.profile import Profile, urdf_path
from safevla_ros.simulation.home import Home
from safevla_ros.simulation.model import build_spec
from safevla_ros.simulation.vendor import VendorRobot

PIXELS = 256
"""Edge of a texture [px]."""
_REPEATS = {"planks": (0.9, 0.96), "tiles": (3.0, 3.0), "grain": (2.0, 2.0), "weave": (12.5, 12.5)}
"""How often a texture fits into a metre."""
SHADOWS_PX = 4096


def dressed_model(
    home: Home, profile: Profile, vendor: VendorRobot | None = None
) -> mujoco.MjModel:
    """Compile a home with the robot in it for pictures, the latter as its vendor draws it if that is
    given."""
    spec, finishes = build_spec(home, profile, urdf_path(profile))
    for finish, pattern in _patterns().items():
        texture = spec.add_texture(
            name=finish,
            type=mujoco.mjtTexture.mjTEXTURE_2D,
            width=PIXELS,
            height=PIXELS,
            nchannel=3,
        )
        shades = np.repeat((255.0 * pattern.clip(0.0, 1.0)).astype(np.uint8)[..., None], 3, axis=2)
        texture.data = shades.tobytes()
        material = spec.add_material(name=finish, texuniform=True, texrepeat=_REPEATS[finish])
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = finish
    spec.add_material(name="glow", emission=0.9)
    for geom in spec.geoms:
        finish = finishes.get(geom.name, "plain")
        if finish == "glow" or finish in _REPEATS:
            geom.material = finish
    _light(spec, home)
    if vendor is not None:
        vendor.put_on(spec, profile.frames.base)
    return spec.compile()


def _light(spec: mujoco.MjSpec, home: Home) -> None:
    light, tint = home.light, np.array(home.light.tint)
    spec.visual.headlight.ambient = 0.85 * light.ambient * tint
    spec.visual.headlight.diffuse = 0.22 * tint
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    spec.visual.quality.shadowsize = SHADOWS_PX
    wide, deep = home.extent
    spec.stat.center = [wide / 2.0, deep / 2.0, 0.5]
    spec.stat.extent = max(wide, deep)
    spec.worldbody.add_light(
        name="sun",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[wide / 2.0, deep / 2.0, 4.0],
        dir=[-x for x in light.direction],
        ambient=[0.0, 0.0, 0.0],
        diffuse=1.3 * light.intensity * tint,
        specular=[0.1, 0.1, 0.1],
        castshadow=True,
    )


def _patterns() -> dict[str, np.ndarray]:
    """Brightness (PIXELS, PIXELS) of each finish that has a pattern."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:PIXELS, 0:PIXELS] / PIXELS
    rows = (y * 8).astype(int)
    along = (x + 0.37 * rows) % 1.0
    planks = 0.82 + 0.16 * rng.random(8)[rows]
    planks[(along < 0.008) | (y * 8 % 1.0 < 0.03)] *= 0.7
    tiles = np.full((PIXELS, PIXELS), 0.97)
    tiles[(x < 0.035) | (y < 0.035)] = 0.76
    grain = 0.93 + 0.06 * np.sin(40.0 * x + 2.5 * np.sin(2.0 * np.pi * y))
    weave = np.where(((x * 8).astype(int) + rows) % 2 == 0, 1.0, 0.86)
    return {"planks": planks, "tiles": tiles, "grain": grain, "weave": weave}
