"""The recorder of the graph, and one day its way back into training.

It records every episode into <directory>/<episode id>/, with all topics of the graph and of the
robot's profile, as the bytes that came from DDS, but for images that the profile wants compressed;
RecordEpisode records demonstrations beside that.
A bag begins with the latched topics and the last second before the episode, and ends a second after
it, so that the last costs are in it. Times in a bag are of the wall clock, as in `ros2 bag record`.

Whatever goes wrong also becomes a clip in <directory>/clips/, with the seconds before it, in an
episode or not. Where there is more than may be kept, whole episodes are deleted first.

Nothing it does holds up the graph: messages are taken as they are and written by another thread;
a slow disk costs messages, which are counted, and a full or broken one ends the recording with a
reason on /diagnostics. What DDS lost before it came here is counted too.

What it does not do yet: start fine-tuning, offer the result.
"""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future

from safevla_ros.action import RecordEpisode
from safevla_ros.bags import BagError, RawMessage
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.clips import CLIPS, ClipOutcomes, ClipTimes, ClipWindow, Event, clip_name
from safevla_ros.bags.mcap_file import Topic
from safevla_ros.bags.recorder import Recorder, free_name
from safevla_ros.bags.retention import Retention, make_room
from safevla_ros.bags.writer import MIB, Limits
from safevla_ros.extras import missing
from safevla_ros.msg import CostSpecification, CostVector, Episode, SafetyEvent
from safevla_ros.nodes import topics
from safevla_ros.nodes.bridge.recorded_topics import wanted_topics
from safevla_ros.nodes.bridge.recording import Recording, distro, machine_facts, usable_directory
from safevla_ros.nodes.bridge.topic_tap import TopicTap
from safevla_ros.nodes.lifecycle import ConfigurationError, Diagnostics, GraphNode, spin
from safevla_ros.robot.messages import stamp_ns

if TYPE_CHECKING:
    from safevla_ros.nodes.bridge.live_view import LiveView

