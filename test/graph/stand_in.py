"""A lifecycle node that does as it is told: what the supervisor is tested with.

    stand_in.py BEHAVIOUR --ros-args -r __node:=NAME ...

Behaviours: `good`; `refuse` to configure with a logged sentence; `crash` before it is a node;
`deaf` to SIGTERM; `die-once` a moment after it became active, the first time it is started.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import rclpy
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions


class StandIn(LifecycleNode):
    """Writes each of its states, with the time, into states.txt beside its program."""

    def __init__(self, behaviour: str, diary: Path) -> None:
        super().__init__("stand_in")
        self._behaviour = behaviour
        self._diary = diary

    def _note(self, state: str) -> None:
        with self._diary.open("a") as file:
            file.write(f"{time.monotonic():.3f} {self.get_name()} {state}\n")

    def on_configure(self, state):
        if self._behaviour == "refuse":
            self.get_logger().error("config/robots/x.yaml: mode: expected shadow, got 'loud'")
            return TransitionCallbackReturn.FAILURE
        self._note("configured")
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state):
        self._note("active")
        if self._behaviour == "die-once" and self._diary.read_text().count("die-once") == 0:
            self._note("die-once")
            threading.Timer(0.2, os._exit, (7,)).start()
        return TransitionCallbackReturn.SUCCESS

    def leave(self) -> None:
        """Its last words."""
        self._note("left")


def main() -> None:
    behaviour, diary = sys.argv[1], Path(sys.argv[2])
    if behaviour == "crash":
        raise ModuleNotFoundError("No module named 'mujoco'")
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = StandIn(behaviour, diary)

    told = []
    handler = signal.SIG_IGN if behaviour == "deaf" else lambda number, frame: told.append(number)
    signal.signal(signal.SIGTERM, handler)
    while not told:
        rclpy.spin_once(node, timeout_sec=0.05)
    node.leave()
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
