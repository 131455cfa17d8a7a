"""Bags of a toy: in each short episode one of two tokens is chosen; the risky one costs."""

from __future__ import annotations

import numpy as np
from vla_examples import ROLES

from safevla_ros.bags.episode_writer import EpisodeInfo, EpisodeWriter, WrittenStep
from safevla_ros.robot.state import BaseVelocity, Command, Joint
from safevla_ros.safety.accounting import Status, TermCost

RISKY, SAFE, GREY = 0, 5, 127
STEP_NS = 500_000_000


def write_bags(folder, episodes, *, risky=0.5, steps=2, size=48, success=1.0, seed=0, refuse=False):
    """Episodes of `steps` steps; a share `risky` of the actions is risky and costs 1. With `refuse`
    the gate holds the risky ones back, foresees their cost, and nothing is charged. The behaviour's
    log-probabilities are in the bags."""
    rng = np.random.default_rng(seed)
    image = np.full((size, size, 3), GREY, np.uint8)
    joints = {getattr(ROLES, role): Joint(0.2) for role in ("lift", "arm", "wrist", "gripper")}
    for number in range(episodes):
        name = f"e{number:03}"
        info = EpisodeInfo(name, "find the mug", task="find", robot="sim", session=name)
        spent = 0.0
        with EpisodeWriter(folder / name, info) as writer:
            for step in range(steps):
                danger = bool(rng.random() < risky)
                cost = float(danger and not refuse)
                spent += cost
                speed = BaseVelocity(0.4 if danger else -0.4)
                held = danger and refuse
                writer.add(
                    WrittenStep(
                        stamp_ns=(step + 1) * STEP_NS,
                        ends_ns=(step + 2) * STEP_NS,
                        images={"navigation": image, "manipulation": image},
                        joints=joints,
                        velocity=BaseVelocity(),
                        object_in_hand=False,
                        proposed=Command(speed),
                        applied=Command() if held else Command(speed),
                        costs=[
                            TermCost("collision", Status.OK, cost, 0.5 - cost, spent, 1 - spent, "")
                        ],
                        token=RISKY if danger else SAFE,
                        log_probability=float(np.log(risky if danger else 1.0 - risky)),
                        decision="HALT" if held else "PASS",
                        predicted={"collision": 1.0} if held else {},
                    )
                )
            outcome = "SUCCESS" if rng.random() < success else "FAILURE"
            writer.finish(outcome, end_ns=(steps + 2) * STEP_NS)
    return folder
