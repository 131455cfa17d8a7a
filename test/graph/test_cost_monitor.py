"""The cost monitor as a process of its own, with the watchdog, over real DDS."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseWithCovarianceStamped, Twist
from lifecycle_msgs.msg import State
from robot import moves, moving_after, write_profile, write_zone
from std_msgs.msg import Bool

from safevla_ros.msg import (
    CameraStatus,
    Contact,
    Contacts,
    CostSpecification,
    CostVector,
    Episode,
    GatedAction,
    Heartbeat,
    SafetyEvent,
    SafetyStatus,
    TermCost,
)
from safevla_ros.nodes import topics
from safevla_ros.nodes.monitor import readers
from safevla_ros.robot import messages
from safevla_ros.robot.state import NANOSECONDS


def test_readers_know_the_states_of_an_episode_as_the_message_defines_them():
    states = (readers.RUNNING, readers.ENDED, readers.ENDING)
    assert states == (Episode.RUNNING, Episode.ENDED, Episode.ENDING)


@pytest.mark.smoke
def test_a_good_candidate_becomes_a_final_command(safety):
    robot = safety.bring_up().robot
    candidate = robot.propose(x=0.2)
    verdict = robot.wait_verdict(candidate)
    assert verdict.decision == GatedAction.PASS
    assert verdict.trace.command.sec > 0
    _, command = robot.wait_moving()
    assert command.linear.x == 0.2
    robot.final.wait(
        lambda twist: not moves(twist), what="a stand afterwards", since=robot.final.mark()
    )


def test_every_lifecycle_state_and_only_active_forwards(safety):
    robot, monitor = safety.start().robot, safety.monitor
    safety.watchdog.bring_up()
    assert monitor.state() == State.PRIMARY_STATE_UNCONFIGURED
    for _ in range(2):
        assert monitor.change("configure")
        assert monitor.state() == State.PRIMARY_STATE_INACTIVE
        safety.graph.wait_matched(robot.candidates)
        robot.statuses.wait(lambda status: status.reason == "inactive", what="status of inactive")
        robot.propose(x=0.2)

        assert monitor.change("activate")
        assert monitor.state() == State.PRIMARY_STATE_ACTIVE
        robot.wait_ready()
        assert not moving_after(robot.final, 0.0), "an inactive monitor forwarded a candidate"
        assert robot.gated.messages == []
        robot.wait_verdict(robot.propose(x=0.2))
        robot.wait_moving()

        before = robot.final.mark()
        assert monitor.change("deactivate")
        robot.final.wait(lambda twist: not moves(twist), what="a stop", since=before)
        stopped_s = time.monotonic()
        robot.propose(x=0.2)
        assert monitor.change("cleanup")
        assert monitor.state() == State.PRIMARY_STATE_UNCONFIGURED
        assert not moving_after(robot.final, stopped_s)

        # The watchdog has heard the monitor go, and wants a reset from whoever comes.
        robot.events.wait(lambda event: event.kind == SafetyEvent.LATCH, what="a latch")
        safety.watchdog.end()
        safety.watchdog = safety.graph.start("safety_watchdog", robot=safety.profile).bring_up()
        for collector in (robot.final, robot.gated, robot.events):
            collector.clear()
    assert monitor.change("shutdown")
    assert monitor.state() == State.PRIMARY_STATE_FINALIZED


def test_deactivated_it_stops_the_robot_more_than_once_and_forgets_what_ran(safety):
    robot = safety.bring_up().robot
    robot.propose(x=0.2, duration_s=0.9)
    robot.wait_moving()
    watchdog = safety.graph.collect(Heartbeat, topics.WATCHDOG_HEARTBEAT)
    before = robot.final.mark()
    assert safety.monitor.change("deactivate")
    robot.final.wait(lambda twist: not moves(twist), what="stops", since=before + 5)
    stopped_s = time.monotonic()
    assert safety.monitor.change("activate")
    robot.final.wait(what="final commands of the next life", since=robot.final.mark() + 10)
    assert not moving_after(robot.final, stopped_s)
    watchdog.wait()
    assert not any(beat.latched for beat in watchdog.messages)


def test_it_does_not_activate_without_a_watchdog(safety):
    safety.start()
    assert safety.monitor.change("configure")
    assert not safety.monitor.change("activate")
    assert "expected the safety watchdog to be active" in safety.monitor.output()


@pytest.mark.parametrize(
    ("proposal", "reason"),
    [
        ({"x": 0.2, "age_s": 2.0}, "stale_command"),
        ({"x": 0.2, "age_s": -2.0}, "future_stamp"),
        ({"x": math.nan}, "invalid_command"),
        ({"x": math.inf}, "invalid_command"),
        ({"joints": {"elbow": 0.1}}, "invalid_command"),
        ({"joints": {"lift": math.nan}}, "invalid_command"),
        ({"x": 0.2, "duration_s": 0.0}, "invalid_command"),
        ({"x": 0.2, "joint_names": ["lift"], "joint_positions": []}, "invalid_command"),
        ({"x": 0.2, "source": "joystick"}, "invalid_command"),
        ({"x": 0.2, "episode": "of yesterday"}, "other_episode"),
    ],
)
class TestRefused:
    """One graph for all of these; each refused candidate has its reason on SafetyStatus."""

    def test_a_bad_candidate_is_refused_with_its_reason(self, running, proposal, reason):
        robot = running.robot
        since, started_s = robot.statuses.mark(), time.monotonic()
        verdict = robot.wait_verdict(robot.propose(**proposal))
        assert (verdict.decision, verdict.reason) == (GatedAction.HALT, reason)
        assert verdict.detail
        assert verdict.trace.command == Time(), "nothing was published for it"
        robot.statuses.wait(lambda status: status.reason == reason, what=reason, since=since)
        assert not moving_after(robot.final, started_s)


class TestOneMonitor:
    """One graph for all of these; each finds a robot that is well, and no episode. Episodes have
    names of their own: a step of one must not go back."""

    @pytest.fixture
    def safety(self, running):
        yield running
        running.robot.settle()

    def test_a_stale_signal_halts_and_motion_needs_a_new_candidate(self, safety):
        robot = safety.robot
        robot.propose(x=0.2, duration_s=0.9)
        robot.wait_moving()
        robot.silent.add("odometry")
        since = robot.statuses.mark()
        robot.statuses.wait(
            lambda status: "odometry" in status.stale_signals, what="a stale signal", since=since
        )
        robot.final.wait(lambda twist: not moves(twist), what="a stand", since=robot.final.mark())
        verdict = robot.wait_verdict(robot.propose(x=0.2))
        assert (verdict.decision, verdict.reason) == (GatedAction.HALT, "stale_signal")
        robot.silent.clear()
        back_s, _ = robot.statuses.wait_entry(
            lambda status: not status.stale_signals, what="the signal", since=robot.statuses.mark()
        )
        robot.statuses.wait(what="another status", since=robot.statuses.mark() + 2)
        assert not moving_after(robot.final, back_s)
        assert robot.wait_verdict(robot.propose(x=0.2)).decision == GatedAction.PASS

    def test_malformed_messages_are_reported_and_their_signal_goes_stale(self, safety):
        robot = safety.robot

        def spoil(odometry):
            odometry.pose.pose.orientation.z = odometry.pose.pose.orientation.w = 0.0

        robot.spoil = spoil
        since = robot.statuses.mark()
        event = robot.events.wait(lambda event: event.kind == SafetyEvent.FAULT, what="a fault")
        assert "odom: pose.orientation" in event.detail
        robot.statuses.wait(
            lambda status: "odometry" in status.stale_signals, what="a stale signal", since=since
        )
        assert safety.monitor.process.poll() is None

    @pytest.mark.parametrize("value", [1e300, -1e155])
    def test_absurd_readings_stop_the_robot_and_are_survived(self, safety, value):
        """Finite numbers that no arithmetic can bear: whatever they break, the robot stands."""
        robot = safety.robot

        def spoil(odometry):
            odometry.twist.twist.linear.x = value

        robot.propose(x=0.2, duration_s=0.9)
        robot.wait_moving()
        robot.spoil = spoil
        robot.joints["lift"] = value
        robot.final.wait(lambda twist: not moves(twist), what="a stand", since=robot.final.mark())
        robot.propose(joints={"arm": 0.2})
        robot.statuses.wait(what="more statuses", since=robot.statuses.mark() + 10)
        assert safety.monitor.process.poll() is None
        for trajectory in robot.trajectories.messages:
            assert all(abs(at) <= 4.0 for at in trajectory.points[0].positions)

        robot.spoil = lambda odometry: None
        robot.joints["lift"] = 0.6
        robot.statuses.wait(
            lambda status: not status.stale_signals,
            what="good readings",
            since=robot.statuses.mark(),
        )
        assert robot.wait_verdict(robot.propose(x=0.2)).decision == GatedAction.PASS

    def test_costs_of_every_step_follow_the_episode(self, safety):
        robot = safety.robot
        specification = safety.graph.collect(
            CostSpecification, topics.COST_SPECIFICATION, topics.latched()
        ).wait()
        robot.start_episode("e1")
        for step in range(3):
            robot.wait_verdict(robot.propose(x=0.1, step=step, episode="e1"))
            if step == 1:
                robot.contacts = [Contact(link="base_link", object_id="table_1")]
                robot.statuses.wait(
                    lambda status: any(
                        m.name == "collision" and m.margin < 0 for m in status.margins
                    ),
                    what="a collision",
                )
                robot.contacts = []
                robot.statuses.wait(
                    lambda status: any(
                        m.name == "collision" and m.margin > 0 for m in status.margins
                    ),
                    what="its end",
                    since=robot.statuses.mark(),
                )
        robot.end_episode("e1")
        robot.costs.wait(lambda costs: costs.step == 2, what="the last step")

        vectors = robot.costs.messages
        assert [costs.step for costs in vectors] == [0, 1, 2]
        assert {costs.episode_id for costs in vectors} == {"e1"}
        assert {costs.specification_hash for costs in vectors} == {specification.hash}
        charged = [term_cost(costs, "collision") for costs in vectors]
        assert [term.cost for term in charged] == [0.0, 1.0, 0.0]
        assert [term.cumulative for term in charged] == [0.0, 1.0, 1.0]
        assert "table_1" in charged[1].cause
        assert (
            term_cost(vectors[0], "drop").status == TermCost.NOT_APPLICABLE
        )  # no objects published

        first = [
            signal
            for sample, signal in zip(
                vectors[1].source_samples, vectors[1].source_signals, strict=True
            )
            if sample == 0
        ]
        assert {"odometry", "joint_states", "localisation", "scan", "contacts"} <= set(first)
        event = robot.events.wait(
            lambda event: event.kind == SafetyEvent.VIOLATION, what="violation"
        )
        assert (event.term, event.step, event.cost) == ("collision", 1, 1.0)

    def test_a_contact_that_is_over_before_the_next_odometry_is_charged(self, safety):
        robot = safety.robot
        robot.silent.add("contacts")
        sender = safety.graph.node.create_publisher(Contacts, "contacts", 10)
        safety.graph.wait_matched(sender)
        robot.start_episode("touched")
        robot.wait_verdict(robot.propose(x=0.1, episode="touched"))

        def collided() -> bool:
            # Again: the first may come before the monitor knows of their sender.
            for contacts in ([Contact(link="base_link", object_id="table_1")], []):
                message = Contacts(contacts=contacts)
                message.header.frame_id = "map"
                messages.set_stamp(message.header.stamp, time.time_ns())
                sender.publish(message)
            return any(
                margin.name == "collision" and margin.margin < 0
                for status in robot.statuses.messages
                for margin in status.margins
            )

        safety.graph.wait_for(collided, "a collision")
        robot.end_episode("touched")
        assert term_cost(robot.costs.wait(), "collision").cost == 1.0

    def test_what_comes_outside_an_episode_is_not_summed(self, safety):
        robot = safety.robot
        robot.contacts = [Contact(link="base_link", object_id="table_1")]
        robot.statuses.wait(
            lambda status: any(m.name == "collision" and m.margin < 0 for m in status.margins),
            what="a collision",
        )
        robot.contacts = []
        robot.start_episode("inside")
        robot.wait_verdict(robot.propose(x=0.1, episode="inside"))
        robot.end_episode("inside")
        costs = robot.costs.wait()
        assert term_cost(costs, "collision").cumulative == 0.0

    def test_an_episode_that_was_left_open_ends_when_its_owner_says_that_none_runs(self, safety):
        robot = safety.robot
        robot.start_episode("open")
        robot.wait_verdict(robot.propose(x=0.1, episode="open"))
        robot.end_episode("")
        assert robot.costs.wait(what="the open step").step == 0
        robot.statuses.wait(lambda status: status.episode_id == "", what="no episode")

    def test_an_episode_that_cannot_be_read_is_told_and_ends_none(self, safety):
        robot = safety.robot
        robot.start_episode("read")
        for unreadable in (Episode(id="e2", state=9), Episode(id="", state=Episode.RUNNING)):
            robot.episodes.publish(unreadable)
        for sentence in ("episode: state: expected", "episode: id: expected"):
            event = robot.events.wait(
                lambda event, sentence=sentence: event.detail.startswith(sentence), what=sentence
            )
            assert event.kind == SafetyEvent.FAULT
        candidate = robot.propose(x=0.1, episode="read")
        assert robot.wait_verdict(candidate).decision == GatedAction.PASS

    def test_the_joystick_outranks_the_policy(self, safety):
        robot = safety.robot
        safety.graph.wait_matched(robot.joystick)
        twist = Twist()
        twist.angular.z = 0.3
        robot.joystick.publish(twist)
        robot.final.wait(lambda final: final.angular.z == 0.3, what="the joystick's command")

        def outranked():
            # As a joystick does, it says so again: one that has fallen silent outranks nobody.
            robot.joystick.publish(twist)
            assert robot.wait_verdict(robot.propose(x=0.2)).reason == "outranked"
            return any(status.reason == "outranked" for status in robot.statuses.messages)

        safety.graph.wait_for(outranked, "outranked on safety_status")
        status = next(status for status in robot.statuses.messages if status.reason == "outranked")
        assert status.active_source == "joystick"


def test_estop_stops_at_once_and_its_release_moves_nothing(safety):
    robot = safety.bring_up().robot
    safety.graph.wait_matched(robot.estop, 2)
    robot.propose(x=0.2, duration_s=0.9)
    robot.wait_moving()
    robot.estop.publish(Bool(data=True))
    status = robot.statuses.wait(lambda status: status.latched, what="a latched stop")
    assert (status.decision, status.reason, status.estop) == (GatedAction.LATCHED, "estop", True)
    stopped_s, _ = robot.final.wait_entry(
        lambda twist: not moves(twist), what="a stop", since=robot.final.mark()
    )
    hold = robot.trajectories.wait(what="a hold of the arm")
    held = dict(zip(hold.joint_names, hold.points[0].positions, strict=True))
    assert held == {name: at for name, at in robot.joints.items() if name != "gripper"}

    assert robot.wait_verdict(robot.propose(x=0.2)).decision == GatedAction.LATCHED
    since = robot.statuses.mark()
    robot.estop.publish(Bool(data=False))
    robot.statuses.wait(lambda status: not status.estop, what="the release", since=since)
    assert robot.wait_verdict(robot.propose(x=0.2)).decision == GatedAction.LATCHED
    assert not moving_after(robot.final, stopped_s)


def test_an_estop_that_is_sent_best_effort_is_heard(safety):
    robot = safety.bring_up().robot
    estop = safety.graph.node.create_publisher(Bool, "estop", topics.sensor(is_reliable=False))
    safety.graph.wait_matched(estop)

    def heard() -> bool:
        # Again, as an e-stop does: its first message may come before its reader knows of it.
        estop.publish(Bool(data=True))
        return any(status.latched and status.estop for status in robot.statuses.messages)

    safety.graph.wait_for(heard, "a latched stop")


def test_a_latched_stop_is_reset_deliberately_and_after_a_cooldown(safety):
    robot = safety.bring_up().robot
    safety.graph.wait_matched(robot.estop, 2)
    robot.estop.publish(Bool(data=True))
    robot.statuses.wait(lambda status: status.latched, what="a latched stop")
    early = robot.reset()
    assert not early.success
    assert "younger" in early.message

    safety.graph.wait_for(lambda: "younger" not in robot.reset().message, "the end of the cooldown")
    assert "still active" in robot.reset().message
    since = robot.statuses.mark()
    robot.estop.publish(Bool(data=False))
    robot.statuses.wait(lambda status: not status.estop, what="the release", since=since)
    assert not robot.reset("").success
    assert robot.reset("Ada").success
    event = robot.events.wait(lambda event: event.kind == SafetyEvent.RESET, what="a reset")
    assert event.cause == "Ada"
    robot.wait_ready()
    assert not moving_after(robot.final, 0.0)
    assert robot.wait_verdict(robot.propose(x=0.2)).decision == GatedAction.PASS


def test_a_pose_that_was_published_before_the_monitor_came_is_heard(safety):
    """As of a localiser that publishes when the robot has moved, and keeps the last pose. The robot
    stands, so the pose is good, although it is older than all odometry."""
    robot = safety.robot
    robot.silent.add("localisation")
    kept = safety.graph.node.create_publisher(PoseWithCovarianceStamped, "pose", topics.latched())
    message = PoseWithCovarianceStamped()
    message.header.frame_id = "map"
    message.pose.pose.orientation.w = 1.0
    messages.set_stamp(message.header.stamp, time.time_ns() - 10 * NANOSECONDS)
    kept.publish(message)
    safety.profile = write_profile(safety.folder, signals=patient_localisation(safety.profile))
    safety.start()
    safety.watchdog.bring_up()
    safety.monitor.bring_up()
    robot.statuses.wait(
        lambda status: status.reason == "no_command" and not status.stale_signals,
        what="a status that knows of the pose",
    )
    assert robot.wait_verdict(robot.propose(x=0.1)).reason == "accepted"


def test_a_camera_status_that_cannot_be_read_vouches_for_no_camera(safety):
    robot = safety.bring_up().robot
    cameras = safety.graph.node.create_publisher(CameraStatus, topics.CAMERA_STATUS, 1)
    safety.graph.wait_matched(cameras)
    cameras.publish(CameraStatus(camera_names=["front"], frozen=[False], lost=[]))
    robot.statuses.wait(what="the next ticks", since=robot.statuses.mark() + 2)
    verdict = robot.wait_verdict(robot.propose(x=0.2))
    assert (verdict.decision, verdict.reason) == (GatedAction.HALT, "lost_camera")


def test_a_chunk_is_truncated_before_a_zone_and_the_status_says_so(safety):
    zone = write_zone(safety.folder, [[1.0, -2.0], [9.0, -2.0], [9.0, 2.0], [1.0, 2.0]])
    safety.bring_up(specification=zone)
    robot = safety.robot
    safety.graph.wait_matched(robot.chunks)
    robot.start_episode("one")
    robot.plan([(0.4, 0.0)] * 8, episode_id="one")
    first = robot.propose(x=0.4, episode="one")
    status = robot.statuses.wait(lambda status: status.truncated, what="a truncated chunk")
    assert "zone_intrusion" in status.truncated
    assert status.truncated_chunk_id == 0
    assert 1 <= status.truncated_from_step < 7
    assert robot.wait_verdict(first).decision == GatedAction.PASS
    event = robot.events.wait(lambda event: event.cause == "truncated", what="an event of it")
    assert (event.term, event.step) == ("zone_intrusion", status.truncated_from_step)
    refused = robot.wait_verdict(robot.propose(x=0.4, step=7, episode="one"))
    assert (refused.reason, refused.term) == ("truncated", "zone_intrusion")

    robot.plan([(0.0, 0.4)], episode_id="one", chunk_id=1, first_step=8)
    robot.statuses.wait(
        lambda status: not status.truncated, what="its end", since=robot.statuses.mark()
    )
    other = robot.propose(yaw=0.4, step=8, chunk_id=1, episode="one")
    assert robot.wait_verdict(other).decision == GatedAction.PASS


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"data": [0.4]}, "data: expected rows of 2 values, got 1"),
        ({"names": ["base.x", "base.x"]}, "names must differ"),
        ({"data": [math.nan, 0.0]}, "base.x: expected a finite number"),
        ({"step_s": 0.0}, "duration_s: expected a positive number"),
    ],
)
class TestUnreadableChunk:
    """One graph for all of these."""

    def test_it_is_told(self, running, fields, sentence):
        robot = running.robot
        running.graph.wait_matched(robot.chunks)
        chunk = robot.plan([(0.1, 0.0)], episode_id="one")
        for name, value in fields.items():
            setattr(chunk, name, value)
        robot.chunks.publish(chunk)
        event = robot.events.wait(lambda event: sentence in event.detail, what="a fault")
        assert event.kind == SafetyEvent.FAULT
        assert event.detail.startswith("action_chunk: ")


def test_somebody_else_on_the_final_topic_is_an_error(safety):
    robot = safety.bring_up().robot
    publisher = safety.graph.node.create_publisher(Twist, "cmd_vel", 1)
    event = robot.events.wait(lambda event: event.kind == SafetyEvent.INTRUDER, what="an intruder")
    assert "/test publishes final commands on" in event.detail
    status = robot.statuses.wait(lambda status: status.latched, what="a latched stop")
    assert status.reason == "intruder"
    safety.graph.node.destroy_publisher(publisher)


@pytest.mark.parametrize("mode", ["shadow", "observe", "enforce"])
def test_modes(safety, mode):
    """A zone across the robot's way: shadow sends nothing, observe drives in, enforce does not."""
    zone = write_zone(safety.folder, [[0.8, -1.0], [3.0, -1.0], [3.0, 1.0], [0.8, 1.0]])
    robot = safety.bring_up(mode=mode, specification=zone).robot
    assert robot.statuses.messages[-1].mode == getattr(SafetyStatus, mode.upper())
    robot.start_episode("e1")
    verdicts = robot.act(range(8), x=0.4, episode="e1")
    robot.end_episode("e1")
    robot.costs.wait(lambda costs: costs.step == 7, what="the last step")
    intrusions = sum(term_cost(costs, "zone_intrusion").cost for costs in robot.costs.messages)
    decisions = {verdict.decision for verdict in verdicts}
    foreseen = {
        cost
        for verdict in verdicts
        for term, cost in zip(verdict.predicted_terms, verdict.predicted_costs, strict=True)
        if term == "zone_intrusion"
    }
    if mode == "shadow":
        assert robot.final.messages == []
        assert decisions == {GatedAction.SHADOW}
    elif mode == "observe":
        assert decisions == {GatedAction.PASS}
        assert foreseen == {0.0, 1.0}
        assert intrusions > 0.0
    else:
        assert decisions & {GatedAction.LIMIT, GatedAction.HALT}
        assert foreseen == {0.0, 1.0}
        assert intrusions == 0.0
        robot.events.wait(
            lambda event: (event.kind, event.term) == (SafetyEvent.INTERVENTION, "zone_intrusion"),
            what="an intervention for the zone",
        )


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"robot": ""}, "parameter robot: expected"),
        ({"robot": "stretsch"}, "robot 'stretsch': expected one of"),
        ({"mode": "loud"}, "parameter mode: expected one of shadow, observe, enforce, got 'loud'"),
        ({"specification": "paperr"}, "specification 'paperr': expected one of"),
        ({"specification": "/nowhere/x.yaml"}, "/nowhere/x.yaml: cannot be read"),
    ],
)
def test_what_cannot_run_is_refused_with_a_sentence(safety, parameters, sentence):
    monitor = safety.graph.start("cost_monitor", **({"robot": safety.profile} | parameters))
    assert not monitor.change("configure")
    assert sentence in monitor.output()
    assert "Traceback" not in monitor.output()
    assert monitor.state() == State.PRIMARY_STATE_UNCONFIGURED


