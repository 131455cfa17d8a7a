"""`safevla bench monitor`: what a monitor that sees only what a robot sees makes of the truth."""

from __future__ import annotations

import json
from collections import Counter, deque
from dataclasses import replace
from enum import Enum
from typing import Annotated, Any

import numpy as np
import typer

from safevla_ros.robot.action_codec import EndOfEpisode, decode, opens_gripper
from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.messages import LaserScan
from safevla_ros.robot.profile import Profile, load_profile, urdf_path
from safevla_ros.robot.state import (
    NANOSECONDS,
    BaseVelocity,
    Contact,
    Localisation,
    Odometry,
    Pose,
    SceneObjects,
)
from safevla_ros.safety import (
    CostAccountant,
    Signals,
    Specification,
    Status,
    StepCosts,
    Task,
    WorldAssembler,
    load_specification,
)
from safevla_ros.safety.effort_contacts import contacts_from_efforts
from safevla_ros.safety.impact_contacts import WITHIN_S, contacts_from_impacts
from safevla_ros.safety.terms.blind_spot import in_view
from safevla_ros.safety.world import WorldState

POSITION_NOISE_M = 0.01
DROPOUT = 0.05
LEAST_FORCE_N = 5.0
FEELS_S = 0.02
"""Joint states and odometry come at 50 Hz."""
SPEED_NOISE = 0.01
"""Of odometry [m/s, rad/s]."""
RANGE_M = 4.0
MOST_STEPS = 200


class Feeling(str, Enum):
    """What a robot feels contacts by."""

    EFFORTS = "efforts"
    IMPACTS = "impacts"
    SKIN = "skin"


