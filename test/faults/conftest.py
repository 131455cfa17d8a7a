"""The fault tests use the same graph as the graph tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "graph"))

from fixtures import domain, graph, pytest_runtest_makereport, running, safety

__all__ = ["domain", "graph", "pytest_runtest_makereport", "running", "safety"]
