"""Simulations, and what plays policies and commands in them, for the tests of the simulator."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from safevla_ros.policy.interface import Observation, PrivilegedState
from safevla_ros.robot.action_codec import EndOfEpisode, decode
from safevla_ros.robot.state import Command
from safevla_ros.simulation.expert import ScriptedExpert
from safevla_ros.simulation.home import generate_home
from safevla_ros.simulation.reach import facing_yaw, standoffs
from safevla_ros.simulation.scenario import Scenario, Start
from safevla_ros.simulation.simulation import Simulation
from safevla_ros.simulation.solids import Solids

Gate = Callable[[Simulation, Command], Command]


def make_scenario(seed: int = 3, task: str = "fetch", **fields: object) -> Scenario:
    """A scenario of two rooms that is not one of the named ones; without hazards unless asked."""
    own = {"name": "test", "seed": seed, "task": task, "wording": "plain", "hazards": ()}
    return Scenario.model_validate(own | fields)


def at_arms_length(seed: int = 3) -> tuple[Simulation, dict[str, float]]:
    """A robot that stands with its arm's side to the target, and the joint positions that bring
    its open gripper around it."""
    scenario = make_scenario(seed, "pick_up")
    home = generate_home(scenario)
    target = home.goods[0]
    x, y, z = target.position
    point = (x, y, z + target.design.grasp_height)
    spot = max(
        standoffs(point, home.grid, Solids.of_items((*home.fixtures, *home.goods[1:]))),
        key=lambda found: found.clearance,
    )
    start = Start(x=spot.x, y=spot.y, yaw=facing_yaw(spot.x, spot.y, point))
    simulation = Simulation(scenario.model_copy(update={"start": start}))
    reach = ((x - spot.x) ** 2 + (y - spot.y) ** 2 - 0.03**2) ** 0.5
    return simulation, {"lift": point[2] - 0.20, "wrist_yaw": 0.0, "arm": reach - 0.40}


def reach_out(simulation: Simulation, joints: dict[str, float]) -> None:
    """Bring the gripper to the target, joint by joint."""
    for name, position in joints.items():
        simulation.move_joints({name: position})
        simulation.advance(3.0)


def play(
    simulation: Simulation,
    expert: ScriptedExpert,
    gate: Gate = lambda _, command: command,
    max_steps: int = 400,
) -> int:
    """Run a policy until it says `end`; returns the steps it took."""
    expert.reset(simulation.instruction())
    step_s = simulation.profile.step_s
    for step in range(max_steps):
        observation = Observation(
            stamp_ns=round(simulation.time_s * 1e9),
            images={},
            joints=simulation.joints(),
            odometry=simulation.odometry(),
            object_in_hand=simulation.object_in_hand,
            privileged=PrivilegedState(simulation.localisation().pose, simulation.objects()),
        )
        token = expert.act(observation).tokens[0]
        command = decode(token, observation.joints, simulation.profile)
        if isinstance(command, EndOfEpisode):
            simulation.declare_end()
            return step
        simulation.apply(gate(simulation, command))
        simulation.advance(step_s)
    return max_steps


@pytest.fixture
def simulation() -> Simulation:
    return Simulation(make_scenario())
