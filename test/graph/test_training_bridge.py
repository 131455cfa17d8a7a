"""The recorder as a process of its own, fed over real DDS."""

from __future__ import annotations

import array
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from harness import Collector, Graph, NodeUnderTest
from nav_msgs.msg import Odometry
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import Image

from safevla_ros import __version__
from safevla_ros.action import RecordEpisode
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.reader import Bag
from safevla_ros.msg import (
    Contacts,
    CostSpecification,
    CostVector,
    Episode,
    SafetyEvent,
    TermCost,
)
from safevla_ros.nodes import topics
from safevla_ros.paths import share_directory
from safevla_ros.robot.pictures import read_image

POLICY_SHA256 = "ab" * 32


class Others:
    """What stands around the recorder: it publishes what other nodes would."""

    def __init__(self, graph: Graph, directory: Path) -> None:
        self.graph = graph
        self.directory = directory
        self.episode = graph.node.create_publisher(Episode, topics.EPISODE, topics.latched())
        self.odometry = graph.node.create_publisher(Odometry, "odom", topics.reliable())
        self.number = 0

    def start(self, **parameters: Any) -> NodeUnderTest:
        """The recorder, unconfigured."""
        given = {"robot": "sim", "directory": self.directory, "min_free_disk_mib": 1}
        return self.graph.start("training_bridge", **(given | parameters))

    def bring_up(self, **parameters: Any) -> NodeUnderTest:
        """The recorder, active and listening."""
        bridge = self.start(**parameters).bring_up()
        self.graph.wait_matched(self.episode)
        self.graph.wait_matched(self.odometry)
        return bridge

    def move(self) -> int:
        """Publish the next odometry; its number."""
        self.number += 1
        message = Odometry()
        message.header.stamp.sec = self.number
        self.odometry.publish(message)
        return self.number

    def begin(self, name: str) -> Path:
        """Begin an episode; its bag, once that is there."""
        self.tell(name, Episode.RUNNING)
        folder = self.directory / name.replace("/", "_")
        self.graph.wait_for(lambda: any(folder.glob("*.mcap")), f"the bag {folder}")
        return folder

    def tell(self, name: str, state: int, **fields: Any) -> None:
        said = {"instruction": "find the mug", "task": "find", "policy_id": "mine"}
        self.episode.publish(
            Episode(id=name, state=state, policy_sha256=POLICY_SHA256, **said, **fields)
        )


@pytest.fixture
def others(graph: Graph, tmp_path: Path) -> Others:
    return Others(graph, tmp_path / "bags")


def odometry_in(folder: Path) -> list[int]:
    """Numbers of the odometry messages in a bag, finished or not."""
    return [message.header.stamp.sec for _, message in Bag(folder).decoded(["/odom"])]


def diagnostics_of(graph: Graph) -> tuple[Collector, Callable[[str], Callable[[Any], bool]]]:
    """The /diagnostics, and conditions on the value of a key of the recorder."""
    collected = graph.collect(DiagnosticArray, "/diagnostics")

    def condition(key: str, value: str) -> Callable[[Any], bool]:
        return lambda message: any(
            item.key == key and item.value == value
            for status in message.status
            if status.name == "/training_bridge"
            for item in status.values
        )

    return collected, condition


def publish_specification(graph: Graph) -> None:
    """As the cost monitor does."""
    publisher = graph.node.create_publisher(
        CostSpecification, topics.COST_SPECIFICATION, topics.latched()
    )
    publisher.publish(CostSpecification(name="household", hash="abc"))


