"""The cost monitor as a process of its own, with the watchdog, over real DDS."""

from __future__ import annotations

import pytest
from robot import moves

from safevla_ros.msg import GatedAction


@pytest.mark.smoke
def test_a_good_candidate_becomes_a_final_command(safety):
    robot = safety.bring_up().robot
    candidate = robot.propose(x=0.2)
    assert robot.wait_verdict(candidate).decision == GatedAction.PASS
    _, command = robot.wait_moving()
    assert command.linear.x == 0.2
    robot.final.wait(
        lambda twist: not moves(twist), what="a stand after the command", since=robot.final.mark()
    )
