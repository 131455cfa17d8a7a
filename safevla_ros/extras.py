"""What to install where a package is missing.

`pip install .` brings PACKAGES; with a ROS 2 of the system's, rosdep brings most of them. No verb of the
command line and no part of the package has words of its own for one that is missing.
"""

from __future__ import annotations

PACKAGES = {
    "av": "av",
    "cv2": "opencv-python-headless",
    "gymnasium": "gymnasium",
    "matplotlib": "matplotlib",
    "mujoco": "mujoco",
    "numba": "numba",
    "onnxruntime": "onnxruntime",
    "pinocchio": "pin",
    "pyarrow": "pyarrow",
    "scipy": "scipy",
}
"""Their names on PyPI, by the names that they are imported by. Without these the safety core and the
reader of bags work all the same."""

EXTRAS = {
    "ray": ("ray",),
    "viewer": ("foxglove",),
    "train": ("onnx", "safetensors", "torch"),
}
"""Which extra of pyproject.toml brings what, by the names that it is imported by."""


def missing(error: ImportError) -> str | None:
    """What is missing and how to get it, in one sentence; None for a module that is none of these."""
    module = (error.name or "").partition(".")[0]
    if module in PACKAGES:
        return f"{module} is not installed: pip install {PACKAGES[module]}"
    extra = next((name for name, modules in EXTRAS.items() if module in modules), None)
    return None if extra is None else f"{module} is not installed: {how_to_get(extra)}"


def how_to_get(extra: str) -> str:
    """Where an extra comes from."""
    if extra == "train":
        return (
            "in a checkout of safevla_ros `make train-deps`, or without ROS pip install '.[train]'"
        )
    return f"in a checkout of safevla_ros: pip install '.[{extra}]'"
