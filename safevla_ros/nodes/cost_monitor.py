"""The cost monitor: every command to the robot goes through it, and every cost is counted here.

It orchestrates and decides nothing itself: `safety.Gate` judges commands, `safety.CostAccountant`
(in episode_costs.py) sums costs, `safety.WorldAssembler` makes world states, monitor_reports.py
tells about it.

- A candidate is judged when it arrives, and forwarded at once. Every 20 ms on the steady clock the
  running command is judged anew, and the result published: zero velocity, too.
- A world state is sampled per odometry message, from the latest message of every other signal. The
  command path reads the last one and never waits for another.
- Only an active monitor forwards. It activates only when it hears the watchdog, and latches a stop
  when it hears it no longer, when the watchdog holds a stop, or when its own steady clock jumped by
  more than the profile's `heartbeat_timeout_s`: then it did not run, and what waits to be read is
  old. Whatever arrives first after such a pause finds the stop latched.
- An exception in a callback latches a stop too, and the monitor goes on to say so. If a timer fails
  even then it ends, and the watchdog takes over.

The mode is read-only while active: it is a parameter that is read at configure.
"""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, get_args

from builtin_interfaces.msg import Time
from std_msgs.msg import Bool

from safevla_ros.msg import (
    ActionChunk,
    CameraStatus,
    CandidateCommand,
    Episode,
    LatencyTrace,
    SafetyEvent,
    SafetyStatus,
)
from safevla_ros.nodes import topics
from safevla_ros.nodes.lifecycle import (
    ConfigurationError,
    Diagnostics,
    GraphNode,
    describe,
    spin,
    wall_now,
)
from safevla_ros.nodes.message_types import message_type
from safevla_ros.nodes.monitor import monitor_messages
from safevla_ros.nodes.monitor.camera_health import CameraHealth
from safevla_ros.nodes.monitor.episode_costs import EpisodeCosts
from safevla_ros.nodes.monitor.final_commands import FinalCommandPublisher
from safevla_ros.nodes.monitor.final_topics import FinalTopics
from safevla_ros.nodes.monitor.heartbeat import PERIOD_S, Heartbeats
from safevla_ros.nodes.monitor.latency import LatencyWindow
from safevla_ros.nodes.monitor.mode_service import switch_mode
from safevla_ros.nodes.monitor.monitor_reports import MonitorReports
from safevla_ros.nodes.monitor.priority import raise_priority
from safevla_ros.nodes.monitor.readers import read_chunk, read_episode, read_proposal
from safevla_ros.nodes.monitor.robot_signals import RobotSignals
from safevla_ros.robot.action_codec import opens_gripper
from safevla_ros.robot.kinematics import Kinematics, KinematicsError
from safevla_ros.robot.messages import MessageError
from safevla_ros.robot.profile import CommandSource, Mode, ProfileError, urdf_path
from safevla_ros.robot.state import NANOSECONDS
from safevla_ros.safety.accounting import LiveMargin, StepCosts
from safevla_ros.safety.clock import CLOCK_JITTER_S
from safevla_ros.safety.decisions import Decision, Reason, Verdict
from safevla_ros.safety.gate import Gate
from safevla_ros.safety.signal_health import stale_signals
from safevla_ros.safety.specification import (
    Specification,
    SpecificationError,
    load_specification,
    load_zones,
)
from safevla_ros.safety.world import WorldAssembler, WorldState
from safevla_ros.srv import ResetStop

STATUS_TICKS = 5
"""SafetyStatus at least every so many ticks: 10 Hz."""
RESET_COOLDOWN_S = 1.0
"""A stop must be this old before it can be reset: nobody looks at the robot in less."""
WATCHDOG_RELEASE_S = 0.5
"""After a reset the watchdog may take this long to release its own stop."""
WATCHDOG_WAIT_S = 5.0
"""How long activation waits for the watchdog's heartbeat to be discovered."""
LAST_STOPS_S = 0.2
"""How long stops are published when it forwards no more."""
NEVER_S = float("-inf")


