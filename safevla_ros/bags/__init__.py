"""Bags: what the graph said, recorded as it came and read back.

A bag is a rosbag2 folder: one MCAP file and metadata.yaml. `writer` records without ever holding up
its caller, `reader` reads (also a file that was cut off), `repair` finishes a cut file, `recent`
remembers the last seconds for what must be recorded from before its cause, `metadata` has what
rosbag2 wants to know about a bag and the keys of its provenance, `definitions` finds message
definitions. Messages are bytes as they came from the wire; no ROS is imported.
"""

from dataclasses import dataclass


class BagError(Exception):
    """A bag that cannot be written or read; the message names the path and what was expected."""


@dataclass(frozen=True, slots=True)
class RawMessage:
    """One message as it came: CDR bytes, and wall-clock times of receipt and of publication [ns].

    As in `ros2 bag record`, both times are of the wall clock even when the graph runs on simulated
    time: they order a recording across restarts of a simulation. Stamps are inside the message.
    """

    topic: str
    data: bytes
    log_time_ns: int
    publish_time_ns: int
