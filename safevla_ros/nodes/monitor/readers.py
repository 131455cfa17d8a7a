"""Messages of the graph's own nodes, as the monitor and the watchdog take them. By attribute, as in
`robot.messages`: no message class is imported, so that all of it can be tried without ROS.

Readers raise MessageError on content that must not be used; the sentence names the field. What
somebody else wrote is quoted in it only in part (`reprlib`): the sentence goes on SafetyStatus.
"""

from __future__ import annotations

from dataclasses import dataclass
from reprlib import repr as shortened
from typing import Any

from safevla_ros.robot import messages
from safevla_ros.robot.action_codec import ActionError, decode_row
from safevla_ros.robot.messages import MessageError
from safevla_ros.robot.profile import CommandSource
from safevla_ros.robot.state import Command
from safevla_ros.safety.chunks import Chunk
from safevla_ros.safety.decisions import Proposal, Reason
from safevla_ros.safety.state import Task

MOST_STEPS = 500
"""Steps of one chunk: ten seconds at 50 Hz. All of them are checked as the chunk arrives, and
commands wait meanwhile."""
LONGEST_ID = 200
"""Characters of an episode's id."""

RUNNING, ENDED, ENDING = range(3)
"""States of Episode."""


@dataclass(frozen=True, slots=True)
class EpisodeState:
    """What an Episode message says."""

    id: str
    task: Task
    has_ended: bool


def read_proposal(source: CommandSource, message: Any, now_ns: int, base_frame: str) -> Proposal:
    """A source's message as a proposal. What cannot be read becomes its `fault`, with which the gate
    refuses it. A Twist has no stamp: it is due now, and holds for the source's timeout."""
    if not source.is_policy:
        try:
            command, fault = messages.command_from_twist(message, source.timeout_s), ""
        except MessageError as error:
            command, fault = Command(), str(error)
        return Proposal(source.name, now_ns, command, fault=fault)

    command, fault, episode_id = Command(), "", ""
    try:
        if message.source != source.name:
            raise MessageError(
                f"source: expected {source.name!r} on {source.topic}, got {shortened(message.source)}"
            )
        _check_frame(message.header, base_frame)
        episode_id = _episode_id(message.episode_id, "episode_id")
        command = messages.command_from_candidate(message)
    except MessageError as error:
        fault = str(error)
    return Proposal(
        source.name,
        messages.stamp_ns(message.header.stamp),
        command,
        episode_id,
        message.chunk_id,
        message.step,
        fault,
    )


def read_chunk(message: Any, base_frame: str) -> Chunk:
    """An ActionChunk as the gate looks along it. Raises MessageError."""
    _check_frame(message.header, base_frame)
    width, size = len(message.names), len(message.data)
    if not width or size % width:
        raise MessageError(f"data: expected rows of {width} values, got {size} in all")
    if width > messages.MOST_JOINTS or size > MOST_STEPS * width:
        raise MessageError(
            f"data: expected at most {MOST_STEPS} steps of {messages.MOST_JOINTS} values, got "
            f"{size // width} of {width}"
        )
    names, data = list(message.names), list(message.data)
    rows = [data[start : start + width] for start in range(0, size, width)]
    try:
        commands = tuple(decode_row(names, row, message.step_s) for row in rows)
    except ActionError as error:
        raise MessageError(str(error)) from error
    episode_id = _episode_id(message.episode_id, "episode_id")
    stamp_ns = messages.stamp_ns(message.header.stamp)
    return Chunk(episode_id, message.chunk_id, message.first_step, stamp_ns, commands)


def read_episode(message: Any) -> EpisodeState:
    """An Episode. One that has ended may be without an id: none runs. Raises MessageError."""
    if message.state not in (RUNNING, ENDED, ENDING):
        raise MessageError(
            f"state: expected {RUNNING} (RUNNING), {ENDED} (ENDED) or {ENDING} (ENDING), "
            f"got {message.state}"
        )
    has_ended = message.state == ENDED
    if not (message.id or has_ended):
        raise MessageError("id: expected the name of the episode that runs, got ''")
    task = Task(tuple(message.target_ids), message.target_class, message.task)
    return EpisodeState(_episode_id(message.id, "id"), task, has_ended)


def camera_fault(message: Any) -> tuple[Reason, str] | None:
    """What is wrong with the cameras, by a CameraStatus. Raises MessageError."""
    names = message.camera_names
    for reason, field, word in (
        (Reason.FROZEN_CAMERA, "frozen", "repeats its pixels"),
        (Reason.LOST_CAMERA, "lost", "gives no frames"),
    ):
        flags = getattr(message, field)
        if len(flags) != len(names):
            raise MessageError(
                f"{field}: expected {len(names)} values as in camera_names, got {len(flags)}"
            )
        cameras = [name[:40] for name, flag in zip(names, flags, strict=True) if flag]
        if cameras:
            return reason, f"camera {', '.join(cameras[:3])} {word}"
    return None


def is_motion(twist: Any) -> bool:
    """Whether a Twist tells a base to move, on whichever axis; what is no number does."""
    return any(
        getattr(part, axis) != 0.0 for part in (twist.linear, twist.angular) for axis in "xyz"
    )


def _check_frame(header: Any, base_frame: str) -> None:
    if header.frame_id not in ("", base_frame):
        raise MessageError(f"frame_id: expected {base_frame!r}, got {shortened(header.frame_id)}")


def _episode_id(value: str, field: str) -> str:
    if len(value) > LONGEST_ID:
        raise MessageError(
            f"{field}: expected at most {LONGEST_ID} characters, got {len(value)}: "
            f"{shortened(value)}"
        )
    return value