def test_a_profile_with_a_mistake_is_refused_with_file_and_key(safety):
    bad = write_profile(safety.folder, mode="loud", heartbeat_timeout_s=0.0)
    safety.start(robot=bad)
    for node in (safety.monitor, safety.watchdog):
        assert not node.change("configure")
        assert f"{bad}: mode:" in node.output()
        assert f"{bad}: heartbeat_timeout_s:" in node.output()


def test_an_arm_behind_an_action_needs_control_msgs(safety):
    """Without control_msgs, as here, it refuses: it could not command the arm, nor stop it."""
    arm = {"action": "/arm/follow_joint_trajectory", "joints": ["lift", "arm"]}
    outputs = {
        "base": {"topic": "cmd_vel", "type": "geometry_msgs/msg/Twist"},
        "joints": [arm],
        "driver_timeout_s": 0.5,
    }
    profile = write_profile(safety.folder, outputs=outputs)
    monitor = safety.graph.start("cost_monitor", robot=profile)
    assert not monitor.change("configure")
    assert "needs the ROS package control_msgs" in monitor.output()


def patient_localisation(profile: Path) -> dict[str, Any]:
    """The profile's signals, with a pose that stays good for as long as the test lasts."""
    signals = yaml.safe_load(profile.read_text())["signals"]
    signals["localisation"] |= {"max_age_s": 600.0, "required": True}
    return signals


def term_cost(costs: CostVector, name: str) -> TermCost:
    """One term of a CostVector."""
    return next(term for term in costs.terms if term.name == name)
