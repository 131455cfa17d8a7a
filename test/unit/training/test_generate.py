"""Demonstrations are played where torch is not installed: the expert needs none."""

from __future__ import annotations

import json
import os
import subprocess
import sys

PROGRAM = """
import sys
from pathlib import Path

from safevla_ros.training.generate import generate
from safevla_ros.training.settings import EpisodeSettings, ImitationSettings

if __name__ == "__main__":
    episodes = EpisodeSettings(image_size=48, at_once=1, tasks=["find"])
    generate(ImitationSettings(workers=1, episodes=episodes), Path(sys.argv[1]), 1, print)
"""


def test_the_expert_plays_without_torch(tmp_path):
    # Found before the real ones, also by the process that plays.
    for name in ("torch", "safetensors"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('no {name} here')\n")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    run = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "data")],
        capture_output=True,
        text=True,
        timeout=250.0,
        check=False,
        env=dict(os.environ, PYTHONPATH=path),
    )
    assert run.returncode == 0, run.stderr
    index = (tmp_path / "data" / "episodes" / "index.jsonl").read_text(encoding="utf-8")
    assert json.loads(index.splitlines()[0])["task"] == "find"
