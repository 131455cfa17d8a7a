"""`safevla bench gate`: what the gate costs, by what it has to look at."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import numpy as np
import typer

from safevla_ros.robot.geometry import planar
from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.messages import LaserScan, PointCloud
from safevla_ros.robot.profile import Profile, Signal, load_profile, urdf_path
from safevla_ros.robot.state import (
    NANOSECONDS,
    BaseVelocity,
    Command,
    Joint,
    Localisation,
    Odometry,
    SceneObject,
    SceneObjects,
)
from safevla_ros.safety import Gate, Proposal, Signals, WorldAssembler, load_specification
from safevla_ros.safety.world import WorldState

CASES = {
    "state_only": (),
    "scan_360": ("scan",),
    "cloud_24k": ("scan", "points"),
    "objects_64": ("scan", "objects"),
}
"""What the gate has to look at, beside joints, odometry and pose."""
CLOUD_POINTS, OBJECTS, RAYS = 24_000, 64, 360
WARM_UP = 20
PERIOD_S = 0.01
"""100 Hz, of which the CPU share is told."""


def gate(
    rounds: Annotated[int, typer.Option(min=10, help="Candidates to time, per case.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what stands around.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time a judgement of the gate, and the making of the world state that it judges by, in processor
    time, the cases taking turns. The baseline is what a bare relay does: it checks and copies.

    Example: safevla bench gate --json
    """
    report = measure(rounds, seed)
    if as_json:
        print(json.dumps(report, indent=2))
        return
    for name in CASES:
        case = report[name]
        print(
            f"{name:<11} judgement p50 {case['compute_p50_ms']:.3f} p99 {case['compute_p99_ms']:.3f} "
            f"ms, over a relay {case['compute_over_relay_p99_ms']:.3f} ms; world state p99 "
            f"{case['world_p99_ms']:.3f} ms; {100 * case['cpu_share_at_100_hz']:.0f} % of a core at 100 Hz"
        )


def measure(rounds: int, seed: int) -> dict[str, Any]:
    """The report, by case, in milliseconds of processor time."""
    cases = {name: _Case(signals, seed) for name, signals in CASES.items()}
    times: dict[str, dict[str, list[float]]] = {
        name: {"relay": [], "world": [], "judge": []} for name in cases
    }
    for index in range(WARM_UP + rounds):
        for name, case in cases.items():
            spent = case.round(index)
            if index >= WARM_UP:
                for part, value in spent.items():
                    times[name][part].append(1e3 * value)
    return {
        "clock": "processor",
        "unit": "ms",
        "rounds": rounds,
        "seed": seed,
        **{name: _told(parts) for name, parts in times.items()},
    }


def _told(parts: dict[str, list[float]]) -> dict[str, float]:
    judge, relay, world = (np.array(parts[name]) for name in ("judge", "relay", "world"))
    return {
        "compute_p50_ms": round(float(np.percentile(judge, 50)), 4),
        "compute_p99_ms": round(float(np.percentile(judge, 99)), 4),
        "compute_over_relay_p99_ms": round(float(np.percentile(judge - relay, 99)), 4),
        "relay_p99_ms": round(float(np.percentile(relay, 99)), 4),
        "world_p50_ms": round(float(np.percentile(world, 50)), 4),
        "world_p99_ms": round(float(np.percentile(world, 99)), 4),
        "cpu_share_at_100_hz": round(float((judge + world).mean()) / (1e3 * PERIOD_S), 4),
    }


