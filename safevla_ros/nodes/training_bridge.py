"""The recorder of the graph, and one day its way back into training.

It records every episode into <directory>/<episode id>/, with all topics of the graph and of the
robot's profile, as the bytes that came from DDS; RecordEpisode records demonstrations beside that.
A bag begins with the latched topics and the last second before the episode, and ends a second after
it, so that the last costs are in it. Times in a bag are of the wall clock, as in `ros2 bag record`.

Nothing it does holds up the graph: messages are taken as they are and written by another thread;
a slow disk costs messages, which are counted, and a full or broken one ends the recording with a
reason on /diagnostics. What DDS lost before it came here is counted too.

What it does not do yet: cut clips around violations, make data sets, start fine-tuning, offer the
result.
"""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from rclpy.task import Future

from safevla_ros import __version__
from safevla_ros.action import RecordEpisode
from safevla_ros.bags import BagError, RawMessage
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.definitions import DefinitionError, find_definition
from safevla_ros.bags.mcap_file import Topic
from safevla_ros.bags.metadata import Qos
from safevla_ros.bags.recorder import Recorder, free_name
from safevla_ros.bags.writer import MIB, BagWriter, Limits
from safevla_ros.msg import CostSpecification, CostVector, Episode
from safevla_ros.nodes import topics
from safevla_ros.nodes.lifecycle import ConfigurationError, Diagnostics, GraphNode, spin
from safevla_ros.nodes.message_types import message_type
from safevla_ros.robot.profile import Profile

TRAILING_S = 1.0
"""So long after an episode its last messages are awaited."""
ORPHANED_S = 5.0
"""So long after the owner of an episode has left, the episode is taken as over."""
CLOSING_S = 5.0
"""So long a bag may take to be closed when this process ends."""
TICK_S = 0.1
DEPTH = 200
"""Messages of one topic that may wait for this process, before DDS loses some."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A topic to be recorded. `role`: what it is to the graph or to the robot."""

    role: str
    topic: str
    type: str
    qos: QoSProfile


@dataclass(slots=True)
class Recording:
    """A bag in the making. `end_s`: when to end it, on the steady clock."""

    name: str
    writer: BagWriter
    lost_before: Counter[str]
    episode_id: str = ""
    end_s: float | None = None
    outcome: dict[str, str] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    goal: ServerGoalHandle | None = None
    done: Future | None = None


