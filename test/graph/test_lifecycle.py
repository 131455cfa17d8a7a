"""What every node of the graph inherits."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State
from std_msgs.msg import String
from std_srvs.srv import Trigger

PROGRAM = Path(__file__).with_name("simple_node.py")


@pytest.fixture
def start(graph):
    """Starts a SimpleNode with the given parameters."""

    def starter(**parameters):
        command = [sys.executable, str(PROGRAM)]
        return graph.start_command(command, "simple_node", **({"robot": "sim"} | parameters))

    return starter


def wait_heard(graph, out):
    """Wait until messages get to the node and back; the publisher of `in`."""
    sender = graph.node.create_publisher(String, "in", 10)
    graph.wait_for(lambda: sender.publish(String(data="a")) or out.messages, "the echo")
    return sender


def test_transitions_and_what_they_make_and_remove(graph, start):
    node = start()
    ticks = graph.collect(String, "tick")
    out = graph.collect(String, "out")
    sender = graph.node.create_publisher(String, "in", 10)
    for _ in range(2):
        assert node.change("configure")
        ticks.wait(since=ticks.mark())
        graph.wait_matched(sender)
        assert node.change("activate")
        graph.wait_for(lambda: sender.publish(String(data="a")) or out.messages, "the echo")
        assert node.change("deactivate")
        assert node.change("cleanup")
        assert node.state() == State.PRIMARY_STATE_UNCONFIGURED
        graph.wait_for(lambda: not sender.get_subscription_count(), "no subscription left")
        out.clear()
    assert node.change("configure")
    assert node.change("shutdown")
    assert node.state() == State.PRIMARY_STATE_FINALIZED
    assert [message.data for message in out.messages] == ["last"]


def test_subscriptions_that_go_in_the_middle_of_traffic_do_not_take_the_node_along(graph, start):
    """The executor holds events of a subscription that is being destroyed."""
    node = start()
    sender = graph.node.create_publisher(String, "in", 10)
    ended = threading.Event()

    def send() -> None:
        while not ended.wait(0.001):
            sender.publish(String(data="a"))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        for _ in range(10):
            assert node.change("configure")
            graph.wait_matched(sender)
            assert node.change("cleanup")
    finally:
        ended.set()
        thread.join()
    assert node.state() == State.PRIMARY_STATE_UNCONFIGURED


def test_a_configuration_error_is_one_sentence(start):
    node = start(robot="generic")
    assert not node.change("configure")
    assert (
        node.output().strip().endswith("cannot configure: robot generic: expected any other robot")
    )
    assert node.state() == State.PRIMARY_STATE_UNCONFIGURED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(graph, start, number):
    node = start().bring_up()
    out = graph.collect(String, "out")
    wait_heard(graph, out)
    node.send(number)
    assert node.wait_exit() == 0
    out.wait(lambda message: message.data == "last", what="the last action")


def test_a_callback_that_raises_ends_it_with_one_sentence(graph, start):
    node = start().bring_up()
    out = graph.collect(String, "out")
    wait_heard(graph, out).publish(String(data="crash"))
    assert node.wait_exit() == 1
    assert "cannot go on: RuntimeError: told to crash (simple_node.py:" in node.output()
    out.wait(lambda message: message.data == "last", what="the last action")


def test_a_callback_error_that_the_node_can_bear_does_not_end_it(graph, start):
    node = start().bring_up()
    out = graph.collect(String, "out")
    ticks = graph.collect(String, "tick")
    client = graph.node.create_client(Trigger, "fail")
    assert graph.call(client, Trigger.Request()).success is False
    assert out.wait().data == "service fail: told to fail"
    ticks.wait(since=ticks.mark())
    assert node.process.poll() is None


def test_diagnostics_tell_the_state(graph, start):
    diagnostics = graph.collect(DiagnosticArray, "/diagnostics")
    node = start(robot="nobody")
    node.change("configure")

    def refused(message):
        status = message.status[0]
        return status.name == "/simple_node" and status.level == DiagnosticStatus.ERROR

    message = diagnostics.wait(refused, what="the refusal")
    assert "robot 'nobody': expected one of" in message.status[0].message


def test_a_parameter_out_of_range_is_refused_at_the_start(start):
    node = start(rate_hz=1000.0)
    assert node.wait_exit() == 1
    assert "cannot start:" in node.output()
    assert "rate_hz" in node.output()
    assert "Traceback" not in node.output()
