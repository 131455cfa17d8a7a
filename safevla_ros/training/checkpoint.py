"""The state of an imitation run in one safetensors file: nothing in it is code."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

META = "progress"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file."""


@dataclass
class Progress:
    """How far a run is: updates, frames learnt from, and seconds of learning."""

    updates: int = 0
    frames: int = 0
    elapsed_s: float = 0.0


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a file that is there whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    save_file({key: value.contiguous() for key, value in tensors.items()}, unfinished, metadata)
    unfinished.rename(path)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file. Raises CheckpointError."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: expected a safetensors file: {error}") from error


def save_run(
    path: Path,
    model: nn.Module,
    averaged: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Write weights, averaged weights, the optimizer's moments and the progress."""
    tensors = {f"model.{key}": value for key, value in model.state_dict().items()}
    tensors |= {f"averaged.{key}": value for key, value in averaged.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in moments.items()}
    save_tensors(path, tensors, {META: json.dumps(asdict(progress))})


def load_run(
    path: Path, model: nn.Module, averaged: nn.Module, optimizer: torch.optim.Optimizer
) -> Progress:
    """Put a run's state back. Raises CheckpointError when the file is not of such a run."""
    tensors, metadata = load_tensors(path)
    try:
        model.load_state_dict(_part(tensors, "model."))
        averaged.load_state_dict(_part(tensors, "averaged."))
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _part(tensors, "optimizer.").items():
            index, name = key.split(".", 1)
            moments.setdefault(int(index), {})[name] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        return Progress(**json.loads(metadata[META]))
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        line = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: expected the state of such a run: {line}") from error


def load_part(path: Path, prefix: str) -> tuple[dict[str, Tensor], Progress]:
    """The tensors under a prefix (`model.` or `averaged.`) of a run's state, and its progress.
    Raises CheckpointError."""
    tensors, metadata = load_tensors(path)
    if META not in metadata:
        raise CheckpointError(f"{path}: expected the state of an imitation run")
    return _part(tensors, prefix), Progress(**json.loads(metadata[META]))


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }
