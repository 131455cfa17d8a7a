"""Messages of command sources, as proposals and chunks for the gate."""

from __future__ import annotations

from typing import Any

from safevla_ros.msg import CandidateCommand
from safevla_ros.robot import messages
from safevla_ros.robot.action_codec import ActionError, decode_row
from safevla_ros.robot.messages import MessageError
from safevla_ros.robot.profile import CommandSource
from safevla_ros.robot.state import Command
from safevla_ros.safety.chunks import Chunk
from safevla_ros.safety.decisions import Proposal


def read_candidate(
    source: CommandSource, message: Any, now_ns: int, base_frame: str
) -> tuple[Proposal, CandidateCommand]:
    """A source's message as a proposal, and as a CandidateCommand for the record.

    What cannot be read becomes the proposal's `fault`, with which the gate refuses it. A Twist has
    no stamp: it is due now, and holds for the source's timeout.
    """
    if isinstance(message, CandidateCommand):
        return _from_candidate(source, message, base_frame), message
    record = CandidateCommand(source=source.name, twist=message, duration_s=source.timeout_s)
    record.header.frame_id = base_frame
    messages.set_stamp(record.header.stamp, now_ns)
    try:
        command, fault = messages.command_from_twist(message, source.timeout_s), ""
    except MessageError as error:
        command, fault = Command(), str(error)
    return Proposal(source.name, now_ns, command, fault=fault), record


def _from_candidate(source: CommandSource, message: CandidateCommand, base_frame: str) -> Proposal:
    fault = ""
    if message.source != source.name:
        fault = f"source: expected {source.name!r} on {source.topic}, got {message.source!r}"
    elif message.header.frame_id not in ("", base_frame):
        fault = f"frame_id: expected {base_frame!r}, got {message.header.frame_id!r}"
    command = Command()
    try:
        command = messages.command_from_candidate(message)
    except MessageError as error:
        fault = fault or str(error)
    return Proposal(
        source.name,
        messages.stamp_ns(message.header.stamp),
        command,
        message.episode_id,
        message.chunk_id,
        message.step,
        fault,
    )


def read_chunk(message: Any) -> Chunk:
    """An ActionChunk as the gate looks along it. Raises MessageError."""
    names, data = list(message.names), list(message.data)
    if not names or len(data) % len(names):
        raise MessageError(f"data: expected rows of {len(names)} values, got {len(data)} in all")
    rows = [data[start : start + len(names)] for start in range(0, len(data), len(names))]
    try:
        commands = tuple(decode_row(names, row, message.step_s) for row in rows)
    except ActionError as error:
        raise MessageError(str(error)) from error
    stamp_ns = messages.stamp_ns(message.header.stamp)
    return Chunk(message.episode_id, message.chunk_id, message.first_step, stamp_ns, commands)
