"""Fixtures of the system tests: a ROS domain of their own, as the graph tests have it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "graph"))

from harness import own_domain


@pytest.fixture(scope="session", autouse=True)
def domain():
    """The ROS domain of this test process."""
    with own_domain() as number:
        yield number