TRAILING_S = 1.0
"""So long after an episode its last messages are awaited."""
ORPHANED_S = 5.0
"""So long after the owner of an episode has left, the episode is taken as over."""
CLOSING_S = 5.0
"""So long a bag may take to be closed when this process ends."""
TICK_S = 0.1
GIB = 1 << 30
DAY_S = 86400.0
EVENT_KINDS = ("violation", "intervention", "latch", "reset", "fault", "intruder")
"""Names of SafetyEvent's constants, as the parameter `clip_on` has them."""


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
        self.declare(
            "clip_on",
            "violation,latch,intruder",
            "Kinds of safety events that become clips, with commas between them; empty: none",
        )
        self.declare("clip_before_s", 5.0, "A clip begins so long before its first event", 0, 600)
        self.declare("clip_after_s", 3.0, "A clip ends so long after its last event", 0, 600)
        self.declare("clip_longest_s", 60.0, "Longest time from first to last event", 0, 3600)
        self.declare("memory_mib", 256, "Memory for the seconds before a bag", 1, 1 << 16)
        self.declare(
            "retention_gib",
            0,
            "Old bags are deleted above this size, clips last; 0: never",
            0,
            1 << 20,
        )
        self.declare(
            "retention_days", 0, "Whole bags older than this are deleted; 0: never", 0, 36500
        )
        self.declare("view_port", 0, "Port of the live view for Foxglove; 0: none", 0, 65535)
        self.declare("view_host", "127.0.0.1", "Address the live view is served on; 0.0.0.0: all")
        self._recordings: list[Recording] = []
        self._last_bag = ""
        self._problem = ""
        self._configured = False

    def setup(self) -> None:
        """Subscribe to everything, so that the last second is known when an episode begins."""
        self._directory = usable_directory(self.get_parameter("directory").value)
        self._clip_on = self._read_clip_on()
        self._clip_times = ClipTimes(
            *(self.get_parameter(f"clip_{name}_s").value for name in ("before", "after", "longest"))
        )
        gib, days = (self.get_parameter(f"retention_{unit}").value for unit in ("gib", "days"))
        self._retention = Retention(gib * GIB if gib else None, days * DAY_S if days else None)
        self._tidying: threading.Thread | None = None
        self._facts: dict[str, str] = {keys.SESSION: uuid.uuid4().hex}
        self._scales: dict[str, float] = {}
        self._clip_outcomes = ClipOutcomes(self.get_logger().warning)
        self._episode: Episode | None = None
        self._owner_seen_s = time.monotonic()

        tap = self._tap = TopicTap(self, self._take, self._reported)
        wanted = wanted_topics(self.profile)
        recorded = [made for item in wanted if (made := tap.subscribe(item)) is not None]
        self._view, self._view_problem = self._start_view(tap.heard)
        self._roles = {item.role: self.resolve_topic_name(item.recorded_topic) for item in wanted}
        self._recorder = Recorder(
            self._directory,
            recorded,
            Limits(
                queue_bytes=self.get_parameter("queue_mib").value * MIB,
                min_free_bytes=self.get_parameter("min_free_disk_mib").value * MIB,
            ),
            distro=distro(),
            # A paused clip goes on from this memory.
            memory_s=self._clip_times.before_s + 1.0,
            memory_bytes=self.get_parameter("memory_mib").value * MIB,
        )
        tap.peek(topics.EPISODE, Episode, self._on_episode)
        tap.peek(topics.COST_SPECIFICATION, CostSpecification, self._on_specification)
        tap.peek(topics.COST_VECTOR, CostVector, self._on_costs)
        tap.peek(topics.SAFETY_EVENT, SafetyEvent, self._on_event)
        tap.peek("/diagnostics", DiagnosticArray, self._on_diagnostics)
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
        self._clip_outcomes.wait(max(0.0, deadline_s - time.monotonic()))

    def last_action(self) -> None:
        """However the process ends in order, its bags are whole."""
        self.stop()

    def teardown(self) -> None:
        """The action server, the live view, and what `setup` did not make."""
        self._configured = False
        if self._view is not None:
            self._view.close()
        self._action.destroy()
        self._tap.destroy()

    def on_callback_error(self, where: str, error: Exception) -> bool:
        """One message may be lost; the recording goes on."""
        self._problem = f"{where}: {error!r}"
        self.get_logger().error(self._problem, throttle_duration_sec=5.0)
        return True

    def _read_clip_on(self) -> frozenset[int]:
        words = [word.strip() for word in self.get_parameter("clip_on").value.split(",")]
        for word in filter(None, words):
            if word not in EVENT_KINDS:
                raise ConfigurationError(
                    f"parameter clip_on: expected some of {', '.join(EVENT_KINDS)}, got {word!r}"
                )
        return frozenset(getattr(SafetyEvent, word.upper()) for word in filter(None, words))

    # Messages.

    def _take(self, message: RawMessage) -> None:
        self._recorder.take(message)
        if self._view is not None:
            self._view.publish(message)

    def _start_view(self, heard: Sequence[Topic]) -> tuple[LiveView | None, str]:
        """The live view where one is asked for, or why there is none: that stops no recording."""
        port, host = self.get_parameter("view_port").value, self.get_parameter("view_host").value
        if not port:
            return None, ""
        try:
            from safevla_ros.nodes.bridge.live_view import LiveView, LiveViewError
        except ImportError as error:
            return self._no_view(missing(error) or str(error))
        try:
            view = LiveView(host, port, heard)
        except LiveViewError as error:
            return self._no_view(str(error))
        self.get_logger().info(f"live view: Foxglove, ws://{host}:{port}")
        return view, ""

    def _no_view(self, why: str) -> tuple[None, str]:
        self.get_logger().error(f"no live view: {why}")
        return None, f"no live view: {why}"

    def _on_specification(self, message: CostSpecification) -> None:
        self._facts[keys.SPECIFICATION] = message.name
        self._facts[keys.SPECIFICATION_HASH] = message.hash
        self._scales = {term.name: term.scale for term in message.terms}

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """A simulated robot says there which scenario it runs."""
        for status in message.status:
            for item in status.values:
                if item.key in (keys.SCENARIO, keys.SEED):
                    self._facts[item.key] = item.value

    def _on_costs(self, message: CostVector) -> None:
        for recording in self._recordings:
            if recording.episode_id in ("", message.episode_id):
                recording.charge(message.step, message.terms, self._scales)
        if any(term.cost > 0.0 for term in message.terms):
            self._open_clip(time.monotonic())  # a violation that goes on is told at its onset only

    def _on_episode(self, message: Episode) -> None:
        self._episode = message
        if self.active:
            self._follow(message)

    # Episodes.

    def _follow(self, episode: Episode) -> None:
        """Begin an episode's bag, or learn how it ended."""
        if not episode.id:  # the inference node is back: what it left open is over
            for orphan in self._recordings:
                if orphan.whole_episode:
                    self._end(orphan)
            return
        own = [r for r in self._recordings if r.episode_id == episode.id]
        running = next((r for r in own if r.whole_episode), None)
        outcome = _outcome_of(episode)
        if outcome:
            for recording in own:
                recording.outcome = recording.outcome or outcome
            self._clip_outcomes.tell(episode.id, outcome)
            if running is not None and running.end_s is None:
                running.end_s = time.monotonic() + TRAILING_S
        elif running is None and self.get_parameter("record_episodes").value:
            self._begin_episode(episode)

    def _begin_episode(self, episode: Episode) -> None:
        for earlier in self._recordings:
            if earlier.whole_episode:
                self._end(earlier)
        self._problem = ""
        provenance = self._provenance("episode") | _about(episode)
        name = free_name(self._directory, episode.id)
        try:
            writer = self._recorder.begin(name, provenance)
        except BagError as error:
            self._problem = str(error)
            self.get_logger().error(f"episode {episode.id} is not recorded: {error}")
            return
        self._owner_seen_s = time.monotonic()
        self._recordings.append(
            Recording(name, writer, self._tap.lost.copy(), episode_id=episode.id)
        )
        self.get_logger().info(f"records episode {episode.id} into {writer.folder}")

    def _provenance(self, kind: str) -> dict[str, str]:
        """What is known of any recording that begins now."""
        return {
            keys.KIND: kind,
            keys.ROBOT: self.profile.name,
            keys.TOPICS: json.dumps(self._roles),
            **machine_facts(),
            **self._facts,
        }

    # Clips.

    def _on_event(self, message: SafetyEvent) -> None:
        if not self.active or message.kind not in self._clip_on:
            return
        now_s = time.monotonic()
        event = _event(message)
        clip = self._open_clip(now_s)
        if clip is not None:
            clip.events.append(event)
            return
        self._begin_clip(event, message.episode_id, now_s)

    def _open_clip(self, now_s: float) -> Recording | None:
        """The clip that what happens now belongs to, which goes on therefore. None: there is none."""
        for clip in self._recordings:
            if clip.window is None or clip.writer.ended:
                continue
            if clip.window.takes(now_s) and self._recorder.resume(clip.writer):
                clip.window.extend(now_s)
                return clip
            self._end(clip)  # long enough, or what lies between is forgotten
        return None

    def _begin_clip(self, event: Event, episode_id: str, now_s: float) -> None:
        provenance, outcome = self._provenance("clip"), {}
        if self._episode is not None and self._episode.id == episode_id:
            provenance |= _about(self._episode)
            outcome = _outcome_of(self._episode)
        name = free_name(self._directory / CLIPS, clip_name(episode_id, event))
        try:
            writer = self._recorder.begin(f"{CLIPS}/{name}", provenance, self._clip_times.before_s)
        except BagError as error:
            self._problem = str(error)
            self.get_logger().error(f"no clip of {event.detail!r}: {error}")
            return
        recording = Recording(name, writer, self._tap.lost.copy(), episode_id, events=[event])
        recording.window, recording.outcome = ClipWindow(self._clip_times, now_s), outcome
        self._recordings.append(recording)

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
            said = {keys.INSTRUCTION: goal.request.instruction}
            writer = self._recorder.begin(name, self._provenance("demonstration") | said)
        except BagError as error:
            result.message = str(error)
            self.get_logger().error(f"record_episode: {error}")
            goal.abort()
            return result
        recording = Recording(name, writer, self._tap.lost.copy(), goal=goal, done=Future())
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
            progress.unencodable
            or f"{progress.dropped} messages came faster than they were written"
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
            if (window := recording.window) is not None:
                due = now_s >= window.ends_s
                if now_s >= window.pauses_s:
                    self._recorder.pause(recording.writer)
            if cancelled or due or (recording.goal is not None and recording.writer.closed):
                self._end(recording)
        self._finish_closed()
        if self._view is not None:
            self._view.tick()
            self._view_problem = self._view.problem

    def _end(self, recording: Recording) -> None:
        """Let a bag be closed; `_finish_closed` sees to the rest. A second call does nothing."""
        provenance = self._facts | recording.conclusion()
        if self._tap.counts_lost:
            provenance[keys.LOST] = json.dumps(self._tap.lost - recording.lost_before)
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
            if recording.window is not None and recording.episode_id:
                self._clip_outcomes.closed(recording.episode_id, recording.writer.folder)
                if recording.outcome:  # which may have come too late for the writer
                    self._clip_outcomes.tell(recording.episode_id, recording.outcome)
            self._make_room()

    def _make_room(self) -> None:
        """Delete what is too old or too much, in a thread of its own: a disk may be slow at it."""
        if not self._retention or (self._tidying is not None and self._tidying.is_alive()):
            return
        spare = [recording.writer.folder for recording in self._recordings]
        log = self.get_logger()
        self._tidying = threading.Thread(
            target=make_room,
            args=(self._directory, self._retention),
            kwargs={
                "spare": spare,
                "tell": lambda folder, why: log.warning(f"retention: {folder}: {why}"),
            },
            name="retention",
            daemon=True,
        )
        self._tidying.start()

    def report(self) -> None:
        """How the recording goes. Once a second is also often enough for what follows others."""
        if not self._configured:
            return
        self._tap.adapt()
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
            "lost_by_dds": self._tap.lost.total(),
            "free_disk_mib": free_mib,
            "last_bag": self._last_bag,
            "live_view": self._view_problem or ("off" if self._view is None else "on"),
        }
        if problem:
            self.diagnostics.set_status(Diagnostics.ERROR, problem)
        elif dropped:
            why = next((p.unencodable for p in progress if p.unencodable), "")
            self.diagnostics.set_status(
                Diagnostics.WARN, why or "messages come faster than they can be written"
            )
        elif self._view_problem:
            self.diagnostics.set_status(Diagnostics.WARN, self._view_problem)
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
            left = recording.whole_episode and now_s - self._owner_seen_s > ORPHANED_S
            if left and recording.end_s is None:
                recording.end_s = now_s
                recording.outcome = {
                    keys.OUTCOME: "UNKNOWN",
                    keys.OUTCOME_REASON: "the policy's process left in the middle of the episode",
                }


