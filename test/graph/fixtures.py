"""Fixtures of the graph tests. Each test process has a ROS domain of its own."""

from __future__ import annotations

import pytest
from harness import Graph, own_domain
from robot import safety_graph


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
    elif call.when == "teardown" and getattr(item, "failed", False):
        end_shared(item)
    return report


def end_shared(item):
    """End what the tests of a class share: a node of it may have died. The failed test, if it is run
    once more, and those after it get it anew; pytest keeps it for the whole class."""
    for definitions in item._fixtureinfo.name2fixturedefs.values():
        for definition in definitions:
            if definition.scope == "class":
                definition.finish(item._request)


@pytest.fixture
def safety(tmp_path, domain, request):
    """The safety nodes, not yet started, and a robot; see SafetyGraph."""
    with safety_graph(tmp_path) as made:
        yield made
        if getattr(request.node, "failed", False):
            print(made.graph.logs())


@pytest.fixture(scope="class")
def running(domain, tmp_path_factory):
    """The safety nodes, active, for the tests of one class."""
    with safety_graph(tmp_path_factory.mktemp("running")) as made:
        yield made.bring_up()
