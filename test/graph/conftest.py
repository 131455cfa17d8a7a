"""Makes fixtures.py, harness.py and robot.py known to the tests beside it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fixtures import domain, graph, pytest_runtest_makereport, running, safety

__all__ = ["domain", "graph", "pytest_runtest_makereport", "running", "safety"]
