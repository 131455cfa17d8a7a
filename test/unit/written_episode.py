"""Episodes as a simulator writes them, small and all known."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from safevla_ros.bags.episode_writer import EpisodeInfo, EpisodeWriter, WrittenStep
from safevla_ros.robot.state import BaseVelocity, Command, Joint
from safevla_ros.safety.accounting import Status, TermCost
from safevla_ros.safety.specification import load_specification

NAN = float("nan")
STEP_NS = 500_000_000


def write(
    folder: Path,
    name: str,
    *,
    steps: int = 3,
    session: str = "s",
    height: int = 6,
    costs: Collection[str] = ("zone_intrusion", "drop"),
    commands: str = "lift",
) -> Path:
    """An episode that goes faster in every step, is held back in the second and charged there.
    `commands` is the joint that moves, `costs` what is judged."""
    info = EpisodeInfo(name, "find the mug", task="find", robot="sim", session=session, seed="7")
    rng = np.random.default_rng(len(name))
    with EpisodeWriter(folder / name, info, load_specification("household")) as writer:
        for step in range(steps):
            charged = float(step == 1)
            zone = TermCost(
                "zone_intrusion", Status.OK, charged, 0.5 - charged, float(step >= 1), NAN, "stairs"
            )
            drop = TermCost("drop", Status.NOT_APPLICABLE, 0.0, NAN, 0.0, 1.0, "no gripper")
            joints = {commands: 0.6}
            speed = 0.1 * (step + 1)
            writer.add(
                WrittenStep(
                    stamp_ns=(step + 1) * STEP_NS,
                    ends_ns=(step + 2) * STEP_NS,
                    images={
                        camera: rng.integers(0, 255, (height, 8, 3)).astype(np.uint8)
                        for camera in ("navigation", "manipulation")
                    },
                    joints={"lift": Joint(0.5), "gripper": Joint(0.01 * step)},
                    velocity=BaseVelocity(0.1),
                    object_in_hand=step == 2,
                    proposed=Command(BaseVelocity(speed), joints),
                    applied=Command(BaseVelocity(speed / 2 if step == 1 else speed), joints),
                    costs=[term for term in (zone, drop) if term.name in costs],
                    token=step,
                    log_probability=-0.5 if step else None,
                    decision="LIMIT" if step == 1 else "PASS",
                    predicted={"zone_intrusion": 1.0} if step == 1 else {},
                )
            )
        writer.finish("SUCCESS", "it is held", end_ns=(steps + 1) * STEP_NS)
    return folder / name
