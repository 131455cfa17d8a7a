"""The simulated robot as a process: its topics, its clock, its obedience and its verdicts."""

from __future__ import annotations

import signal

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from simulated import Diagnostics, OnOneGraph, SimulatedGraph, simulated_graph
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from safevla_ros.msg import Episode, TaskOutcome
from safevla_ros.nodes import topics
from safevla_ros.nodes.message_types import message_type
from safevla_ros.robot.messages import stamp_ns
from safevla_ros.robot.profile import load_profile

PROFILE = load_profile("sim")
SENSOR = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def simulated(graph, tmp_path):
    return SimulatedGraph(graph, tmp_path)


def declared_topics():
    """(topic, type, period [s], reliable) of all that the profile says the robot has."""
    slow = {"scan", "objects"}
    for name, signal_ in PROFILE.signals.present().items():
        yield signal_.topic, signal_.type, 0.1 if name in slow else 0.02, signal_.reliable
    for camera in PROFILE.cameras:
        yield camera.topic, camera.type, 0.1, camera.reliable
        yield camera.info_topic, "sensor_msgs/msg/CameraInfo", 0.1, camera.reliable


def episode(name, state, **fields):
    return Episode(id=name, instruction="find the mug", task="find", state=state, **fields)


class TestOneRobot(OnOneGraph):
    """One robot, twice as fast as time, for all of these, in this order: the last one ends it."""

    @pytest.fixture(scope="class")
    def started(self, domain, tmp_path_factory):
        with simulated_graph(tmp_path_factory.mktemp("robot")) as made:
            made.robot = made.start_robot(real_time_factor=2.0)
            yield made

    @pytest.mark.smoke
    def test_everything_in_the_profile_is_published_with_its_type_and_rate(self, simulated):
        graph = simulated.graph
        collected = {
            topic: (graph.collect(message_type(kind), topic, SENSOR), kind, period, reliable)
            for topic, kind, period, reliable in declared_topics()
        }
        description = graph.collect(String, "robot_description", topics.latched())
        for topic, (collector, kind, period, reliable) in collected.items():
            graph.wait_for(lambda c=collector: len(c.entries) >= 10, f"ten messages of {topic}")
            stamps = [stamp_ns(message.header.stamp) for message in collector.messages]
            # Best effort may lose one: the usual distance is the period.
            assert np.median(np.diff(stamps)) == pytest.approx(period * 1e9), topic
            (info,) = graph.node.get_publishers_info_by_topic(topic)
            assert info.topic_type == kind
            expected = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
            assert info.qos_profile.reliability == expected, topic
        assert description.wait().data.lstrip().startswith("<")

    def test_time_passes_as_fast_as_asked_and_never_faster(self, simulated):
        clock = simulated.graph.collect(Clock, "/clock", SENSOR)
        simulated.graph.wait_for(lambda: len(clock.entries) >= 300, "300 ticks of the clock")
        arrivals, stamps = zip(
            *((at, stamp_ns(m.clock) * 1e-9) for at, m in clock.entries), strict=True
        )
        assert (np.diff(stamps) > 0.0).all()
        passed, simulated_s = arrivals[-1] - arrivals[0], stamps[-1] - stamps[0]
        assert simulated_s <= 2.0 * passed + 0.1  # 0.1: messages do not all take as long to arrive
        assert simulated_s >= 0.5 * passed

    def test_the_base_obeys_and_stops_by_itself_when_commands_cease(self, simulated):
        graph = simulated.graph
        odometry = graph.collect(Odometry, "odom")
        base = graph.node.create_publisher(Twist, "cmd_vel", 1)
        graph.wait_matched(base)
        command = Twist()
        command.angular.z = 0.8
        base.publish(command)
        moving = odometry.wait(lambda m: m.twist.twist.angular.z > 0.7, what="a turning base")
        still = odometry.wait(
            lambda m: abs(m.twist.twist.angular.z) < 0.01,
            what="a base that stopped",
            since=odometry.messages.index(moving),
        )
        passed_s = (stamp_ns(still.header.stamp) - stamp_ns(moving.header.stamp)) * 1e-9
        timeout_s = PROFILE.outputs.driver_timeout_s
        assert 0.5 * timeout_s < passed_s < timeout_s + 1.0  # simulated time

    def test_joints_follow_trajectories_and_unknown_ones_are_refused_aloud(self, simulated):
        graph = simulated.graph
        joints = graph.collect(JointState, "joint_states")
        trajectories = graph.node.create_publisher(JointTrajectory, "joint_trajectory", 10)
        robot = simulated.robot
        graph.wait_matched(trajectories)

        def move(name, position):
            point = JointTrajectoryPoint(positions=[position])
            trajectories.publish(JointTrajectory(joint_names=[name], points=[point]))

        move("elbow", 1.0)
        move("lift", 0.5)
        joints.wait(
            lambda m: abs(m.position[m.name.index("lift")] - 0.5) < 0.02,
            what="the lift at its target",
        )
        assert "unknown joint" in robot.output()
        assert "elbow" in robot.output()

    def test_a_verdict_falls_once_when_the_policy_declares_the_end(self, simulated):
        graph = simulated.graph
        outcomes = graph.collect(TaskOutcome, "task_outcome")
        episodes = graph.node.create_publisher(Episode, topics.EPISODE, topics.latched())
        clock = graph.collect(Clock, "/clock", SENSOR)
        odometry = graph.collect(Odometry, "odom")
        base = graph.node.create_publisher(Twist, "cmd_vel", 1)
        graph.wait_matched(episodes)
        graph.wait_matched(base)

        episodes.publish(episode("one", Episode.RUNNING))
        turn = Twist()
        turn.angular.z = 0.5
        base.publish(turn)
        odometry.wait(lambda m: m.pose.pose.orientation.z > 0.02, what="a base that has turned")
        graph.wait_for(lambda: "one" in simulated.reset().message, "a reset refused by an episode")
        assert not outcomes.messages
        episodes.publish(episode("one", Episode.ENDING, end_declared=True))
        verdict = outcomes.wait(what="a verdict")
        assert verdict.episode_id == "one"
        assert verdict.outcome in (Episode.SUCCESS, Episode.FAILURE)
        assert verdict.reason
        episodes.publish(episode("one", Episode.ENDED))

        # The scenario is over: another episode in it cannot be judged.
        episodes.publish(episode("two", Episode.RUNNING))
        verdict = outcomes.wait(lambda m: m.episode_id == "two", what="a second verdict")
        assert (verdict.outcome, "reset" in verdict.reason) == (Episode.UNKNOWN, True)
        episodes.publish(episode("two", Episode.ENDED))

        mark = odometry.mark()
        graph.wait_for(lambda: simulated.reset().success, "a reset between episodes")
        odometry.wait(lambda m: abs(m.pose.pose.orientation.z) < 1e-3, what="the start", since=mark)
        episodes.publish(episode("three", Episode.RUNNING))
        episodes.publish(episode("three", Episode.ENDING))
        verdict = outcomes.wait(lambda m: m.episode_id == "three", what="a third verdict")
        assert verdict.outcome == Episode.FAILURE
        assert "limit" in verdict.reason
        assert len(outcomes.messages) == 3
        episodes.publish(episode("three", Episode.ENDED))
        stamps = [stamp_ns(message.clock) for message in clock.messages]
        assert stamps == sorted(stamps)  # a reset does not turn the clock back

    def test_a_reset_answers_with_the_goal_of_the_scenario_or_with_what_is_wrong(
        self, simulated, tmp_path
    ):
        answer = simulated.reset()
        assert answer.success
        assert answer.task == "find"
        assert answer.instruction.startswith("find")
        assert answer.target_ids
        assert answer.time_limit_s == 180.0
        refused = simulated.reset("no_such_scenario")
        assert not refused.success
        assert "no_such_scenario" in refused.message

    def test_it_stands_still_while_inactive_and_leaves_cleanly(self, simulated):
        clock = simulated.graph.collect(Clock, "/clock", SENSOR)
        robot = simulated.robot
        clock.wait()
        assert robot.change("deactivate")
        before = clock.messages[-1].clock
        assert robot.change("activate")
        after = clock.wait(since=clock.mark()).clock
        assert (stamp_ns(after) - stamp_ns(before)) * 1e-9 < 0.5
        robot.send(signal.SIGINT)
        assert robot.wait_exit() == 0
        assert "Traceback" not in robot.output()


