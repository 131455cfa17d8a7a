"""The simulated robot, camera_ingest and vla_inference as processes, without the safety nodes.

Candidates go to the robot as they are proposed: what the gate would make of them is judged by the
tests of the gate.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
from harness import DEADLINE_S, Graph, NodeUnderTest
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from safevla_ros.action import RunPolicy
from safevla_ros.msg import ActionChunk, CandidateCommand, Episode
from safevla_ros.nodes import topics
from safevla_ros.srv import LoadPolicy, ResetScenario

SIZE = 64
SCENARIO = {"name": "small", "seed": 3, "rooms": 1, "task": "find", "wording": "plain"}


def write_scenario(folder: Path, **changes: Any) -> Path:
    """A small scenario, with changes."""
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(SCENARIO | changes))
    return path


class Diagnostics:
    """The latest entry of one node on /diagnostics."""

    def __init__(self, graph: Graph, node: str) -> None:
        self._collector = graph.collect(DiagnosticArray, "/diagnostics")
        self._name = f"/{node}"

    def wait(self, condition: Any, what: str, since: int = 0) -> tuple[bytes, str, dict[str, str]]:
        """(level, message, values) of the first entry that fulfils condition(message, values)."""

        def entry(array: DiagnosticArray) -> Any:
            for status in array.status:
                if status.name == self._name:
                    return status, {item.key: item.value for item in status.values}
            return None

        def fulfils(array: DiagnosticArray) -> bool:
            found = entry(array)
            return found is not None and condition(found[0].message, found[1])

        array = self._collector.wait(fulfils, what=what, since=since)
        status, values = entry(array)
        return status.level, status.message, values


class SimulatedGraph:
    """Starts the three nodes, forwards candidates, runs goals."""

    def __init__(self, graph: Graph, folder: Path, **scenario: Any) -> None:
        self.graph = graph
        self.scenario = write_scenario(folder, **scenario)
        self.episodes = graph.collect(Episode, topics.EPISODE, topics.latched(depth=100))
        self.chunks = graph.collect(ActionChunk, topics.ACTION_CHUNK)
        self.candidates = graph.collect(CandidateCommand, "candidate_command")
        self._sent: list[Goal] = []
        self.goals = graph.action_client(RunPolicy, topics.RUN_POLICY)
        self._reset = graph.node.create_client(ResetScenario, topics.RESET_SCENARIO)
        self._load = graph.node.create_client(LoadPolicy, topics.LOAD_POLICY)
        self._shadow = graph.node.create_client(LoadPolicy, topics.SHADOW_POLICY)
        self._roll_back = graph.node.create_client(Trigger, topics.ROLL_BACK_POLICY)
        self._base = graph.node.create_publisher(Twist, "cmd_vel", 1)
        self._joints = graph.node.create_publisher(JointTrajectory, "joint_trajectory", 10)
        graph.node.create_subscription(CandidateCommand, "candidate_command", self._forward, 10)

    def _forward(self, candidate: CandidateCommand) -> None:
        self._base.publish(candidate.twist)
        if candidate.joint_names:
            point = JointTrajectoryPoint(positions=candidate.joint_positions)
            message = JointTrajectory(joint_names=candidate.joint_names, points=[point])
            self._joints.publish(message)

    def start_robot(self, **parameters: Any) -> NodeUnderTest:
        """The simulated robot, active."""
        return self._start("sim_robot", scenario=self.scenario, **parameters).bring_up()

    def start_ingest(self, **parameters: Any) -> NodeUnderTest:
        """The camera ingest, active."""
        return self._start("camera_ingest", **parameters).bring_up()

    def start_inference(self, policy: str | Path, **parameters: Any) -> NodeUnderTest:
        """The inference node, active, once it can be heard and asked."""
        node = self._start("vla_inference", scenario=self.scenario, policy=policy, **parameters)
        node.bring_up()
        assert self.goals.wait_for_server(DEADLINE_S)
        return node

    def _start(self, executable: str, **parameters: Any) -> NodeUnderTest:
        return self.graph.start(executable, **({"robot": "sim"} | parameters))

    def bring_up(
        self, policy: str | Path, real_time_factor: float = 2.0, **parameters: Any
    ) -> None:
        """All three, which begin at once, with small pictures; `parameters` are the inference
        node's."""
        small = {"camera_height": SIZE, "camera_width": SIZE, "real_time_factor": real_time_factor}
        started = (
            self._start("sim_robot", scenario=self.scenario, **small),
            self._start("camera_ingest"),
            self._start("vla_inference", scenario=self.scenario, policy=policy, **parameters),
        )
        self.robot, self.ingest, self.inference = (node.bring_up() for node in started)
        assert self.goals.wait_for_server(DEADLINE_S)
        self.graph.wait_matched(self._base)
        self.graph.wait_matched(self._joints)

    def settle(self) -> None:
        """End what a test left running, and forget what was heard: for the next test."""
        for goal in self._sent:
            if goal.accepted and not goal.ended and self.inference.process.poll() is None:
                goal.cancel()
                goal.result()
        self.graph.wait_for(
            lambda: all(m.state == Episode.ENDED for m in self.episodes.messages[-1:]),
            "the end of an episode",
        )
        for forgetful in (self._sent, self.episodes, self.chunks, self.candidates):
            forgetful.clear()

    def reset(self, scenario: str = "") -> ResetScenario.Response:
        """Start the scenario anew."""
        return self.graph.call(self._reset, ResetScenario.Request(scenario=scenario))

    def load(self, policy: str | Path) -> LoadPolicy.Response:
        """Load another policy."""
        return self.graph.call(self._load, LoadPolicy.Request(policy=str(policy)))

    def shadow(self, policy: str) -> LoadPolicy.Response:
        """Load a policy that runs beside."""
        return self.graph.call(self._shadow, LoadPolicy.Request(policy=policy))

    def roll_back(self) -> Trigger.Response:
        """Go back to the policy before."""
        return self.graph.call(self._roll_back, Trigger.Request())

    def send(self, instruction: str = "find the mug", **goal: Any) -> Goal:
        """Send a goal; its acceptance is awaited."""
        sent = Goal(self, RunPolicy.Goal(instruction=instruction, **goal))
        self._sent.append(sent)
        return sent

    def scenario_goal(self) -> dict[str, Any]:
        """The scenario's own goal, after a reset, as arguments of `send`."""
        answer = self.reset()
        assert answer.success, answer.message
        return {
            name: getattr(answer, name)
            for name in ("instruction", "task", "target_class", "target_ids", "time_limit_s")
        }


