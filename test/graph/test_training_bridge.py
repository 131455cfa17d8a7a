"""The recorder as a process of its own, fed over real DDS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosbags.rosbag2 import Reader

from safevla_ros.action import RecordEpisode
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.reader import Bag
from safevla_ros.msg import Contacts, CostSpecification, CostVector, Episode, TermCost
from safevla_ros.nodes import topics
from safevla_ros.nodes.process import programs_folder
from safevla_ros.paths import share_directory

DOMAIN = int(os.environ.get("ROS_DOMAIN_ID", "62"))
PATIENCE_S = 20.0


class Graph:
    """What stands around the recorder: a node that publishes what the others would."""

    def __init__(self) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = Node("the_others", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.diagnostics: dict[str, Any] = {}
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._hear, 10)
        self.episode = self.node.create_publisher(Episode, topics.EPISODE, topics.latched())
        self.odometry = self.node.create_publisher(Odometry, "odom", topics.reliable())
        self.number = 0

    def _hear(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "/training_bridge":
                self.diagnostics = {item.key: item.value for item in status.values}
                self.diagnostics |= {"level": status.level, "message": status.message}

    def until(self, condition: Callable[[], Any], what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, f"in vain waited for {what}"
            self.executor.spin_once(timeout_sec=0.05)

    def result(self, future: Any, what: str) -> Any:
        self.until(future.done, what)
        return future.result()

    def move(self) -> int:
        """Publish the next odometry; its number."""
        self.number += 1
        message = Odometry()
        message.header.stamp.sec = self.number
        self.odometry.publish(message)
        return self.number

    def set_episode(self, name: str, state: int, **fields: Any) -> None:
        self.episode.publish(
            Episode(id=name, state=state, instruction="find the mug", policy_id="random", **fields)
        )

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)


class Bridge:
    """The recorder's process."""

    def __init__(self, graph: Graph, directory: Path, log: Path, **parameters: object) -> None:
        self.graph = graph
        self.directory = directory
        self.log = log
        given = {"robot": "sim", "directory": str(directory), "min_free_disk_mib": 1, **parameters}
        command = [str(programs_folder() / "training_bridge"), "--ros-args"]
        for name, value in given.items():
            command += ["-p", f"{name}:={value}"]
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                command,
                stdout=stream,
                stderr=stream,
                env=dict(os.environ, ROS_DOMAIN_ID=str(DOMAIN)),
            )
        self._change = graph.node.create_client(ChangeState, "/training_bridge/change_state")
        graph.until(self._change.service_is_ready, "the recorder's process")

    def order(self, transition: int) -> bool:
        request = ChangeState.Request()
        request.transition.id = transition
        return self.graph.result(self._change.call_async(request), "a transition").success

    def activate(self) -> Bridge:
        assert self.order(Transition.TRANSITION_CONFIGURE)
        assert self.order(Transition.TRANSITION_ACTIVATE)
        self.graph.until(
            lambda: (
                self.graph.odometry.get_subscription_count()
                and self.graph.episode.get_subscription_count()
            ),
            "its subscriptions",
        )
        return self

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def output(self) -> str:
        return self.log.read_text()


@pytest.fixture
def graph() -> Iterator[Graph]:
    made = Graph()
    yield made
    made.close()


@pytest.fixture
def start(graph: Graph, tmp_path: Path) -> Iterator[Callable[..., Bridge]]:
    """Starts the recorder; it is gone when the test is over."""
    started: list[Bridge] = []

    def make(directory: Path | None = None, **parameters: object) -> Bridge:
        bridge = Bridge(graph, directory or tmp_path / "bags", tmp_path / "log.txt", **parameters)
        started.append(bridge)
        return bridge

    yield make
    for bridge in started:
        if bridge.process.poll() is None:
            bridge.process.kill()
        bridge.process.wait(PATIENCE_S)


def exists(folder: Path) -> bool:
    """Whether a bag has been begun."""
    return any(folder.glob("*.mcap"))


def odometry_in(folder: Path) -> list[int]:
    """Numbers of the odometry messages in a bag, finished or not."""
    return [message.header.stamp.sec for _, message in Bag(folder).decoded(["/odom"])]


