"""`safevla bench sim`: its figures nest by mode and camera, with plain MuJoCo as the baseline."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from safevla_ros.cli.bench_sim import _episodes
from safevla_ros.robot.action_codec import TOKENS
from safevla_ros.simulation.rollout import Rollout


def test_every_mode_and_camera_has_a_rate_and_a_ratio_to_plain_mujoco():
    arguments = ["bench", "sim", "--steps", "10", "--size", "16", "--episodes", "1", "--json"]
    # In a process of its own: MuJoCo chooses its OpenGL when it is imported.
    command = [sys.executable, "-m", "safevla_ros.cli.main", *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    report = json.loads(answer.stdout)
    has_opengl = not report["opengl"].startswith("not available")
    for mode in ("fast", "full"):
        assert set(report[mode]) == {"none", "ray", *(["opengl"] if has_opengl else [])}
        for camera, figures in report[mode].items():
            assert figures["steps_per_s"] > 0.0
            baseline = report["plain"].get("none" if camera == "none" else "opengl")
            if baseline:
                ratio = figures["steps_per_s"] / baseline["steps_per_s"]
                assert figures["ratio"] == pytest.approx(ratio, rel=0.02, abs=0.01)
            else:
                assert "ratio" not in figures
    assert report["home"]["generate_ms"] > 0.0
    assert report["difference"]["episodes"] == 1
    assert report["difference"]["base_mm"]["p95"] < 50.0


def test_episodes_are_an_experts_with_a_quarter_of_the_actions_random_and_end_as_they_do():
    episodes = _episodes(seed=0, steps=140)
    assert sum(len(tokens) for _, tokens in episodes) == 140
    assert len(episodes) == 2
    scenario, tokens = episodes[0]
    rollout = Rollout(image_size=8)
    rollout.reset(scenario)
    expert = []
    for token in tokens:
        expert.append(rollout.expert_token())
        rollout.step(token)
    assert rollout.expert_token() == TOKENS["end"]  # nobody plays on after that
    others = [number for number, token in enumerate(tokens) if token != expert[number]]
    assert len(others) > 0.2 * len(tokens)
    assert all(number % 4 == 3 for number in others)
