"""A node as its supervisor sees it: a process, and a lifecycle that is driven over services."""

from __future__ import annotations

import math
import time
from enum import Enum, auto

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node
from rclpy.task import Future

from safevla_ros.nodes.graph.bringup import NodeSpec
from safevla_ros.nodes.graph.process import NodeProcess

ORDER_PATIENCE_S = 2.0  # a transition may take its time; then the state is asked for


class Phase(Enum):
    """How far a node is."""

    STARTING = auto()
    UNCONFIGURED = auto()
    CONFIGURING = auto()
    INACTIVE = auto()
    ACTIVATING = auto()
    ACTIVE = auto()
    EXITED = auto()


ORDERED = {
    Phase.CONFIGURING: (
        State.PRIMARY_STATE_UNCONFIGURED,
        State.PRIMARY_STATE_INACTIVE,
        Phase.INACTIVE,
    ),
    Phase.ACTIVATING: (State.PRIMARY_STATE_INACTIVE, State.PRIMARY_STATE_ACTIVE, Phase.ACTIVE),
}
"""Phases in which a transition is awaited: the states before and after it, the phase reached."""


class _Call:
    """At most one request to one service, which may stay unanswered: a server that was killed
    looks alive to DDS for a while, and what it is asked is lost."""

    def __init__(self, node: Node, service: type, name: str) -> None:
        self._client = node.create_client(service, name)
        self._future: Future | None = None
        self._sent = 0.0

    def ready(self) -> bool:
        return self._client.service_is_ready()

    def send(self, request: object) -> None:
        self.forget()
        self._future = self._client.call_async(request)
        self._sent = time.monotonic()

    def waiting_s(self) -> float:
        """Since the request was sent; infinite when there is none."""
        return time.monotonic() - self._sent if self._future is not None else math.inf

    def take(self) -> object | None:
        """The response, once."""
        if self._future is None or not self._future.done():
            return None
        response = self._future.result()
        self._future = None
        return response

    def forget(self) -> None:
        if self._future is not None:
            self._client.remove_pending_request(self._future)
            self._future = None


class ManagedNode:
    """One node on its way to active.

    Its own answer to get_state is the truth; change_state only gives the orders.
    """

    def __init__(self, spec: NodeSpec, full_name: str, node: Node) -> None:
        self.spec = spec
        self.phase = Phase.EXITED
        self.process: NodeProcess | None = None
        self.since = time.monotonic()
        self.failures = 0
        self._change = _Call(node, ChangeState, f"{full_name}/change_state")
        self._state = _Call(node, GetState, f"{full_name}/get_state")

    def enter(self, phase: Phase) -> None:
        self.phase = phase
        self.since = time.monotonic()
        self._state.forget()
        if phase in (Phase.STARTING, Phase.EXITED):
            self._change.forget()

    def ask_state(self, patience_s: float) -> int | None:
        """Id of its state, asked for anew whenever an answer is `patience_s` late."""
        response = self._state.take()
        if response is not None:
            return response.current_state.id
        if self._state.waiting_s() > patience_s and self._state.ready() and self._change.ready():
            self._state.send(GetState.Request())
        return None

    def order(self, transition: int, phase: Phase) -> None:
        """Ask for a transition and enter the phase in which it is awaited."""
        request = ChangeState.Request()
        request.transition.id = transition
        self._change.send(request)
        self.enter(phase)

    def obeyed(self, before: int, after: int) -> bool | None:
        """Whether the ordered transition from one state to another succeeded; None: not known yet.

        Where the answer stays away, the state decides; a node that still stands where it stood has
        not heard the order, which is then forgotten: it shall be given again.
        """
        response = self._change.take()
        if response is not None:
            return response.success
        if self._change.waiting_s() < ORDER_PATIENCE_S:
            return None
        state = self.ask_state(ORDER_PATIENCE_S)
        if state == after:
            return True
        if state == before:
            self._change.forget()
            self.enter(
                Phase.UNCONFIGURED if before == State.PRIMARY_STATE_UNCONFIGURED else Phase.INACTIVE
            )
        elif state in (State.PRIMARY_STATE_FINALIZED, State.PRIMARY_STATE_UNCONFIGURED):
            return False
        return None
