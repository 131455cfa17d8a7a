"""Packages that not every user needs: which extra of pyproject.toml brings which.

No verb of the command line and no part of the package has words of its own for one that is missing.
"""

from __future__ import annotations

EXTRAS = {
    "sim": ("gymnasium", "matplotlib", "mujoco", "numba", "scipy"),
    "policy": ("cv2", "onnxruntime"),
    "bags": ("av", "pyarrow"),
    "kinematics": ("pinocchio",),
    "ray": ("ray",),
    "viewer": ("foxglove",),
    "train": ("onnx", "safetensors", "torch"),
}
"""By the names that they are imported by."""


def missing(error: ImportError) -> str | None:
    """What is missing and how to get it, in one sentence; None for a module that is in no extra."""
    module = (error.name or "").partition(".")[0]
    extra = next((name for name, modules in EXTRAS.items() if module in modules), None)
    return None if extra is None else f"{module} is not installed: {how_to_get(extra)}"


def how_to_get(extra: str) -> str:
    """Where an extra comes from."""
    if extra == "train":
        return (
            "in a checkout of safevla_ros `make train-deps`, or without ROS pip install '.[train]'"
        )
    return f"in a checkout of safevla_ros: pip install '.[{extra}]'"
