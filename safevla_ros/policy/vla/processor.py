"""From an observation to the arrays that a learned policy is given.

The one place where that is done: data sets, roll-outs, evaluation and the robot all call it, so a
policy cannot be run on inputs prepared in another way than those it was trained on. Numpy only.

| key | type | shape | what |
|---|---|---|---|
| image_<camera> | uint8 | (height, width, 3) | rgb8, one for each camera |
| proprioception | float32 | (columns,) | (value - mean) / std |
| previous_token | int64 | () | the last action's token; NO_TOKEN before the first |
| instruction | int64 | (length,) | tokens of its words; only with a vocabulary |
| budget | float32 | (2 terms,) | remaining / scale clipped to [-1, 5], then 1 where it is known |
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from safevla_ros.policy.features import Features
from safevla_ros.policy.interface import Instruction, Observation, PolicyError
from safevla_ros.policy.vla.text import Tokenizer
from safevla_ros.robot.action_codec import ACTIONS
from safevla_ros.robot.geometry import compose, inverse, yaw_of
from safevla_ros.robot.profile import Roles
from safevla_ros.robot.state import Odometry, Pose

NO_TOKEN = len(ACTIONS)
"""`previous_token` before the first step of an episode."""

BUDGET_RANGE = (-1.0, 5.0)
"""Remaining budgets are clipped to this, in units of their scales."""


class Processor:
    """Prepares the observations of one episode after another. `roles` name the robot's joints."""

    def __init__(self, features: Features, roles: Roles) -> None:
        self._features = features
        self._roles = roles
        self._tokenizer = Tokenizer(features.vocabulary, features.instruction_length)
        self.reset(Instruction(""))

    def reset(self, instruction: Instruction) -> None:
        """Begin an episode: its first observation will be the origin of odometry."""
        self._origin: Pose | None = None
        self._instruction = self._tokenizer.encode(instruction.text)

    def unknown_words(self, instruction: Instruction) -> list[str]:
        """Words of the instruction that the policy has never seen."""
        return self._tokenizer.unknown_words(instruction.text)

    def __call__(self, observation: Observation, previous_token: int) -> dict[str, NDArray]:
        """The arrays of the module's docstring. Raises PolicyError on an observation that lacks a
        camera or a joint, or has an image of another size."""
        features = self._features
        if self._origin is None:
            self._origin = observation.odometry.pose
        arrays: dict[str, NDArray] = {}
        size = (features.image_height, features.image_width, 3)
        for camera in features.cameras:
            image = observation.images.get(camera)
            if image is None or image.shape != size:
                got = "no image" if image is None else f"shape {image.shape}"
                raise PolicyError(f"camera {camera!r}: the policy needs {size}, got {got}")
            arrays[image_key(camera)] = image
        arrays["proprioception"] = self._proprioception(observation)
        arrays["previous_token"] = np.array(previous_token, np.int64)
        if features.vocabulary:
            arrays["instruction"] = self._instruction
        if features.budget_terms:
            arrays["budget"] = budget_row(features, observation.remaining_budget)
        return arrays

    def _proprioception(self, observation: Observation) -> NDArray[np.float32]:
        assert self._origin is not None
        values = _motion(observation.odometry, self._origin)
        values["object_in_hand"] = float(observation.object_in_hand)
        for role in ("lift", "arm", "wrist", "gripper"):
            joint = observation.joints.get(getattr(self._roles, role))
            if joint is not None:
                values[f"joint.{role}"] = joint.position
        row = np.empty(len(self._features.proprioception), np.float32)
        for i, column in enumerate(self._features.proprioception):
            if column.name not in values:
                joint_name = getattr(self._roles, column.name.removeprefix("joint."))
                raise PolicyError(
                    f"joint {joint_name!r}: the policy needs it, the joint states lack it"
                )
            row[i] = (values[column.name] - column.mean) / column.std
        return row


def image_key(camera: str) -> str:
    """Key of a camera's image among the arrays."""
    return f"image_{camera}"


def budget_row(features: Features, remaining: Mapping[str, float]) -> NDArray[np.float32]:
    """(2 terms,): what remains of each budget in units of its scale, then 1 where that is known; see
    BudgetTerm."""
    terms = features.budget_terms
    left = [remaining.get(term.name, term.asked) for term in terms]
    known = [value is not None for value in left]
    scaled = [(value or 0.0) / term.scale for value, term in zip(left, terms, strict=True)]
    return np.array([*np.clip(scaled, *BUDGET_RANGE), *known], np.float32)


def input_shapes(features: Features) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
    """Type and shape of each array that a Processor of these features gives."""
    shapes: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        image_key(camera): (np.uint8, (features.image_height, features.image_width, 3))
        for camera in features.cameras
    }
    shapes["proprioception"] = (np.float32, (len(features.proprioception),))
    shapes["previous_token"] = (np.int64, ())
    if features.vocabulary:
        shapes["instruction"] = (np.int64, (features.instruction_length,))
    if features.budget_terms:
        shapes["budget"] = (np.float32, (2 * len(features.budget_terms),))
    return shapes


def _motion(odometry: Odometry, origin: Pose) -> dict[str, float]:
    moved = compose(inverse(origin), odometry.pose)
    turned = yaw_of(moved.orientation)
    return {
        "base.x": odometry.velocity.x,
        "base.yaw": odometry.velocity.yaw,
        "odometry.x": moved.position[0],
        "odometry.y": moved.position[1],
        "odometry.cos_yaw": math.cos(turned),
        "odometry.sin_yaw": math.sin(turned),
    }
