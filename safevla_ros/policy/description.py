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
      instruction: instruction           # leave out where the instruction does not enter
    state: {input: state, output: next_state, width: 256}    # leave out without a memory
    output: logits
    actions: [move_ahead, ...]           # the action space that it was trained on, in order
    proprioception:                      # columns, in order, with the statistics of training
      - {name: joint.lift, mean: 0.6, std: 0.2}
      - {name: object_in_hand, mean: 0.0, std: 1.0}
    vocabulary: [apple, find, ...]       # words in the order of their tokens; see vla/text.py
    instruction_length: 16
    budget_terms: [{name: collision, scale: 4.0}]    # with an input `budget`
    selection: sample                    # from softmax(logits / temperature); or argmax
    temperature: 0.5

The graph, in ONNX terms, all at batch size 1:

| tensor | type | shape | what |
|---|---|---|---|
| one per camera | uint8 | (1, image_height, image_width, 3) | rgb8; the graph scales it itself |
| proprioception | float32 | (1, columns) | (value - mean) / std, columns as listed |
| previous_token | int64 | (1,) | the last token sent; len(actions) before the first |
| instruction | int64 | (1, instruction_length) | tokens of its words |
| budget | float32 | (1, 2 terms) | remaining / scale, clipped to [-1, 5], then 1 where it is known |
| state, in and out | float32 | (1, width) | what the policy remembers; zero at an episode's start |
| output | float32 | (1, steps, len(actions)) | logits of each step of the chunk |

With `representation: continuous` there are no actions, no selection and no previous token. The
output is float32 (1, steps, columns), normalised, and policy.yaml says what its columns command:

    step_s: 0.5                          # [s] of each row
    columns:                             # value = output * std + mean
      - {name: base.x, mean: 0.1, std: 0.2}      # [m/s]
      - {name: joint.lift, mean: 0.6, std: 0.2}  # absolute [rad or m]

vla/processor.py makes these tensors, in training as on the robot.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from safevla_ros.policy.features import (
    ActionColumn,
    BudgetTerm,
    Column,
    Features,
    Pixels,
    Strict,
    Text,
    Word,
)
from safevla_ros.policy.interface import PolicyError, Representation
from safevla_ros.policy.selection import Selection
from safevla_ros.policy.vla.processor import image_key
from safevla_ros.robot.action_codec import ACTIONS
from safevla_ros.yaml_file import read_yaml


class Inputs(Strict):
    """Names of the graph's inputs. `images` is keyed by the camera's name in the robot profile."""

    images: Annotated[dict[Text, Text], Field(min_length=1)]
    proprioception: Text
    previous_token: Text | None = None
    instruction: Text | None = None
    budget: Text | None = None

    def by_key(self) -> dict[str, str]:
        """Name of the input for each array of vla/processor.py."""
        names = {image_key(camera): name for camera, name in self.images.items()}
        for key in ("proprioception", "previous_token", "instruction", "budget"):
            name = getattr(self, key)
            if name is not None:
                names[key] = name
        return names


class State(Strict):
    """Names of the graph's input and output that carry what it remembers, and its width."""

    input: Text
    output: Text
    width: Annotated[int, Field(ge=1, le=1_000_000)]


class PolicyFile(Strict, ABC):
    """What is common to every policy.yaml. See the module's docstring for a commented example."""

    id: Text
    file: Annotated[str, Field(pattern=r"^[^/\\]+\.onnx$")] = "policy.onnx"
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    representation: Representation
    image_height: Pixels
    image_width: Pixels
    inputs: Inputs
    state: State | None = None
    output: Text
    proprioception: Annotated[list[Column], Field(min_length=1)]
    vocabulary: tuple[Word, ...] = ()
    instruction_length: Annotated[int, Field(ge=1, le=512)] = 16
    budget_terms: tuple[BudgetTerm, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> PolicyFile:
        names = [*self.inputs.by_key().values(), *([self.state.input] if self.state else [])]
        if len(set(names)) != len(names):
            raise ValueError(f"inputs: names must differ, got {names}")
        if (self.inputs.instruction is None) != (not self.vocabulary):
            raise ValueError("inputs.instruction and vocabulary: expected both or neither")
        if (self.inputs.budget is None) != (not self.budget_terms):
            raise ValueError("inputs.budget and budget_terms: expected both or neither")
        self.features()
        return self

    @property
    @abstractmethod
    def output_width(self) -> int:
        """Values of one step in the graph's output."""

    def features(self) -> Features:
        """The inputs, as vla/processor.py reads them."""
        return Features(
            cameras=tuple(self.inputs.images),
            image_height=self.image_height,
            image_width=self.image_width,
            proprioception=tuple(self.proprioception),
            vocabulary=self.vocabulary,
            instruction_length=self.instruction_length,
            budget_terms=self.budget_terms,
        )


class TokenPolicyFile(PolicyFile):
    """A policy whose output are logits over the action space."""

    representation: Literal["token"]
    actions: list[str]
    selection: Selection
    temperature: Annotated[float, Field(gt=0.0, le=100.0)] = 1.0

    @model_validator(mode="after")
    def _known_actions(self) -> TokenPolicyFile:
        if tuple(self.actions) != ACTIONS:
            raise ValueError(f"actions: expected the action space {list(ACTIONS)} in this order")
        return self

    @property
    def output_width(self) -> int:
        """One logit for each action."""
        return len(self.actions)


class ChunkPolicyFile(PolicyFile):
    """A policy whose output are rows of physical values, one row for each step of `step_s`."""

    representation: Literal["continuous"]
    step_s: Annotated[float, Field(gt=0.0, le=10.0)]
    columns: Annotated[tuple[ActionColumn, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct_columns(self) -> ChunkPolicyFile:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError(f"columns: names must differ, got {names}")
        if self.inputs.previous_token is not None:
            raise ValueError("inputs.previous_token: a continuous policy sends no tokens")
        return self

    @property
    def output_width(self) -> int:
        """One value for each column."""
        return len(self.columns)


def read_description(path: Path) -> TokenPolicyFile | ChunkPolicyFile:
    """Read and check a policy.yaml. Raises PolicyError with one sentence on the first fault."""
    data = read_yaml(path, PolicyError)
    if not isinstance(data, dict):
        raise PolicyError(f"{path}: expected a mapping at the top")
    try:
        if data.get("representation") == "continuous":
            return ChunkPolicyFile.model_validate(data)
        return TokenPolicyFile.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "policy"
        raise PolicyError(f"{path}: {key}: {first['msg']}") from error


def read_graph(path: Path, sha256: str = "") -> bytes:
    """An ONNX file. Raises PolicyError when it cannot be read, or is not the one with that hash
    (empty: any)."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error}") from error
    found = hashlib.sha256(data).hexdigest()
    if sha256 and found != sha256:
        raise PolicyError(
            f"{path}: expected the sha256 {sha256[:12]}... of policy.yaml, got {found[:12]}...: "
            "the file is cut short or another one"
        )
    return data
