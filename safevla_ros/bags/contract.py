"""Contracts: which topics and fields of another robot's bag are an episode's pictures, joints and
actions. One YAML file; config/contracts/example.yaml is the commented example.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safevla_ros.robot.profile import NonNegative, Positive
from safevla_ros.yaml_file import read_yaml

Resample = Literal["hold", "nearest", "interpolate"]


class ContractError(ValueError):
    """A contract that cannot be used; the message names file, key and what was expected."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Number(_Strict):
    """A number in the messages of a topic: `field` by its path, as `twist.linear.x`. `of`: the entry
    of an array that the message's `name` names; an integer: the entry of that index."""

    topic: str
    field: str
    of: str | int | None = None
    resample: Resample = "hold"
    limit_s: NonNegative


class Picture(_Strict):
    """Images of a topic, as a policy sees them: `robot.pictures.policy_picture`."""

    topic: str
    resample: Literal["hold", "nearest"] = "nearest"
    limit_s: NonNegative
    height: Annotated[int, Field(gt=0, le=4096)]
    width: Annotated[int, Field(gt=0, le=4096)]
    rotate_deg: Literal[0, 90, 180, 270] = 0


class Contract(_Strict):
    """See the module's docstring."""

    name: str
    robot: str = ""
    specification: str = "household"
    rate_hz: Positive
    clock: str
    instruction: str = ""
    images: Annotated[dict[str, Picture], Field(min_length=1)]
    joints: dict[str, Number] = {}
    action: Annotated[dict[str, Number], Field(min_length=1)]


def load_contract(path: Path) -> Contract:
    """Read and check a contract. Raises ContractError."""
    data = read_yaml(path, ContractError)
    try:
        return Contract.model_validate(data)
    except ValidationError as error:
        lines = [
            f"{path}: {'.'.join(map(str, each['loc'])) or 'top'}: {each['msg']}"
            for each in error.errors()
        ]
        raise ContractError("\n".join(lines)) from error
