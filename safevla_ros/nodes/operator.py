"""The person's side of a run: sends the goal, and gathers what there is to see while it lasts.

A stop that was latched before the goal is released, deliberately and on record: somebody who starts
a run wants the robot to move, and a busy start can have made the monitor late. One that is latched
during the run stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.node import Node
from rclpy.task import Future

from safevla_ros.action import RunPolicy
from safevla_ros.msg import (
    CostSpecification,
    CostVector,
    Episode,
    GatedAction,
    SafetyEvent,
    SafetyStatus,
    TermCost,
)
from safevla_ros.nodes import topics
from safevla_ros.nodes.run_state import RunState
from safevla_ros.robot.messages import stamp_ns
from safevla_ros.robot.state import NANOSECONDS
from safevla_ros.srv import ResetScenario, ResetStop

CONNECT_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 30.0
RELEASE_TIMEOUT_S = 30.0  # the monitor refuses to release a stop that is very young
SETTLED_S = 1.0  # monitor and watchdog each hold a stop, and one may latch the other anew
SILENCE_TIMEOUT_S = 20.0

Wait = Callable[[Callable[[], bool], float], bool]
"""Spins until a condition is true, for at most so many seconds; returns whether it is."""


class RunError(RuntimeError):
    """The run could not be started or carried through; the message says why."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How an episode ended. `completed`: it ran to a verdict, whichever."""

    episode_id: str
    outcome: str
    reason: str
    steps: int
    duration_s: float
    completed: bool


class Operator(Node):
    """Asks the graph, and hears from it. Work is done by whoever spins the node."""

    def __init__(
        self,
        state: RunState,
        *,
        context: Context | None = None,
        namespace: str = "",
        use_global_arguments: bool = False,
    ) -> None:
        super().__init__(
            "operator",
            context=context,
            namespace=namespace,
            use_global_arguments=use_global_arguments,
            start_parameter_services=False,
        )
        self.state = state
        self._reset = self.create_client(ResetScenario, topics.RESET_SCENARIO)
        self._release = self.create_client(ResetStop, topics.RESET_STOP)
        self._run_policy = ActionClient(self, RunPolicy, topics.RUN_POLICY)
        self._accepted: Future | None = None
        self._finished: Future | None = None
        for kind, topic, callback, qos in (
            (SafetyStatus, topics.SAFETY_STATUS, self._on_status, topics.latched()),
            (CostSpecification, topics.COST_SPECIFICATION, self._on_spec, topics.latched()),
            (CostVector, topics.COST_VECTOR, self._on_costs, topics.reliable()),
            (GatedAction, topics.GATED_ACTION, self._on_gated, topics.reliable()),
            (SafetyEvent, topics.SAFETY_EVENT, self._on_event, topics.reliable(depth=50)),
        ):
            self.create_subscription(kind, topic, callback, qos)

    # What to do.

    def is_connected(self) -> bool:
        """Whether simulator, inference and monitor can be heard."""
        return (
            self._reset.service_is_ready()
            and self._release.service_is_ready()
            and self._run_policy.server_is_ready()
            and bool(self.state.mode)
        )

    def reset_scenario(self) -> Future:
        """Ask the simulator to start its scenario anew; the answer says what the task is."""
        return self._reset.call_async(ResetScenario.Request())

    def release_stop(self) -> Future:
        """Ask the monitor to release a latched stop."""
        return self._release.call_async(ResetStop.Request(operator_name="start of a run"))

    def run(self, task: ResetScenario.Response) -> None:
        """Send the goal that a scenario asks for."""
        self.state.instruction = task.instruction
        self.state.task = task.task
        self.state.time_limit_s = task.time_limit_s
        goal = RunPolicy.Goal(
            instruction=task.instruction,
            task=task.task,
            target_class=task.target_class,
            target_ids=task.target_ids,
            time_limit_s=task.time_limit_s,
        )
        self.state.begin()
        self._accepted = self._run_policy.send_goal_async(goal, self._on_feedback)

    def is_answered(self) -> bool:
        """Whether the goal was accepted or refused."""
        return self._accepted is not None and self._accepted.done()

    def result(self) -> RunResult | None:
        """How it ended; None as long as it runs. Raises RunError when the goal is refused."""
        if self._finished is None:
            if self._accepted is None or not self.is_answered():
                return None
            handle = self._accepted.result()
            if not handle.accepted:
                raise RunError("vla_inference refused the goal; its log says why")
            self._finished = handle.get_result_async()
        if not self._finished.done():
            return None
        answer = self._finished.result()
        outcome = _name_of(Episode, answer.result.outcome, OUTCOMES)
        self.state.outcome, self.state.reason = outcome, answer.result.reason
        self.state.step = answer.result.steps
        return RunResult(
            episode_id=answer.result.episode_id,
            outcome=outcome,
            reason=answer.result.reason,
            steps=answer.result.steps,
            duration_s=answer.result.duration_s,
            completed=answer.status == GoalStatus.STATUS_SUCCEEDED,
        )

    # What there is to see.

    def _on_feedback(self, message: Any) -> None:
        feedback = message.feedback
        self.state.episode_id = feedback.episode_id
        self.state.step = feedback.step
        self.state.phase = feedback.phase
        self.state.inference_ms = feedback.inference_ms
        self.state.camera_to_candidate_ms = feedback.camera_to_candidate_ms

    def _on_status(self, message: SafetyStatus) -> None:
        state = self.state
        if state.episode_id and message.episode_id != state.episode_id:
            return  # the episode is over: what the gate does then is not part of this run
        state.now_s = stamp_ns(message.header.stamp) / NANOSECONDS
        state.mode = _name_of(SafetyStatus, message.mode, MODES).lower()
        state.decision = _name_of(GatedAction, message.decision, DECISIONS)
        state.decision_reason = message.reason
        state.detail = message.detail
        state.active_source = message.active_source
        state.latched = message.latched
        state.estop = message.estop
        state.watchdog_alive = message.watchdog_alive
        state.stale_signals = tuple(message.stale_signals)
        for decision in ("pass", "limit", "halt", "stop"):
            state.counts[decision.upper()] = getattr(message, f"decisions_{decision}")
        for margin in message.margins:
            term = state.term(margin.name)
            term.applicable = margin.applicable
            term.margin = margin.margin
            term.cumulative = margin.cumulative
            term.cause = margin.cause

    def _on_spec(self, message: CostSpecification) -> None:
        for entry in message.terms:
            term = self.state.term(entry.name)
            term.unit, term.budget, term.warning = entry.unit, entry.budget, entry.warning

    def _on_costs(self, message: CostVector) -> None:
        for cost in message.terms:
            term = self.state.term(cost.name)
            term.applicable = cost.status == TermCost.OK
            term.cumulative = cost.cumulative

    def _on_gated(self, message: GatedAction) -> None:
        camera, command = stamp_ns(message.trace.camera), stamp_ns(message.trace.command)
        if camera and command:
            self.state.camera_to_command_ms = (command - camera) * 1e3 / NANOSECONDS

    def _on_event(self, message: SafetyEvent) -> None:
        kind = _name_of(SafetyEvent, message.kind, KINDS).lower()
        text = message.detail or " ".join(filter(None, (message.term, message.cause)))
        self.state.add_event(kind, text)


