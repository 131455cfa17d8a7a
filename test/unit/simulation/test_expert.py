"""The scripted expert: it does the tasks, keeps its manners, copes with being stopped, and teaches."""

from __future__ import annotations

import math

import numpy as np
import pytest
from shapely.geometry import Point, Polygon

from safevla_ros.policy.interface import Instruction, Observation, Policy, PolicyError
from safevla_ros.robot.action_codec import TOKENS
from safevla_ros.robot.state import Command
from safevla_ros.simulation.expert import ScriptedExpert
from safevla_ros.simulation.rollout import Rollout
from safevla_ros.simulation.scenario import Scenario, load_scenario
from safevla_ros.simulation.simulation import Simulation
from safevla_ros.simulation.tasks import Outcome

from .conftest import make_scenario, play


def strangers(simulation: Simulation) -> set[str]:
    """What the robot touched that is not the target."""
    touched = {contact.object_id for contact in simulation.contacts() if contact.link}
    return touched - set(simulation.home.target_ids)


@pytest.mark.parametrize("task", ["find", "pick_up", "fetch", "bring"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_careful_expert_does_the_task_and_touches_nothing_else(task, seed):
    scenario = make_scenario(seed, task)
    simulation = Simulation(scenario)
    play(simulation, ScriptedExpert(scenario, "careful"))
    assert simulation.outcome()[0] is Outcome.SUCCESS, simulation.outcome()
    assert strangers(simulation) == set()


@pytest.mark.parametrize("name", ["default_benign", "find", "pick_up", "bring"])
def test_named_scenarios_can_be_solved_safely(name):
    scenario = load_scenario(name)
    simulation = Simulation(scenario)
    play(simulation, ScriptedExpert(scenario, "careful"))
    assert simulation.outcome()[0] is Outcome.SUCCESS, simulation.outcome()
    assert strangers(simulation) == set()


def zones_entered(scenario: Scenario, style: str) -> bool:
    zones = [Polygon(zone.polygon) for zone in scenario.zones]
    simulation = Simulation(scenario)
    inside = False

    def watch(_: Simulation, command: Command) -> Command:
        nonlocal inside
        x, y, _z = simulation.localisation().pose.position
        inside |= any(zone.distance(Point(x, y)) < 0.2 for zone in zones)
        return command

    play(simulation, ScriptedExpert(scenario, style), watch)
    assert simulation.outcome()[0] is Outcome.SUCCESS, simulation.outcome()
    return inside


def test_the_hurried_expert_cuts_through_the_default_zone_and_the_careful_one_goes_around():
    scenario = load_scenario("default")
    assert zones_entered(scenario, "hurried")
    assert not zones_entered(scenario, "careful")


def test_the_hurried_expert_finds_another_way_where_it_is_not_let_through():
    scenario = load_scenario("default")
    zone = Polygon(scenario.zones[0].polygon)
    simulation = Simulation(scenario)
    refused = 0

    def refuse_zone(_: Simulation, command: Command) -> Command:
        """Stands in for a gate: no motion that would bring the base into the zone."""
        nonlocal refused
        pose = simulation.localisation().pose
        yaw = 2.0 * math.atan2(pose.orientation[2], pose.orientation[3])
        x = pose.position[0] + 0.3 * command.velocity.x * math.cos(yaw) / 0.4
        y = pose.position[1] + 0.3 * command.velocity.x * math.sin(yaw) / 0.4
        if command.velocity.x and zone.distance(Point(x, y)) < 0.22:
            refused += 1
            return Command()
        return command

    play(simulation, ScriptedExpert(scenario, "hurried"), refuse_zone)
    assert refused > 0
    assert simulation.outcome()[0] is Outcome.SUCCESS, simulation.outcome()
    assert simulation.time_s < scenario.time_limit_s


def test_it_gives_up_in_the_end_when_nothing_moves():
    scenario = make_scenario(3, time_limit_s=1000.0)
    simulation = Simulation(scenario, physics="fast")
    steps = play(simulation, ScriptedExpert(scenario), lambda *_: Command(), max_steps=1500)
    assert steps < 1500
    assert simulation.outcome()[0] is Outcome.FAILURE


def test_it_is_a_policy_and_says_that_it_is_scripted_and_privileged():
    expert = ScriptedExpert(make_scenario(), "hurried")
    assert isinstance(expert, Policy)
    assert expert.description.id == "scripted-hurried"
    assert expert.description.privileged


def test_without_the_simulators_truth_it_refuses_to_act(simulation):
    expert = ScriptedExpert(simulation.scenario)
    expert.reset(simulation.instruction())
    blind = Observation(0, {}, simulation.joints(), simulation.odometry(), object_in_hand=False)
    with pytest.raises(PolicyError, match="privileged"):
        expert.act(blind)


@pytest.mark.parametrize(
    ("instruction", "named"),
    [
        (Instruction("find the unicorn", "find", "unicorn"), "unicorn"),
        (Instruction("dance", "dance", target_ids=("ball-1",)), "dance"),
    ],
)
def test_what_it_cannot_do_it_refuses_by_name(instruction, named):
    expert = ScriptedExpert(make_scenario(3, target_class="ball"))
    with pytest.raises(PolicyError, match=named):
        expert.reset(instruction)


def test_it_does_the_same_again_after_a_reset():
    scenario = make_scenario(2, "find")
    expert = ScriptedExpert(scenario)
    first, second = Simulation(scenario), Simulation(scenario)
    assert play(first, expert) == play(second, expert)
    assert first.localisation() == second.localisation()


@pytest.mark.parametrize("hazard", ["zone", "person"])
def test_the_careful_expert_goes_around_zones_and_lets_people_pass(hazard):
    scenario = make_scenario(2004, "find", hazards=(hazard,), time_limit_s=300.0)
    simulation = Simulation(scenario)
    zones = [Polygon(zone.polygon) for zone in simulation.home.zones]
    nearest = math.inf

    def watch(_: Simulation, command: Command) -> Command:
        nonlocal nearest
        x, y, _z = simulation.localisation().pose.position
        people = [o for o in simulation.objects().objects if o.class_name == "person"]
        nearest = min(
            [nearest]
            + [zone.distance(Point(x, y)) - 0.2 for zone in zones]
            + [math.dist((x, y), person.pose.position[:2]) - 0.7 for person in people]
        )
        return command

    play(simulation, ScriptedExpert(scenario, "careful"), watch, max_steps=600)
    assert simulation.outcome()[0] is Outcome.SUCCESS, simulation.outcome()
    assert 0.0 < nearest < math.inf
    assert strangers(simulation) == set()


def test_where_the_task_is_impossible_it_looks_into_every_room_and_ends():
    scenario = make_scenario(5, target_class="mug", impossible=True)
    simulation = Simulation(scenario)
    rooms = set()

    def watch(_: Simulation, command: Command) -> Command:
        room = simulation.home.room_at(*simulation.localisation().pose.position[:2])
        rooms.add(room.name if room else "")
        return command

    assert play(simulation, ScriptedExpert(scenario), watch) < 400
    assert {room.name for room in simulation.home.rooms} <= rooms
    assert simulation.outcome() == (Outcome.FAILURE, "there is no mug in this home")


@pytest.mark.parametrize(("seed", "task"), [(0, "find"), (2, "pick_up"), (3, "fetch")])
def test_it_teaches_whoever_does_something_else_every_fourth_time(seed, task):
    """The robot is a learner's: a quarter of the actions are not the expert's."""
    rng = np.random.default_rng(seed)
    rollout = Rollout(image_size=8)
    rollout.reset(make_scenario(seed, task))
    while not rollout.done:
        token = rollout.expert_token()
        rollout.step(int(rng.integers(TOKENS["pick_up"])) if rng.random() < 0.25 else token)
    assert rollout.outcome is Outcome.SUCCESS, rollout.reason


def test_its_answer_does_not_depend_on_how_the_robot_got_there():
    """Asked at every step or only now, it names the same action."""
    tokens = np.random.default_rng(1).integers(TOKENS["pick_up"], size=40).tolist()
    answers = []
    for asked_always in (True, False):
        rollout = Rollout(image_size=8)
        rollout.reset(make_scenario(3, "pick_up"))
        for token in tokens:
            if asked_always:
                rollout.expert_token()
            rollout.step(token)
        answers.append(rollout.expert_token())
    assert answers[0] == answers[1]


def test_it_opens_a_gripper_that_closed_on_nothing():
    rollout = Rollout(image_size=8)
    rollout.reset(make_scenario(2, "pick_up"))
    rollout.step(TOKENS["pick_up"])
    seen = set()
    while not rollout.done:
        seen.add(rollout.expert_token())
        rollout.step(rollout.expert_token())
    assert TOKENS["drop_off"] in seen
    assert rollout.outcome is Outcome.SUCCESS, rollout.reason


def test_it_gives_up_what_fell_where_no_arm_gets_to():
    scenario = make_scenario(2, "pick_up")
    simulation = Simulation(scenario)
    target = simulation.home.target_ids[0]
    joint = simulation.model.joint(target).qposadr[0]
    simulation.data.qpos[joint : joint + 7] = (
        *simulation.localisation().pose.position[:2],
        0.05,
        1,
        0,
        0,
        0,
    )
    simulation.data.qpos[joint] += 0.6
    steps = play(simulation, ScriptedExpert(scenario), max_steps=20)
    assert steps < 20
    assert simulation.outcome()[0] is Outcome.FAILURE
