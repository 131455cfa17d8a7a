"""A tiny policy of continuous chunks: the same encoders, and rows of physical values as output.

It shows that everything between a per-sample loss and the robot takes such policies too. It has no
memory; a chunk is regressed at once, with the absolute error of ACT (Zhao et al., arXiv 2304.13705).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from safevla_ros.policy.description import ChunkPolicyFile, Inputs
from safevla_ros.policy.features import ActionColumn, BudgetTerm, Strict
from safevla_ros.policy.vla.configuration import VlaConfiguration
from safevla_ros.policy.vla.export import trace_graph, write_policy_files
from safevla_ros.policy.vla.modeling import CameraEncoder, InstructionEncoder
from safevla_ros.policy.vla.processor import image_key, input_shapes


class ChunkConfiguration(Strict):
    """Encoders as in `vla`; a chunk has `steps` rows of `step_s`, with `columns`."""

    vla: VlaConfiguration
    columns: Annotated[tuple[ActionColumn, ...], Field(min_length=1)]
    steps: Annotated[int, Field(ge=1, le=200)]
    step_s: Annotated[float, Field(gt=0.0, le=10.0)]


class ChunkVla(nn.Module):
    """See the module's docstring. N samples side by side; they know nothing of each other."""

    def __init__(self, configuration: ChunkConfiguration) -> None:
        super().__init__()
        self.configuration = configuration
        c = configuration.vla
        self.instruction = InstructionEncoder(c)
        self.query = nn.Linear(c.instruction_width, c.query_width)
        self.cameras = nn.ModuleDict({name: CameraEncoder(c) for name in c.cameras})
        width = len(c.cameras) * c.image_width + c.instruction_width + len(c.proprioception)
        values = configuration.steps * len(configuration.columns)
        self.fuse = nn.Linear(width, c.memory_width)
        if c.budget_terms:
            # Zero: a policy that is given this input later acts as before until it is trained.
            self.budget = nn.Linear(2 * len(c.budget_terms), c.memory_width, bias=False)
            nn.init.zeros_(self.budget.weight)
        self.out = nn.Linear(c.memory_width, values)
        columns = configuration.columns
        self.register_buffer("mean", torch.tensor([column.mean for column in columns]))
        self.register_buffer("std", torch.tensor([column.std for column in columns]))

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Normalised chunks (N, steps, columns) for the arrays of processor.py with N in front."""
        values = self.out(self.encode(inputs))
        return values.unflatten(-1, (self.configuration.steps, len(self.configuration.columns)))

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """(N, memory_width) what the chunk is read from."""
        context = self.instruction(inputs["instruction"])
        query = self.query(context)
        parts = [
            encoder(inputs[image_key(name)], context, query)[0]
            for name, encoder in self.cameras.items()
        ]
        fused = self.fuse(torch.cat([*parts, context, inputs["proprioception"]], dim=-1))
        if self.configuration.vla.budget_terms:
            fused = fused + self.budget(inputs["budget"])
        return functional.relu(fused)

    def policy_loss(self, inputs: Mapping[str, Tensor], chunks: Tensor, mask: Tensor) -> Tensor:
        """(N,) mean absolute error, in standard deviations, against physical values `chunks`
        (N, steps, columns) where `mask` (N, steps) is true; one a sample and not reduced, so that
        learning from bags can weight each."""
        error = functional.l1_loss(
            self(inputs), (chunks - self.mean) / self.std, reduction="none"
        ).mean(-1)
        return (error * mask).sum(-1) / mask.sum(-1).clamp(min=1)


def extended(model: ChunkVla, budget_terms: Sequence[BudgetTerm]) -> ChunkVla:
    """A copy of a trained model that is told these budgets; it acts as the model does until it is
    trained."""
    vla = model.configuration.vla
    changed = vla.model_copy(update={"budget_terms": tuple(budget_terms)})
    copy = ChunkVla(model.configuration.model_copy(update={"vla": changed}))
    kept = dict(model.state_dict())
    if changed.budget_terms != vla.budget_terms:
        kept.pop("budget.weight", None)
    copy.load_state_dict(kept, strict=False)
    return copy.train(model.training)


def export_chunk_policy(folder: Path, model: ChunkVla, policy_id: str) -> ChunkPolicyFile:
    """Write policy.yaml and policy.onnx to a folder; return what policy.yaml says."""
    c = model.configuration.vla
    shapes = input_shapes(c.features)
    keys = [*map(image_key, c.cameras), "proprioception", "instruction"]
    keys += ["budget"] * bool(c.budget_terms)
    data = trace_graph(
        lambda *arrays: model(dict(zip(keys, arrays, strict=True))),
        model,
        {key: shapes[key] for key in keys},
        ["chunk"],
    )
    description = ChunkPolicyFile(
        id=policy_id,
        sha256=hashlib.sha256(data).hexdigest(),
        representation="continuous",
        image_height=c.image_size,
        image_width=c.image_size,
        inputs=Inputs(
            images={camera: image_key(camera) for camera in c.cameras},
            proprioception="proprioception",
            instruction="instruction",
            budget="budget" if c.budget_terms else None,
        ),
        output="chunk",
        proprioception=list(c.proprioception),
        vocabulary=c.vocabulary,
        instruction_length=c.instruction_length,
        budget_terms=c.budget_terms,
        step_s=model.configuration.step_s,
        columns=model.configuration.columns,
    )
    write_policy_files(folder, description, data)
    return description
