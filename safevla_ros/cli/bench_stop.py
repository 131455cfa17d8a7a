"""`safevla bench stop`: seeded courses on which something steps into the way, and recorded drives."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from safevla_ros.assurance.statistics import percentiles, wilson_interval
from safevla_ros.cli.failure import ExitCode, Failure
from safevla_ros.robot.geometry import moved, planar
from safevla_ros.robot.messages import LaserScan
from safevla_ros.robot.profile import Profile, load_profile
from safevla_ros.robot.state import (
    NANOSECONDS,
    BaseVelocity,
    Command,
    Joint,
    Localisation,
    Odometry,
)
from safevla_ros.safety import (
    Gate,
    Proposal,
    Signals,
    Specification,
    WorldAssembler,
    load_specification,
)

PERIOD_S = 0.02
SCAN_EVERY = 5
"""Supervision periods between scans: 10 Hz."""
RAYS, RANGE_M = 360, 8.0
APPEARS_S, LEAVES_S, ENDS_S = 2.0, 5.0, 8.0
NOISE_M = 0.01
REACTION_S = 0.15
"""From the thing's appearance until the first scan of it is acted on, at 10 Hz."""
STANDING_M_S = 0.01
AIMS = {"time_to_stop_s": 0.2, "held": 0.99, "time_to_resume_s": 0.4, "false_stops": 0.01}
NAV2 = {"time_to_stop_s": 0.6, "held": 0.90, "time_to_resume_s": 0.6, "false_stops": 0.05}


@dataclass(frozen=True, slots=True)
class Course:
    """Something of `radius_m` steps into the way, `gap_m` farther than the footprint gets when it
    brakes at once; or, where the way is free, it stands `aside_m` beside it all along."""

    speed_m_s: float
    gap_m: float
    aside_m: float
    radius_m: float
    is_blocked: bool


