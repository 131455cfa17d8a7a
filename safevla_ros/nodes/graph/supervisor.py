"""Runs a described graph where there is no `ros2 launch`: the same processes, in the same order.

`safevla up` and `safevla sim` use it like this:

    with Supervisor(graph, folder) as supervisor:
        supervisor.bring_up()
        while ...:
            supervisor.spin(0.1)

Everything happens in `spin`: lifecycle transitions, exits of nodes, respawning, and a signal that
has arrived. Leaving the block stops every node, whatever the reason. Nothing here runs in a thread
or in a signal handler, so no moment is a bad moment for Ctrl-C.

When a required node exits, `spin` raises NodeFailed. Another node is started anew, after 1, 2, 4...
30 s, and brought back to active.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import rclpy
from lifecycle_msgs.msg import State, Transition
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from safevla_ros.nodes.graph.bringup import Graph
from safevla_ros.nodes.graph.domain import DomainError, DomainLock, domain_id
from safevla_ros.nodes.graph.managed_node import ORDERED, ManagedNode, Phase
from safevla_ros.nodes.graph.middleware import graph_environment
from safevla_ros.nodes.graph.process import (
    CONSOLE_FORMAT,
    NodeProcess,
    node_command,
    programs_folder,
)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
START_TIMEOUT_S = 300.0  # until the node's services are there, on a machine that is very busy
TRANSITION_TIMEOUT_S = 300.0  # the first configuration compiles the ray camera
STATE_PATIENCE_S = 0.5  # get_state is answered at once, or its server is gone
GRACE_S = 10.0  # from SIGTERM to SIGKILL; the recorder may have a bag to finish
LONGEST_BACK_OFF_S = 30.0
POLL_S = 0.1


class NodeFailed(RuntimeError):
    """A node refused to start, or a required one exited. The message is the node's own sentence."""


class Interrupted(RuntimeError):
    """SIGINT, SIGTERM or SIGHUP has arrived."""