@pytest.mark.smoke
def test_an_episode_becomes_a_bag_with_what_was_before_and_how_it_ended(
    graph: Graph, start: Callable[..., Bridge]
) -> None:
    specification = graph.node.create_publisher(
        CostSpecification, topics.COST_SPECIFICATION, topics.latched()
    )
    specification.publish(CostSpecification(name="household", hash="abc"))
    costs = graph.node.create_publisher(CostVector, topics.COST_VECTOR, topics.reliable())
    diagnostics = graph.node.create_publisher(DiagnosticArray, "/diagnostics", 10)
    bridge = start().activate()
    graph.until(costs.get_subscription_count, "the recorder to listen to costs")

    status = DiagnosticStatus(name="/sim_robot", values=[KeyValue(key="scenario", value="default")])
    diagnostics.publish(DiagnosticArray(status=[status]))
    sent = [graph.move() for _ in range(5)]
    graph.set_episode("e/1", Episode.RUNNING)
    graph.until(lambda: exists(bridge.directory / "e_1"), "the bag")
    sent += [graph.move() for _ in range(5)]
    costs.publish(CostVector(episode_id="e/1", terms=[TermCost(name="drop", cumulative=2.0)]))
    graph.set_episode("e/1", Episode.ENDED, outcome=Episode.SUCCESS, outcome_reason="it is held")
    sent.append(graph.move())
    graph.until((bridge.directory / "e_1" / "metadata.yaml").is_file, "the bag's end")

    bag = Bag(bridge.directory / "e_1")
    assert bag.finished
    assert odometry_in(bag.path) == sent
    [(_, read)] = bag.decoded(["/cost_specification"])
    assert read.hash == "abc"
    assert [message.state for _, message in bag.decoded(["/episode"])] == [0, 1]
    expected = {
        keys.ROBOT: "sim",
        keys.EPISODE_ID: "e/1",
        keys.INSTRUCTION: "find the mug",
        keys.POLICY_ID: "random",
        keys.SPECIFICATION: "household",
        keys.SPECIFICATION_HASH: "abc",
        keys.SCENARIO: "default",
        keys.OUTCOME: "SUCCESS",
        keys.OUTCOME_REASON: "it is held",
        keys.COMPLETE: "true",
    }
    assert expected.items() <= bag.provenance.items()
    assert json.loads(bag.provenance[keys.COSTS]) == {"drop": 2.0}
    assert json.loads(bag.provenance[keys.TOPICS])["signals.odometry"] == "/odom"
    with Reader(bag.path) as reader:
        assert reader.message_count == sum(1 for _ in bag.messages())
    graph.until(lambda: graph.diagnostics.get("last_bag") == str(bag.path), "the report")
    assert str(bag.path) in bridge.output()


def test_a_killed_recorder_leaves_a_bag_that_ends_less_than_a_second_before(
    graph: Graph, start: Callable[..., Bridge]
) -> None:
    bridge = start().activate()
    graph.set_episode("killed", Episode.RUNNING)
    folder = bridge.directory / "killed"
    graph.until(lambda: exists(folder), "the bag")
    begin = time.monotonic()

    def moved_for_three_seconds() -> bool:
        graph.move()
        return time.monotonic() - begin > 3.0

    graph.until(moved_for_three_seconds, "time")
    bridge.process.kill()
    killed_ns = time.time_ns()
    bridge.process.wait(PATIENCE_S)
    bag = Bag(folder)
    stamps = [message.log_time_ns for message in bag.messages(["/odom"])]
    assert not bag.finished
    assert killed_ns - stamps[-1] < 1_000_000_000
    assert len(stamps) > 10
    assert bag.provenance[keys.EPISODE_ID] == "killed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_recorder_that_is_stopped_finishes_its_bag(
    graph: Graph, start: Callable[..., Bridge], number: int
) -> None:
    bridge = start().activate()
    graph.set_episode("stopped", Episode.RUNNING)
    graph.until(lambda: exists(bridge.directory / "stopped"), "the bag")
    sent = [graph.move() for _ in range(3)]
    graph.until(lambda: odometry_in(bridge.directory / "stopped") == sent, "messages on the disk")
    assert bridge.end(number) == 0
    assert odometry_in(bridge.directory / "stopped") == sent
    with Reader(bridge.directory / "stopped") as reader:
        assert reader.message_count > 3


def test_an_episode_whose_owner_leaves_is_ended_as_unknown(
    graph: Graph, start: Callable[..., Bridge]
) -> None:
    bridge = start().activate()
    graph.set_episode("orphan", Episode.RUNNING)
    graph.until(lambda: exists(bridge.directory / "orphan"), "the bag")
    graph.node.destroy_publisher(graph.episode)
    graph.until((bridge.directory / "orphan" / "metadata.yaml").is_file, "the bag's end")
    assert Bag(bridge.directory / "orphan").provenance[keys.OUTCOME] == "UNKNOWN"


