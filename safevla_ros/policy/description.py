"""What a policy folder says about itself: the schema of policy.yaml.

A policy folder holds policy.yaml and one ONNX file. The YAML says everything that a runner must not
guess: which file by its hash, what goes into the graph, in which order and how scaled, and how an
action is chosen from what comes out. A file that leaves anything of it out is refused.

    id: find-v3
    file: policy.onnx
    sha256: 3f5a...                      # of the ONNX file
    representation: token
    image_height: 96                     # [px], of every camera
    image_width: 96
    inputs:                              # names of the graph's inputs
      images: {navigation: image_navigation, manipulation: image_manipulation}
      proprioception: proprioception
      previous_token: previous_token
    output: logits
    actions: [move_ahead, ...]           # the action space that it was trained on, in order
    proprioception:                      # columns, in order, with the statistics of training
      - {name: joint.lift, mean: 0.6, std: 0.2}
      - {name: object_in_hand, mean: 0.0, std: 1.0}
    selection: argmax                    # or sample

The graph, in ONNX terms, all at batch size 1:

| tensor | type | shape | what |
|---|---|---|---|
| one per camera | uint8 | (1, image_height, image_width, 3) | rgb8; the graph scales it itself |
| proprioception | float32 | (1, columns) | (value - mean) / std, columns as listed |
| previous_token | int64 | (1,) | the last token sent; len(actions) before the first |
| output | float32 | (1, steps, len(actions)) | logits of each step of the chunk |

The instruction does not enter the graph yet: such a policy does the one thing it was trained for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from safevla_ros.policy.interface import PolicyError
from safevla_ros.robot.action_codec import ACTIONS

Pixels = Annotated[int, Field(ge=8, le=2048)]
Text = Annotated[str, Field(min_length=1)]

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
PROPRIOCEPTION: tuple[str, ...] = get_args(ProprioceptionName)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Strict):
    """One column of the proprioception vector, with the statistics that it is normalised by."""

    name: ProprioceptionName
    mean: Annotated[float, Field(allow_inf_nan=False)]
    std: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class Inputs(_Strict):
    """Names of the graph's inputs. `images` is keyed by the camera's name in the robot profile."""

    images: Annotated[dict[Text, Text], Field(min_length=1)]
    proprioception: Text
    previous_token: Text

    def names(self) -> list[str]:
        """Every input of the graph."""
        return [*self.images.values(), self.proprioception, self.previous_token]


class PolicyFile(_Strict):
    """A policy.yaml. See the module's docstring for a commented example."""

    id: Text
    file: Annotated[str, Field(pattern=r"^[^/\\]+\.onnx$")] = "policy.onnx"
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    representation: Literal["token"]
    image_height: Pixels
    image_width: Pixels
    inputs: Inputs
    output: Text
    actions: list[str]
    proprioception: Annotated[list[Column], Field(min_length=1)]
    selection: Literal["argmax", "sample"]

    @model_validator(mode="after")
    def _consistent(self) -> PolicyFile:
        if tuple(self.actions) != ACTIONS:
            raise ValueError(f"actions: expected the action space {list(ACTIONS)} in this order")
        names = self.inputs.names()
        if len(set(names)) != len(names):
            raise ValueError(f"inputs: names must differ, got {names}")
        return self


def read_description(path: Path) -> PolicyFile:
    """Read and check a policy.yaml. Raises PolicyError with one sentence on the first fault."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        summary = " ".join(str(error).split())
        raise PolicyError(f"{path}: not valid YAML: {summary}") from error
    if not isinstance(data, dict):
        raise PolicyError(f"{path}: expected a mapping at the top")
    try:
        return PolicyFile.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "policy"
        raise PolicyError(f"{path}: {key}: {first['msg']}") from error
