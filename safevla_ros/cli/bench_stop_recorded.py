"""`safevla bench stop --bags`: what the gate says to drives that were recorded, by what was sensed then.

Nothing of the drive can be changed any more. So the gate is asked at each odometry whether the base
may go on as it is measured to move, in mode shadow and by scan and grid alone, and its answers are held
against what the scan showed later, while the recorded robot did go on. Needs bags of robots that
nothing held back: mode `observe` or `shadow`, or no gate at all. Other bags are passed over, and named;
clips of an episode that is there as well say nothing new.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safevla_ros.assurance.statistics import percentiles, wilson_interval
from safevla_ros.bags import BagError
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.catalogue import bags_below
from safevla_ros.bags.reader import Bag
from safevla_ros.bags.recorded_signals import RecordedSignals
from safevla_ros.cli.failure import ExitCode, Failure
from safevla_ros.robot.geometry import moved
from safevla_ros.robot.kinematics import Kinematics, KinematicsError
from safevla_ros.robot.profile import Profile, ProfileError, load_profile, urdf_path
from safevla_ros.robot.state import NANOSECONDS, BaseVelocity, Command, Pose
from safevla_ros.safety import Gate, Proposal, Specification, WorldAssembler
from safevla_ros.safety.decisions import Reason
from safevla_ros.safety.motion import REACTION_S
from safevla_ros.safety.terms.collision import CollisionParameters

SAFETY_STATUS = "safevla_ros/msg/SafetyStatus"
DRIVING_M_S = 0.05
APART_S = 1.0
"""What happens again within this is the same."""
AS_FORESEEN_M = 0.05
"""A robot that comes this near to where it was foreseen to stand did go on. What is so much farther
away than the clearance would not have been too near there either."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One odometry: when, where and how fast the base was, how far from its footprint the nearest
    point of the scan, how old that scan, and whether the gate would have held the base back. NaN, None:
    not known."""

    time_s: float
    pose: Pose
    velocity: BaseVelocity
    gap_m: float
    scan_age_s: float
    is_held: bool | None

    @property
    def speed_m_s(self) -> float:
        return math.hypot(self.velocity.x, self.velocity.y)


def measure(folder: Path, specification: Specification, robot: str = "") -> dict[str, Any]:
    """The report over all bags in a folder. By path: `passed_over`, why bags were; `damaged`, what is
    wrong with bags that were judged as far as they can be read."""
    passed_over: dict[str, str] = {}
    damaged: dict[str, str] = {}
    drives: dict[str, tuple[Profile, list[Moment]]] = {}
    for bag in _episodes(folder, passed_over):
        with _passing_over(bag.path, passed_over):
            drives[str(bag.path)] = _drive(bag, specification, robot)
            if bag.damage or not bag.finished:
                damaged[str(bag.path)] = "; ".join(bag.damage) or "the recording was not finished"
    if not drives:
        raise Failure(ExitCode.BAD_INPUT, "\n".join(passed_over.values()))
    found = {
        path: Found(profile, moments, specification) for path, (profile, moments) in drives.items()
    }
    stops = [(path, stop) for path, each in found.items() for stop in each.stops]
    nears = [near for each in found.values() for near in each.too_near]
    false_at = [
        {"bag": path, "at_s": stop["at_s"]} for path, stop in stops if stop["was"] == "false"
    ]
    with_false = len({each["bag"] for each in false_at})
    moments = [moment for _, moments in drives.values() for moment in moments]
    driven = [moment for moment in moments if moment.speed_m_s > DRIVING_M_S]
    counts = {
        was: sum(stop["was"] == was for _, stop in stops) for was in ("right", "false", "unknown")
    }
    return {
        "bags": len(found),
        "driven_m": round(sum(each.way_m[-1] for each in found.values()), 1),
        "not_judged": round(sum(each.is_held is None for each in driven) / max(len(driven), 1), 4),
        "came_too_near": len(nears),
        "held_back_in_time": sum(near["in_time"] for near in nears),
        "held_back_before_s": percentiles([near["before_s"] for near in nears]),
        "stops": counts,
        "time_to_stop_s": percentiles([stop["to_stand_s"] for _, stop in stops]),
        "false_stops": round(with_false / len(found), 4),
        "false_stops_interval": [round(x, 4) for x in wilson_interval(with_false, len(found))],
        "false_at": false_at,
        "damaged": damaged,
        "passed_over": passed_over,
    }


@contextmanager
def _passing_over(path: Path, passed_over: dict[str, str]) -> Iterator[None]:
    """What is wrong with a bag is told, and ends nothing."""
    try:
        yield
    except (BagError, ProfileError, KinematicsError) as error:
        passed_over[str(path)] = str(error)


def _episodes(folder: Path, passed_over: dict[str, str]) -> list[Bag]:
    """The bags in a folder, without clips of episodes that are there; `passed_over` gets those that
    cannot be opened, by path."""
    bags = []
    try:
        paths = bags_below(folder)
    except BagError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    for path in paths:
        with _passing_over(path, passed_over):
            bags.append(Bag(path))
    said = [bag.provenance for bag in bags]
    is_clip = [each.get(keys.KIND) == "clip" for each in said]
    whole = {
        each.get(keys.EPISODE_ID, "") for each, clip in zip(said, is_clip, strict=True) if not clip
    }
    return [
        bag
        for bag, each, clip in zip(bags, said, is_clip, strict=True)
        if not (clip and each.get(keys.EPISODE_ID) in whole)
    ]


def _drive(bag: Bag, specification: Specification, robot: str) -> tuple[Profile, list[Moment]]:
    """What the gate says all along a bag. Raises BagError for one that it cannot be asked about."""
    name = robot or bag.provenance.get(keys.ROBOT, "")
    if not name:
        raise BagError(f"{bag.path}: does not say which robot it is of: give --robot")
    profile = load_profile(name)
    kinematics = Kinematics(urdf_path(profile))
    assembler = WorldAssembler(profile, kinematics)
    gate = Gate(profile, specification, "shadow", kinematics)
    recorded, moments = RecordedSignals(bag, profile), []
    for raw in bag.messages():
        if bag.topics[raw.topic].type == SAFETY_STATUS:
            status = bag.decode(raw)
            if status.mode == status.ENFORCE:
                raise BagError(
                    f"{bag.path}: recorded in mode enforce: expected a robot that nothing held back"
                )
        recorded.add(raw)

    def judge(stamp_ns: int, _: int) -> None:
        sensed = assembler.assemble(recorded.signals, stamp_ns)
        # What only objects or a cloud tell of, the scan cannot bear out later.
        world = replace(sensed, objects={}, cloud=np.empty((0, 3)))
        if world.base is None or world.velocity is None:
            return
        gate.set_estop(False, stamp_ns / NANOSECONDS)
        command = Command(world.velocity, duration_s=profile.step_s)
        proposal = Proposal(profile.sources[0].name, stamp_ns, command)
        verdict = gate.propose(proposal, world, stamp_ns, stamp_ns / NANOSECONDS)
        is_judged = verdict.reason in (Reason.ACCEPTED, Reason.LIMITS, Reason.PREDICTED)
        gap_m = math.nan
        if world.obstacles is not None:
            offsets = world.obstacles[:, :2] - np.asarray(world.base.position[:2])
            gap_m = float(np.sqrt((offsets**2).sum(axis=1)).min(initial=math.inf))
        scanned_ns = world.sources.get("scan", stamp_ns)
        moments.append(
            Moment(
                stamp_ns / NANOSECONDS,
                world.base,
                world.velocity,
                gap_m - profile.footprint_radius_m,
                (stamp_ns - scanned_ns) / NANOSECONDS,
                verdict.reason is Reason.PREDICTED if is_judged else None,
            )
        )

    recorded.replay(judge)
    if not moments:
        raise BagError(
            f"{bag.path}: expected odometry of a base that knows where it is, found none"
        )
    return profile, moments


class Found:
    """Where one recorded robot came nearer than the clearance of `collision`, and where the gate would
    have stopped it."""

    def __init__(
        self, profile: Profile, moments: list[Moment], specification: Specification
    ) -> None:
        collision = specification.parameters.get("collision")
        self._clearance_m = (
            collision.clearance_m if isinstance(collision, CollisionParameters) else 0.0
        )
        self._rate, self._step_s = profile.limits.base.linear_m_s2, profile.step_s
        self._moments = moments
        self._times = np.array([moment.time_s for moment in moments])
        speeds = np.array([moment.speed_m_s for moment in moments])
        self.way_m: NDArray[np.float64] = np.append(
            0.0, np.cumsum(speeds[:-1] * np.diff(self._times))
        )
        self._is_near = np.array([moment.gap_m < self._clearance_m for moment in moments])
        self._is_held = np.array([bool(moment.is_held) for moment in moments])
        self._drives = speeds > DRIVING_M_S
        self.too_near = [self._warned(at) for at in self._onsets(self._is_near) if self._drives[at]]
        # Who stood in between set out anew, and is stopped anew. Where it is too near already, it was
        # before.
        held = self._onsets(self._is_held & self._drives, ~self._drives)
        self.stops = [self._told(at) for at in held if not self._is_near[at]]

    def _onsets(
        self, flags: NDArray[np.bool_], parts: NDArray[np.bool_] | None = None
    ) -> list[int]:
        """Where something begins that was not so for APART_S, or since the last of `parts`. What the
        bag begins with has no onset."""
        onsets, last = [], 0
        for at in np.flatnonzero(flags).tolist():
            is_parted = parts is not None and parts[last:at].any()
            if is_parted or self._times[at] - self._times[last] > APART_S:
                onsets.append(at)
            last = at
        return onsets

    def _warned(self, at: int) -> dict[str, Any]:
        """Since when, on this way, the gate would have held the base back that came too near, and
        whether it would have stood by then."""
        first = at
        for index in range(at, -1, -1):
            if self._times[first] - self._times[index] > APART_S or not self._drives[index]:
                break
            if self._is_held[index]:
                first = index
        speed = self._moments[first].speed_m_s
        needed_m = speed**2 / (2.0 * self._rate) + speed * REACTION_S
        left_m = self.way_m[at] - self.way_m[first]
        is_held = bool(self._is_held[first])
        return {
            "before_s": float(self._times[at] - self._times[first]),
            "in_time": is_held and bool(left_m >= needed_m),
        }

    def _told(self, at: int) -> dict[str, Any]:
        """What became of the recorded robot where the gate would have held it back, and how long after
        the scan that it acted on it would have stood."""
        moment = self._moments[at]
        looked_s = self._step_s + moment.speed_m_s / self._rate
        until = int(np.searchsorted(self._times, self._times[at] + looked_s))
        # Of what the gate looked at, the command and then braking, the end.
        lasts_s = self._step_s + 0.5 * moment.speed_m_s / self._rate
        end = moved(moment.pose, moment.velocity, lasts_s).position[:2]
        off_m = [
            (math.dist(each.pose.position[:2], end), each.gap_m)
            for each in self._moments[at : until + 1]
        ]
        is_free = any(off <= AS_FORESEEN_M and gap - off >= self._clearance_m for off, gap in off_m)
        was = "false" if is_free else "unknown"
        return {
            "at_s": round(float(self._times[at] - self._times[0]), 2),
            "was": "right" if self._is_near[at : until + 1].any() else was,
            "to_stand_s": moment.scan_age_s + moment.speed_m_s / self._rate,
        }