class _Case:
    """A robot that drives past things, with the gate before it."""

    def __init__(self, signals: tuple[str, ...], seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._profile = _profile_with(signals)
        kinematics = Kinematics(urdf_path(self._profile))
        self._gate = Gate(self._profile, load_specification("household"), "enforce", kinematics)
        self._assembler = WorldAssembler(self._profile, kinematics)
        self._signals = Signals()
        self._kinds = signals
        self._around = around(self._rng)
        self._world: WorldState | None = None

    def round(self, index: int) -> dict[str, float]:
        """One odometry, one candidate. Seconds that each part took."""
        stamp_ns = NANOSECONDS + round(index * PERIOD_S * NANOSECONDS)
        for name, reading in self._readings(index):
            self._signals.update(name, stamp_ns, reading)
        command = Command(BaseVelocity(x=0.2, yaw=0.1), {"lift": 0.62, "arm": 0.02}, 0.5)
        proposal = Proposal("policy", stamp_ns, command)
        return {
            "relay": _timed(lambda: _relay(proposal)),
            "world": _timed(lambda: self._assemble(stamp_ns)),
            "judge": _timed(
                lambda: self._gate.propose(proposal, self._world, stamp_ns, index * PERIOD_S)
            ),
        }

    def _assemble(self, stamp_ns: int) -> None:
        self._world = self._assembler.assemble(self._signals, stamp_ns)

    def _readings(self, index: int) -> Iterable[tuple[str, Any]]:
        jitter = self._rng.normal(0.0, 1e-4)
        pose = planar(0.001 * index, 0.0, jitter)
        yield "localisation", Localisation("map", pose)
        yield "odometry", Odometry("odom", pose, BaseVelocity(x=0.1))
        joints = {"lift": 0.6 + jitter, "arm": 0.0, "wrist_yaw": 2.8, "gripper": 0.08}
        yield "joint_states", {name: Joint(at, 0.0) for name, at in joints.items()}
        if index % 10 == 0:  # sensors at 10 Hz
            for name in self._kinds:
                yield name, self._around[name]()


def _timed(part: Callable[[], object]) -> float:
    begun = time.thread_time()
    part()
    return time.thread_time() - begun


def _relay(proposal: Proposal) -> Command:
    """What somebody must do who passes a command on: see that it is one, and copy it."""
    command = proposal.command
    numbers = (command.velocity.x, command.velocity.y, command.velocity.yaw)
    if not all(map(np.isfinite, numbers)):
        raise ValueError("expected finite numbers")
    return Command(BaseVelocity(*numbers), dict(command.joints), command.duration_s)


def _profile_with(signals: tuple[str, ...]) -> Profile:
    """The simulated robot with these signals beside joints, odometry and pose."""
    profile = load_profile("sim")
    wanted: dict[str, Signal | None] = dict.fromkeys(("scan", "objects", "contacts"))
    for name in signals:
        kind = "sensor_msgs/msg/PointCloud2"
        wanted[name] = getattr(profile.signals, name) or Signal(
            topic=name, type=kind, max_age_s=0.5
        )
    return profile.model_copy(update={"signals": profile.signals.model_copy(update=wanted)})


def around(rng: np.random.Generator) -> dict[str, Callable[[], Any]]:
    """A room with walls 1.5 to 3 m away and things on the floor and higher up, by signal; each call
    makes another message."""
    ranges = rng.uniform(1.5, 3.0, RAYS)
    points = rng.uniform((-3.0, -3.0, 0.0), (3.0, 3.0, 1.6), (CLOUD_POINTS, 3))
    is_far = np.hypot(points[:, 0], points[:, 1]) > 1.2
    points[~is_far, :2] += 3.0
    places = rng.uniform((0.9, -3.0, 0.0), (4.0, 3.0, 1.2), (OBJECTS, 3))
    objects = tuple(
        SceneObject(
            f"thing_{index}",
            "person" if index == 0 else "thing",
            planar(x + (3.0 if index == 0 else 0.0), y, z=z),
            (0.4, 0.4, 1.8) if index == 0 else (0.1, 0.1, 0.15),
        )
        for index, (x, y, z) in enumerate(places.tolist())
    )

    def scan() -> LaserScan:
        return LaserScan("lidar", -np.pi, 2.0 * np.pi / RAYS, 0.05, 8.0, ranges)

    return {
        "scan": scan,
        "points": lambda: PointCloud("base_link", points),
        "objects": lambda: SceneObjects("map", objects),
    }
