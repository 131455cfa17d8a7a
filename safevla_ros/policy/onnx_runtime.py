"""Runs a policy folder (see description.py) with ONNX Runtime.

On a GPU where ONNX Runtime has a provider for one, else on the CPU with one thread: the gate and
the simulator share the machine, and at batch size 1 a second thread costs more than it gives.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from safevla_ros.policy.description import Column, PolicyFile, read_description
from safevla_ros.policy.interface import (
    ActionChunk,
    Instruction,
    Observation,
    PolicyDescription,
    PolicyError,
)
from safevla_ros.robot.action_codec import ACTIONS
from safevla_ros.robot.geometry import compose, inverse, yaw_of
from safevla_ros.robot.profile import Roles
from safevla_ros.robot.state import Odometry, Pose

PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
"""In order of preference."""

NO_TOKEN = len(ACTIONS)
"""`previous_token` before the first step of an episode."""


class OnnxPolicy:
    """A learned policy from a folder. Not thread-safe.

    Everything that can be checked is checked here, before a robot moves: the file's hash, the
    graph's inputs and outputs by name, type and shape, and one run on an empty observation, which
    also warms the runtime up. Raises PolicyError with one sentence.
    """

    def __init__(self, folder: Path, roles: Roles, seed: int = 0) -> None:
        self._file = read_description(folder / "policy.yaml")
        self._path = folder / self._file.file
        self._roles = roles
        self._rng = np.random.default_rng(seed)
        self._session = _open_session(self._path, self._file.sha256)
        self._check_graph()
        self.description = PolicyDescription(
            id=self._file.id,
            representation=self._file.representation,
            image_height=self._file.image_height,
            image_width=self._file.image_width,
            sha256=self._file.sha256,
        )
        self._previous_token = NO_TOKEN
        self._origin: Pose | None = None
        self._logits(self._empty_inputs())

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers in use, the preferred one first."""
        return tuple(self._session.get_providers())

    def reset(self, instruction: Instruction) -> None:
        """Forget the last episode. The instruction does not enter the graph (see description.py)."""
        self._previous_token = NO_TOKEN
        self._origin = None

    def act(self, observation: Observation) -> ActionChunk:
        """The next tokens with their log-probabilities. Raises PolicyError on unusable input."""
        logits = self._logits(self._inputs(observation))
        log_p = logits - _log_sum_exp(logits)
        if self._file.selection == "argmax":
            tokens = [int(token) for token in np.argmax(log_p, axis=1)]
        else:
            noise = self._rng.gumbel(size=log_p.shape)
            tokens = [int(token) for token in np.argmax(log_p + noise, axis=1)]
        self._previous_token = tokens[-1]
        return ActionChunk(
            "token",
            tokens=tuple(tokens),
            log_probabilities=tuple(float(log_p[i, token]) for i, token in enumerate(tokens)),
        )

    def _inputs(self, observation: Observation) -> dict[str, NDArray]:
        if self._origin is None:
            self._origin = observation.odometry.pose
        size = (self._file.image_height, self._file.image_width, 3)
        inputs: dict[str, NDArray] = {}
        for camera, name in self._file.inputs.images.items():
            image = observation.images.get(camera)
            if image is None or image.shape != size:
                got = "no image" if image is None else f"shape {image.shape}"
                raise PolicyError(f"camera {camera!r}: {self._file.id} needs {size}, got {got}")
            inputs[name] = image[np.newaxis]
        row = proprioception(self._file.proprioception, observation, self._origin, self._roles)
        inputs[self._file.inputs.proprioception] = row[np.newaxis]
        inputs[self._file.inputs.previous_token] = np.array([self._previous_token], np.int64)
        return inputs

    def _empty_inputs(self) -> dict[str, NDArray]:
        types = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(int64)": np.int64}
        return {
            name: np.zeros(shape, types[kind])
            for name, (kind, shape) in _expected_inputs(self._file).items()
        }

    def _logits(self, inputs: Mapping[str, NDArray]) -> NDArray[np.float64]:
        """(steps, actions), checked."""
        try:
            output = np.asarray(self._session.run([self._file.output], dict(inputs))[0])
        except Exception as error:  # ONNX Runtime's own exceptions share no base but this
            raise PolicyError(f"{self._path}: the graph does not run: {_line(error)}") from error
        if output.ndim != 3 or output.shape[0] != 1 or output.shape[2] != len(ACTIONS):
            raise PolicyError(
                f"{self._path}: output {self._file.output!r}: expected shape "
                f"(1, steps, {len(ACTIONS)}), got {output.shape}"
            )
        if output.shape[1] < 1 or not np.isfinite(output).all():
            raise PolicyError(
                f"{self._path}: output {self._file.output!r}: expected at least one step of "
                "finite logits"
            )
        return output[0].astype(np.float64)

    def _check_graph(self) -> None:
        expected = _expected_inputs(self._file)
        actual = {item.name: (item.type, item.shape) for item in self._session.get_inputs()}
        if missing := sorted(set(expected) - set(actual)):
            raise PolicyError(
                f"{self._path}: no input {missing[0]!r}, which policy.yaml names; "
                f"the graph has {sorted(actual)}"
            )
        if unknown := sorted(set(actual) - set(expected)):
            raise PolicyError(f"{self._path}: input {unknown[0]!r} is not named in policy.yaml")
        for name, (kind, shape) in expected.items():
            _check_tensor(self._path, f"input {name!r}", (kind, shape), actual[name])
        outputs = {item.name: (item.type, item.shape) for item in self._session.get_outputs()}
        if self._file.output not in outputs:
            raise PolicyError(
                f"{self._path}: no output {self._file.output!r}, which policy.yaml names; "
                f"the graph has {sorted(outputs)}"
            )
        _check_tensor(
            self._path,
            f"output {self._file.output!r}",
            ("tensor(float)", (1, None, len(ACTIONS))),
            outputs[self._file.output],
        )


