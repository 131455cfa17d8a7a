"""Who may publish final commands, by what the graph tells of each publisher."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from safevla_ros.nodes.monitor.final_topics import LOOKS, UNKNOWN, FinalTopics
from safevla_ros.robot.profile import load_profile


def publisher(name, namespace="/", gid=1):
    return SimpleNamespace(node_name=name, node_namespace=namespace, endpoint_gid=[gid] * 16)


@pytest.fixture
def graph():
    """A node that sees these publishers on cmd_vel."""
    node = SimpleNamespace(found=[], get_namespace=lambda: "/")
    node.get_publishers_info_by_topic = lambda topic: node.found if topic == "cmd_vel" else []
    node.looks = FinalTopics(node, load_profile("sim"))
    return node


def test_monitor_and_watchdog_of_this_graph_may_and_others_may_not(graph):
    graph.found = [publisher("cost_monitor"), publisher("safety_watchdog")]
    assert graph.looks.intruders() == {}
    graph.found += [publisher("teleop", gid=2), publisher("cost_monitor", "/other", gid=3)]
    sentences = sorted(graph.looks.intruders().values())
    assert [sentence.split(" publishes")[0] for sentence in sentences] == [
        "/other/cost_monitor",
        "/teleop",
    ]


def test_a_publisher_without_a_name_counts_when_it_never_gets_one(graph):
    graph.found = [publisher(UNKNOWN)]
    for _ in range(LOOKS - 1):
        assert graph.looks.intruders() == {}
    (sentence,) = graph.looks.intruders().values()
    assert sentence.startswith("somebody who is not a ROS node publishes final commands on cmd_vel")


def test_one_whose_name_is_found_late_is_nobody_new(graph):
    for _ in range(LOOKS - 1):
        graph.found = [publisher(UNKNOWN)]
        assert graph.looks.intruders() == {}
    graph.found = [publisher("cost_monitor")]
    assert graph.looks.intruders() == {}
    graph.found = [publisher(UNKNOWN)]
    assert graph.looks.intruders() == {}, "the count begins anew"