class TrainingBridge(GraphNode):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("training_bridge")
        self.declare("directory", "", "Folder that bags are written into; made when missing")
        self.declare("record_episodes", True, "Record every episode without being asked")
        self.declare(
            "min_free_disk_mib", 512, "Recording stops below this much free disk", 0, 1 << 24
        )
        self.declare(
            "queue_mib", 256, "Memory for messages that wait for the disk", lower=1, upper=1 << 16
        )
        self._recordings: list[Recording] = []
        self._last_bag = ""
        self._problem = ""
        self._configured = False

    def setup(self) -> None:
        """Subscribe to everything, so that the last second is known when an episode begins."""
        self._directory = _usable(self.get_parameter("directory").value)
        self._silent: dict[str, Wanted] = {}
        self._weaker: dict[str, Subscription] = {}
        self._lost: Counter[str] = Counter()
        self._sequences: dict[tuple[str, bytes], int] = {}
        self._facts: dict[str, str] = {}
        self._episode: Episode | None = None
        self._owner_seen_s = time.monotonic()
        self._peeks: dict[str, Callable[[bytes], None]] = {}

        wanted = wanted_topics(self.profile)
        recorded = [made for item in wanted if (made := self._subscribe(item)) is not None]
        self._roles = {item.role: self.resolve_topic_name(item.topic) for item in wanted}
        self._recorder = Recorder(
            self._directory,
            recorded,
            Limits(
                queue_bytes=self.get_parameter("queue_mib").value * MIB,
                min_free_bytes=self.get_parameter("min_free_disk_mib").value * MIB,
            ),
            distro=_distro(),
        )
        self._peek(topics.EPISODE, Episode, self._on_episode)
        self._peek(topics.COST_SPECIFICATION, CostSpecification, self._on_specification)
        self._peek(topics.COST_VECTOR, CostVector, self._on_costs)
        self._peek("/diagnostics", DiagnosticArray, self._on_diagnostics)
        self.timer(TICK_S, self._tick)
        self._action = ActionServer(
            self,
            RecordEpisode,
            topics.RECORD_EPISODE,
            self._record_demonstration,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )
        self._configured = True

    def start(self) -> None:
        """Record from now on, an episode that runs already included."""
        if self._episode is not None:
            self._follow(self._episode)

    def stop(self) -> None:
        """End every bag and wait until they are closed."""
        for recording in self._recordings:
            self._end(recording)
        deadline_s = time.monotonic() + CLOSING_S
        for recording in self._recordings:
            recording.writer.wait(max(0.0, deadline_s - time.monotonic()))
        self._finish_closed()

    def last_action(self) -> None:
        """However the process ends in order, its bags are whole."""
        self.stop()

    def teardown(self) -> None:
        """The action server, and what `setup` did not make."""
        self._configured = False
        self._action.destroy()
        for subscription in self._weaker.values():
            self.destroy_subscription(subscription)

    def on_callback_error(self, where: str, error: Exception) -> bool:
        """One message may be lost; the recording goes on."""
        self._problem = f"{where}: {error!r}"
        self.get_logger().error(self._problem, throttle_duration_sec=5.0)
        return True

    # Messages.

    def _subscribe(self, wanted: Wanted) -> Topic | None:
        """Record a topic from now on. None, with one warning, when its type is not known here."""
        name = self.resolve_topic_name(wanted.topic)
        try:
            kind = message_type(wanted.type)
            definition = find_definition(wanted.type)
        except (ConfigurationError, DefinitionError) as error:
            self.get_logger().warning(f"topic {name} is not recorded: {error}")
            return None
        self.subscription(kind, wanted.topic, self._taker(name), wanted.qos, raw=True)
        self._silent[name] = wanted
        return Topic(name, wanted.type, definition, [_as_recorded(wanted.qos)])

    def _taker(self, topic: str, *, weaker: bool = False) -> Callable[..., None]:
        """The callback of a subscription to a topic."""
        callback = functools.partial(self._take, topic, weaker)
        # Seen as taking message and info, so that rclpy gives both. The events executor hands them
        # over as one tuple, the other as two arguments; `*arguments` is right for either.
        callback.__signature__ = _MESSAGE_AND_INFO
        return callback

    def _take(self, topic: str, weaker: bool, *arguments: Any) -> None:
        if weaker != (topic in self._weaker):
            return  # the other subscription hears this as well
        data, info = arguments if len(arguments) == 2 else arguments[0]
        self._silent.pop(topic, None)
        self._count_lost(topic, info)
        received_ns = info["received_timestamp"] or time.time_ns()
        published_ns = info["source_timestamp"] or received_ns
        self._recorder.take(RawMessage(topic, data, received_ns, published_ns))
        peek = self._peeks.get(topic)
        if peek is not None:
            peek(data)

    def _count_lost(self, topic: str, info: dict[str, Any]) -> None:
        """Gaps in a publisher's own numbers are messages that DDS lost on the way here. Jazzy does
        not tell which publisher a number belongs to; there nothing is counted."""
        publisher, number = info.get("publisher_gid"), info["publication_sequence_number"]
        if publisher is None or number is None:
            return
        key = (topic, publisher["data"])
        last = self._sequences.get(key)
        self._sequences[key] = number
        if last is not None and number > last + 1:
            self._lost[topic] += number - last - 1

    def _adapt(self) -> None:
        """Where nothing was heard because a publisher offers less than was asked for, ask for less:
        a recorder takes what there is. (`safevla up --check` says what is not as it should be.)

        The first subscription stays, unheard: the events executor does not survive that one is
        destroyed while something happens to it."""
        for name, wanted in list(self._silent.items()):
            offered = [info.qos_profile for info in self.get_publishers_info_by_topic(name)]
            if not offered:
                continue
            del self._silent[name]
            qos = _weakest(wanted.qos, offered)
            if qos is not None:
                callback = self._reported(self._taker(name, weaker=True), f"callback of {name}")
                self._weaker[name] = self.create_subscription(
                    message_type(wanted.type), name, callback, qos, raw=True
                )
                self.get_logger().warning(f"topic {name} is offered with less than expected QoS")

    def _peek(self, topic: str, kind: type, take: Callable[[Any], None]) -> None:
        """Have the decoded messages of a recorded topic given to `take` as well."""
        name = self.resolve_topic_name(topic)
        self._peeks[name] = lambda data: take(deserialize_message(data, kind))

    def _on_specification(self, message: CostSpecification) -> None:
        self._facts[keys.SPECIFICATION] = message.name
        self._facts[keys.SPECIFICATION_HASH] = message.hash

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """A simulated robot says there which scenario it runs."""
        for status in message.status:
            for item in status.values:
                if item.key in (keys.SCENARIO, keys.SEED):
                    self._facts[item.key] = item.value

    def _on_costs(self, message: CostVector) -> None:
        for recording in self._recordings:
            if recording.episode_id in ("", message.episode_id):
                recording.costs |= {term.name: term.cumulative for term in message.terms}

    def _on_episode(self, message: Episode) -> None:
        self._episode = message
        if self.active:
            self._follow(message)

    # Episodes.

    def _follow(self, episode: Episode) -> None:
        """Begin an episode's bag, or learn how it ended."""
        if not episode.id:  # the inference node is back: what it left open is over
            for orphan in self._recordings:
                if orphan.episode_id:
                    self._end(orphan)
            return
        running = next((r for r in self._recordings if r.episode_id == episode.id), None)
        if running is None:
            if episode.state != Episode.ENDED and self.get_parameter("record_episodes").value:
                self._begin_episode(episode)
        elif episode.state == Episode.ENDED and running.end_s is None:
            running.outcome = {
                keys.OUTCOME: _outcome_name(episode.outcome),
                keys.OUTCOME_REASON: episode.outcome_reason,
            }
            running.end_s = time.monotonic() + TRAILING_S

    def _begin_episode(self, episode: Episode) -> None:
        for earlier in self._recordings:
            if earlier.episode_id:
                self._end(earlier)
        self._problem = ""
        provenance = self._provenance() | {
            keys.EPISODE_ID: episode.id,
            keys.INSTRUCTION: episode.instruction,
            keys.TASK: episode.task,
            keys.POLICY_ID: episode.policy_id,
            keys.POLICY_SHA256: episode.policy_sha256,
        }
        name = free_name(self._directory, episode.id)
        try:
            writer = self._recorder.begin(name, provenance)
        except BagError as error:
            self._problem = str(error)
            self.get_logger().error(f"episode {episode.id} is not recorded: {error}")
            return
        self._owner_seen_s = time.monotonic()
        self._recordings.append(Recording(name, writer, self._lost.copy(), episode_id=episode.id))
        self.get_logger().info(f"records episode {episode.id} into {writer.folder}")

    def _provenance(self) -> dict[str, str]:
        """What is known of any recording that begins now."""
        machine = {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "distro": _distro(),
        }
        return {
            keys.ROBOT: self.profile.name,
            keys.SOFTWARE_VERSION: __version__,
            keys.MACHINE: json.dumps(machine),
            keys.TOPICS: json.dumps(self._roles),
            **self._facts,
        }

    # Demonstrations.

    async def _record_demonstration(self, goal: ServerGoalHandle) -> RecordEpisode.Result:
        """Record until cancelled, until the time has passed, or until writing fails."""
        result = RecordEpisode.Result()
        name = goal.request.name
        try:
            if not self.active:
                raise BagError("training_bridge is not active, so it records nothing")
            if name != free_name(self._directory, name):
                raise BagError(
                    f"name: expected a new folder in {self._directory}, of letters, digits and "
                    f"._-, got {name!r}"
                )
            writer = self._recorder.begin(name, self._provenance())
        except BagError as error:
            result.message = str(error)
            self.get_logger().error(f"record_episode: {error}")
            goal.abort()
            return result
        recording = Recording(name, writer, self._lost.copy(), goal=goal, done=Future())
        if goal.request.duration_s > 0.0:
            recording.end_s = time.monotonic() + goal.request.duration_s
        self._recordings.append(recording)
        self.get_logger().info(f"records into {writer.folder}")
        await recording.done

        progress = writer.progress
        result.uri = str(writer.folder)
        result.messages, result.bytes = progress.messages, progress.bytes
        result.dropped = progress.dropped
        result.complete = not progress.dropped and not progress.problem
        result.message = progress.problem or (
            f"{progress.dropped} messages came faster than the disk took them"
            if progress.dropped
            else ""
        )
        if not result.complete:
            goal.abort()
        elif goal.is_cancel_requested:
            goal.canceled()
        else:
            goal.succeed()
        return result

    # Time.

    def _tick(self) -> None:
        now_s = time.monotonic()
        for recording in self._recordings:
            cancelled = recording.goal is not None and recording.goal.is_cancel_requested
            due = recording.end_s is not None and now_s >= recording.end_s
            if cancelled or due or (recording.goal is not None and recording.writer.closed):
                self._end(recording)
        self._finish_closed()

    def _end(self, recording: Recording) -> None:
        """Let a bag be closed; `_finish_closed` sees to the rest. A second call does nothing."""
        provenance = self._facts | recording.outcome
        provenance[keys.COSTS] = json.dumps(recording.costs)
        if self._sequences:
            provenance[keys.LOST] = json.dumps(self._lost - recording.lost_before)
        self._recorder.end(recording.writer, provenance)

    def _finish_closed(self) -> None:
        """Say how the bags that are closed by now ended."""
        for recording in [r for r in self._recordings if r.writer.ended and r.writer.closed]:
            self._recordings.remove(recording)
            progress = recording.writer.progress
            self._last_bag = str(recording.writer.folder)
            if progress.problem:
                self._problem = progress.problem
                self.get_logger().error(f"{self._last_bag}: {progress.problem}")
            self.get_logger().info(
                f"recorded {self._last_bag}: {progress.messages} messages, "
                f"{progress.bytes / MIB:.1f} MiB, {progress.dropped} dropped"
            )
            if recording.done is not None:
                recording.done.set_result(None)

    def report(self) -> None:
        """How the recording goes. Once a second is also often enough for what follows others."""
        if not self._configured:
            return
        self._adapt()
        self._leave_orphan()
        progress = [recording.writer.progress for recording in self._recordings]
        free_mib = shutil.disk_usage(self._directory).free // MIB
        problem = next((p.problem for p in progress if p.problem), self._problem)
        dropped = sum(p.dropped for p in progress)
        self.diagnostics.values |= {
            "recording": ", ".join(r.name for r in self._recordings) or "nothing",
            "messages": sum(p.messages for p in progress),
            "bytes": sum(p.bytes for p in progress),
            "dropped": dropped,
            "lost_by_dds": self._lost.total(),
            "free_disk_mib": free_mib,
            "last_bag": self._last_bag,
        }
        if problem:
            self.diagnostics.set_status(Diagnostics.ERROR, problem)
        elif dropped:
            self.diagnostics.set_status(Diagnostics.WARN, "messages come faster than the disk")
        elif self.active:
            self.diagnostics.set_status(
                Diagnostics.OK, "records" if progress else "waits for an episode"
            )
        for recording, state in zip(self._recordings, progress, strict=True):
            if recording.goal is not None:
                recording.goal.publish_feedback(
                    RecordEpisode.Feedback(
                        messages=state.messages, bytes=state.bytes, dropped=state.dropped
                    )
                )

    def _leave_orphan(self) -> None:
        """End the bag of an episode whose owner has left without ending it."""
        now_s = time.monotonic()
        if self.count_publishers(topics.EPISODE):
            self._owner_seen_s = now_s
        for recording in self._recordings:
            left = recording.episode_id and now_s - self._owner_seen_s > ORPHANED_S
            if left and recording.end_s is None:
                recording.end_s = now_s
                recording.outcome = {
                    keys.OUTCOME: "UNKNOWN",
                    keys.OUTCOME_REASON: "the policy's process left in the middle of the episode",
                }


