"""What a learned policy is given of an observation, and how it is scaled: plain configuration.

The same description stands in a checkpoint and in policy.yaml, and processor.py follows it in
training as on the robot, so that the two cannot differ.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Pixels = Annotated[int, Field(ge=8, le=2048)]
Text = Annotated[str, Field(min_length=1)]
Word = Annotated[str, Field(pattern=r"^[a-z0-9]+$")]

ProprioceptionName = Literal[
    "base.x",  # forward velocity of the base [m/s]
    "base.yaw",  # turning velocity of the base [rad/s]
    "odometry.x",  # position of the base since the episode's first observation, in the frame that
    "odometry.y",  # the base had then [m]
    "odometry.cos_yaw",  # cosine and sine of its heading since then
    "odometry.sin_yaw",
    "joint.lift",  # positions of the joints that play these roles in the profile [rad or m]
    "joint.arm",
    "joint.wrist",
    "joint.gripper",
    "object_in_hand",  # 0 or 1
]
ActionName = Literal[
    "base.x",  # velocity of the base [m/s, m/s, rad/s]
    "base.y",
    "base.yaw",
    "joint.lift",  # absolute targets of the joints that play these roles [rad or m]
    "joint.arm",
    "joint.wrist",
    "joint.gripper",
]
PROPRIOCEPTION: tuple[str, ...] = get_args(ProprioceptionName)


class Strict(BaseModel):
    """Refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(Strict):
    """One column of the proprioception vector, with the statistics that it is normalised by."""

    name: ProprioceptionName
    mean: Annotated[float, Field(allow_inf_nan=False)]
    std: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class ActionColumn(Strict):
    """One column of a continuous chunk, with the statistics that it is normalised by."""

    name: ActionName
    mean: Annotated[float, Field(allow_inf_nan=False)]
    std: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class BudgetTerm(Strict):
    """A cost term whose remaining budget the policy is told, in units of `scale`. Under a
    specification without a budget for it `asked` is taken to remain, the budget that the policy was
    fitted for; None: then it is told of none."""

    name: Text
    scale: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
    asked: Annotated[float | None, Field(ge=0.0, allow_inf_nan=False)] = None


class Features(Strict):
    """The inputs of a learned policy.

    `cameras` are names in the robot profile, all at one size [px]. An empty `vocabulary` means that
    the instruction does not enter, empty `budget_terms` that the budget does not.
    """

    cameras: Annotated[tuple[Text, ...], Field(min_length=1)]
    image_height: Pixels
    image_width: Pixels
    proprioception: Annotated[tuple[Column, ...], Field(min_length=1)]
    vocabulary: tuple[Word, ...] = ()
    instruction_length: Annotated[int, Field(ge=1, le=512)] = 16
    budget_terms: tuple[BudgetTerm, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> Features:
        for key, names in (
            ("cameras", self.cameras),
            ("proprioception", [column.name for column in self.proprioception]),
            ("vocabulary", self.vocabulary),
            ("budget_terms", [term.name for term in self.budget_terms]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"{key}: expected names that differ")
        return self
