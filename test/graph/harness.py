"""Real node processes on a ROS domain of their own, and a robot of plain messages around them.

`Graph` starts nodes from the installed copy, drives their lifecycle, sends and collects messages.
Every wait is for an event and has a deadline; what is waited for is named in the failure.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rclpy
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions

from safevla_ros.nodes.graph.middleware import graph_environment
from safevla_ros.nodes.graph.process import programs_folder

DEADLINE_S = 30.0
LABELS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
}
SHUTDOWNS = {
    State.PRIMARY_STATE_UNCONFIGURED: Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
    State.PRIMARY_STATE_INACTIVE: Transition.TRANSITION_INACTIVE_SHUTDOWN,
    State.PRIMARY_STATE_ACTIVE: Transition.TRANSITION_ACTIVE_SHUTDOWN,
}
YOUNG_S = 30.0
# Away from the default domain, and below the range of ephemeral ports on Linux.
DOMAINS = range(int(os.environ.get("SAFEVLA_TEST_FIRST_DOMAIN", "80")), 100)


@contextmanager
def own_domain() -> Iterator[int]:
    """A ROS domain that no other test process of this machine uses, set in the environment.

    So is the shipped Fast DDS profile, with which processes find each other soon. What killed
    processes leave in shared memory is removed at the end.
    """
    for domain in DOMAINS:
        file = (Path(tempfile.gettempdir()) / f"safevla_ros-test-domain-{domain}.lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        before = dict(os.environ)
        os.environ.update(ROS_DOMAIN_ID=str(domain), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
        os.environ.update(graph_environment(os.environ, simulated=True))
        try:
            yield domain
        finally:
            os.environ.clear()
            os.environ.update(before)
            remove_dead_segments()
            file.close()
        return
    raise RuntimeError(f"all ROS domains for tests ({DOMAINS}) are in use")


def remove_dead_segments() -> None:
    """Remove Fast DDS' shared memory of processes that were killed.

    A living process holds a lock on the file `_el` of each of its segments. Young ones are left
    alone: their process may be about to lock them.
    """
    for lock in Path("/dev/shm").glob("fast*_el"):
        with contextlib.suppress(OSError), lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - lock.stat().st_mtime > YOUNG_S:
                lock.with_name(lock.name.removesuffix("_el")).unlink(missing_ok=True)
                lock.unlink()


class Collector:
    """Messages of one topic, in order of arrival, with their arrival times (steady clock [s])."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._entries: list[tuple[float, Any]] = []
        self._changed = threading.Condition()

    def add(self, message: Any) -> None:
        with self._changed:
            self._entries.append((time.monotonic(), message))
            self._changed.notify_all()

    @property
    def entries(self) -> list[tuple[float, Any]]:
        """(arrival, message) so far."""
        with self._changed:
            return list(self._entries)

    @property
    def messages(self) -> list[Any]:
        """Messages so far."""
        return [message for _, message in self.entries]

    def clear(self) -> None:
        """Forget them."""
        with self._changed:
            self._entries.clear()

    def mark(self) -> int:
        """How many there are: for `since` in the methods below."""
        return len(self.entries)

    def wait(
        self,
        condition: Callable[[Any], bool] = lambda message: True,
        *,
        what: str = "a message",
        since: int = 0,
        deadline_s: float = DEADLINE_S,
    ) -> Any:
        """The first message from index `since` on that fulfils the condition."""
        return self.wait_entry(condition, what=what, since=since, deadline_s=deadline_s)[1]

    def wait_entry(
        self,
        condition: Callable[[Any], bool] = lambda message: True,
        *,
        what: str = "a message",
        since: int = 0,
        deadline_s: float = DEADLINE_S,
    ) -> tuple[float, Any]:
        """As `wait`, with the arrival time."""
        end = time.monotonic() + deadline_s
        index = since
        with self._changed:
            while True:
                while index < len(self._entries):
                    if condition(self._entries[index][1]):
                        return self._entries[index]
                    index += 1
                left = end - time.monotonic()
                if left <= 0.0:
                    last = self._entries[-1][1] if self._entries else None
                    raise AssertionError(
                        f"{self.topic}: {what} did not come within {deadline_s} s; "
                        f"{len(self._entries) - since} others did, the last: {last}"
                    )
                self._changed.wait(left)


