"""Finds a policy by name or folder.

The scripted experts are not here: they use the simulator's truth, and this package does not know
the simulator. The inference node adds them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from safevla_ros.extras import missing
from safevla_ros.paths import share_directory
from safevla_ros.policy.baselines import DoNothingPolicy, RandomPolicy
from safevla_ros.policy.interface import Policy, PolicyError
from safevla_ros.robot.profile import Roles

Runtime = Literal["onnx", "torch"]
"""What executes a policy folder."""

BUILT_IN: dict[str, Callable[[int], Policy]] = {
    "random": RandomPolicy,
    "do-nothing": lambda seed: DoNothingPolicy(),
}


def load_policy(
    name_or_folder: str, roles: Roles, seed: int = 0, runtime: Runtime = "onnx"
) -> Policy:
    """A built-in policy, one shipped under policies/ by name, or a policy folder by path.

    `roles` map the policy's joints to the robot's; `seed` is that of every random choice;
    `runtime` executes what is in the folder. Raises PolicyError with one sentence.
    """
    if name_or_folder in BUILT_IN:
        return BUILT_IN[name_or_folder](seed)
    folder = policy_folder(name_or_folder)
    try:
        if runtime == "torch":
            from safevla_ros.policy.vla.torch_policy import TorchPolicy

            return TorchPolicy(folder, roles, seed)
        from safevla_ros.policy.onnx_runtime import OnnxPolicy

        return OnnxPolicy(folder, roles, seed)
    except ImportError as error:
        raise PolicyError(f"policy {name_or_folder!r}: {missing(error) or error}") from error


def policy_folder(name_or_folder: str) -> Path:
    """Where a policy that is no built-in lies: a folder by path, or one shipped under policies/.

    Raises PolicyError.
    """
    path = Path(name_or_folder).expanduser()
    if (path / "policy.yaml").is_file():
        return path
    shipped = share_directory() / "policies"
    if (shipped / name_or_folder / "policy.yaml").is_file():
        return shipped / name_or_folder
    if path.is_dir():
        raise PolicyError(f"{path}: expected a policy folder, but it holds no policy.yaml")
    names = sorted([*BUILT_IN, *(file.parent.name for file in shipped.glob("*/policy.yaml"))])
    raise PolicyError(
        f"policy {name_or_folder!r}: expected one of {', '.join(names)}, "
        "or a folder with policy.yaml"
    )
