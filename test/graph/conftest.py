"""Fixtures of the graph tests. Each test process has a ROS domain of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import Graph, own_domain
from robot import Robot, write_profile


@pytest.fixture(scope="session", autouse=True)
def domain():
    """The ROS domain of this test process."""
    with own_domain() as number:
        yield number


@pytest.fixture
def graph(tmp_path, domain, request):
    """Starts node processes; ends them all, and shows what they printed when the test failed."""
    started = Graph(tmp_path)
    yield started
    started.close()
    if getattr(request.node, "failed", False):
        print(started.logs())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        item.failed = report.failed
    return report


class SafetyGraph:
    """Watchdog and monitor, not yet configured, around a robot made of messages."""

    def __init__(self, graph, folder) -> None:
        self.graph = graph
        self.folder = folder
        self.profile = write_profile(folder)
        self.robot = Robot(graph)

    def start(self, **parameters):
        """Start both processes; `parameters` are the monitor's."""
        parameters.setdefault("robot", self.profile)
        self.watchdog = self.graph.start("safety_watchdog", robot=self.profile)
        self.monitor = self.graph.start("cost_monitor", **parameters)
        return self

    def bring_up(self, **parameters):
        """Start both and bring them to active, until the monitor would pass a candidate."""
        self.start(**parameters)
        self.watchdog.bring_up()
        self.monitor.bring_up()
        self.robot.wait_ready()
        return self


@pytest.fixture
def safety(graph, tmp_path):
    """The safety nodes and a robot; see SafetyGraph."""
    made = SafetyGraph(graph, tmp_path)
    yield made
    made.robot.close()