class NodeUnderTest:
    """One node process and its lifecycle."""

    def __init__(
        self, graph: Graph, command: list[str], parameters: dict[str, Any], name: str
    ) -> None:
        self.name = name
        self._graph = graph
        self.log = graph.folder / f"{name}-{len(graph.nodes)}.log"
        command = [*command, "--ros-args", "-r", f"__node:={name}"]
        for key, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            command += ["-p", f"{key}:={text}"] if text else []
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._change = graph.node.create_client(ChangeState, f"{name}/change_state")
        self._get = graph.node.create_client(GetState, f"{name}/get_state")

    def output(self) -> str:
        """What it printed so far."""
        return self.log.read_text(errors="replace")

    def change(self, transition: str) -> bool:
        """Order a transition of LABELS, or `shutdown`; whether it succeeded."""
        state = self.state()
        number = SHUTDOWNS[state] if transition == "shutdown" else LABELS[transition]
        request = ChangeState.Request()
        request.transition.id = number
        return self._graph.call(self._change, request, deadline_s=60.0).success

    def state(self) -> int:
        """Its lifecycle state, a constant of State.

        Asked until it answers: the services of a node of the same name that was killed are still
        known for a while, and what is sent to them is lost.
        """
        end = time.monotonic() + DEADLINE_S
        answer = None
        while answer is None:
            assert time.monotonic() < end, f"{self.name} does not answer:\n{self.output()}"
            if self._get.service_is_ready():
                answer = self._graph.ask(self._get, GetState.Request(), 0.5)
            else:
                time.sleep(0.01)
        return answer.current_state.id

    def bring_up(self) -> NodeUnderTest:
        """Configure and activate."""
        for transition in ("configure", "activate"):
            assert self.change(transition), f"{self.name} does not {transition}:\n{self.output()}"
        return self

    def send(self, number: int) -> None:
        """Send a signal to the process."""
        self.process.send_signal(number)

    def wait_exit(self, deadline_s: float = DEADLINE_S) -> int:
        """Its exit code."""
        return self.process.wait(deadline_s)

    def tell_to_end(self) -> None:
        """SIGTERM, also to a process that stands still."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()

    def end(self) -> None:
        """SIGTERM, then SIGKILL; never left behind."""
        self.tell_to_end()
        try:
            self.process.wait(10.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Graph:
    """The test's own ROS node, spun in a thread, and the node processes it started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes: list[NodeUnderTest] = []
        self._context = Context()
        rclpy.init(args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node(
            "test",
            context=self._context,
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def start(self, executable: str, *, name: str = "", **parameters: Any) -> NodeUnderTest:
        """Start a node of the installed copy, unconfigured."""
        program = str(programs_folder() / executable)
        return self.start_command([program], name or executable, **parameters)

    def start_command(self, command: list[str], name: str, **parameters: Any) -> NodeUnderTest:
        """Start another program that is a node, unconfigured."""
        started = NodeUnderTest(self, command, parameters, name)
        self.nodes.append(started)
        return started

    def collect(self, message_type: type, topic: str, qos: QoSProfile | int = 100) -> Collector:
        """Collect a topic from now on."""
        collector = Collector(topic)
        self.node.create_subscription(message_type, topic, collector.add, qos)
        return collector

    def action_client(self, action_type: type, name: str) -> ActionClient:
        """A client of an action. The thread that spins makes it: rclpy hands an action client to
        the executor before it is whole."""
        made = threading.Event()
        task = self._executor.create_task(ActionClient, self.node, action_type, name)
        task.add_done_callback(lambda _: made.set())
        assert made.wait(DEADLINE_S), f"no client of action {name}"
        return task.result()

    def call(self, client: Any, request: Any, deadline_s: float = DEADLINE_S) -> Any:
        """Call a service and wait for its answer."""
        name = client.srv_name
        assert client.wait_for_service(DEADLINE_S), f"service {name} is not there\n{self.logs()}"
        answer = self.ask(client, request, deadline_s)
        assert answer is not None, f"service {name} does not answer\n{self.logs()}"
        return answer

    def ask(self, client: Any, request: Any, deadline_s: float) -> Any:
        """Call a service; None: no answer in time."""
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if answered.wait(deadline_s):
            return future.result()
        client.remove_pending_request(future)
        return None

    def wait_for(
        self, condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S
    ) -> None:
        """Wait for something that has no event of its own, such as discovery."""
        end = time.monotonic() + deadline_s
        while not condition():
            assert time.monotonic() < end, f"{what}: not within {deadline_s} s\n{self.logs()}"
            time.sleep(0.01)

    def wait_matched(self, publisher: Any, subscriptions: int = 1) -> None:
        """Wait until a publisher is discovered."""
        self.wait_for(
            lambda: publisher.get_subscription_count() >= subscriptions,
            f"{subscriptions} subscriptions of {publisher.topic_name}",
        )

    def logs(self) -> str:
        """What the nodes printed."""
        return "\n".join(f"--- {node.name}\n{node.output()}" for node in self.nodes)

    def close(self) -> None:
        """End every process that was started here, then the test's own node."""
        for node in self.nodes:
            node.tell_to_end()
        for node in self.nodes:
            node.end()
        self._executor.shutdown(timeout_sec=2.0)
        self._thread.join(2.0)
        self.node.destroy_node()
        self._context.try_shutdown()
