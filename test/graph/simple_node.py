"""A GraphNode with one of everything: what lifecycle.py is tested with.

simple_node.py --ros-args -p robot:=...
"""

import sys

from std_msgs.msg import String
from std_srvs.srv import Trigger

from safevla_ros.nodes.lifecycle import ConfigurationError, GraphNode, spin


class SimpleNode(GraphNode):
    """Echoes `in` on `out` while active; does on demand what nodes should not do."""

    def __init__(self):
        super().__init__("simple_node")
        self.declare("rate_hz", 20.0, "How often `tick` is published [Hz]", lower=1.0, upper=100.0)

    def setup(self):
        if self.profile.name == "generic":
            raise ConfigurationError("robot generic: expected any other robot")
        self._out = self.publisher(String, "out", 10)
        self._ticks = self.publisher(String, "tick", 10)
        self.subscription(String, "in", self.on_message, 10)
        self.service(Trigger, "fail", self.on_fail)
        self.timer(1.0 / self.get_parameter("rate_hz").value, self.on_tick)

    def on_tick(self):
        self._ticks.publish(String(data="tick"))

    def on_message(self, message):
        if message.data == "crash":
            raise RuntimeError("told to crash")
        if self.active:
            self._out.publish(message)

    def on_fail(self, request, response):
        raise ValueError("told to fail")

    def on_callback_error(self, where, error):
        self._out.publish(String(data=f"{where}: {error}"))
        return "fail" in where

    def last_action(self):
        self._out.publish(String(data="last"))


if __name__ == "__main__":
    sys.exit(spin(SimpleNode, sys.argv))
