"""What the graph is made of: the one description that both runners start.

`supervisor.py` (behind `safevla up` and `safevla sim`) and launch/bringup.launch.py (for people with
ROS 2 installed) add nothing of their own. Nodes stand in the order in which they are brought up:
safety first, so that nothing can command the robot before there is somebody to hold it back. They
are stopped in the opposite order, so the watchdog is the last to leave.

No ROS is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from safevla_ros.policy.description import read_description, read_graph
from safevla_ros.policy.load import BUILT_IN, policy_folder
from safevla_ros.robot.profile import Mode, Profile, load_profile
from safevla_ros.safety.specification import load_specification, load_zones
from safevla_ros.simulation.scenario import load_scenario, scenario_path
from safevla_ros.simulation.scripted import is_scripted

Value = str | bool | int | float

DEFAULT_SCENARIO = "default"
SAFETY_NICE = -10


class BringupError(ValueError):
    """A graph that cannot be described; the message names the option and what was expected."""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One process with one lifecycle node, of the name of its executable.

    `stage`: configured once every node of the earlier stages is active. `required`: when it exits,
    the graph stops. `respawn`: when it exits, it is started anew and brought back to active.
    `nice`: scheduling priority, larger is less. The safety nodes run before the rest, and where the
    system permits it before everybody else: a monitor that does not run for 100 ms stops the robot.
    """

    name: str
    stage: int
    parameters: Mapping[str, Value]
    required: bool = False
    respawn: bool = False
    nice: int = 0
    remappings: tuple[tuple[str, str], ...] = ()

    @property
    def executable(self) -> str:
        """Name of the program under lib/safevla_ros."""
        return self.name


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may choose. Empty: the profile's, the scenario's, or the policy's own."""

    robot: str = "sim"
    mode: str = ""
    specification: str = ""
    scenario: str = ""
    policy: str = ""
    directory: str = "bags"
    namespace: str = ""
    real_time_factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Graph:
    """A described graph: its nodes in order, and what its runner must know beside."""

    profile: Profile
    nodes: tuple[NodeSpec, ...]
    policy: str
    namespace: str = ""
    use_sim_time: bool = False
    final_topics: Mapping[str, str] = field(default_factory=dict)

    def full_name(self, node: NodeSpec) -> str:
        """Name of a node with its namespace."""
        return f"{self.namespace}/{node.name}"


def describe(options: Options) -> Graph:
    """The graph for these options.

    Raises BringupError, ProfileError, ScenarioError, SpecificationError or PolicyError, each with one
    sentence.
    """
    profile = load_profile(options.robot)
    _check(options, profile)
    robot: dict[str, Value] = {"robot": _robot(options.robot)}
    clock: dict[str, Value] = {"use_sim_time": profile.simulated}
    scenario: dict[str, Value] = {}
    zones: dict[str, str] = {}
    policy = options.policy
    if profile.simulated:
        scenario["scenario"] = options.scenario or DEFAULT_SCENARIO
        policy = policy or load_scenario(options.scenario or DEFAULT_SCENARIO).policy
        zones["zones"] = str(scenario_path(options.scenario or DEFAULT_SCENARIO).absolute())
    specification = load_specification(options.specification or profile.specification)
    specification.with_zones(load_zones(zones["zones"]) if zones else ())
    nodes = [
        NodeSpec("safety_watchdog", 0, robot | clock, required=True, nice=SAFETY_NICE),
        NodeSpec(
            "cost_monitor",
            1,
            robot | clock | zones | {"mode": options.mode, "specification": options.specification},
            required=True,
            nice=SAFETY_NICE,
        ),
        NodeSpec("camera_ingest", 2, robot | clock | _image_size(policy), respawn=True),
        NodeSpec(
            "training_bridge",
            2,
            robot | clock | {"directory": str(Path(options.directory).absolute())},
            respawn=True,
            nice=5,
        ),
        NodeSpec(
            "vla_inference",
            2,
            robot | clock | scenario | {"policy": policy},
            respawn=True,
            nice=2,
        ),
    ]
    if profile.simulated:
        # The robot makes the clock, so its own time is the wall's.
        parameters = robot | scenario | {"real_time_factor": options.real_time_factor}
        nodes.insert(2, NodeSpec("sim_robot", 2, parameters, required=True, nice=10))
    return Graph(
        profile=profile,
        nodes=tuple(nodes),
        policy=policy,
        namespace=_namespace(options.namespace),
        use_sim_time=profile.simulated,
        final_topics=profile.outputs.final_topics(),
    )


def _check(options: Options, profile: Profile) -> None:
    modes = get_args(Mode)
    if options.mode and options.mode not in modes:
        raise BringupError(f"mode: expected one of {', '.join(modes)}, got {options.mode!r}")
    if options.scenario and not profile.simulated:
        raise BringupError(
            f"scenario: robot {profile.name!r} is not simulated, so it has no scenario"
        )
    if is_scripted(options.policy) and not profile.simulated:
        raise BringupError(
            f"policy: {options.policy!r} uses the simulator's truth, which robot "
            f"{profile.name!r} does not have"
        )
    if not options.policy and not profile.simulated:
        raise BringupError(
            f"policy: expected a policy folder or the name of a policy for robot {profile.name!r}"
        )


def _image_size(policy: str) -> dict[str, Value]:
    """Parameters of camera_ingest for a policy with a file; the others take any size.

    A file that is not the one of its policy.yaml is refused before anything is started.
    """
    if policy in BUILT_IN or is_scripted(policy):
        return {}
    folder = policy_folder(policy)
    description = read_description(folder / "policy.yaml")
    read_graph(folder / description.file, description.sha256)
    return {"image_height": description.image_height, "image_width": description.image_width}


def _robot(name_or_path: str) -> str:
    """Paths are made absolute: nodes may run in another folder."""
    if name_or_path.endswith((".yaml", ".yml")):
        return str(Path(name_or_path).absolute())
    return name_or_path


def _namespace(text: str) -> str:
    stripped = text.strip("/")
    return f"/{stripped}" if stripped else ""