def stop(
    runs: Annotated[int, typer.Option(min=10, help="Courses: half of them blocked.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the courses.")] = 0,
    bags: Annotated[
        Path | None,
        typer.Option(
            help="Folder with bags of a robot that nothing held back: judge its drives instead."
        ),
    ] = None,
    robot: Annotated[
        str, typer.Option(help="Robot profile by name or path. Default: what each bag says.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Drive a base towards what steps into its way, and past what only stands beside it, with the
    gate between policy and base and a noisy scan at 10 Hz. Times are simulated: of the scan that
    first shows the thing until the base is told to go slower, and to stand, and of the scan that first shows it gone
    until it is told to move.

    With --bags: what the gate says to recorded drives, held against where the robot went. Bags that
    cannot be judged are passed over and named, and the exit code is then 1.

    Example: safevla bench stop --runs 200 --json
    Example: safevla bench stop --bags runs/20260101-120000/bag
    """
    if bags is not None:
        _tell_recorded(bags, robot, as_json=as_json)
        return
    report = measure(runs, seed)
    if as_json:
        print(json.dumps(report, indent=2))
        return
    low, high = report["false_stops_interval"]
    print(
        f"{report['blocked']} blocked courses: braking after {report['time_to_brake_s']['p50']:.2f} s "
        f"(worst {report['time_to_brake_s']['max']:.2f} s), told to stand after {report['time_to_stop_s']['p50']:.2f} s"
        f" (worst {report['time_to_stop_s']['max']:.2f} s), held {100 * report['held']:.1f} % of the "
        f"time, moving again after {report['time_to_resume_s']['p50']:.2f} s (worst "
        f"{report['time_to_resume_s']['max']:.2f} s), touched {report['touched']} times"
    )
    print(
        f"{report['free']} free courses: {100 * report['false_stops']:.1f} % with a false stop "
        f"(95 %: {100 * low:.1f} to {100 * high:.1f} %)"
    )


def _tell_recorded(bags: Path, robot: str, *, as_json: bool) -> None:
    from safevla_ros.cli.bench_stop_recorded import measure as measure_recorded

    report = measure_recorded(bags, load_specification("household"), robot)
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _print_recorded(report)
    if report["passed_over"]:
        raise Failure(ExitCode.FAILED, "\n".join(report["passed_over"].values()))


def _print_recorded(report: dict[str, Any]) -> None:
    stops, (low, high) = report["stops"], report["false_stops_interval"]
    print(
        f"{report['bags']} bags, {report['driven_m']:.0f} m driven: came nearer than the clearance "
        f"{report['came_too_near']} times, {report['held_back_in_time']} of them held back in time\n"
        f"{sum(stops.values())} stops: {stops['right']} before the robot came too near, "
        f"{stops['false']} false, {stops['unknown']} before it braked or turned; "
        f"{100 * report['false_stops']:.1f} % of the bags with a false one (95 %: "
        f"{100 * low:.1f} to {100 * high:.1f} %)"
    )
    for path, damage in report["damaged"].items():
        print(f"{path}: judged as far as it can be read: {damage}")


def measure(runs: int, seed: int) -> dict[str, Any]:
    """The report over that many courses."""
    rng = np.random.default_rng(seed)
    profile, specification = load_profile("sim"), load_specification("household")
    results = [
        (course, Drive(course, profile, specification, rng).run())
        for course in (draw(rng, is_blocked=index % 2 == 0) for index in range(runs))
    ]
    blocked = [result for course, result in results if course.is_blocked]
    free = [result for course, result in results if not course.is_blocked]
    false_stops = sum(result["stopped"] for result in free)
    return {
        "runs": runs,
        "seed": seed,
        "blocked": len(blocked),
        "free": len(free),
        "time_to_brake_s": _spread([result["to_brake_s"] for result in blocked]),
        "time_to_stop_s": _spread([result["to_stop_s"] for result in blocked]),
        "held": round(float(np.mean([result["held"] for result in blocked])), 4),
        "time_to_resume_s": _spread([result["to_resume_s"] for result in blocked]),
        "touched": sum(result["touched"] for result in blocked),
        "false_stops": round(false_stops / len(free), 4),
        "false_stops_interval": [round(x, 4) for x in wilson_interval(false_stops, len(free))],
        "aims": AIMS,
        "nav2_collision_monitor_accepts": NAV2,
    }


def _spread(values: list[float]) -> dict[str, Any]:
    return {**percentiles(values), "max": round(max(values), 4)}


def draw(rng: np.random.Generator, *, is_blocked: bool) -> Course:
    """A course by chance."""
    return Course(
        speed_m_s=float(rng.uniform(0.2, 0.5)),
        gap_m=float(rng.uniform(0.03, 0.08)),
        aside_m=float(rng.uniform(0.40, 1.0) * rng.choice([-1.0, 1.0])),
        radius_m=float(rng.uniform(0.05, 0.3)),
        is_blocked=is_blocked,
    )


class Drive:
    """One course: a base that reaches commanded speeds at the profile's rates."""

    def __init__(
        self,
        course: Course,
        profile: Profile,
        specification: Specification,
        rng: np.random.Generator,
    ) -> None:
        self._course, self._rng, self._profile = course, rng, profile
        self._gate = Gate(profile, specification, "enforce")
        self._assembler = WorldAssembler(self._profile, _Body())
        self._signals = Signals()
        self._pose, self._velocity = planar(0.0, 0.0), BaseVelocity()
        self._thing: NDArray[np.float64] | None = None
        if not course.is_blocked:
            clear = course.aside_m + math.copysign(course.radius_m, course.aside_m)
            self._thing = np.array([1.2, clear])
        self._shown: tuple[float | None, float | None] = (None, None)

    def run(self) -> dict[str, Any]:
        """What happened."""
        commanded: list[tuple[float, float]] = []
        touched = 0
        for index in range(round(ENDS_S / PERIOD_S)):
            time_s = round(index * PERIOD_S, 6)
            self._set_scene(time_s)
            self._sense(index, time_s)
            command = self._command(index, time_s)
            commanded.append((time_s, command.velocity.x))
            self._obey(command)
            touched += self._gap_m() < 0.0
        return self._told(commanded, touched > 0)

    def _set_scene(self, time_s: float) -> None:
        """Puts the thing where the robot cannot pass before it would have to stop, and away."""
        if not self._course.is_blocked:
            return
        if self._thing is None and APPEARS_S <= time_s < LEAVES_S:
            speed, limits = self._velocity.x, self._profile.limits.base
            braking = speed**2 / (2.0 * limits.linear_m_s2) + speed * REACTION_S
            ahead = self._profile.footprint_radius_m + braking + self._course.gap_m
            x, y, _ = self._pose.position
            self._thing = np.array([x + ahead + self._course.radius_m, y])
        elif time_s >= LEAVES_S:
            self._thing = None

    def _sense(self, index: int, time_s: float) -> None:
        stamp_ns = _ns(time_s)
        signals = self._signals
        signals.update("joint_states", stamp_ns, {"lift": Joint(0.6)})
        signals.update("localisation", stamp_ns, Localisation("map", self._pose))
        if index % SCAN_EVERY == 0:
            signals.update("scan", stamp_ns, self._scan())
            seen, gone = self._shown
            if self._thing is not None and seen is None:
                seen = time_s
            if self._thing is None and seen is not None and gone is None:
                gone = time_s
            self._shown = seen, gone
        signals.update("odometry", stamp_ns, Odometry("odom", self._pose, self._velocity))

    def _scan(self) -> LaserScan:
        angles = -math.pi + 2.0 * math.pi / RAYS * np.arange(RAYS)
        ranges = np.full(RAYS, math.inf)
        if self._thing is not None:
            offset = self._thing - np.asarray(self._pose.position[:2])
            along = offset[0] * np.cos(angles) + offset[1] * np.sin(angles)
            inside = self._course.radius_m**2 - ((offset**2).sum() - along**2)
            hit = (inside > 0.0) & (along > 0.0)
            ranges[hit] = along[hit] - np.sqrt(inside[hit])
            ranges[hit] += self._rng.normal(0.0, NOISE_M, int(hit.sum()))
        return LaserScan("base_link", -math.pi, 2.0 * math.pi / RAYS, 0.05, RANGE_M, ranges)

    def _command(self, index: int, time_s: float) -> Command:
        now_ns = _ns(time_s)
        world = self._assembler.assemble(self._signals, now_ns)
        if index % round(self._profile.step_s / PERIOD_S / 2) == 0:  # a policy that acts at 4 Hz
            wanted = Command(
                BaseVelocity(x=self._course.speed_m_s), duration_s=self._profile.step_s
            )
            verdict = self._gate.propose(Proposal("policy", now_ns, wanted), world, now_ns, time_s)
        else:
            verdict = self._gate.supervise(world, now_ns, time_s)
        assert verdict.command is not None
        return verdict.command

    def _obey(self, command: Command) -> None:
        most = self._profile.limits.base.linear_m_s2 * PERIOD_S
        speed = self._velocity.x + float(
            np.clip(command.velocity.x - self._velocity.x, -most, most)
        )
        self._velocity = BaseVelocity(x=speed)
        self._pose = moved(self._pose, self._velocity, PERIOD_S)

    def _gap_m(self) -> float:
        if self._thing is None:
            return math.inf
        apart = math.hypot(*(self._thing - np.asarray(self._pose.position[:2])))
        return apart - self._course.radius_m - self._profile.footprint_radius_m

    def _told(self, commanded: list[tuple[float, float]], touched: bool) -> dict[str, Any]:
        seen, gone = self._shown
        if not self._course.is_blocked:
            stopped = any(t > 1.0 and x < STANDING_M_S for t, x in commanded)
            return {"stopped": stopped}
        assert seen is not None
        assert gone is not None
        stood = next((t for t, x in commanded if t >= seen and x < STANDING_M_S), ENDS_S)
        resumed = next((t for t, x in commanded if t >= gone and x > STANDING_M_S), ENDS_S)
        braked = next((t for t, x in commanded if t >= seen and x < _at(commanded, seen)), ENDS_S)
        while_held = [x < STANDING_M_S for t, x in commanded if stood <= t < LEAVES_S]
        return {
            "to_brake_s": braked - seen,
            "to_stop_s": stood - seen,
            "held": float(np.mean(while_held)) if while_held else 0.0,
            "to_resume_s": resumed - gone,
            "touched": touched,
        }


def _at(commanded: list[tuple[float, float]], time_s: float) -> float:
    """Speed [m/s] that was commanded before that time."""
    return max((x for t, x in commanded if time_s - 0.1 <= t < time_s), default=0.0)


class _Body:
    """A base without links: the courses are about the footprint."""

    separable = np.empty((0, 2), np.int64)

    def capsules(self, base: object, joints: object) -> tuple[()]:
        """None."""
        return ()

    def link_pose(self, name: str, base: object, joints: object) -> Any:
        """There are none."""
        raise ValueError(f"link {name!r}: the robot has no such link")

    def capsule_velocities(self, base: object, velocity: object, joints: object) -> Any:
        """None."""
        return np.empty((0, 2, 3))


def _ns(time_s: float) -> int:
    return round((1.0 + time_s) * NANOSECONDS)