def _outcome_of(episode: Episode) -> dict[str, str]:
    """Provenance of how an episode ended; empty while it goes on."""
    if episode.state != Episode.ENDED:
        return {}
    names = ("UNKNOWN", "SUCCESS", "FAILURE", "ABORTED")
    name = next((n for n in names if getattr(Episode, n) == episode.outcome), "UNKNOWN")
    return {keys.OUTCOME: name, keys.OUTCOME_REASON: episode.outcome_reason}


def _about(episode: Episode) -> dict[str, str]:
    """An episode's part of the provenance."""
    return {
        keys.EPISODE_ID: episode.id,
        keys.INSTRUCTION: episode.instruction,
        keys.TASK: episode.task,
        keys.POLICY_ID: episode.policy_id,
        keys.POLICY_SHA256: episode.policy_sha256,
    }


def _event(message: SafetyEvent) -> Event:
    kinds = {getattr(SafetyEvent, kind.upper()): kind for kind in EVENT_KINDS}
    return Event(
        stamp_ns=stamp_ns(message.header.stamp),
        kind=kinds.get(message.kind, str(message.kind)),
        step=message.step,
        term=message.term,
        cause=message.cause,
        detail=message.detail,
        cost=None if math.isnan(message.cost) else message.cost,
        margin=None if math.isnan(message.margin) else message.margin,
    )


def main(args: list[str] | None = None) -> int:
    """Entry point of the process."""
    return spin(TrainingBridge, args)


if __name__ == "__main__":
    raise SystemExit(main())
