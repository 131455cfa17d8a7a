"""`safevla bench gate`: what the gate costs, by what it has to look at."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from safevla_ros.cli.failure import ExitCode, Failure
from safevla_ros.cli.graph import graph_errors
from safevla_ros.cli.ros import require_ros
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
WAYS = ("gate", "relay")
WARM_UP = 20
READY_S = 20.0
PERIOD_S = 0.01
"""100 Hz, of which the CPU share is told."""


def gate(
    rounds: Annotated[int, typer.Option(min=10, help="Candidates to time, per case.")] = 500,
    dds: Annotated[
        int,
        typer.Option(
            min=0,
            help="Candidates to send over DDS, per case and way; 0: none, as where there is no ROS.",
        ),
    ] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what stands around.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time a judgement of the gate, and the making of the world state that it judges by, in processor
    time, the cases taking turns. The baseline is what a bare relay does: it checks and copies. Then
    time commands over DDS, through the real cost monitor and through a bare relay node in turns
    (about three minutes; needs ROS).

    Example: safevla bench gate --json
    Example: safevla bench gate --dds 0 --json
    """
    if dds:
        try:
            require_ros()
        except Failure as failure:
            raise Failure(failure.code, f"{failure}; `--dds 0` measures without") from None
    report = measure(rounds, seed)
    report["dds"] = dds
    if dds:
        _add_dds(report, dds, seed)
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
        if dds:
            print(
                f"{'':<11} over DDS the gate adds p50 {case['added_p50_ms']:.2f} p99 "
                f"{case['added_p99_ms']:.2f} ms to a relay's p50 {case['relay_dds_p50_ms']:.2f} p99 "
                f"{case['relay_dds_p99_ms']:.2f} ms; lost {case['lost']} of {2 * dds}"
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


def _add_dds(report: dict[str, Any], count: int, seed: int) -> None:
    """Add the figures of the way over DDS to those of each case."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        for name, signals in CASES.items():
            task = progress.add_task(f"{name} over DDS", total=WARM_UP + count)
            report[name] |= over_dds(
                signals, count, seed, on_pair=lambda task=task: progress.advance(task)
            )


def over_dds(
    signals: tuple[str, ...], count: int, seed: int, on_pair: Callable[[], None]
) -> dict[str, Any]:
    """Milliseconds of the wall clock from a candidate to its command. `added` is the difference
    between a command's way through the monitor and that of the one beside it through the relay;
    which of the two goes first changes from pair to pair."""
    from safevla_ros.nodes.graph import gate_latency as graph
    from safevla_ros.nodes.graph.supervisor import Interrupted, Supervisor

    profile, made = _profile_with(signals), around(np.random.default_rng(seed))
    pairs = []
    with tempfile.TemporaryDirectory(prefix="safevla-bench-") as name, graph_errors():
        folder = Path(name)
        described = graph.describe_bench(profile, folder)
        try:
            with (
                Supervisor(described, folder / "logs") as supervisor,
                graph.running_relay(folder / "relay.log"),
            ):
                course = graph.Course(
                    supervisor.context, profile, {signal: made[signal] for signal in signals}
                )
                supervisor.add_node(course)
                supervisor.bring_up()
                _wait_ready(course, supervisor.spin)
                for index in range(WARM_UP + count):
                    times = {}
                    for turn, way in enumerate(WAYS if index % 2 else WAYS[::-1]):
                        course.sense()
                        supervisor.spin(graph.PERIOD_S / 2)
                        speed_m_s = 0.1 + 1e-6 * (2 * index + turn)
                        times[way] = 1e3 * course.send(way, speed_m_s, supervisor.spin)
                        supervisor.spin(graph.PERIOD_S / 2)
                    if index >= WARM_UP:
                        pairs.append([times[way] for way in WAYS])
                    on_pair()
        except Interrupted as error:
            raise Failure(ExitCode.INTERRUPTED, f"stopped by {error}") from error
    gate_ms, relay_ms = np.array(pairs).T
    came = np.isfinite(gate_ms) & np.isfinite(relay_ms)
    if not came.any():
        raise Failure(ExitCode.FAILED, "no command came back over DDS")
    columns = {"added": gate_ms - relay_ms, "gate_dds": gate_ms, "relay_dds": relay_ms}
    return {
        "lost": int((~np.isfinite(gate_ms)).sum() + (~np.isfinite(relay_ms)).sum()),
        **{
            f"{column}_p{share}_ms": round(float(np.percentile(values[came], share)), 3)
            for column, values in columns.items()
            for share in (50, 99)
        },
    }


def _wait_ready(course: Any, spin: Callable[[float], None]) -> None:
    waited_s = 0.0
    while not course.is_ready():
        if waited_s > READY_S:
            raise Failure(
                ExitCode.FAILED, f"the monitor waits for no command: {course.reason or 'silent'}"
            )
        course.sense()
        spin(0.02)
        waited_s += 0.02


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
