"""A nested state in one safetensors file: nothing in it is code.

Tensors go by number into the file, everything else as JSON beside them. Numpy arrays come back as
tensors, tuples as lists; keys of dictionaries may be text or whole numbers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from safevla_ros.training.checkpoint import CheckpointError, load_tensors, save_tensors

META = "state"
KIND = "online"


def save_state(path: Path, state: Any) -> None:
    """Write nested dictionaries and lists of numbers, texts, tensors and arrays."""
    tensors: dict[str, Tensor] = {}
    save = json.dumps({"kind": KIND, "state": _packed(state, tensors)})
    save_tensors(path, tensors, {META: save})


def load_state(path: Path) -> Any:
    """Read what `save_state` wrote. Raises CheckpointError."""
    tensors, metadata = load_tensors(path)
    try:
        content = json.loads(metadata[META])
        if content["kind"] != KIND:
            raise KeyError(content["kind"])
        return _unpacked(content["state"], tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: expected the state of an online run: {error}") from error


def _packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        key = str(len(tensors))
        # A copy: safetensors refuses tensors that share memory.
        tensors[key] = value.detach().cpu().clone().contiguous()
        return {"tensor": key}
    if isinstance(value, dict):
        return {"dict": [[key, _packed(item, tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_packed(item, tensors) for item in value]
    return value


def _unpacked(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpacked(item, tensors) for item in value]
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {key: _unpacked(item, tensors) for key, item in value["dict"]}
    return value
