"""Runs a policy folder (see description.py) with ONNX Runtime.

On a GPU where ONNX Runtime has a provider for one, else on the CPU with one thread: the gate and
the simulator share the machine, and at batch size 1 a second thread costs more than it gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from safevla_ros.policy.description import ChunkPolicyFile, PolicyFile, read_description, read_graph
from safevla_ros.policy.features import ActionColumn
from safevla_ros.policy.interface import (
    ActionChunk,
    Instruction,
    Observation,
    PolicyDescription,
    PolicyError,
)
from safevla_ros.policy.selection import select
from safevla_ros.policy.vla.processor import NO_TOKEN, Processor, input_shapes
from safevla_ros.robot.profile import Roles

PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
"""In order of preference."""


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
        self._session = open_session(self._path, self._file.sha256)
        self._check_graph()
        self.description = PolicyDescription(
            id=self._file.id,
            representation=self._file.representation,
            image_height=self._file.image_height,
            image_width=self._file.image_width,
            sha256=self._file.sha256,
            step_s=self._file.step_s if isinstance(self._file, ChunkPolicyFile) else 0.0,
        )
        self._processor = Processor(self._file.features(), roles)
        self._previous_token = NO_TOKEN
        self._state = self._no_memory()
        self._run(self._empty_inputs())

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers in use, the preferred one first."""
        return tuple(self._session.get_providers())

    def reset(self, instruction: Instruction) -> None:
        """Forget the last episode."""
        self._processor.reset(instruction)
        self._previous_token = NO_TOKEN
        self._state = self._no_memory()

    def act(self, observation: Observation) -> ActionChunk:
        """The next actions; tokens with their log-probabilities. Raises PolicyError on unusable input."""
        arrays = self._processor(observation, self._previous_token)
        names = self._file.inputs.by_key()
        inputs = {name: arrays[key][np.newaxis] for key, name in names.items()}
        output, self._state = self._run(inputs | self._state)
        if isinstance(self._file, ChunkPolicyFile):
            return continuous_chunk(self._file.columns, output, self._roles)
        chosen, log_p = select(output, self._file.selection, self._file.temperature, self._rng)
        tokens = tuple(chosen.tolist())
        self._previous_token = tokens[-1]
        return ActionChunk("token", tokens=tokens, log_probabilities=tuple(log_p.tolist()))

    def _no_memory(self) -> dict[str, NDArray]:
        """The input that carries what is remembered, at the start of an episode."""
        state = self._file.state
        return {} if state is None else {state.input: np.zeros((1, state.width), np.float32)}

    def _empty_inputs(self) -> dict[str, NDArray]:
        types = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(int64)": np.int64}
        return {
            name: np.zeros(shape, types[kind])
            for name, (kind, shape) in _expected_inputs(self._file).items()
        }

    def _run(self, inputs: Mapping[str, NDArray]) -> tuple[NDArray[np.float64], dict[str, NDArray]]:
        """The output (steps, values), checked, and the state for the next call."""
        state = self._file.state
        wanted = [self._file.output, *([state.output] if state else [])]
        try:
            output, *after = self._session.run(wanted, dict(inputs))
        except Exception as error:  # ONNX Runtime's own exceptions share no base but this
            raise PolicyError(f"{self._path}: the graph does not run: {_line(error)}") from error
        if output.ndim != 3 or output.shape[0] != 1 or output.shape[2] != self._file.output_width:
            raise PolicyError(
                f"{self._path}: output {self._file.output!r}: expected shape "
                f"(1, steps, {self._file.output_width}), got {output.shape}"
            )
        if output.shape[1] < 1 or not np.isfinite(output).all():
            raise PolicyError(
                f"{self._path}: output {self._file.output!r}: expected at least one step of "
                "finite values"
            )
        remembered = {state.input: after[0]} if state else {}
        return output[0].astype(np.float64), remembered

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
        wanted: dict[str, tuple[int | None, ...]] = {
            self._file.output: (1, None, self._file.output_width)
        }
        if self._file.state is not None:
            wanted[self._file.state.output] = (1, self._file.state.width)
        for name, sizes in wanted.items():
            if name not in outputs:
                raise PolicyError(
                    f"{self._path}: no output {name!r}, which policy.yaml names; "
                    f"the graph has {sorted(outputs)}"
                )
            expectation = ("tensor(float)", sizes)
            _check_tensor(self._path, f"output {name!r}", expectation, outputs[name])


def continuous_chunk(
    columns: Sequence[ActionColumn], output: NDArray[np.float64], roles: Roles
) -> ActionChunk:
    """The chunk that normalised values (steps, columns) mean on a robot with these roles."""
    mean, std = (np.array([getattr(column, key) for column in columns]) for key in ("mean", "std"))
    names = tuple(
        getattr(roles, column.name.removeprefix("joint."))
        if column.name.startswith("joint.")
        else column.name
        for column in columns
    )
    return ActionChunk("continuous", names=names, data=output * std + mean)


def _expected_inputs(file: PolicyFile) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of every input of the graph, by name."""
    kinds: dict[type[np.generic], str] = {
        np.uint8: "tensor(uint8)",
        np.float32: "tensor(float)",
        np.int64: "tensor(int64)",
    }
    shapes = input_shapes(file.features())
    inputs = {
        name: (kinds[shapes[key][0]], (1, *shapes[key][1]))
        for key, name in file.inputs.by_key().items()
    }
    if file.state is not None:
        inputs[file.state.input] = (kinds[np.float32], (1, file.state.width))
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


def open_session(path: Path, sha256: str = "") -> onnxruntime.InferenceSession:
    """A session of a file, on the best provider there is. Raises PolicyError when the file cannot be
    used, or is not the one with that hash (empty: any)."""
    data = read_graph(path, sha256)
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