_MESSAGE_AND_INFO = inspect.Signature(
    [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in ("message", "info")]
)


def wanted_topics(profile: Profile) -> list[Wanted]:
    """Every topic of the graph and of the robot, each once; roles of the robot's are `kind.name`."""
    reliable, latched = topics.reliable(DEPTH), topics.latched()
    latched.depth = DEPTH
    own = "safevla_ros/msg/"
    wanted = [
        Wanted("episode", topics.EPISODE, own + "Episode", latched),
        Wanted("cost_specification", topics.COST_SPECIFICATION, own + "CostSpecification", latched),
        Wanted("safety_status", topics.SAFETY_STATUS, own + "SafetyStatus", latched),
        Wanted("observation", topics.OBSERVATION, own + "Observation", reliable),
        Wanted("action_chunk", topics.ACTION_CHUNK, own + "ActionChunk", reliable),
        Wanted("gated_action", topics.GATED_ACTION, own + "GatedAction", reliable),
        Wanted("cost_vector", topics.COST_VECTOR, own + "CostVector", reliable),
        Wanted("safety_event", topics.SAFETY_EVENT, own + "SafetyEvent", reliable),
        Wanted("monitor_heartbeat", topics.MONITOR_HEARTBEAT, own + "Heartbeat", reliable),
        Wanted("watchdog_heartbeat", topics.WATCHDOG_HEARTBEAT, own + "Heartbeat", reliable),
        Wanted("markers", topics.MARKERS, "visualization_msgs/msg/MarkerArray", reliable),
        Wanted("robot_description", "robot_description", "std_msgs/msg/String", latched),
        Wanted("diagnostics", "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", reliable),
        Wanted("rosout", "/rosout", "rcl_interfaces/msg/Log", reliable),
        Wanted("clock", "/clock", "rosgraph_msgs/msg/Clock", _sensor(is_reliable=False)),
    ]
    for name, signal in profile.signals.present().items():
        qos = _sensor(is_reliable=signal.reliable)
        wanted.append(Wanted(f"signals.{name}", signal.topic, signal.type, qos))
    for camera in profile.cameras:
        qos = _sensor(is_reliable=camera.reliable)
        wanted.append(Wanted(f"cameras.{camera.name}", camera.topic, camera.type, qos))
        if camera.info_topic is not None:
            info = "sensor_msgs/msg/CameraInfo"
            wanted.append(Wanted(f"camera_infos.{camera.name}", camera.info_topic, info, qos))
    wanted += [
        Wanted(f"sources.{source.name}", source.topic, source.type, reliable)
        for source in profile.sources
    ]
    wanted += [
        Wanted(f"outputs.{topic}", topic, kind, reliable)
        for topic, kind in profile.outputs.final_topics().items()
    ]
    if profile.estop is not None:
        wanted.append(Wanted("estop", profile.estop.topic, "std_msgs/msg/Bool", reliable))
    if profile.outcome_topic is not None:
        wanted.append(Wanted("outcome", profile.outcome_topic, own + "TaskOutcome", reliable))
    return list({item.topic: item for item in reversed(wanted)}.values())[::-1]