@contextmanager
def simulated_graph(folder: Path) -> Iterator[SimulatedGraph]:
    """A SimulatedGraph; everything that it started ends with it."""
    graph = Graph(folder)
    try:
        yield SimulatedGraph(graph, folder)
    finally:
        graph.close()


class OnOneGraph:
    """Tests of one graph, which `started` brings up: each finds the scenario anew and no episode."""

    @pytest.fixture
    def simulated(self, started):
        started.graph.wait_for(lambda: started.reset().success, "the scenario anew")
        yield started
        started.settle()


class Goal:
    """A goal that was sent: accepted or refused, its feedback and its result."""

    def __init__(self, graph: SimulatedGraph, goal: RunPolicy.Goal) -> None:
        self._graph = graph
        self.feedback: list[RunPolicy.Feedback] = []
        self._handle = self._await(
            graph.goals.send_goal_async(goal, lambda item: self.feedback.append(item.feedback))
        )
        self.accepted: bool = self._handle.accepted
        self.ended = False

    def cancel(self) -> None:
        """Ask for its end."""
        self._await(self._handle.cancel_goal_async())

    def result(self, deadline_s: float = 60.0) -> tuple[int, RunPolicy.Result]:
        """(status, a constant of GoalStatus; result)."""
        answer = self._await(self._handle.get_result_async(), deadline_s)
        self.ended = True
        return answer.status, answer.result

    def _await(self, future: Any, deadline_s: float = DEADLINE_S) -> Any:
        answered = threading.Event()
        future.add_done_callback(lambda _: answered.set())
        assert answered.wait(deadline_s), f"no answer to a goal\n{self._graph.graph.logs()}"
        return future.result()
