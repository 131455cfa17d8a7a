"""The safety package alone: no ROS, no simulator, no learning framework, no kinematics library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
FORBIDDEN = ("rclpy", "pinocchio", "mujoco", "scipy", "torch", "numba", "cv2", "onnxruntime")

PROGRAM = f"""
import sys
for name in {FORBIDDEN!r}:
    sys.modules[name] = None  # importing it raises ImportError

import numpy as np
from safevla_ros.robot.geometry import planar
from safevla_ros.robot.profile import load_profile
from safevla_ros.robot.state import BaseVelocity, Capsule, Command, Contact
from safevla_ros.safety import CostAccountant, Gate, Proposal, Task, WorldState, load_specification

specification = load_specification("household")
accountant = CostAccountant(specification)
accountant.reset("episode", Task(target_class="mug"))
world = WorldState(
    stamp_ns=1_000_000_000, frame="map", base=planar(0, 0), velocity=BaseVelocity(), joints={{}},
    links=(Capsule("base", (0, 0, 0), (0, 0, 1), 0.2),), objects={{}},
    contacts=(Contact("arm", "table"),), obstacles=np.empty((0, 3)),
    sources=dict.fromkeys(("odometry", "joint_states", "localisation", "scan"), 1_000_000_000),
)
accountant.sample(world)
print([term.name for term in accountant.close_step(0).terms if term.cost])
gate = Gate(load_profile("sim"), specification, "enforce")
command = Command(BaseVelocity(x=0.1), duration_s=0.5)
print(gate.propose(Proposal("policy", 1_000_000_000, command), world, 1_000_000_000, 0.0).decision)
loaded = {{name.split(".")[0] for name in sys.modules if sys.modules[name] is not None}}
print(sorted(loaded & {{"pydantic", "yaml", "numpy", "shapely", *{FORBIDDEN!r}}}))
"""


def test_it_works_where_only_numpy_pydantic_pyyaml_and_shapely_are_installed():
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "['collision']",
        "Decision.PASS",
        "['numpy', 'pydantic', 'shapely', 'yaml']",
    ]