def _sensor(*, is_reliable: bool) -> QoSProfile:
    return topics.sensor(is_reliable=is_reliable, depth=DEPTH)


def _weakest(asked: QoSProfile, offered: list[QoSProfile]) -> QoSProfile | None:
    """What to ask for so that every publisher is heard; None: what was asked for is right."""
    reliable = all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in offered)
    latched = all(qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in offered)
    asked_latched = asked.durability == DurabilityPolicy.TRANSIENT_LOCAL
    asked_reliable = asked.reliability == ReliabilityPolicy.RELIABLE
    if (reliable or not asked_reliable) and (latched or not asked_latched):
        return None
    weakest = _sensor(is_reliable=reliable and asked_reliable)
    if latched and asked_latched:
        weakest.durability = DurabilityPolicy.TRANSIENT_LOCAL
    return weakest


def _as_recorded(qos: QoSProfile) -> Qos:
    """QoS in rosbag2's words."""
    return Qos(
        reliability="best_effort"
        if qos.reliability == ReliabilityPolicy.BEST_EFFORT
        else "reliable",
        durability="transient_local"
        if qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        else "volatile",
        depth=qos.depth,
    )


@functools.cache
def _distro() -> str:
    """Name of the ROS 2 distribution: a sourced one, or the one whose wheels are installed."""
    wheels = (
        re.fullmatch(r"ros-(\w+)-rclpy", distribution.name or "")
        for distribution in importlib.metadata.distributions()
    )
    return os.environ.get("ROS_DISTRO") or next((match[1] for match in wheels if match), "")


def _outcome_name(value: int) -> str:
    names = ("UNKNOWN", "SUCCESS", "FAILURE", "ABORTED")
    return next((name for name in names if getattr(Episode, name) == value), "UNKNOWN")


def _usable(directory: str) -> Path:
    """The recording directory, made and tried. Raises ConfigurationError."""
    if not directory:
        raise ConfigurationError("parameter directory: expected a folder to record into")
    path = Path(directory).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"parameter directory: {path}: expected a folder that can be written: {error.strerror}"
        ) from error
    return path


def main(args: list[str] | None = None) -> int:
    """Entry point of the process."""
    return spin(TrainingBridge, executor="events", args=args)


if __name__ == "__main__":
    raise SystemExit(main())
