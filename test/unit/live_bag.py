"""A bag of what a monitor hears and says, made by what the monitor does: contacts between two
odometry messages are united, each odometry is a sample, steps close where candidates are judged.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from safevla_ros.robot import messages
from safevla_ros.robot.geometry import planar
from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.messages import LaserScan
from safevla_ros.robot.profile import load_profile, urdf_path
from safevla_ros.robot.state import (
    NANOSECONDS,
    BaseVelocity,
    Contact,
    Joint,
    Localisation,
    Odometry,
    Pose,
    SceneObject,
    SceneObjects,
)
from safevla_ros.safety.accounting import CostAccountant, StepCosts
from safevla_ros.safety.world import Signals, Task, WorldAssembler

STEPS, SAMPLES, PERIOD_NS = 10, 10, 20_000_000
TASK = Task(("mug_1",), "mug", "fetch")
RELEASE_AT = 60
"""The gripper is told to open before this sample, and the mug settles after it: no drop."""
BRIEF_AT = 33
"""A contact that is over before the next odometry."""
ZONE = {"name": "stairs", "polygon": [[0.2, -0.5], [1.6, -0.5], [1.6, 0.9], [0.2, 0.9]]}
TOPICS = {
    "episode": "/episode",
    "clock": "/clock",
    "cost_vector": "/cost_vector",
    "sources.policy": "/candidate_command",
} | {
    f"signals.{name}": f"/{topic}"
    for name, topic in {
        "joint_states": "joint_states",
        "odometry": "odom",
        "localisation": "pose",
        "scan": "scan",
        "objects": "scene_objects",
        "contacts": "contacts",
    }.items()
}
"""Roles of the topics, as a bag's provenance has them."""
TYPES = {
    "joint_states": ("joint_states", "sensor_msgs/msg/JointState"),
    "odometry": ("odom", "nav_msgs/msg/Odometry"),
    "localisation": ("pose", "geometry_msgs/msg/PoseWithCovarianceStamped"),
    "scan": ("scan", "sensor_msgs/msg/LaserScan"),
    "objects": ("scene_objects", "SceneObjects"),
    "contacts": ("contacts", "Contacts"),
}


def readings(index: int) -> list[tuple[str, int, Any]]:
    """Signals at a sample with their delays [ns]: it wanders into a zone, touches a vase, lets go."""
    t = 0.02 * index
    x, y, yaw = 0.3 * t, 0.1 * math.sin(t), 0.3 * math.sin(0.7 * t)
    held = index < RELEASE_AT + 2
    mug = SceneObject(
        "mug_1", "mug", Pose((0.6, 0.0, 0.9 if held else 0.85)), (0.1,) * 3, held=held
    )
    joints = {
        name: Joint(value, math.nan, math.nan)
        for name, value in {"lift": 0.5, "arm": 0.1 * t, "wrist_yaw": t, "gripper": 0.0}.items()
    }
    floor = Contact("base_link", "floor", force_n=5.0)
    vase = Contact("arm", "vase_2", force_n=3.0)
    found: list[tuple[str, int, Any]] = [("joint_states", 0, joints)]
    if index == BRIEF_AT:
        found.append(("contacts", -9_000_000, (floor, vase)))
    if index % 5 == 0:
        ranges = np.linspace(0.02, 13.0, 30)
        found.append(("scan", 0, LaserScan("lidar", -3.0, 0.2, 0.05, 12.0, ranges)))
        found.append(("objects", 0, SceneObjects("map", (mug,), complete=True)))
    found += [
        ("contacts", 0, (floor,)),
        ("localisation", 0, Localisation("map", planar(x, y, yaw))),
        ("odometry", 0, Odometry("odom", planar(x + 2.0, y, yaw), BaseVelocity(0.3))),
    ]
    return found


def fill(bag: Any, name: str, value: Any) -> Any:
    message = bag.new(TYPES[name][1])
    match name:
        case "joint_states":
            messages.fill_joint_states(message, value)
        case "odometry":
            messages.fill_odometry(message, value)
        case "localisation":
            messages.fill_localisation(message, value)
        case "scan":
            messages.fill_scan(message, value)
            message.ranges = np.frombuffer(message.ranges, np.float32)
        case "objects":
            messages.fill_scene_objects(message, value, lambda: bag.new("SceneObject"))
        case "contacts":
            messages.fill_contacts(message, value, lambda: bag.new("Contact"))
    return message


