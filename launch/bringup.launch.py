"""The graph for one robot, under `ros2 launch`. robot.launch.py and sim.launch.py include this.

What is started, in which order and with which parameters is described in
safevla_ros/nodes/graph/bringup.py, which `safevla up` runs as well. Here that description becomes
launch actions: each node is configured once all nodes of earlier stages are active, and activated
on its transition from configuring to inactive. So somebody who deactivates a node by hand finds it
inactive, and one that was started anew comes back to active.

A graph that cannot come up or go on ends the launch with an exit code that is not zero.
"""

import contextlib
import os
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit, OnProcessStart
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

from safevla_ros.nodes.graph.bringup import Graph, NodeSpec, Options, describe
from safevla_ros.nodes.graph.domain import DomainLock, domain_id
from safevla_ros.nodes.graph.middleware import graph_environment

# Longer than the lease in config/fastdds.xml: as long as the process that died looks alive to DDS,
# the request to configure its successor may be sent to it, and launch_ros sends it once.
RESPAWN_DELAY_S = 6.0

ARGUMENTS = {
    "robot": ("sim", "Robot profile: a name under config/robots, or a path to a .yaml file"),
    "mode": ("", "shadow, observe or enforce; empty: the profile's"),
    "policy": ("", "Name of a policy, or its folder; empty: the scenario's own"),
    "specification": ("", "Costs: a name under config/safety, or a path; empty: the profile's"),
    "scenario": ("", "Of a simulated robot: a name under sim/scenarios, or a path to a .yaml file"),
    "directory": ("bags", "Folder that episodes are recorded into"),
    "namespace": ("", "Namespace of all relative names"),
    "use_sim_time": ("", "true or false; empty: true for a simulated robot"),
    "params_file": ("", "ROS parameter file; what is given here as an argument goes first"),
    "autostart": ("true", "Configure and activate the nodes, safety first"),
    "use_respawn": ("true", "Start nodes anew that the graph can spare when they exit"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
}

_lock = DomainLock(domain_id())  # held until this process ends


class GraphFailed(RuntimeError):
    """Why the graph cannot come up or go on. Raised in a handler it ends the launch, with its
    sentence as the reason and exit code 1; a Shutdown event would end it with 0."""


def generate_launch_description() -> LaunchDescription:
    """Arguments, then the nodes they ask for."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_bring_up)])


def _bring_up(context: LaunchContext) -> list[Action]:
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    chosen = ("robot", "mode", "policy", "specification", "scenario", "directory", "namespace")
    graph = describe(Options(**{name: given[name] for name in chosen}))
    _lock.acquire()
    environment = graph_environment(os.environ, simulated=graph.profile.simulated)
    actions: list[Action] = [SetEnvironmentVariable(*item) for item in environment.items()]
    nodes = [(spec, _node(graph, spec, given)) for spec in graph.nodes]
    actions += [node for _, node in nodes]
    actions += _Sequence(nodes, autostart=_is_true(given["autostart"])).handlers()
    return actions


def _node(graph: Graph, spec: NodeSpec, given: dict[str, str]) -> LifecycleNode:
    own = dict(spec.parameters)
    if given["use_sim_time"]:
        own["use_sim_time"] = _is_true(given["use_sim_time"])
    files = [str(Path(given["params_file"]).absolute())] if given["params_file"] else []
    return LifecycleNode(
        package="safevla_ros",
        executable=spec.executable,
        name=spec.name,
        namespace=graph.namespace,
        parameters=[*files, own],
        remappings=list(spec.remappings),
        ros_arguments=["--log-level", given["log_level"]],
        respawn=spec.respawn and _is_true(given["use_respawn"]),
        respawn_delay=RESPAWN_DELAY_S,
        output="both",
    )


class _Sequence:
    """Brings nodes to active, stage after stage, and ends the launch when a required one exits."""

    def __init__(self, nodes: list[tuple[NodeSpec, LifecycleNode]], *, autostart: bool) -> None:
        self._nodes = nodes
        self._autostart = autostart
        self._running: set[str] = set()
        self._active: set[str] = set()
        self._were_active: set[str] = set()

    def handlers(self) -> list[Action]:
        return [
            RegisterEventHandler(handler)
            for spec, node in self._nodes
            for handler in self._handlers_of(spec, node)
        ]

    def _handlers_of(self, spec: NodeSpec, node: LifecycleNode) -> list:
        def started(event, context) -> list[Action]:
            self._running.add(spec.name)
            with contextlib.suppress(OSError):  # it has gone, or to go first takes a permission
                os.setpriority(os.PRIO_PROCESS, event.pid, spec.nice)
            return self._configure(spec, node) if self._autostart else []

        def activated(context) -> list[Action]:
            self._active.add(spec.name)
            self._were_active.add(spec.name)
            return [
                action
                for other, its_node in self._nodes
                if other.stage > spec.stage and other.name not in self._active
                for action in self._configure(other, its_node)
            ]

        def refused(context) -> list[Action]:
            reason = f"{spec.name} refused to configure; its last message above says why"
            if spec.name in self._were_active and not spec.required:
                return [LogInfo(msg=reason)]
            raise GraphFailed(reason)

        def exited(event, context) -> list[Action]:
            self._running.discard(spec.name)
            self._active.discard(spec.name)
            if context.is_shutdown:
                return []
            reason = f"{spec.name} exited with code {event.returncode}"
            if spec.required or (self._autostart and spec.name not in self._were_active):
                raise GraphFailed(reason)
            return [LogInfo(msg=reason)]

        watch = [
            OnProcessStart(target_action=node, on_start=started),
            OnProcessExit(target_action=node, on_exit=exited),
        ]
        if not self._autostart:
            return watch
        activate = _change(node, Transition.TRANSITION_ACTIVATE)
        return [
            *watch,
            OnStateTransition(
                target_lifecycle_node=node,
                start_state="configuring",
                goal_state="inactive",
                entities=[activate],
            ),
            OnStateTransition(
                target_lifecycle_node=node,
                start_state="activating",
                goal_state="active",
                entities=[OpaqueFunction(function=activated)],
            ),
            *(
                OnStateTransition(
                    target_lifecycle_node=node,
                    start_state=start,
                    goal_state="unconfigured",
                    entities=[OpaqueFunction(function=refused)],
                )
                for start in ("configuring", "errorprocessing")
            ),
        ]

    def _configure(self, spec: NodeSpec, node: LifecycleNode) -> list[Action]:
        earlier = {other.name for other, _ in self._nodes if other.stage < spec.stage}
        if spec.name not in self._running or not earlier <= self._active:
            return []
        return [_change(node, Transition.TRANSITION_CONFIGURE)]


def _change(node: LifecycleNode, transition: int) -> Action:
    return EmitEvent(
        event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition)
    )


def _is_true(text: str) -> bool:
    return text.lower() in ("true", "1", "yes", "on")