def monitor(
    episodes: Annotated[int, typer.Option(min=1, help="Episodes of the hurried expert.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of homes and noise.")] = 0,
    specification: Annotated[
        str, typer.Option("--spec", "--specification", help="Name or path.")
    ] = "household",
    contacts: Annotated[
        Feeling,
        typer.Option(
            help="What the robot feels contacts by: joint efforts, these and impacts of its base, or "
            "a skin all over it."
        ),
    ] = Feeling.EFFORTS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Charge episodes twice: by the simulator's truth, and by what a robot would know: objects only
    while a camera sees them, with noise and dropouts, contacts by joint efforts and without what was
    touched or how hard, pose and scan with noise. Per term, the steps in which both agree.

    Example: safevla bench monitor --episodes 40 --json
    """
    report = measure(episodes, seed, load_specification(specification), contacts)
    if as_json:
        print(json.dumps(report, indent=2))
        return
    print(f"{report['steps']} steps of {episodes} episodes")
    for name, term in report["terms"].items():
        print(
            f"{name:<24} true {term['true']:>4}  found {term['found']:>4}  precision "
            f"{_shown(term['precision'])}  recall {_shown(term['recall'])}  not judged "
            f"{100 * term['not_judged']:.0f} %"
        )


def _shown(share: float | None) -> str:
    return "   -" if share is None else f"{share:.2f}"


def measure(
    episodes: int, seed: int, specification: Specification, contacts: Feeling = Feeling.EFFORTS
) -> dict[str, Any]:
    """The report, by term."""
    from safevla_ros.simulation.rollout import Rollout
    from safevla_ros.simulation.scenario import Scenario
    from safevla_ros.simulation.seeds import evaluation_seed

    profile = load_profile("sim")
    rng = np.random.default_rng(seed)
    # In full physics: efforts of joints that move freely must be told from touches, too.
    rollout = Rollout(physics="full", image_size=16, profile=profile)
    counts: dict[str, Counter[str]] = {name: Counter() for name in specification.terms}
    steps = 0
    for index in range(episodes):
        scenario = Scenario(
            name=f"monitor_{index}",
            seed=evaluation_seed(seed, index),
            task=("fetch", "pick_up", "bring")[index % 3],
            hazard_rate=1.0,
        )
        for truth, seen in _episode(rollout, scenario, specification, profile, rng, contacts):
            steps += 1
            for true, found in zip(truth.terms, seen.terms, strict=True):
                count = counts[true.name]
                count["true"] += true.cost > 0.0
                count["found"] += found.cost > 0.0
                count["both"] += true.cost > 0.0 and found.cost > 0.0
                count["not_judged"] += found.status is not Status.OK
    return {
        "episodes": episodes,
        "seed": seed,
        "steps": steps,
        "specification": specification.name,
        "contacts": contacts.value,
        "terms": {
            name: {
                "true": count["true"],
                "found": count["found"],
                "precision": _share(count["both"], count["found"]),
                "recall": _share(count["both"], count["true"]),
                "not_judged": round(count["not_judged"] / max(steps, 1), 4),
            }
            for name, count in counts.items()
        },
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


class _Side:
    """One way to know the world, with its own sums."""

    def __init__(self, profile: Profile, specification: Specification, task: Task) -> None:
        self._assembler = WorldAssembler(profile, Kinematics(urdf_path(profile)))
        self._signals, self._task = Signals(), task
        self._accountant = CostAccountant(specification)
        self._accountant.reset("episode", task)

    def charge(
        self, readings: dict[str, Any], stamp_ns: int, step: int, released: bool
    ) -> tuple[StepCosts, WorldState]:
        """A step with one sample: its costs, and the world as it is known."""
        for name, reading in readings.items():
            self._signals.update(name, stamp_ns, reading)
        world = self._assembler.assemble(self._signals, stamp_ns, self._task, released)
        self._accountant.sample(world)
        return self._accountant.close_step(step), world


def _episode(
    rollout: Any,
    scenario: Any,
    specification: Specification,
    profile: Profile,
    rng: np.random.Generator,
    contacts: Feeling,
) -> list[tuple[StepCosts, StepCosts]]:
    """Costs of each step, by truth and as the robot sees them."""
    instruction, observation = rollout.reset(scenario, "hurried")
    task = Task(instruction.target_ids, instruction.target_class, instruction.task)
    simulation = rollout.simulation
    zones = simulation.home.zones
    specification = specification.with_zones(zones) if zones else specification
    truth, robot = (_Side(profile, specification, task) for _ in range(2))
    released, steps = False, []
    body = _Body(simulation, profile, rng if contacts is Feeling.IMPACTS else None)
    simulation.on_physics_step = body.feel
    while not rollout.done and rollout.steps < MOST_STEPS:
        token = rollout.expert_token()
        command = decode(token, observation.joints, profile)
        if not isinstance(command, EndOfEpisode):
            opens = opens_gripper(command, profile)
            released = released if opens is None else opens
        observation = rollout.step(token)
        stamp_ns = NANOSECONDS + round(simulation.time_s * NANOSECONDS)
        readings = {
            "joint_states": simulation.joints(),
            "contacts": simulation.contacts(),
            "objects": simulation.objects(),
            "localisation": simulation.localisation(),
            "scan": simulation.scan(),
            "odometry": simulation.odometry(),
        }
        true, world = truth.charge(readings, stamp_ns, rollout.steps, released)
        felt = _by_skin(readings["contacts"]) if contacts is Feeling.SKIN else body.take()
        seen_readings = as_seen(readings, felt, world, rng)
        seen, _ = robot.charge(seen_readings, stamp_ns, rollout.steps, released)
        steps.append((true, seen))
    return steps


class _Body:
    """Contacts that were felt since the last time: by joint efforts, and with `rng`, which makes the
    noise of odometry, by impacts of the base."""

    def __init__(self, simulation: Any, profile: Profile, rng: np.random.Generator | None) -> None:
        self._simulation, self._profile, self._rng = simulation, profile, rng
        self._odometry: deque[tuple[int, Odometry]] = deque(maxlen=round(WITHIN_S / FEELS_S) + 1)
        self._felt: dict[str, Contact] = {}
        self._due_s = 0.0

    def feel(self) -> None:
        """Time passed."""
        simulation, limits = self._simulation, self._profile.limits
        if simulation.time_s < self._due_s:
            return
        self._due_s = simulation.time_s + FEELS_S
        felt = contacts_from_efforts(simulation.joints(), limits.joints)
        if self._rng is not None:
            odometry: Odometry = simulation.odometry()
            velocity = odometry.velocity
            x, yaw = self._rng.normal(0.0, SPEED_NOISE, 2).tolist()
            noisy = BaseVelocity(velocity.x + x, velocity.y, velocity.yaw + yaw)
            stamp_ns = round(simulation.time_s * NANOSECONDS)
            self._odometry.append((stamp_ns, replace(odometry, velocity=noisy)))
            felt += contacts_from_impacts(
                tuple(self._odometry), limits.base, self._profile.frames.base
            )
        self._felt |= {contact.link: contact for contact in felt}

    def take(self) -> tuple[Contact, ...]:
        """All of them."""
        felt, self._felt = tuple(self._felt.values()), {}
        return felt


def _by_skin(contacts: tuple[Contact, ...]) -> tuple[Contact, ...]:
    """What a sensor of touch on each link would tell of these: neither what nor how hard."""
    return tuple(
        Contact(contact.link, "floor" if contact.object_id == "floor" else "")
        for contact in contacts
        if contact.link and contact.force_n >= LEAST_FORCE_N
    )


def as_seen(
    readings: dict[str, Any],
    felt: tuple[Contact, ...],
    world: WorldState,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """The readings as a robot would have them, that felt these contacts."""
    scene: SceneObjects = readings["objects"]
    visible = in_view(world.scene, world.cameras or (), RANGE_M)
    objects = tuple(
        entry
        if entry.fixed
        else replace(entry, pose=_noisy(entry.pose, rng), velocity=(0.0, 0.0, 0.0))
        for entry, is_visible in zip(scene.objects, visible.tolist(), strict=True)
        if entry.fixed or entry.held or (is_visible and rng.uniform() >= DROPOUT)
    )
    scan: LaserScan = readings["scan"]
    pose: Localisation = readings["localisation"]
    return {
        **readings,
        "objects": SceneObjects(scene.frame, objects, complete=False),
        "contacts": felt,
        "scan": replace(
            scan, ranges=scan.ranges + rng.normal(0.0, POSITION_NOISE_M, scan.ranges.size)
        ),
        "localisation": Localisation(pose.frame, _noisy(pose.pose, rng, is_flat=True)),
    }


def _noisy(pose: Pose, rng: np.random.Generator, *, is_flat: bool = False) -> Pose:
    x, y, z = rng.normal(0.0, POSITION_NOISE_M, 3)
    px, py, pz = pose.position
    return Pose((px + float(x), py + float(y), pz if is_flat else pz + float(z)), pose.orientation)