def proprioception(
    columns: list[Column], observation: Observation, origin: Pose, roles: Roles
) -> NDArray[np.float32]:
    """The normalised vector (columns,). `origin`: pose of the base at the episode's first
    observation. Raises PolicyError when a joint is missing."""
    values = _proprioception_values(observation.odometry, origin)
    values["object_in_hand"] = float(observation.object_in_hand)
    for role in ("lift", "arm", "wrist", "gripper"):
        joint = observation.joints.get(getattr(roles, role))
        if joint is not None:
            values[f"joint.{role}"] = joint.position
    row = np.empty(len(columns), np.float32)
    for i, column in enumerate(columns):
        if column.name not in values:
            role = column.name.removeprefix("joint.")
            raise PolicyError(
                f"joint {getattr(roles, role)!r}: the policy needs it, the joint states lack it"
            )
        row[i] = (values[column.name] - column.mean) / column.std
    return row


def _proprioception_values(odometry: Odometry, origin: Pose) -> dict[str, float]:
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


def _log_sum_exp(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    top = logits.max(axis=1, keepdims=True)
    return top + np.log(np.exp(logits - top).sum(axis=1, keepdims=True))


def _expected_inputs(file: PolicyFile) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of every input of the graph, by name."""
    image = ("tensor(uint8)", (1, file.image_height, file.image_width, 3))
    inputs: dict[str, tuple[str, tuple[int, ...]]] = dict.fromkeys(
        file.inputs.images.values(), image
    )
    inputs[file.inputs.proprioception] = ("tensor(float)", (1, len(file.proprioception)))
    inputs[file.inputs.previous_token] = ("tensor(int64)", (1,))
    return inputs


def _check_tensor(
    path: Path,
    what: str,
    expected: tuple[str, tuple[int | None, ...]],
    actual: tuple[str, list[int | str | None]],
) -> None:
    """Compare type and shape; a symbolic dimension of the graph fits any size."""
    kind, shape = expected
    fits = len(shape) == len(actual[1]) and all(
        want is None or not isinstance(have, int) or want == have
        for want, have in zip(shape, actual[1], strict=True)
    )
    if actual[0] != kind or not fits:
        dimensions = ", ".join("steps" if size is None else str(size) for size in shape)
        raise PolicyError(
            f"{path}: {what}: expected {kind} of shape ({dimensions}), "
            f"got {actual[0]} of shape {tuple(actual[1])}"
        )


def _open_session(path: Path, sha256: str) -> onnxruntime.InferenceSession:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise PolicyError(
            f"{path}: expected the sha256 {sha256[:12]}... of policy.yaml, got {found[:12]}...: "
            "the file is cut short or another one"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    available = onnxruntime.get_available_providers()
    try:
        # From the bytes that were hashed, so that what runs is what was checked.
        return onnxruntime.InferenceSession(
            data, options, providers=[name for name in PROVIDERS if name in available]
        )
    except Exception as error:  # ONNX Runtime's own exceptions share no base but this
        raise PolicyError(f"{path}: not a usable ONNX model: {_line(error)}") from error


def _line(error: Exception) -> str:
    """An exception's text on one line."""
    return " ".join(str(error).split())[:300]
