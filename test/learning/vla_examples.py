"""Small compact VLAs and inputs for them."""

from __future__ import annotations

import numpy as np
import torch

from safevla_ros.policy.features import BudgetTerm
from safevla_ros.policy.interface import Observation
from safevla_ros.policy.vla.configuration import VlaConfiguration
from safevla_ros.policy.vla.modeling import CompactVla
from safevla_ros.policy.vla.processor import image_key, input_shapes
from safevla_ros.robot.geometry import planar
from safevla_ros.robot.profile import load_profile
from safevla_ros.robot.state import BaseVelocity, Joint, Odometry

ROLES = load_profile("sim").roles


def model(seed=0, **changes):
    """A compact VLA, small and untrained, with an actor that is far from uniform."""
    torch.manual_seed(seed)
    small = {
        "vocabulary": ("apple", "find", "mug", "the"),
        "image_size": 48,
        "channels": (8, 8, 8),
        "image_width": 16,
        "memory_width": 32,
        "cost_terms": ("collision", "drop"),
    }
    vla = CompactVla(VlaConfiguration(**(small | changes))).eval()
    torch.nn.init.normal_(vla.actor[-1].weight, std=1.0)
    return vla


def batch(vla, episodes, steps, seed=0):
    """Random inputs of (episodes, steps); `first` only at the beginning."""
    generator = torch.Generator().manual_seed(seed)
    high = {"previous_token": 21, "instruction": 6}
    inputs = {}
    for key, (kind, shape) in input_shapes(vla.configuration.features).items():
        size = (episodes, steps, *shape)
        if kind is np.float32:
            inputs[key] = torch.randn(size, generator=generator)
        else:
            top = high.get(key, 256)
            inputs[key] = torch.randint(0, top, size, generator=generator).to(
                torch.uint8 if kind is np.uint8 else torch.int64
            )
    inputs["first"] = torch.zeros(episodes, steps, dtype=torch.bool)
    inputs["first"][:, 0] = True
    return inputs


def part(inputs, start, stop):
    """Some of the steps."""
    return {key: value[:, start:stop] for key, value in inputs.items()}


def observation(vla, rng, remaining=None):
    """A random observation on the simulated robot."""
    size = vla.configuration.image_size
    return Observation(
        stamp_ns=0,
        images={
            name: rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
            for name in vla.configuration.cameras
        },
        joints={
            getattr(ROLES, role): Joint(float(rng.uniform(0.1, 0.4)))
            for role in ("lift", "arm", "wrist", "gripper")
        },
        odometry=Odometry("odom", planar(*rng.normal(size=3).tolist()), BaseVelocity(0.1, 0, 0.2)),
        object_in_hand=bool(rng.integers(2)),
        remaining_budget=remaining or {},
    )


__all__ = ["ROLES", "BudgetTerm", "batch", "image_key", "model", "observation", "part"]
