"""What a chunk means on this robot: one command per step, and the table that the monitor reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from safevla_ros.policy.interface import ActionChunk, PolicyError
from safevla_ros.robot.action_codec import (
    ActionError,
    EndOfEpisode,
    decode,
    decode_row,
)
from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import Command, Joint

Step = Command | EndOfEpisode


def chunk_steps(
    chunk: ActionChunk, joints: Mapping[str, Joint], profile: Profile
) -> tuple[Step, ...]:
    """The commands of a chunk, one per step; nothing follows an `end`.

    `joints` is the reading that the chunk was made from: later tokens of a chunk count from where
    the earlier ones will have moved the joints to. Raises PolicyError on a chunk without steps or
    with actions that mean nothing on this robot.
    """
    expected = dict(joints)
    steps: list[Step] = []
    try:
        if chunk.representation == "continuous":
            if chunk.data is None or chunk.data.ndim != 2 or not np.isfinite(chunk.data).all():
                raise PolicyError("continuous chunk: expected finite data of shape (steps, names)")
            steps += [decode_row(chunk.names, row, profile.step_s) for row in chunk.data.tolist()]
        else:
            for token in chunk.tokens:
                step = decode(token, expected, profile)
                steps.append(step)
                if isinstance(step, EndOfEpisode):
                    break
                expected |= {name: Joint(target) for name, target in step.joints.items()}
    except ActionError as error:
        raise PolicyError(f"the policy's chunk: {error}") from error
    if not steps:
        raise PolicyError("the policy gave a chunk without steps")
    return tuple(steps)


def command_table(
    steps: Sequence[Step], joints: Mapping[str, Joint]
) -> tuple[list[str], NDArray[np.float64]]:
    """Steps as the ActionChunk message carries them: names, and data (steps, len(names)).

    A joint that a step does not command keeps the target of the step before, or its reading in
    `joints`. `end` is a row that stands still.
    """
    moved = sorted({name for step in steps for name in _targets(step)})
    names = ["base.x", "base.y", "base.yaw", *moved]
    data = np.zeros((len(steps), len(names)))
    targets = {name: joints[name].position for name in moved if name in joints}
    for row, step in zip(data, steps, strict=True):
        targets |= _targets(step)
        if isinstance(step, Command):
            row[:3] = step.velocity.x, step.velocity.y, step.velocity.yaw
        row[3:] = [targets.get(name, np.nan) for name in moved]
    return names, data


def _targets(step: Step) -> Mapping[str, float]:
    return step.joints if isinstance(step, Command) else {}