def test_a_folder_that_cannot_be_written_refuses_to_configure(
    start: Callable[..., Bridge], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    bridge = start(tmp_path / "file" / "bags")
    assert not bridge.order(Transition.TRANSITION_CONFIGURE)
    assert "expected a folder that can be written: Not a directory" in bridge.output()
    assert bridge.end() == 0


def test_a_read_only_folder_refuses_to_configure(
    start: Callable[..., Bridge], tmp_path: Path
) -> None:
    folder = tmp_path / "sealed"
    folder.mkdir()
    if os.geteuid() == 0:  # permissions do not stop root; a read-only file system does
        mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"no read-only file system can be mounted here: {done.stderr.strip()}")
    else:
        folder.chmod(0o500)
    try:
        bridge = start(folder)
        assert not bridge.order(Transition.TRANSITION_CONFIGURE)
        assert f"parameter directory: {folder}: expected a folder that can be" in bridge.output()
        assert bridge.end() == 0
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_topic_of_a_type_that_is_not_installed_is_left_out_with_one_warning(
    graph: Graph, start: Callable[..., Bridge], tmp_path: Path
) -> None:
    profile = yaml.safe_load((share_directory() / "config" / "robots" / "sim.yaml").read_text())
    profile["signals"]["contacts"]["type"] = "gone_msgs/msg/Gone"
    (tmp_path / "robot.yaml").write_text(yaml.safe_dump(profile))
    bridge = start(robot=tmp_path / "robot.yaml").activate()
    assert bridge.output().count("/contacts is not recorded: gone_msgs/msg/Gone") == 1


def test_a_publisher_that_offers_less_than_expected_is_recorded_all_the_same(
    graph: Graph, start: Callable[..., Bridge]
) -> None:
    contacts = graph.node.create_publisher(Contacts, "contacts", topics.sensor(is_reliable=False))
    bridge = start().activate()
    graph.until(contacts.get_subscription_count, "the recorder to ask for less")
    graph.set_episode("modest", Episode.RUNNING)
    graph.until(lambda: exists(bridge.directory / "modest"), "the bag")
    contacts.publish(Contacts())
    bag = Bag(bridge.directory / "modest")
    graph.until(lambda: any(bag.messages(["/contacts"])), "the message on the disk")


class Demonstrations:
    """A client of RecordEpisode."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.client = ActionClient(graph.node, RecordEpisode, topics.RECORD_EPISODE)
        graph.until(self.client.server_is_ready, "the action server")

    def begin(self, name: str, duration_s: float = 0.0) -> Any:
        goal = RecordEpisode.Goal(name=name, duration_s=duration_s)
        handle = self.graph.result(self.client.send_goal_async(goal), "the goal's acceptance")
        assert handle.accepted
        return handle

    def end(self, handle: Any) -> Any:
        return self.graph.result(handle.get_result_async(), "the goal's result")


def test_a_demonstration_is_recorded_for_its_time_or_until_it_is_cancelled(
    graph: Graph, start: Callable[..., Bridge]
) -> None:
    bridge = start(record_episodes=False).activate()
    demonstrations = Demonstrations(graph)
    graph.set_episode("not wanted", Episode.RUNNING)

    timed = demonstrations.begin("timed", duration_s=0.5)
    answer = demonstrations.end(timed)
    assert answer.status == GoalStatus.STATUS_SUCCEEDED
    assert answer.result.uri == str(bridge.directory / "timed")
    assert answer.result.complete

    handle = demonstrations.begin("cancelled")
    folder = bridge.directory / "cancelled"
    graph.until(lambda: exists(folder), "the bag")
    sent = [graph.move() for _ in range(5)]
    graph.until(lambda: odometry_in(folder)[-5:] == sent, "the messages on the disk")
    graph.result(handle.cancel_goal_async(), "the cancellation")
    answer = demonstrations.end(handle)
    assert answer.status == GoalStatus.STATUS_CANCELED
    assert answer.result.complete
    assert answer.result.messages == sum(1 for _ in Bag(folder).messages())
    assert odometry_in(folder)[-5:] == sent
    assert sorted(folder.name for folder in bridge.directory.iterdir()) == ["cancelled", "timed"]

    for name in ("", "../above", "timed"):
        answer = demonstrations.end(demonstrations.begin(name))
        assert answer.status == GoalStatus.STATUS_ABORTED
        assert "name: expected a new folder" in answer.result.message


def test_a_demonstration_fails_when_the_disk_is_full(
    graph: Graph, start: Callable[..., Bridge], tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        start(disk, min_free_disk_mib=0).activate()
        description = graph.node.create_publisher(Odometry, "odom", QoSProfile(depth=1))
        handle = Demonstrations(graph).begin("demo")
        result = handle.get_result_async()

        def failed() -> bool:
            noise = Odometry(child_frame_id=os.urandom(100_000).hex())
            description.publish(noise)
            return result.done()

        graph.until(failed, "the disk to be full")
        answer = result.result()
        assert answer.status == GoalStatus.STATUS_ABORTED
        assert not answer.result.complete
        assert "No space left on device" in answer.result.message
        graph.until(
            lambda: graph.diagnostics.get("level") == DiagnosticStatus.ERROR, "the diagnostics"
        )
        assert "No space left" in graph.diagnostics["message"]
        assert len(list(Bag(disk / "demo").messages(["/odom"]))) > 0
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
