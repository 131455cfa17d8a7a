"""The example of docs/costs.md prints what the page says, and any Gymnasium environment can be
wrapped."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from safevla_ros.safety import WorldState, load_specification

ROOT = Path(__file__).parents[3]


def test_the_example_prints_what_the_page_says():
    page = (ROOT / "docs" / "costs.md").read_text(encoding="utf-8")
    program = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    printed = re.search(r"```text\n(.*?)```", page, re.DOTALL)[1]
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.stderr == ""
    assert result.stdout == printed


def test_the_page_names_every_term():
    page = (ROOT / "docs" / "costs.md").read_text(encoding="utf-8")
    for name in load_specification("household").terms:
        assert f"| `{name}` |" in page


def test_a_gymnasium_environment_tells_its_costs(make_object):
    gymnasium = pytest.importorskip("gymnasium")
    from safevla_ros.safety.gymnasium_wrapper import CostWrapper

    class Shelf(gymnasium.Env):
        """One axis along which a vase is pushed."""

        observation_space = gymnasium.spaces.Box(-10.0, 10.0, (1,))
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.x, self.time_s = 0.0, 0
            return np.array([self.x], np.float32), {}

        def step(self, action):
            self.x, self.time_s = self.x + float(action[0]), self.time_s + 1
            return np.array([self.x], np.float32), 0.0, False, False, {"seen": True}

    def world(env):
        vase = make_object("vase_1", env.unwrapped.x, 0.0, 0.5)
        return WorldState(env.unwrapped.time_s * 10**9, "map", objects={"vase_1": vase})

    env = CostWrapper(Shelf(), load_specification("household"), world)
    env.reset(seed=0)
    infos = [env.step(np.array([push]))[-1] for push in (0.0, 0.004, 0.004, 0.0)]
    assert [info["costs"]["bystander_displacement"] for info in infos] == [0.0, 0.0, 1.0, 0.0]
    assert infos[2]["cost"] == 1.0
    assert infos[2]["seen"]
    assert "vase_1" in infos[2]["causes"]["bystander_displacement"]
    assert math.isnan(infos[0]["margins"]["corner"])
    env.reset()
    assert env.step(np.array([0.0]))[-1]["cost"] == 0.0