class Supervisor:
    """A graph's processes, from the lock on the domain to the last exit.

    `logs`: folder for `<node>.log` and `<node>.yaml`, the parameters it got. `programs`: where the
    nodes' programs are. `report` hears what happens, as (node name, what), in words for a person.
    """

    def __init__(
        self,
        graph: Graph,
        logs: Path,
        *,
        params_file: Path | None = None,
        log_level: str = "info",
        may_respawn: bool = True,
        programs: Path | None = None,
        report: Callable[[str, str], None] = lambda name, what: None,
    ) -> None:
        self.graph = graph
        self._logs = logs
        self._params_file = params_file
        self._log_level = log_level
        self._may_respawn = may_respawn
        self._programs = programs or programs_folder()
        self._report = report
        self._signal: int | None = None
        self._old_handlers: dict[int, object] = {}
        self._lock = DomainLock(domain_id())
        self._managed: list[ManagedNode] = []
        self._environment: dict[str, str] = {}
        self._alone = False  # nobody else's graph was found
        self._is_up = False

    def __enter__(self) -> Supervisor:
        self._lock.acquire()
        try:
            for number in SIGNALS:
                # Also where a shell has us ignore SIGINT, as it does for background processes: a
                # robot must stop when it is told to. Not SIGHUP under nohup.
                if not (number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN):
                    self._old_handlers[number] = signal.signal(number, self._on_signal)
            os.environ.update(graph_environment(os.environ, simulated=self.graph.profile.simulated))
            self._environment = dict(os.environ) | {
                "RCUTILS_CONSOLE_OUTPUT_FORMAT": CONSOLE_FORMAT,
                "RCUTILS_COLORIZED_OUTPUT": "0",
                "PYTHONFAULTHANDLER": "1",
            }
            self._context = Context()
            rclpy.init(
                args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO
            )
            self.node = Node(
                "supervisor",
                context=self._context,
                namespace=self.graph.namespace,
                use_global_arguments=False,
                start_parameter_services=False,
                enable_rosout=False,
            )
            self._executor = SingleThreadedExecutor(context=self._context)
            self._executor.add_node(self.node)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._stop_processes()
        finally:
            if hasattr(self, "_executor"):
                self._executor.shutdown(timeout_sec=1.0)
            if hasattr(self, "node"):
                self.node.destroy_node()
            if hasattr(self, "_context"):
                self._context.try_shutdown()
            for number, handler in self._old_handlers.items():
                signal.signal(number, handler)
            self._lock.release()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signal = number

    # Bringing up

    def bring_up(self) -> None:
        """Start all nodes and bring them to active, in order.

        Raises NodeFailed with the sentence of a node that refuses, DomainError when the domain has
        another graph, Interrupted.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        for spec in self.graph.nodes:
            managed = ManagedNode(spec, self.graph.full_name(spec), self.node)
            self._managed.append(managed)
            self._start(managed)
        while any(managed.phase is Phase.STARTING for managed in self._managed):
            self.spin(0.02)
        self._look_for_others()
        self._alone = True
        while not all(managed.phase is Phase.ACTIVE for managed in self._managed):
            self.spin(0.02)
        self._is_up = True

    def _start(self, managed: ManagedNode) -> None:
        spec = managed.spec
        parameters = self._logs / f"{spec.name}.yaml"
        command = node_command(
            self.graph, spec, self._programs, parameters, self._params_file, self._log_level
        )
        log = self._logs / f"{spec.name}.log"
        managed.process = NodeProcess(command, self._environment, log, spec.nice)
        managed.enter(Phase.STARTING)

    def _look_for_others(self) -> None:
        """Raises DomainError when somebody else runs such a graph here.

        Asked when all our processes are known but none is configured: whoever was here before has
        been discovered by then, and nothing of ours can have published yet.
        """
        names = [
            f"{namespace.rstrip('/')}/{name}"
            for name, namespace in self.node.get_node_names_and_namespaces()
        ]
        for managed in self._managed:
            full_name = self.graph.full_name(managed.spec)
            if names.count(full_name) > 1:
                raise DomainError(
                    f"a node {full_name} already runs on ROS domain {domain_id()}: stop that "
                    "graph, or choose another domain (ROS_DOMAIN_ID)"
                )
        for topic in self.graph.final_topics:
            full_topic = topic if topic.startswith("/") else f"{self.graph.namespace}/{topic}"
            for publisher in self.node.get_publishers_info_by_topic(full_topic):
                raise DomainError(
                    f"node {publisher.node_name} publishes final commands on {full_topic} of ROS "
                    f"domain {domain_id()}: only the monitor may; stop it, or choose another "
                    "domain (ROS_DOMAIN_ID)"
                )

    # Running

    def add_node(self, node: Node) -> None:
        """Have `spin` work for this node too; made with `context`."""
        self._executor.add_node(node)

    @property
    def context(self) -> Context:
        """For nodes that `spin` shall work for."""
        return self._context

    def spin(self, duration_s: float) -> None:
        """Work for `duration_s`. Raises NodeFailed or Interrupted."""
        end = time.monotonic() + duration_s
        while True:
            if self._signal is not None:
                raise Interrupted(signal.Signals(self._signal).name)
            for managed in self._managed:
                self._watch(managed)
                self._advance(managed)
            left = end - time.monotonic()
            if left <= 0.0:
                return
            self._executor.spin_once(timeout_sec=min(left, 0.1))

    def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Spin until something is the case; whether it became so within `timeout_s`. Raises as
        `spin` does."""
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                return False
            self.spin(POLL_S)
        return True

    def _watch(self, managed: ManagedNode) -> None:
        """Notice an exit, and start anew what may be."""
        if managed.phase is Phase.EXITED:
            wait_s = min(2.0 ** (managed.failures - 1), LONGEST_BACK_OFF_S)
            may = managed.spec.respawn and self._may_respawn
            if may and time.monotonic() - managed.since >= wait_s:
                self._start(managed)
            return
        assert managed.process is not None
        code = managed.process.exit_code()
        if code is None:
            return
        if managed.phase is Phase.ACTIVE and time.monotonic() - managed.since > LONGEST_BACK_OFF_S:
            managed.failures = 0
        self._failed(managed, f"{managed.spec.name} {_exit_sentence(managed.process, code)}")

    def _advance(self, managed: ManagedNode) -> None:
        """Take the next step towards active, if it is this node's turn."""
        waited_s = time.monotonic() - managed.since
        name = managed.spec.name
        if managed.phase is Phase.STARTING:
            if managed.ask_state(STATE_PATIENCE_S) == State.PRIMARY_STATE_UNCONFIGURED:
                managed.enter(Phase.UNCONFIGURED)
            elif waited_s > START_TIMEOUT_S:
                self._failed(managed, _late(managed, "offers no lifecycle services"))
        elif managed.phase is Phase.UNCONFIGURED:
            if self._alone and self._are_active(self._earlier_stages(managed)):
                managed.order(Transition.TRANSITION_CONFIGURE, Phase.CONFIGURING)
                self._report(name, "configuring")
        elif managed.phase is Phase.INACTIVE:
            if self._are_active(self._earlier(managed)):
                managed.order(Transition.TRANSITION_ACTIVATE, Phase.ACTIVATING)
        elif managed.phase in ORDERED:
            before, after, reached = ORDERED[managed.phase]
            obeyed = managed.obeyed(before, after)
            if obeyed:
                managed.enter(reached)
                if reached is Phase.ACTIVE:
                    self._report(name, "active" if managed.failures == 0 else "active again")
            elif obeyed is False:
                assert managed.process is not None
                reason = (
                    managed.process.complaint() or f"no reason given; see {managed.process.log}"
                )
                self._failed(managed, f"{name}: {reason}")
            elif waited_s > TRANSITION_TIMEOUT_S:
                self._failed(managed, _late(managed, f"is still {managed.phase.name.lower()}"))

    def _failed(self, managed: ManagedNode, sentence: str) -> None:
        """Raises NodeFailed, except for a node of a running graph that the graph can spare."""
        if managed.spec.required or not self._is_up:
            raise NodeFailed(sentence)
        assert managed.process is not None
        managed.process.stop(GRACE_S)
        managed.failures += 1
        managed.enter(Phase.EXITED)
        self._report(managed.spec.name, sentence)

    def _earlier(self, managed: ManagedNode) -> Iterable[ManagedNode]:
        return self._managed[: self._managed.index(managed)]

    def _earlier_stages(self, managed: ManagedNode) -> Iterable[ManagedNode]:
        return (other for other in self._managed if other.spec.stage < managed.spec.stage)

    @staticmethod
    def _are_active(nodes: Iterable[ManagedNode]) -> bool:
        # One that has been active and is being started anew holds nobody up.
        return all(node.phase is Phase.ACTIVE or node.failures > 0 for node in nodes)

    # Stopping

    def _stop_processes(self) -> None:
        """Last started, first stopped: the recorder finishes its bag, the watchdog leaves last.

        Each is stopped whatever happens to the others.
        """
        with ExitStack() as stack:
            for managed in self._managed:
                stack.callback(self._stop, managed)

    def _stop(self, managed: ManagedNode) -> None:
        if managed.process is None or managed.phase is Phase.EXITED:
            return
        managed.enter(Phase.EXITED)
        if not managed.process.stop(GRACE_S):
            self._report(managed.spec.name, f"did not stop within {GRACE_S:.0f} s, killed")


def _late(managed: ManagedNode, what: str) -> str:
    assert managed.process is not None
    waited_s = time.monotonic() - managed.since
    return (
        f"{managed.spec.name} {what} after {waited_s:.0f} s: it hangs, or this machine is too busy; "
        f"see {managed.process.log}"
    )


def _exit_sentence(process: NodeProcess, code: int) -> str:
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
    complaint = process.complaint()
    return f"{how}: {complaint}" if complaint else f"{how}; see {process.log}"
