"""What a compact VLA is made of; kept in its checkpoint."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from safevla_ros.policy.features import BudgetTerm, Column, Features, Strict, Text, Word
from safevla_ros.robot.action_codec import ACTIONS

Width = Annotated[int, Field(ge=8, le=4096)]

CELL_PX = 8
"""Edge of the squares of an image in which the policy says what it sees [px]."""

DEFAULT_PROPRIOCEPTION = (
    Column(name="base.x", mean=0.0, std=0.4),
    Column(name="base.yaw", mean=0.0, std=1.0),
    Column(name="odometry.x", mean=0.0, std=3.0),
    Column(name="odometry.y", mean=0.0, std=3.0),
    Column(name="odometry.cos_yaw", mean=0.0, std=1.0),
    Column(name="odometry.sin_yaw", mean=0.0, std=1.0),
    Column(name="joint.lift", mean=0.6, std=0.3),
    Column(name="joint.arm", mean=0.1, std=0.15),
    Column(name="joint.wrist", mean=0.0, std=1.0),
    Column(name="joint.gripper", mean=0.5, std=0.5),
    Column(name="object_in_hand", mean=0.0, std=1.0),
)
"""Every column, scaled by the size of a home and the ranges of a Stretch's joints. Statistics of
the training data may take their place."""


class VlaConfiguration(Strict):
    """Inputs, widths and outputs of a CompactVla.

    `cost_terms` name the cost critics, `budget_terms` the budgets that the policy is told (none: it
    knows of no budget). `free_ahead` is the number of sectors of that auxiliary output.
    """

    cameras: tuple[Text, ...] = ("navigation", "manipulation")
    image_size: Annotated[int, Field(ge=48, le=256, multiple_of=16)] = 80
    proprioception: tuple[Column, ...] = DEFAULT_PROPRIOCEPTION
    vocabulary: Annotated[tuple[Word, ...], Field(min_length=1)]
    instruction_length: Annotated[int, Field(ge=1, le=64)] = 16
    budget_terms: tuple[BudgetTerm, ...] = ()
    cost_terms: tuple[Text, ...] = ()
    actions: tuple[str, ...] = ACTIONS
    channels: Annotated[tuple[Width, ...], Field(min_length=3, max_length=3)] = (32, 64, 64)
    word_width: Width = 64
    instruction_width: Width = 128
    query_width: Width = 32
    image_width: Width = 192
    body_width: Width = 64
    memory_width: Width = 256
    free_ahead: Annotated[int, Field(ge=1, le=64)] = 7

    @field_validator("actions")
    @classmethod
    def _known_actions(cls, actions: tuple[str, ...]) -> tuple[str, ...]:
        if actions != ACTIONS:
            raise ValueError(f"expected the action space {list(ACTIONS)} in this order")
        return actions

    @property
    def features(self) -> Features:
        """The inputs, as processor.py reads them."""
        return Features(
            cameras=self.cameras,
            image_height=self.image_size,
            image_width=self.image_size,
            proprioception=self.proprioception,
            vocabulary=self.vocabulary,
            instruction_length=self.instruction_length,
            budget_terms=self.budget_terms,
        )