class CostMonitor(GraphNode):
    """See the module's docstring."""

    def __init__(self, scheduling: str) -> None:
        super().__init__("cost_monitor")
        self._scheduling = scheduling
        self.declare("mode", "", "shadow, observe or enforce; empty: the profile's")
        self.declare(
            "specification",
            "",
            "Cost specification: a name under config/safety, or a path to a file; empty: the profile's",
        )
        self.declare(
            "zones",
            "",
            "File whose `zones` are added to the specification's: a site's, or a scenario's",
        )
        self._final: FinalCommandPublisher | None = None

    # Lifecycle.

    def setup(self) -> None:
        """Load everything, refuse what cannot run, and make publishers and subscriptions."""
        profile = self.profile
        self._mode = self._read_mode()
        specification = self._load_specification()
        try:
            kinematics = Kinematics(urdf_path(profile))
        except (ProfileError, KinematicsError) as error:
            raise ConfigurationError(str(error)) from error
        self._gate = Gate(profile, specification, self._mode, kinematics)
        self._assembler = WorldAssembler(profile, kinematics)
        self._costs = EpisodeCosts(specification, self._on_step)
        self._final_topics = FinalTopics(self, profile)
        self._latency = LatencyWindow()

        self._world: WorldState | None = None
        self._margins: tuple[LiveMargin, ...] = ()
        self._proposed: dict[str, CandidateCommand] = {}
        self._chunk = ("", 0)
        self._release_commanded = False
        self._estop = False
        self._known_intruders: set[str] = set()
        self._latched_s = self._reset_s = NEVER_S
        self._now_ns = 0
        self._tick_s = time.monotonic()
        self._ticks = 0

        final = FinalCommandPublisher(self, profile)
        self._heartbeats = Heartbeats(
            self, topics.MONITOR_HEARTBEAT, topics.WATCHDOG_HEARTBEAT, profile.heartbeat_timeout_s
        )
        self._reports = MonitorReports(
            self, specification, lambda: (self._costs.episode_id, self._costs.step or 0)
        )
        self._signals = RobotSignals(self, profile, self._on_odometry)
        self._cameras = CameraHealth()
        self._subscribe()
        self.service(ResetStop, topics.RESET_STOP, self._on_reset)
        self.timer(PERIOD_S, self._tick)
        self.timer(1.0, self._look_around)
        # What lives until cleanup need not be looked at by the garbage collector ever again.
        gc.collect()
        gc.freeze()
        self._final = final

    def start(self) -> None:
        """Forward from now on, if there is a watchdog."""
        self._require_watchdog()
        mode_service = self.profile.outputs.mode_service
        if mode_service is not None and self._mode != "shadow":
            beat = partial(self._heartbeats.beat, latched=self._gate.latched)
            switch_mode(self, mode_service, PERIOD_S, beat)
            self._require_watchdog()  # nothing was heard of it meanwhile
        self._final.release()
        self._tick_s = time.monotonic()
        self._heed_watchdog(self._tick_s)  # before a candidate can come ahead of the first tick

    def _require_watchdog(self) -> None:
        """Raises ConfigurationError where the watchdog is silent."""
        if self._heartbeats.is_silent(time.monotonic()) and not self._heartbeats.wait(
            WATCHDOG_WAIT_S
        ):
            raise ConfigurationError(
                f"nothing heard on {topics.WATCHDOG_HEARTBEAT}: expected the safety watchdog to be "
                "active before the cost monitor"
            )

    def stop(self) -> None:
        """Forward nothing from now on; the robot stands."""
        self._costs.end()
        self._gate.end_episode()
        self._gate.drop_commands()
        self.last_action()

    def teardown(self) -> None:
        """Publishers go with the node's entities."""
        self._final = None
        gc.unfreeze()

    def last_action(self) -> None:
        """The robot stands, if it was this node that moved it. It is not told so only once."""
        if self._final is None or self._mode == "shadow":
            return
        end = time.monotonic() + LAST_STOPS_S
        while time.monotonic() < end:
            self._final.stop(self._signals.joints)
            self._heartbeats.beat(latched=self._gate.latched)
            time.sleep(PERIOD_S)

    def on_callback_error(self, where: str, error: Exception) -> bool:
        """Latch, and go on as long as that works."""
        sentence = f"{where}: {describe(error)}"
        if self._final is None or ("timer" in where and self._gate.latched):
            return False
        self.get_logger().error(sentence)
        self._gate.latch(Reason.INTERNAL, sentence)
        return True

    def _read_mode(self) -> Mode:
        mode = self.get_parameter("mode").value or self.profile.mode
        if mode not in get_args(Mode):
            raise ConfigurationError(
                f"parameter mode: expected one of {', '.join(get_args(Mode))}, got {mode!r}"
            )
        return mode

    def _load_specification(self) -> Specification:
        name = self.get_parameter("specification").value or self.profile.specification
        try:
            specification = load_specification(name)
            zones = self.get_parameter("zones").value
            return specification.with_zones(load_zones(zones)) if zones else specification
        except SpecificationError as error:
            raise ConfigurationError(str(error)) from error

    def _subscribe(self) -> None:
        self.subscription(Episode, topics.EPISODE, self._on_episode, topics.latched(depth=10))
        self.subscription(ActionChunk, topics.ACTION_CHUNK, self._on_chunk, topics.reliable())
        self.subscription(CameraStatus, topics.CAMERA_STATUS, self._on_cameras, topics.reliable(1))
        for source in self.profile.sources:
            self.subscription(
                message_type(source.type),
                source.topic,
                partial(self._on_candidate, source),
                topics.reliable(depth=1),
            )
        if self.profile.estop is not None:
            # A reliable subscription does not hear a best-effort sender at all, and the other way
            # round a message may be lost: an e-stop must get through from either.
            for is_reliable in (True, False):
                self.subscription(
                    Bool,
                    self.profile.estop.topic,
                    self._on_estop,
                    topics.sensor(is_reliable=is_reliable),
                    qos_id="reliable" if is_reliable else "best_effort",
                )

    # The command path.

    def _on_candidate(self, source: CommandSource, message: Any) -> None:
        gate_in = wall_now()
        if not self.active:
            return
        now_s = time.monotonic()
        self._latch_after_pause(now_s)
        now_ns = self._ros_time()
        base_frame = self.profile.frames.base
        proposal = read_proposal(source, message, now_ns, base_frame)
        verdict = self._gate.propose(proposal, self._world, now_ns, now_s)
        forwarded = self._carry_out(verdict, now_s)

        proposed = monitor_messages.proposed_command(source, message, now_ns, base_frame)
        if self._gate.active_source == source.name:
            self._proposed[source.name] = proposed
        trace = copy.copy(proposed.trace)
        trace.gate_in = gate_in
        trace.command = wall_now() if forwarded else Time()
        self._reports.count(verdict)
        self._costs.judged(proposal, verdict)
        self._reports.gated(verdict, proposed, trace, now_ns)
        chunk = (proposal.episode_id, proposal.chunk_id)
        if chunk != self._chunk:
            self._chunk = chunk
            self._latency.add(trace)
        self._note(verdict, arrived=True)

    def _on_chunk(self, message: ActionChunk) -> None:
        try:
            fault = self._gate.set_chunk(read_chunk(message, self.profile.frames.base))
        except MessageError as error:
            fault = str(error)
        if fault:
            self._complain(f"{topics.ACTION_CHUNK}: {fault}")

    def _tick(self) -> None:
        now_s = time.monotonic()
        self._heartbeats.listen(now_s)
        if self.active:
            self._latch_after_pause(now_s)
            self._heed_watchdog(now_s)
            self._gate.set_cameras(self._cameras.fault(now_s))
            self._supervise(now_s)
        self._tick_s = now_s
        self._heartbeats.beat(latched=self._gate.latched)
        self._ticks += 1
        if self._ticks % STATUS_TICKS == 0:
            self._publish_status()

    def _supervise(self, now_s: float) -> None:
        now_ns = self._ros_time()
        verdict = self._gate.supervise(self._world, now_ns, now_s)
        self._carry_out(verdict, now_s)
        if verdict.changed and verdict.proposal is not None:
            proposed = self._proposed[verdict.proposal.source]
            self._reports.gated(verdict, proposed, LatencyTrace(), now_ns)
        self._note(verdict, arrived=False)

    def _carry_out(self, verdict: Verdict, decided_s: float) -> bool:
        """Publish what was decided, unless this process was paused since.

        Whether that was a source's command, and not a halt or a stop.
        """
        command = verdict.command
        if command is None or self._final is None:
            return False
        if time.monotonic() - decided_s > self.profile.heartbeat_timeout_s:
            self._latch_after_pause(time.monotonic())
            command = None
        if command is None or verdict.decision in (Decision.STOP, Decision.LATCHED):
            self._final.stop(self._signals.joints)
            return False
        self._final.publish(command, self._signals.joints)
        opens = opens_gripper(command, self.profile)
        if opens is not None:
            self._release_commanded = opens
        return verdict.decision in (Decision.PASS, Decision.LIMIT)

    def _latch_after_pause(self, now_s: float) -> None:
        pause_s = now_s - self._tick_s
        if pause_s > self.profile.heartbeat_timeout_s:
            self._tick_s = now_s
            self._gate.latch(Reason.STALLED, f"the monitor did not run for {1e3 * pause_s:.0f} ms")

    def _heed_watchdog(self, now_s: float) -> None:
        if self._heartbeats.is_silent(now_s):
            silent_ms = 1e3 * self._heartbeats.silent_for(now_s)
            self._gate.latch(
                Reason.WATCHDOG_LOST, f"no heartbeat of the watchdog for {silent_ms:.0f} ms"
            )
        elif self._heartbeats.other_latched and now_s - self._reset_s > WATCHDOG_RELEASE_S:
            self._gate.latch(Reason.WATCHDOG_LOST, "the watchdog holds a stop")

    def _ros_time(self) -> int:
        """Now [ns]. When time went back, what was received before is of no use any more."""
        before_ns, self._now_ns = self._now_ns, self.now_ns()
        if before_ns - self._now_ns > CLOCK_JITTER_S * NANOSECONDS:
            self._signals.latest.clear()
            self._world = None
        return self._now_ns

    # What the robot and its people say.

    def _on_odometry(self, stamp_ns: int) -> None:
        world = self._assembler.assemble(
            self._signals.latest, stamp_ns, self._costs.task, self._release_commanded
        )
        self._world = world
        if self.active:
            self._margins = self._costs.sample(world)
            self._gate.set_margins(self._margins)

    def _on_episode(self, message: Episode) -> None:
        try:
            episode = read_episode(message)
        except MessageError as error:
            self._complain(f"{topics.EPISODE}: {error}")
            return
        if episode.has_ended:  # whichever it names: none runs now
            if self._costs.episode_id:
                self._costs.end()
                self._gate.end_episode()
        elif episode.id != self._costs.episode_id:
            self._costs.begin(episode.id, episode.task)
            self._gate.start_episode(episode.id)
            self._reports.begin_episode()

    def _on_cameras(self, message: CameraStatus) -> None:
        self._cameras.hear(message, time.monotonic())

    def _on_estop(self, message: Bool) -> None:
        self._estop = message.data
        now_s = time.monotonic()
        self._gate.set_estop(message.data, now_s)
        if message.data and self.active:
            self._supervise(now_s)

    def _on_reset(self, request: ResetStop.Request, response: ResetStop.Response) -> None:
        now_s = time.monotonic()
        response.success = False
        if now_s - self._latched_s < RESET_COOLDOWN_S:
            response.message = f"the stop is younger than {RESET_COOLDOWN_S:.0f} s"
        elif self._heartbeats.is_silent(now_s):
            response.message = "the watchdog is silent"
        else:
            response.success, response.message = self._gate.reset(request.operator_name)
            self._reset_s = now_s
        self.get_logger().warning(f"reset by {request.operator_name!r}: {response.message}")
        if response.success:
            self._reports.event(SafetyEvent.RESET, response.message, cause=request.operator_name)

    def _look_around(self) -> None:
        """Once a second: who else publishes final commands, and what could not be read."""
        intruders = self._final_topics.intruders()
        for key in intruders.keys() - self._known_intruders:
            self.get_logger().error(intruders[key])
            self._reports.event(SafetyEvent.INTRUDER, intruders[key])
        self._known_intruders = set(intruders)
        if intruders and self._mode == "enforce" and self.active:
            self._gate.latch(Reason.INTRUDER, next(iter(intruders.values())))
        for sentence in self._signals.complaints():
            self._complain(sentence)
        if self._world is not None:
            self._reports.markers(self._world, self.profile.footprint_radius_m)

    # What the monitor tells.

    def _complain(self, sentence: str) -> None:
        """Tell of what could not be read."""
        self.get_logger().warning(sentence, throttle_duration_sec=1.0)
        self._reports.event(SafetyEvent.FAULT, sentence)

    def _on_step(self, costs: StepCosts) -> None:
        self._reports.step(costs)
        self._gate.set_charged(costs)

    def _note(self, verdict: Verdict, *, arrived: bool) -> None:
        if not self._gate.latched:
            self._latched_s = NEVER_S
        elif self._latched_s == NEVER_S:
            self._latched_s = time.monotonic()
        is_new = self._reports.note(verdict, arrived=arrived, latched=self._gate.latched)
        if self._reports.truncated(self._gate.truncation) or is_new:
            self._publish_status()

    def _publish_status(self) -> None:
        now_ns = self.now_ns()
        self._reports.status(
            active=self.active,
            fields={
                "mode": getattr(SafetyStatus, self._mode.upper()),
                "active_source": self._gate.active_source if self.active else "",
                "latched": self._gate.latched,
                "estop": self._estop,
                "watchdog_alive": not self._heartbeats.is_silent(time.monotonic()),
                "stale_signals": list(stale_signals(self.profile, self._world, now_ns)),
                "margins": monitor_messages.term_margins(self._margins),
            },
        )

    def report(self) -> None:
        """Diagnostics."""
        if self._final is None:
            return
        self.diagnostics.values = {
            "scheduling": self._scheduling,
            "mode": self._mode,
            "malformed_messages": sum(self._signals.malformed.values()),
            **self._latency.percentiles(),
        }
        if self.active and self._reports.verdict is not None:
            level = Diagnostics.ERROR if self._gate.latched else Diagnostics.OK
            self.diagnostics.set_status(level, self._reports.verdict.detail)


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the executable."""
    scheduling = raise_priority()
    return spin(lambda: CostMonitor(scheduling), args)
