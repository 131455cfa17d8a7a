"""A compact VLA on disk: weights as safetensors, and a description with their hash.

    vla.json            format, configuration, sha256 of the weights, notes
    vla.safetensors     the weights by name

Nothing in either is executed when it is read. Optimisers and progress of a training are its own
matter and lie elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from safevla_ros.policy.interface import PolicyError
from safevla_ros.policy.vla.configuration import VlaConfiguration
from safevla_ros.policy.vla.modeling import CompactVla

DESCRIPTION = "vla.json"
WEIGHTS = "vla.safetensors"
FORMAT = 2
"""Raised when the meaning of a checkpoint changes."""


def save_checkpoint(folder: Path, model: CompactVla, notes: Mapping[str, Any] | None = None) -> str:
    """Write a model to a folder; return the sha256 of its weights.

    `notes` are kept as they are: what it was trained on, seeds, steps. A run that dies in between
    leaves weights that do not match their description, which loading refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    data = save(weights)
    sha256 = hashlib.sha256(data).hexdigest()
    description = {
        "format": FORMAT,
        "sha256": sha256,
        "configuration": model.configuration.model_dump(mode="json"),
        "notes": dict(notes or {}),
    }
    _replace(folder / WEIGHTS, data)
    _replace(folder / DESCRIPTION, (json.dumps(description, indent=2) + "\n").encode())
    return sha256


def load_checkpoint(folder: Path) -> CompactVla:
    """Read a model, on the CPU and in evaluation mode. Raises PolicyError with one sentence."""
    configuration, sha256 = read_configuration(folder)
    path = folder / WEIGHTS
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise PolicyError(
            f"{path}: expected the sha256 {sha256[:12]}... of {DESCRIPTION}, got {found[:12]}...: "
            "the file is cut short or another one"
        )
    try:
        weights = load(data)
    except SafetensorError as error:
        raise PolicyError(f"{path}: not a usable safetensors file: {error}") from error
    model = CompactVla(configuration)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    got = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in sorted(expected.keys() | got.keys()):
        if expected.get(name) != got.get(name):
            raise PolicyError(
                f"{path}: {name}: expected {_shape(expected.get(name))} by the configuration in "
                f"{DESCRIPTION}, got {_shape(got.get(name))}"
            )
    model.load_state_dict(weights)
    return model.eval()


def read_configuration(folder: Path) -> tuple[VlaConfiguration, str]:
    """The configuration and the sha256 of the weights. Raises PolicyError with one sentence."""
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path}: cannot be read: {error}") from error
    except json.JSONDecodeError as error:
        raise PolicyError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise PolicyError(f"{path}: format: expected {FORMAT}, written by save_checkpoint")
    sha256, configuration = description.get("sha256"), description.get("configuration")
    if not isinstance(sha256, str) or not isinstance(configuration, dict):
        raise PolicyError(f"{path}: expected the keys sha256 and configuration")
    # A default must not stand in for what the weights were trained with.
    if missing := sorted(VlaConfiguration.model_fields.keys() - configuration.keys()):
        raise PolicyError(f"{path}: configuration.{missing[0]}: missing")
    try:
        return VlaConfiguration.model_validate(configuration), sha256
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(["configuration", *map(str, first["loc"])])
        raise PolicyError(f"{path}: {key}: {first['msg']}") from error


def _shape(shape: tuple[int, ...] | None) -> str:
    return "no such tensor" if shape is None else f"shape {shape}"


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_suffix(".partial")
    temporary.write_bytes(data)
    os.replace(temporary, path)
