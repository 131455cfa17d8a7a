"""Bags: what the graph said, recorded as it came and read back.

A bag is a rosbag2 folder: one MCAP file and metadata.yaml.

    recorder      one stream of messages into any number of bags, from a second before their cause
    writer        one bag, without ever holding up who hands over the messages
    mcap_file     its file, on the writer's thread
    reader        bags back, also what is left of one that was cut off
    repair        finishes a bag that was cut off
    metadata      what rosbag2 wants to know about a bag, and the keys of our provenance
    definitions   message definitions, as ROS 2 packages install them

Messages are bytes as they came from the wire; no ROS is imported.
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