@pytest.mark.smoke
def test_an_episode_becomes_a_bag_with_what_was_before_and_how_it_ended(others: Others) -> None:
    graph = others.graph
    publish_specification(graph)
    costs = graph.node.create_publisher(CostVector, topics.COST_VECTOR, topics.reliable())
    simulator = graph.node.create_publisher(DiagnosticArray, "/diagnostics", 10)
    bridge = others.bring_up()
    graph.wait_matched(costs)
    said, condition = diagnostics_of(graph)

    values = [KeyValue(key="scenario", value="default"), KeyValue(key="seed", value="7")]
    simulator.publish(DiagnosticArray(status=[DiagnosticStatus(name="/sim_robot", values=values)]))
    sent = [others.move() for _ in range(5)]
    folder = others.begin("e/1")
    sent += [others.move() for _ in range(5)]
    costs.publish(CostVector(episode_id="e/1", terms=[TermCost(name="drop", cumulative=2.0)]))
    others.tell("e/1", Episode.ENDED, outcome=Episode.SUCCESS, outcome_reason="it is held")
    sent.append(others.move())
    graph.wait_for((folder / "metadata.yaml").is_file, "the bag's end")

    bag = Bag(folder)
    assert bag.finished
    assert odometry_in(folder) == sent
    [(_, read)] = bag.decoded(["/cost_specification"])
    assert read.hash == "abc"
    assert [message.state for _, message in bag.decoded(["/episode"])] == [0, 1]
    expected = {
        keys.ROBOT: "sim",
        keys.SOFTWARE_VERSION: __version__,
        keys.EPISODE_ID: "e/1",
        keys.KIND: "episode",
        keys.INSTRUCTION: "find the mug",
        keys.TASK: "find",
        keys.POLICY_ID: "mine",
        keys.POLICY_SHA256: POLICY_SHA256,
        keys.SPECIFICATION: "household",
        keys.SPECIFICATION_HASH: "abc",
        keys.SCENARIO: "default",
        keys.SEED: "7",
        keys.OUTCOME: "SUCCESS",
        keys.OUTCOME_REASON: "it is held",
        keys.COMPLETE: "true",
    }
    assert expected.items() <= bag.provenance.items()
    assert json.loads(bag.provenance[keys.COSTS]) == {"drop": 2.0}
    assert json.loads(bag.provenance[keys.TOPICS])["signals.odometry"] == "/odom"
    assert bag.provenance[keys.SESSION]
    # The file says it too, to who has lost metadata.yaml.
    alone = shutil.copy(next(folder.glob("*.mcap")), others.directory.parent)
    assert Bag(Path(alone)).provenance == bag.provenance
    # It compares the hash of every type, as ROS computed it, with the definition in the bag.
    with AnyReader([folder]) as reader:
        assert reader.message_count == sum(1 for _ in bag.messages())
    said.wait(condition("last_bag", str(folder)), what="the bag's path")
    assert str(folder) in bridge.output()


def test_a_violation_becomes_a_clip_with_what_led_to_it(others: Others) -> None:
    """Also: a second one that comes soon after goes into the same clip, without a gap."""
    graph = others.graph
    publish_specification(graph)
    events = graph.node.create_publisher(SafetyEvent, topics.SAFETY_EVENT, topics.reliable())
    costs = graph.node.create_publisher(CostVector, topics.COST_VECTOR, topics.reliable())
    others.bring_up(clip_before_s=1.0, clip_after_s=0.3, record_episodes=False)
    graph.wait_matched(costs)
    graph.wait_matched(events)
    others.tell("e", Episode.RUNNING)
    clips = others.directory / "clips"

    def move_for(seconds: float) -> None:
        begin = time.monotonic()

        def passed() -> bool:
            others.move()
            return time.monotonic() - begin > seconds

        graph.wait_for(passed, f"{seconds} s")

    def violation(step: int, kind: int = SafetyEvent.VIOLATION) -> int:
        events.publish(
            SafetyEvent(
                kind=kind, episode_id="e", step=step, term="drop", cause="mug", margin=math.nan
            )
        )
        return others.move()

    move_for(2.0)
    violation(3, SafetyEvent.INTERVENTION)  # no kind that is asked for
    first = violation(4)
    move_for(0.6)  # it pauses
    second = violation(5)
    for _ in range(5):  # a violation that goes on is no new event, but costs on
        move_for(0.2)
        costs.publish(CostVector(episode_id="e", terms=[TermCost(name="drop", cost=1.0)]))
    going_on = others.move()
    folder = clips / "e-step0004-drop"
    graph.wait_for((folder / "metadata.yaml").is_file, "the clip's end")
    move_for(0.5)

    assert [folder.name for folder in clips.iterdir()] == ["e-step0004-drop"]
    bag = Bag(folder)
    numbers = odometry_in(folder)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert 1 < numbers[0] < first < second < going_on <= numbers[-1] < others.number
    received = {m.topic: m.log_time_ns for m in reversed(list(bag.messages()))}
    assert received["/cost_specification"] == min(received.values())
    at = [m.log_time_ns for m in bag.messages(["/safety_event"])]
    assert 0.9e9 < at[1] - received["/odom"] < 1.2e9
    assert bag.provenance[keys.KIND] == "clip"
    assert bag.provenance[keys.INSTRUCTION] == "find the mug"
    told = json.loads(bag.provenance[keys.EVENTS])
    assert [(event["kind"], event["step"], event["margin"]) for event in told] == [
        ("violation", 4, None),
        ("violation", 5, None),
    ]


