"""From a trained CompactVla to a policy folder that a robot runs: one step as an ONNX graph.

The graph takes one observation and the state of the memory, and gives logits and the next state, so
that a step costs the same however long the episode is.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from safevla_ros.policy.description import Inputs, PolicyFile, State, TokenPolicyFile
from safevla_ros.policy.selection import Selection
from safevla_ros.policy.vla.checkpoint import save_checkpoint
from safevla_ros.policy.vla.modeling import CompactVla
from safevla_ros.policy.vla.processor import image_key, input_shapes

OPSET = 17
"""The first with layer normalisation; every ONNX Runtime that we allow knows it."""


def export_policy(
    folder: Path,
    model: CompactVla,
    policy_id: str,
    selection: Selection = "sample",
    temperature: float = 0.5,
    notes: Mapping[str, Any] | None = None,
) -> TokenPolicyFile:
    """Write policy.yaml, policy.onnx and the checkpoint to a folder; return what policy.yaml says.

    `notes` go into the checkpoint (see checkpoint.py). Training may go on with the model.
    """
    save_checkpoint(folder, model, notes)
    data = to_onnx(model)
    c, keys = model.configuration, input_shapes(model.configuration.features)
    description = TokenPolicyFile(
        id=policy_id,
        sha256=hashlib.sha256(data).hexdigest(),
        representation="token",
        image_height=c.image_size,
        image_width=c.image_size,
        inputs=Inputs(
            images={camera: image_key(camera) for camera in c.cameras},
            **{key: key for key in keys if not key.startswith("image_")},
        ),
        state=State(input="state", output="next_state", width=c.memory_width),
        output="logits",
        actions=list(c.actions),
        proprioception=list(c.proprioception),
        vocabulary=c.vocabulary,
        instruction_length=c.instruction_length,
        budget_terms=c.budget_terms,
        selection=selection,
        temperature=temperature,
    )
    write_policy_files(folder, description, data)
    return description


def write_policy_files(folder: Path, description: PolicyFile, graph: bytes) -> None:
    """Write policy.onnx and policy.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / description.file).write_bytes(graph)
    text = yaml.safe_dump(
        description.model_dump(mode="json", exclude_none=True), sort_keys=False, width=100
    )
    (folder / "policy.yaml").write_text(text, encoding="utf-8")


def to_onnx(model: CompactVla) -> bytes:
    """The graph of one step of one episode, inputs named by their keys, and `state`."""
    shapes = input_shapes(model.configuration.features)

    def step(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        *arrays, state = tensors
        inputs = {key: array.unsqueeze(1) for key, array in zip(shapes, arrays, strict=True)}
        return model.act(inputs, state)

    state = {"state": (np.float32, (model.configuration.memory_width,))}
    return trace_graph(step, model, shapes | state, ["logits", "next_state"])


def trace_graph(
    function: Callable[..., Tensor | tuple[Tensor, ...]],
    model: nn.Module,
    inputs: Mapping[str, tuple[type[np.generic], tuple[int, ...]]],
    outputs: Sequence[str],
) -> bytes:
    """The ONNX graph of `function`, which calls `model`, at batch size 1. `inputs` by name, in the
    order of its arguments: type, and shape without the batch."""
    device = next(model.parameters()).device
    example = tuple(
        torch.zeros(1, *shape, dtype=getattr(torch, kind.__name__), device=device)
        for kind, shape in inputs.values()
    )
    buffer = io.BytesIO()
    was_training = model.training
    traced = _Traced(function, model).eval()
    with warnings.catch_warnings():
        # The exporter by tracing is old, but it needs no package beyond torch.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        torch.onnx.export(
            traced,
            example,
            buffer,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamo=False,
        )
    model.train(was_training)
    return buffer.getvalue()


class _Traced(nn.Module):
    """A function as the module that the exporter wants; it holds the weights."""

    def __init__(self, function: Callable[..., Any], model: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.model = model

    def forward(self, *tensors: Tensor) -> Any:
        """Call the function."""
        return self.function(*tensors)
