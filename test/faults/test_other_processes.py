"""What happens when the camera node, the policy or the recorder dies, hangs or comes back, and when
the cameras freeze, while a policy drives: a chunk policy from its file, all nodes real.

The robot stands whenever nobody sees where it goes, SafetyStatus says why, and it goes on by itself
when all is well again. Nobody notices that the recorder is gone.
"""

from __future__ import annotations

import array
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from rclpy.qos import qos_profile_sensor_data
from robot import moves, safety_graph
from sensor_msgs.msg import Image

from safevla_ros.action import RunPolicy
from safevla_ros.msg import Episode
from safevla_ros.nodes import topics
from safevla_ros.robot.messages import set_stamp

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "policy"))

import tiny_policy

SIZE = tiny_policy.SIZE
CAMERAS = ("navigation", "manipulation")
STANDS = 40
"""Final commands in a row that move nothing: longer than a policy's pause between two steps."""


class Cameras:
    """Both cameras at 20 Hz: noise, or the same pixels again while `frozen`."""

    def __init__(self, node) -> None:
        self.frozen = False
        self._random = np.random.default_rng(0)
        self._publishers = [
            node.create_publisher(Image, f"camera/{name}/image", qos_profile_sensor_data)
            for name in CAMERAS
        ]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pixels = b""
        while not self._ended.wait(0.05):
            if not self.frozen or not pixels:
                pixels = self._random.integers(256, size=SIZE * SIZE * 3, dtype=np.uint8).tobytes()
            stamp = time.time_ns()
            for publisher in self._publishers:
                image = Image(height=SIZE, width=SIZE, encoding="rgb8", step=3 * SIZE)
                image.data = array.array("B", pixels)
                set_stamp(image.header.stamp, stamp)
                publisher.publish(image)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()


class Around:
    """The safety nodes and everything around them, with a policy that drives straight on."""

    def __init__(self, safety, folder: Path) -> None:
        self.safety, self.graph, self.robot = safety, safety.graph, safety.robot
        self.folder = folder
        self.cameras = Cameras(self.graph.node)
        self.goals = self.graph.action_client(RunPolicy, topics.RUN_POLICY)
        tiny_policy.write_chunk(folder)
        safety.bring_up()
        self.ingest, self.inference = self.start_ingest(), self.start_inference()
        self.recorder = self.graph.start(
            "training_bridge", robot=safety.profile, directory=folder / "bags"
        ).bring_up()

    def start_ingest(self):
        return self.graph.start(
            "camera_ingest", robot=self.safety.profile, image_height=SIZE, image_width=SIZE
        ).bring_up()

    def start_inference(self):
        node = self.graph.start(
            "vla_inference",
            robot=self.safety.profile,
            policy=self.folder,
            observation_timeout_s=60.0,
        ).bring_up()
        assert self.goals.wait_for_server(30.0)
        return node

    def drive(self) -> None:
        """The policy moves the robot, from a new goal on if none runs."""
        if not self.robot.statuses.messages[-1].episode_id:
            self.goals.send_goal_async(RunPolicy.Goal(instruction="go on"))
        self.wait_driving()

    def wait_driving(self) -> None:
        self.robot.wait_moving(since=self.robot.final.mark())

    def wait_stand(self, reason: str):
        """A status with this reason, and a robot that stands."""
        status = self.robot.statuses.wait(
            lambda status: status.reason == reason,
            what=reason,
            since=max(0, self.robot.statuses.mark() - 1),
        )
        since = self.robot.final.mark()

        def stands() -> bool:
            """Of late, and not only between two commands."""
            last = self.robot.final.messages[since:][-STANDS:]
            return len(last) == STANDS and not any(moves(twist) for twist in last)

        self.graph.wait_for(stands, f"a robot that stands for {reason}")
        return status


@pytest.fixture(scope="class")
def around(domain, tmp_path_factory):
    folder = tmp_path_factory.mktemp("around")
    with safety_graph(folder) as safety:
        made = Around(safety, folder)
        yield made
        made.cameras.close()


class TestAround:
    @pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL])
    def test_nobody_notices_what_becomes_of_the_recorder(self, around, number):
        around.drive()
        statuses = around.robot.statuses
        since = statuses.mark()
        around.recorder.send(number)
        statuses.wait(what="statuses", since=since + 10)
        around.wait_driving()
        # A command may be over before a busy machine has the next one ready.
        reasons = {status.reason for status in statuses.messages[since:]}
        assert reasons <= {"accepted", "expired"}

    def test_frozen_cameras_stand_the_robot_until_they_live_again(self, around):
        around.drive()
        around.cameras.frozen = True
        status = around.wait_stand("frozen_camera")
        assert "navigation" in status.detail
        assert not status.latched
        around.cameras.frozen = False
        around.wait_driving()

    def test_a_stopped_camera_node_stands_the_robot_until_it_is_revived(self, around):
        around.drive()
        around.ingest.send(signal.SIGSTOP)
        status = around.wait_stand("lost_camera")
        assert topics.CAMERA_STATUS in status.detail
        around.ingest.send(signal.SIGCONT)
        around.wait_driving()

    def test_a_killed_camera_node_stands_the_robot_until_another_one_runs(self, around):
        around.drive()
        around.ingest.send(signal.SIGKILL)
        around.wait_stand("lost_camera")
        around.ingest = around.start_ingest()
        around.wait_driving()

    def test_a_stopped_policy_is_a_halt_and_its_revival_plans_anew(self, around):
        around.drive()
        episodes = around.graph.collect(Episode, topics.EPISODE)
        around.inference.send(signal.SIGSTOP)
        around.wait_stand("expired")
        around.inference.send(signal.SIGCONT)
        around.wait_driving()
        assert not episodes.messages  # the same one goes on

    def test_a_killed_policy_is_a_halt_and_its_successor_moves_nothing_unasked(self, around):
        around.drive()
        around.inference.send(signal.SIGKILL)
        around.wait_stand("expired")
        around.inference = around.start_inference()
        since = around.robot.final.mark()
        around.robot.statuses.wait(lambda s: not s.episode_id, what="the episode's end")
        around.robot.final.wait_entry(what="more", since=since + 25)
        assert not any(moves(twist) for twist in around.robot.final.messages[since:])
        around.drive()