def test_a_clip_says_whose_it_is_and_how_its_episode_ended(others: Others) -> None:
    """Also one that was closed before anybody knew."""
    graph = others.graph
    publish_specification(graph)
    events = graph.node.create_publisher(SafetyEvent, topics.SAFETY_EVENT, topics.reliable())
    others.bring_up(clip_before_s=0.1, clip_after_s=0.1, record_episodes=False)
    graph.wait_matched(events)
    others.tell("e", Episode.RUNNING)

    def violation(step: int) -> Path:
        events.publish(SafetyEvent(kind=SafetyEvent.VIOLATION, episode_id="e", step=step))
        folder = others.directory / "clips" / f"e-step{step:04d}-violation"
        graph.wait_for(lambda: any(folder.glob("*.mcap")), f"the clip {folder}")
        return folder

    early = violation(4)
    graph.wait_for((early / "metadata.yaml").is_file, "the clip's end")
    assert Bag(early).provenance[keys.OUTCOME] == "UNKNOWN"
    late = violation(5)
    others.tell("e", Episode.ENDED, outcome=Episode.FAILURE, outcome_reason="it fell")
    expected = {
        keys.KIND: "clip",
        keys.ROBOT: "sim",
        keys.SOFTWARE_VERSION: __version__,
        keys.EPISODE_ID: "e",
        keys.INSTRUCTION: "find the mug",
        keys.POLICY_ID: "mine",
        keys.POLICY_SHA256: POLICY_SHA256,
        keys.SPECIFICATION: "household",
        keys.SPECIFICATION_HASH: "abc",
        keys.OUTCOME: "FAILURE",
        keys.OUTCOME_REASON: "it fell",
    }
    for folder in (early, late):

        def says_all(folder: Path = folder) -> bool:
            return expected.items() <= Bag(folder).provenance.items()

        graph.wait_for(says_all, f"all that is known, in {folder}")


def test_old_bags_make_room_for_new_ones_and_clips_stay(others: Others) -> None:
    for name in ("old", "clips/old"):
        folder = others.directory / name
        folder.mkdir(parents=True)
        for file in ("old_0.mcap", "metadata.yaml"):
            (folder / file).write_text("x")
            os.utime(folder / file, (0, 0))
    bridge = others.bring_up(retention_days=30)
    others.begin("new")
    others.tell("new", Episode.ENDED, outcome=Episode.SUCCESS)
    # It says so when the folder is gone.
    others.graph.wait_for(lambda: "older than allowed" in bridge.output(), "room")
    assert not (others.directory / "old").exists()
    assert (others.directory / "clips" / "old").is_dir()


def test_an_unknown_kind_of_event_refuses_to_configure(others: Others) -> None:
    bridge = others.start(clip_on="violation,collision")
    assert not bridge.change("configure")
    assert "parameter clip_on: expected some of violation, " in bridge.output()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_killed_or_frozen_recorder_leaves_a_bag_that_ends_less_than_a_second_before(
    others: Others, number: int
) -> None:
    """Also: one that was only frozen goes on, and finishes its bag."""
    bridge = others.bring_up()
    folder = others.begin("killed")
    begin = time.monotonic()

    def moved_long_enough() -> bool:
        others.move()
        return time.monotonic() - begin > 3.0

    others.graph.wait_for(moved_long_enough, "three seconds")
    bridge.send(number)
    struck_ns = time.time_ns()
    if number == signal.SIGKILL:
        bridge.wait_exit()
    bag = Bag(folder)
    stamps = [message.log_time_ns for message in bag.messages(["/odom"])]
    assert not bag.finished
    assert struck_ns - stamps[-1] < 1_000_000_000
    assert odometry_in(folder) == list(range(1, len(stamps) + 1))
    assert bag.provenance[keys.EPISODE_ID] == "killed"
    assert bag.provenance[keys.POLICY_SHA256] == POLICY_SHA256
    if number == signal.SIGSTOP:
        bridge.send(signal.SIGCONT)
        last = others.move()
        others.tell("killed", Episode.ENDED, outcome=Episode.SUCCESS)
        others.graph.wait_for((folder / "metadata.yaml").is_file, "the bag's end")
        assert Bag(folder).finished
        assert odometry_in(folder) == list(range(1, last + 1))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_recorder_that_is_stopped_finishes_its_bag(others: Others, number: int) -> None:
    bridge = others.bring_up()
    folder = others.begin("stopped")
    sent = [others.move() for _ in range(3)]
    others.graph.wait_for(lambda: odometry_in(folder) == sent, "the messages on the disk")
    bridge.send(number)
    assert bridge.wait_exit() == 0
    with Reader(folder) as reader:
        assert reader.message_count > len(sent)
    assert odometry_in(folder) == sent