class Live:
    """What the monitor does, and a bag of what it read and said."""

    def __init__(self, bag: Any, specification: Any, leave_out: tuple[str, int] = ("", -1)) -> None:
        self.bag = bag
        self.steps: list[StepCosts] = []
        profile = load_profile("sim")
        kinematics = Kinematics(urdf_path(profile))
        signals, assembler = Signals(), WorldAssembler(profile, kinematics)
        accountant = CostAccountant(specification)
        accountant.reset("e-1", TASK)
        contacts: dict[tuple[str, str, str], Contact] = {}
        release = False
        bag.put(
            0.9,
            "/cost_specification",
            bag.new("CostSpecification", yaml=specification.text, hash=specification.hash),
        )
        task = {"task": TASK.task, "target_ids": ["mug_1"], "target_class": "mug"}
        bag.put(0.92, "/safety_status", bag.new("SafetyStatus", mode=1))
        bag.episode(0.95, "RUNNING", **task)
        for index in range(STEPS * SAMPLES):
            at_ns = NANOSECONDS + index * PERIOD_NS
            clock = bag.new("rosgraph_msgs/msg/Clock")
            messages.set_stamp(clock.clock, at_ns)
            bag.put(at_ns / 1e9 - 0.012, "/clock", clock)
            release = release or index == RELEASE_AT
            if index % SAMPLES == 0:
                self.propose(at_ns, index // SAMPLES, release=index == RELEASE_AT)
            for order, (name, delay_ns, value) in enumerate(readings(index)):
                message = fill(bag, name, value)
                stamp_ns = at_ns + delay_ns
                messages.set_stamp(message.header.stamp, stamp_ns)
                reading = messages.read_signal(name, message)
                if name == "contacts":
                    contacts |= {(c.link, c.object_id, c.other_id): c for c in reading}
                    reading = tuple(contacts.values())
                signals.update(name, stamp_ns, reading)
                if (name, index) != leave_out:
                    received_s = (stamp_ns + order * 1000) / 1e9
                    self.put(received_s, stamp_ns, f"/{TYPES[name][0]}", message)
            contacts.clear()
            accountant.sample(assembler.assemble(signals, at_ns, TASK, release))
            if (index + 1) % SAMPLES == 0:
                self.close(accountant, index // SAMPLES, specification.hash)
        bag.episode(at_ns / 1e9 + 0.01, "ENDED", **task)

    def propose(self, at_ns: int, step: int, *, release: bool) -> None:
        """A candidate that opens a step, just before its first sample, and that it was passed."""
        names, positions = (["gripper"], [0.08]) if release else ([], [])
        candidate = self.bag.new(
            "CandidateCommand",
            source="policy",
            episode_id="e-1",
            step=step,
            chunk_id=step,
            duration_s=SAMPLES * PERIOD_NS / NANOSECONDS,
            joint_names=names,
            joint_positions=np.array(positions),
        )
        time_s = (at_ns - PERIOD_NS // 2) / 1e9
        self.bag.put(time_s, "/candidate_command", candidate, stamp_ns=at_ns)
        applied = {"applied_joint_names": names, "applied_joint_positions": positions}
        self.bag.gated(time_s + 1e-4, step, "PASS", "accepted", **applied)

    def put(self, received_s: float, stamp_ns: int, topic: str, message: Any) -> None:
        self.bag.put(received_s, topic, message, stamp_ns=stamp_ns)

    def close(self, accountant: CostAccountant, step: int, hash_: str) -> None:
        costs = accountant.close_step(step)
        self.steps.append(costs)
        stamps = []
        for source in costs.sources:
            stamp = self.bag.new("builtin_interfaces/msg/Time")
            messages.set_stamp(stamp, source.stamp_ns)
            stamps.append(stamp)
        terms = [
            self.bag.new(
                "TermCost",
                name=term.name,
                cost=term.cost,
                margin=term.margin,
                cumulative=term.cumulative,
            )
            for term in costs.terms
        ]
        vector = self.bag.new(
            "CostVector",
            episode_id="e-1",
            step=step,
            specification_hash=hash_,
            terms=terms,
            source_samples=np.array([source.sample for source in costs.sources], np.uint16),
            source_signals=[source.signal for source in costs.sources],
            source_stamps=stamps,
        )
        self.bag.put(costs.stamp_ns / 1e9 + 0.005, "/cost_vector", vector, stamp_ns=costs.stamp_ns)
