"""Runs a policy: the action RunPolicy is one episode of it, from an instruction to a verdict.

The node loads the policy when it is configured and refuses to be configured with one that cannot
run. An episode runs in a thread of its own (inference/episode_run.py), so that the executor stays
free: the clock, cancellation and observations are never held up by an inference.

One episode at a time: a second goal is refused, with the reason in the log and on /diagnostics
(the action protocol has no room for one), or, with `second_goal: preempt`, ends the running episode
and then begins. LoadPolicy replaces the policy from the next episode on;
one that cannot be loaded leaves the present one in place. Called on shadow_policy it loads one that
runs beside the present one and is only compared (inference/shadow.py); an empty name ends that.
roll_back_policy returns to the policy before the last replacement (inference/policy_services.py).

The scripted policies use the simulator's truth: scene objects and localisation, which only they
get, and the layout of the scenario's home. They exist only for a simulated robot.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar, get_args

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.task import Future

from safevla_ros.action import RunPolicy
from safevla_ros.msg import (
    ActionChunk,
    CandidateCommand,
    CostSpecification,
    CostVector,
    Episode,
    Observation,
    SafetyStatus,
    SceneObjects,
    TaskOutcome,
)
from safevla_ros.nodes import topics
from safevla_ros.nodes.inference.episode_messages import EpisodeOver, Outputs, Progress
from safevla_ros.nodes.inference.episode_run import EpisodeRun, Limits
from safevla_ros.nodes.inference.inbox import Inbox
from safevla_ros.nodes.inference.policies import Policies, find_policy
from safevla_ros.nodes.inference.policy_services import PolicyServices
from safevla_ros.nodes.lifecycle import ConfigurationError, Diagnostics, GraphNode, spin
from safevla_ros.policy.interface import Instruction, Policy, PolicyError
from safevla_ros.policy.load import Runtime
from safevla_ros.robot.messages import (
    MessageError,
    localisation_from,
    scene_objects_from,
    stamp_ns,
)
from safevla_ros.robot.state import NANOSECONDS

T = TypeVar("T")

RUNTIMES = get_args(Runtime)
SECOND_GOAL = ("refuse", "preempt")
MEASURED = ("camera_to_candidate_ms", "inference_ms", "observation_age_ms")
"""What /diagnostics gives percentiles of: from camera to candidate and of inference by the wall
clock, and how old an observation was when inference began, in ROS time."""
MEASURED_STEPS = 500
"""Steps that the percentiles are taken over."""


class VlaInference(GraphNode):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("vla_inference")
        self._policy_name = self.declare(
            "policy", "", "Name of a policy or its folder; empty: the scenario's own policy"
        )
        self._scenario = self.declare(
            "scenario", "default", "Scenario of the scripted policies: a name or a .yaml file"
        )
        self._seed = self.declare("seed", 0, "Seed of every random choice", 0, 2**31 - 1)
        self._silence_s = self.declare(
            "observation_timeout_s", 3.0, "Silence of the cameras that ends an episode", 0.1, 600.0
        )
        self._chunk_age_s = self.declare(
            "chunk_age_max_s",
            5.0,
            "A chunk known this long after its observation is dropped and made anew",
            0.01,
            600.0,
        )
        self._runtime = self.declare(
            "runtime", "onnx", f"What executes a policy folder: {' or '.join(RUNTIMES)}"
        )
        self._second_goal = self.declare(
            "second_goal", "refuse", f"A goal while an episode runs: {' or '.join(SECOND_GOAL)}"
        )
        self._run: EpisodeRun | None = None
        self._thread: threading.Thread | None = None
        self._action: ActionServer | None = None

    def setup(self) -> None:
        """Load the policy, then offer to run it."""
        for parameter, value, choices in (
            ("runtime", self._runtime, RUNTIMES),
            ("second_goal", self._second_goal, SECOND_GOAL),
        ):
            if value not in choices:
                raise ConfigurationError(
                    f"{parameter}: expected one of {', '.join(choices)}, got {value!r}"
                )
        self._inbox = Inbox(self.now_ns)
        try:
            first = self._find(self._policy_name)
            self._policies = Policies(first, self.profile, self._listen_to_truth)
        except PolicyError as error:
            raise ConfigurationError(str(error)) from error
        sources = [s for s in self.profile.sources if s.type.endswith("/CandidateCommand")]
        if not sources:
            raise ConfigurationError(
                f"robot {self.profile.name!r}: sources: expected one of type "
                "safevla_ros/msg/CandidateCommand for the policy"
            )
        self._source = sources[0]
        self._measured: dict[str, deque[float]] = {
            name: deque(maxlen=MEASURED_STEPS) for name in MEASURED
        }
        self._episodes = self.publisher(Episode, topics.EPISODE, topics.latched())
        self._chunks = self.publisher(ActionChunk, topics.ACTION_CHUNK, topics.reliable())
        self._candidates = self.publisher(CandidateCommand, self._source.topic, topics.reliable())
        self._subscribe()
        self._jumps = self.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=Duration(nanoseconds=1),
                min_backward=Duration(nanoseconds=-1),
                on_clock_change=True,
            ),
            post_callback=lambda _: self._inbox.tick(),
        )
        self._policy_services = PolicyServices(self, self._policies, self._find)
        self._action = ActionServer(
            self,
            RunPolicy,
            topics.RUN_POLICY,
            self._execute,
            goal_callback=self._on_goal,
            cancel_callback=self._on_cancel,
        )

    def _subscribe(self) -> None:
        reliable = topics.reliable()
        self.subscription(
            Observation, topics.OBSERVATION, self._on_observation, topics.reliable(depth=2)
        )
        self.subscription(CostVector, topics.COST_VECTOR, self._on_costs, reliable)
        self.subscription(
            SafetyStatus, topics.SAFETY_STATUS, self._on_safety_status, topics.latched()
        )
        self.subscription(
            CostSpecification, topics.COST_SPECIFICATION, self._on_specification, topics.latched()
        )
        if self.profile.outcome_topic is not None:
            self.subscription(TaskOutcome, self.profile.outcome_topic, self._on_verdict, reliable)

    def _find(self, name: str) -> Policy:
        return find_policy(name, self.profile, self._scenario, self._seed, self._runtime)

    def _listen_to_truth(self, policy: Policy) -> None:
        """Subscribe what only a privileged policy may know. Raises PolicyError."""
        signals = self.profile.signals
        if signals.objects is None or signals.localisation is None:
            raise PolicyError(
                f"policy {policy.description.id!r}: robot {self.profile.name!r} lacks the signals "
                "objects and localisation, which it needs"
            )
        for kind, signal, callback in (
            (SceneObjects, signals.objects, self._on_scene),
            (PoseWithCovarianceStamped, signals.localisation, self._on_localisation),
        ):
            qos = topics.sensor(is_reliable=signal.reliable)
            self.subscription(kind, signal.topic, callback, qos)

    def start(self) -> None:
        """Say that no episode runs: one that a killed predecessor left open ends with this."""
        self._episodes.publish(Episode(state=Episode.ENDED))

    def stop(self) -> None:
        """End a running episode."""
        self._end_run()

    def teardown(self) -> None:
        """Stop offering to run."""
        self._end_run()
        if self._action is not None:
            self._action.destroy()
            self._action = None
            self._jumps.unregister()
            self._policy_services.destroy()
            self._policies.compare(None)

    def last_action(self) -> None:
        """The episode ends before its node does, and who reads it hears of it."""
        if self._thread is not None:
            self._end_run()
            self._episodes.wait_for_all_acked(Duration(seconds=1))

    def _end_run(self) -> None:
        if self._thread is not None:
            self._inbox.put(stopping=True)
            self._thread.join()
            self._thread = None

    # The action.

    def _on_goal(self, goal: RunPolicy.Goal) -> GoalResponse:
        refusal = ""
        if not self.active:
            refusal = "the node is not active"
        elif self._run is not None and self._second_goal == "refuse":
            refusal = f"episode {self._run.episode_id} is running"
        elif not goal.instruction.strip():
            refusal = "instruction: expected a text"
        elif self._inbox.latched:
            refusal = f"a stop is latched, call {topics.RESET_STOP} first: {self._inbox.latched}"
        if not refusal:
            return GoalResponse.ACCEPT
        self.get_logger().warning(f"goal refused: {refusal}")
        self.diagnostics.values["last_refused_goal"] = refusal
        return GoalResponse.REJECT

    def _on_cancel(self, handle: Any) -> CancelResponse:
        self._inbox.put(cancelled=True)
        return CancelResponse.ACCEPT

    async def _execute(self, handle: Any) -> RunPolicy.Result:
        goal = handle.request
        while self._run is not None:
            if self._second_goal == "refuse":  # two goals at once
                handle.abort()
                return RunPolicy.Result(reason=f"episode {self._run.episode_id} is running")
            self._inbox.put(preempted=True)
            await self._over
        if handle.is_cancel_requested:
            handle.canceled()
            return RunPolicy.Result(reason="cancelled before it began")
        instruction = Instruction(
            goal.instruction, goal.task, goal.target_class, tuple(goal.target_ids)
        )
        self._inbox.put(
            cancelled=False, preempted=False, stopping=False, verdict=None, remaining={}
        )
        run = self._run = EpisodeRun(
            episode_id=f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}",
            instruction=instruction,
            policy=self._policies.present,
            profile=self.profile,
            inbox=self._inbox,
            limits=Limits(goal.max_steps, goal.time_limit_s, self._silence_s, self._chunk_age_s),
            outputs=Outputs(
                episode=self._episodes.publish,
                chunk=self._chunks.publish,
                candidate=self._candidates.publish,
                progress=lambda progress: self._progress(handle, progress),
            ),
            source=self._source.name,
            shadow=self._policies.shadow,
        )
        self.get_logger().info(f"episode {run.episode_id}: {instruction.text!r}")
        finished: Future = Future(executor=self.executor)
        self._over: Future = Future(executor=self.executor)

        def run_episode() -> None:
            try:
                finished.set_result(run.run())
            except Exception as error:
                finished.set_exception(error)

        self._thread = threading.Thread(target=run_episode, name="episode", daemon=True)
        self._thread.start()
        try:
            over: EpisodeOver = await finished
        finally:
            self._run = None
            self._over.set_result(None)
        self.get_logger().info(f"episode {run.episode_id}: {over.outcome}: {over.reason}")
        if run.shadow is not None:
            figures = ", ".join(f"{k} {v}" for k, v in run.shadow.agreement.figures().items())
            self.get_logger().info(f"{run.shadow.policy.description.id} so far: {figures}")
        if over.cancelled:
            handle.canceled()
        elif over.outcome == "ABORTED":
            handle.abort()
        else:
            handle.succeed()
        return RunPolicy.Result(
            episode_id=run.episode_id,
            outcome=getattr(Episode, over.outcome),
            reason=over.reason,
            steps=run.steps,
            duration_s=run.duration_s,
        )

    def _progress(self, handle: Any, progress: Progress) -> None:
        """A step was sent (called from the episode's thread)."""
        trace, values = progress.trace, self.diagnostics.values
        inference_ms = _between_ms(trace.inference_start, trace.inference_end)
        feedback = RunPolicy.Feedback(
            step=progress.step, phase=progress.phase, inference_ms=inference_ms
        )
        values["phase"] = progress.phase
        values["queue_depth"] = progress.queue_depth
        self._measured["inference_ms"].append(inference_ms)
        self._measured["observation_age_ms"].append(progress.observation_age_s * 1e3)
        if stamp_ns(trace.camera):
            feedback.camera_to_candidate_ms = _between_ms(trace.camera, trace.candidate)
            self._measured["camera_to_candidate_ms"].append(feedback.camera_to_candidate_ms)
        if self._run is not None:
            feedback.episode_id = self._run.episode_id
            values["dropped_chunks"] = self._run.dropped_chunks
        handle.publish_feedback(feedback)

    # What the graph says.

    def _on_observation(self, message: Observation) -> None:
        description = (self._run.policy if self._run else self._policies.present).description
        names = message.camera_names
        frozen = [name for name, bad in zip(names, message.frozen, strict=False) if bad]
        late = [name for name, bad in zip(names, message.late, strict=False) if bad]
        size = (description.image_height, description.image_width)
        sizes = {(image.height, image.width) for image in message.images}
        if frozen:
            self._inbox.put(unusable=f"frozen camera: {', '.join(frozen)}")
        elif late:
            self._inbox.put(unusable=f"late frames of camera: {', '.join(late)}")
        elif not description.privileged and size != (0, 0) and sizes != {size}:
            self._inbox.put(
                unusable=f"policy {description.id!r} takes images of {size[0]}x{size[1]} (height x "
                f"width), camera_ingest gives {sorted(sizes)}"
            )
        else:
            self._inbox.put(
                observation=message, observation_arrived_s=time.monotonic(), unusable=""
            )

    def _on_costs(self, message: CostVector) -> None:
        if self._run is not None and message.episode_id == self._run.episode_id:
            remaining = {t.name: t.remaining for t in message.terms if np.isfinite(t.remaining)}
            self._inbox.put(remaining=remaining)

    def _on_safety_status(self, message: SafetyStatus) -> None:
        truncated = None
        if message.truncated:
            chunk_id, from_step = message.truncated_chunk_id, message.truncated_from_step
            truncated = message.episode_id, chunk_id, from_step
        latched = message.detail if message.latched else ""
        self._inbox.put(latched=latched, truncated=truncated)

    def _on_specification(self, message: CostSpecification) -> None:
        self._inbox.put(budgets={t.name: t.budget for t in message.terms if np.isfinite(t.budget)})

    def _on_verdict(self, message: TaskOutcome) -> None:
        self._inbox.put(verdict=message)

    def _on_scene(self, message: SceneObjects) -> None:
        self._inbox.put(scene=self._read(scene_objects_from, message))

    def _on_localisation(self, message: PoseWithCovarianceStamped) -> None:
        self._inbox.put(localisation=self._read(localisation_from, message))

    def _read(self, reader: Callable[[Any], T], message: Any) -> T | None:
        """What a message says; None, which an episode waits out, when it cannot be used."""
        try:
            return reader(message)
        except MessageError as error:
            self.get_logger().warning(f"ignored: {error}", throttle_duration_sec=5.0)
            return None

    def report(self) -> None:
        """Latency, and what is wrong with the observations."""
        if not self.active:
            return
        values = self.diagnostics.values
        values["policy"] = self._policies.present.description.id
        values["episode"] = self._run.episode_id if self._run else "none"
        for name in [name for name in values if name.startswith("shadow")]:
            del values[name]
        if (shadow := self._policies.shadow) is not None:
            values["shadow"] = shadow.policy.description.id
            values.update(shadow.agreement.figures())
        for name, samples in self._measured.items():
            if samples:
                # A copy: the episode's thread appends to it.
                for percentile, value in zip(
                    (50, 95, 99), np.percentile(list(samples), (50, 95, 99)), strict=True
                ):
                    values[f"{name}.p{percentile}"] = f"{value:.2f}"
        if self._run is not None and self._inbox.unusable:
            self.diagnostics.set_status(Diagnostics.WARN, self._inbox.unusable)
        else:
            self.diagnostics.set_status(Diagnostics.OK, "running" if self._run else "ready")


def _between_ms(start: Any, end: Any) -> float:
    """Milliseconds between two times of a LatencyTrace."""
    return (stamp_ns(end) - stamp_ns(start)) * 1e3 / NANOSECONDS


def main(args: list[str] | None = None) -> int:
    """Entry point of the process."""
    return spin(VlaInference, args)


if __name__ == "__main__":
    raise SystemExit(main())