def test_an_episode_whose_owner_leaves_is_ended_as_unknown(others: Others) -> None:
    others.bring_up()
    folder = others.begin("orphan")
    others.graph.node.destroy_publisher(others.episode)
    others.graph.wait_for((folder / "metadata.yaml").is_file, "the bag's end", deadline_s=30.0)
    assert Bag(folder).provenance[keys.OUTCOME] == "UNKNOWN"


def test_a_folder_that_cannot_be_made_refuses_to_configure(others: Others, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    bridge = others.start(directory=tmp_path / "file" / "bags")
    assert not bridge.change("configure")
    assert "expected a folder that can be written: Not a directory" in bridge.output()


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small file system of its own."""
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a file system takes root")
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_read_only_folder_refuses_to_configure(others: Others, tmp_path: Path) -> None:
    with mounted(tmp_path / "sealed", "ro") as folder:
        bridge = others.start(directory=folder)
        assert not bridge.change("configure")
        expected = f"parameter directory: {folder}: expected a folder that can be written"
        assert expected in bridge.output()
        bridge.send(signal.SIGTERM)
        assert bridge.wait_exit() == 0


def test_a_topic_of_a_type_that_is_not_installed_is_left_out_with_one_warning(
    others: Others, tmp_path: Path
) -> None:
    profile = yaml.safe_load((share_directory() / "config" / "robots" / "sim.yaml").read_text())
    profile["signals"]["contacts"]["type"] = "gone_msgs/msg/Gone"
    (tmp_path / "robot.yaml").write_text(yaml.safe_dump(profile))
    bridge = others.bring_up(robot=tmp_path / "robot.yaml")
    assert bridge.output().count("topic /contacts is not recorded: message type gone_msgs") == 1


def test_images_are_compressed_where_the_profile_says_so(others: Others, tmp_path: Path) -> None:
    """Also: one that cannot be is counted and named, and the recording goes on."""
    profile = yaml.safe_load((share_directory() / "config" / "robots" / "sim.yaml").read_text())
    profile["cameras"][0]["compress"] = {"format": "png"}
    (tmp_path / "robot.yaml").write_text(yaml.safe_dump(profile))
    graph = others.graph
    topic = profile["cameras"][0]["topic"]
    camera = graph.node.create_publisher(Image, topic, topics.sensor(is_reliable=True))
    others.bring_up(robot=tmp_path / "robot.yaml")
    graph.wait_matched(camera)
    said, condition = diagnostics_of(graph)
    folder = others.begin("e")
    pixels = bytes(range(4 * 6 * 3))
    shape = {"height": 4, "width": 6, "step": 18}
    seen = Image(encoding="rgb8", data=array.array("B", pixels), **shape)
    seen.header.stamp.sec, seen.header.frame_id = 5, "optical"
    camera.publish(seen)
    camera.publish(Image(encoding="yuv422", data=array.array("B", pixels), **shape))
    said.wait(condition("dropped", "1"), what="the count of what could not be compressed")
    others.tell("e", Episode.ENDED, outcome=Episode.SUCCESS)
    graph.wait_for((folder / "metadata.yaml").is_file, "the bag's end")

    bag = Bag(folder)
    [(raw, message)] = bag.decoded([f"/{topic}/compressed"])
    assert bag.topics[raw.topic].type == "sensor_msgs/msg/CompressedImage"
    assert (message.header.stamp.sec, message.header.frame_id) == (5, "optical")
    assert read_image(message).tobytes() == pixels
    assert json.loads(bag.provenance[keys.TOPICS])["cameras.navigation"] == raw.topic
    assert json.loads(bag.provenance[keys.DROPPED]) == {raw.topic: 1}
    with AnyReader([folder]) as reader:  # it compares the hash of the type with its definition
        assert f"/{topic}" not in reader.topics


def test_a_live_view_that_cannot_be_had_costs_no_recording(others: Others) -> None:
    """Its port is taken; where its SDK is not installed, that is what is said."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bridge = others.bring_up(view_port=taken.getsockname()[1])
        said = others.graph.collect(DiagnosticArray, "/diagnostics")

        def is_told(message: Any) -> bool:
            return any(
                status.name == "/training_bridge" and status.message.startswith("no live view: ")
                for status in message.status
            )

        said.wait(is_told, what="the reason on /diagnostics")
        folder = others.begin("e")
        sent = [others.move() for _ in range(3)]
        others.graph.wait_for(lambda: odometry_in(folder) == sent, "the messages on the disk")
    assert "no live view" in bridge.output()


def test_a_publisher_that_offers_less_than_expected_is_recorded_all_the_same(
    others: Others,
) -> None:
    qos = topics.sensor(is_reliable=False)
    contacts = others.graph.node.create_publisher(Contacts, "contacts", qos)
    others.bring_up()
    others.graph.wait_matched(contacts)
    bag = Bag(others.begin("modest"))

    def recorded() -> bool:
        contacts.publish(Contacts())  # again: the first may come before its reader knows of it
        return any(bag.messages(["/contacts"]))

    others.graph.wait_for(recorded, "a message on the disk")


class Demonstrations:
    """A client of RecordEpisode."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.client = graph.action_client(RecordEpisode, topics.RECORD_EPISODE)
        graph.wait_for(self.client.server_is_ready, "the action server")

    def begin(self, name: str, duration_s: float = 0.0, instruction: str = "") -> Any:
        goal = RecordEpisode.Goal(name=name, duration_s=duration_s, instruction=instruction)
        return self.answer(self.client.send_goal_async(goal), "the goal's acceptance")

    def end(self, handle: Any) -> Any:
        return self.answer(handle.get_result_async(), "the goal's result")

    def answer(self, future: Any, what: str) -> Any:
        self.graph.wait_for(future.done, what)
        return future.result()


def test_a_demonstration_is_recorded_for_its_time_or_until_it_is_cancelled(others: Others) -> None:
    others.bring_up(record_episodes=False)
    demonstrations = Demonstrations(others.graph)
    others.tell("not wanted", Episode.RUNNING)

    timed = demonstrations.end(demonstrations.begin("timed", 0.5, "set the table"))
    assert timed.status == GoalStatus.STATUS_SUCCEEDED
    assert timed.result.uri == str(others.directory / "timed")
    assert timed.result.complete
    said = Bag(others.directory / "timed").provenance
    assert (said[keys.KIND], said[keys.ROBOT]) == ("demonstration", "sim")
    assert (said[keys.INSTRUCTION], said[keys.OUTCOME]) == ("set the table", "UNKNOWN")

    handle = demonstrations.begin("cancelled")
    folder = others.directory / "cancelled"
    others.graph.wait_for(lambda: any(folder.glob("*.mcap")), "the bag")
    sent = [others.move() for _ in range(5)]
    others.graph.wait_for(lambda: odometry_in(folder)[-5:] == sent, "the messages on the disk")
    demonstrations.answer(handle.cancel_goal_async(), "the cancellation")
    cancelled = demonstrations.end(handle)
    assert cancelled.status == GoalStatus.STATUS_CANCELED
    assert cancelled.result.complete
    assert cancelled.result.messages == sum(1 for _ in Bag(folder).messages())
    assert sorted(folder.name for folder in others.directory.iterdir()) == ["cancelled", "timed"]

    for name in ("", "../above", "timed"):
        refused = demonstrations.end(demonstrations.begin(name))
        assert refused.status == GoalStatus.STATUS_ABORTED
        assert "name: expected a new folder" in refused.result.message


def test_a_demonstration_fails_when_the_disk_is_full(others: Others, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=2m") as disk:
        others.bring_up(directory=disk, min_free_disk_mib=0)
        said, _ = diagnostics_of(others.graph)
        demonstrations = Demonstrations(others.graph)
        result = demonstrations.begin("demo").get_result_async()

        def failed() -> bool:
            others.odometry.publish(Odometry(child_frame_id=os.urandom(50_000).hex()))
            return result.done()

        others.graph.wait_for(failed, "the disk to be full")
        answer = result.result()
        assert answer.status == GoalStatus.STATUS_ABORTED
        assert not answer.result.complete
        assert "No space left on device" in answer.result.message
        said.wait(
            lambda message: any(
                status.level == DiagnosticStatus.ERROR and "No space left" in status.message
                for status in message.status
            ),
            what="an error on /diagnostics",
        )
        assert odometry_in(disk / "demo")