def run_scenario(operator: Operator, wait: Wait) -> RunResult:
    """One episode of the simulator's scenario, on a graph that is active. Raises RunError."""
    if not wait(operator.is_connected, CONNECT_TIMEOUT_S):
        raise RunError(f"the graph is not heard after {CONNECT_TIMEOUT_S:.0f} s")
    _release_stop(operator, wait)
    answer = operator.reset_scenario()
    if not wait(answer.done, ANSWER_TIMEOUT_S):
        raise RunError("sim_robot does not answer")
    task = answer.result()
    if task is None or not task.success:
        raise RunError(f"sim_robot: {task.message if task else 'no answer'}")
    operator.run(task)
    if not wait(operator.is_answered, ANSWER_TIMEOUT_S):
        raise RunError("vla_inference does not answer the goal")
    state = operator.state
    heard_s, heard_at = state.now_s, time.monotonic()
    while not wait(lambda: operator.result() is not None, 1.0):
        if state.now_s != heard_s:
            heard_s, heard_at = state.now_s, time.monotonic()
        elif time.monotonic() - heard_at > SILENCE_TIMEOUT_S:
            raise RunError(f"cost_monitor has said nothing new for {SILENCE_TIMEOUT_S:.0f} s")
    result = operator.result()
    assert result is not None
    return result


def _release_stop(operator: Operator, wait: Wait) -> None:
    end = time.monotonic() + RELEASE_TIMEOUT_S
    while operator.state.latched:
        if time.monotonic() > end:
            raise RunError(f"a stop is latched and not released: {operator.state.detail}")
        wait(operator.release_stop().done, ANSWER_TIMEOUT_S)
        wait(lambda: not operator.state.latched, SETTLED_S)
        wait(lambda: operator.state.latched, SETTLED_S)


OUTCOMES = ("UNKNOWN", "SUCCESS", "FAILURE", "ABORTED")
MODES = ("SHADOW", "OBSERVE", "ENFORCE")
DECISIONS = ("PASS", "LIMIT", "HALT", "STOP", "LATCHED", "SHADOW")
KINDS = ("VIOLATION", "INTERVENTION", "LATCH", "RESET", "FAULT", "INTRUDER")


def _name_of(message_type: type, value: int, names: tuple[str, ...]) -> str:
    """Name of a constant of a message, by its value there."""
    return next((name for name in names if getattr(message_type, name) == value), str(value))
