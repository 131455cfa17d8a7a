"""`safevla bench sim`: its figures nest by mode and camera, with plain MuJoCo as the baseline."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


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