def test_images_are_alive_though_nothing_moves_and_come_with_their_calibration(simulated):
    graph = simulated.graph
    images = graph.collect(Image, "camera/navigation/image", qos_profile_sensor_data)
    infos = graph.collect(CameraInfo, "camera/navigation/camera_info", qos_profile_sensor_data)
    simulated.start_robot(camera_height=48, camera_width=64)
    graph.wait_for(lambda: len(images.entries) >= 3, "three images")
    first, second = (
        np.frombuffer(message.data, np.uint8).reshape(48, 64, 3) for message in images.messages[:2]
    )
    assert (first != second).any()  # a frozen camera would repeat itself
    assert np.abs(first.astype(int) - second).max() <= 1  # but nothing else has changed
    assert first.std() > 5.0  # and there is something to see
    info = infos.wait()
    image = images.messages[0]
    assert (image.encoding, image.step, image.header.frame_id) == (
        "rgb8",
        192,
        "camera_navigation_optical",
    )
    assert (info.height, info.width) == (48, 64)
    vertical_fov = 2.0 * np.degrees(np.arctan(24.0 / info.k[4]))
    assert vertical_fov == pytest.approx(59.0, abs=0.5)


def test_a_machine_that_is_too_slow_says_so(simulated):
    diagnostics = Diagnostics(simulated.graph, "sim_robot")
    simulated.start_robot(real_time_factor=100.0)
    level, message, values = diagnostics.wait(
        lambda m, v: "100 asked for" in m, "a report on the pace"
    )
    assert level == DiagnosticStatus.WARN
    assert 0.1 < float(values["real_time_factor"]) < 95.0
    assert values["real_time_factor"] in message


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"scenario": "no_such_scenario"}, "scenario 'no_such_scenario': expected one of"),
        ({"robot": "generic"}, "robot 'generic': expected a profile with `simulated: true`"),
    ],
)
def test_what_cannot_be_simulated_is_refused_with_one_sentence(graph, parameters, sentence):
    node = graph.start("sim_robot", **({"robot": "sim"} | parameters))
    assert not node.change("configure")
    assert sentence in node.output()
    assert "Traceback" not in node.output()
