"""A robot whose driver must be told to take commands: the monitor asks before it forwards any."""

from __future__ import annotations

import threading

import pytest
import yaml
from lifecycle_msgs.msg import State
from robot import write_profile
from std_srvs.srv import Trigger

from safevla_ros.msg import GatedAction, Heartbeat
from safevla_ros.nodes import topics

SWITCH_S = 1.5  # longer than a heartbeat may be missed


class Driver:
    """Offers the service, slowly, and answers as it is told to."""

    def __init__(self, graph) -> None:
        self.obeys = False
        self.calls = 0
        graph.node.create_service(Trigger, "switch_mode", self._switch)

    def _switch(self, request, response):
        self.calls += 1
        threading.Event().wait(SWITCH_S)
        response.success = self.obeys
        response.message = "" if self.obeys else "the run-stop is pressed"
        return response


@pytest.fixture
def moded(safety):
    """The safety nodes, watchdog active and monitor inactive, for a robot with a mode service."""
    outputs = yaml.safe_load(safety.profile.read_text())["outputs"]
    outputs["mode_service"] = {"service": "switch_mode"}
    write_profile(safety.folder, outputs=outputs)
    return safety


def test_it_forwards_only_after_the_robot_has_switched(moded):
    moded.start()
    moded.watchdog.bring_up()
    beats = moded.graph.collect(Heartbeat, topics.WATCHDOG_HEARTBEAT, 10)
    assert moded.monitor.change("configure")
    assert not moded.monitor.change("activate")
    assert "outputs.mode_service: switch_mode: nobody offers it" in moded.monitor.output()

    driver = Driver(moded.graph)
    assert not moded.monitor.change("activate")
    assert "the robot refused: the run-stop is pressed" in moded.monitor.output()
    assert moded.monitor.state() == State.PRIMARY_STATE_INACTIVE

    driver.obeys = True
    assert moded.monitor.change("activate")
    assert driver.calls == 2
    moded.robot.wait_ready()
    assert moded.robot.wait_verdict(moded.robot.propose(x=0.2)).decision == GatedAction.PASS
    assert not any(beat.latched for beat in beats.messages), "the watchdog missed the monitor"


def test_in_shadow_the_robot_is_left_in_its_mode(moded):
    driver = Driver(moded.graph)
    moded.start(mode="shadow")
    moded.watchdog.bring_up()
    moded.monitor.bring_up()
    assert driver.calls == 0
