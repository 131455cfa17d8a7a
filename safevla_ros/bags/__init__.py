"""Bags: what the graph said, recorded as it came and read back.

A bag is a rosbag2 folder: one MCAP file and metadata.yaml.

    recorder, recent    one stream of messages into any number of bags, each from before its cause
    clips, retention    when a clip of a violation ends; which bags are deleted to make room
    writer, mcap_file   one bag, without ever holding up who hands over the messages; its file
    compression         images as JPEG or PNG, where the profile wants them so
    reader, repair      bags back, also what is left of one that was cut off, which is finished
    metadata            what rosbag2 wants to know about a bag, and the keys of our provenance
    definitions         message definitions, as ROS 2 packages install them
    own_messages        messages made where no ROS is installed

    catalogue, checking, cutting    what a folder of bags holds, what is wrong with it, pieces of it
    scoring, recorded_signals       costs of what was recorded, under any specification
    steps, observations, dataset, torch_loader    bags as training data
    interleaving                    two sessions in one bag
    tensors                         images as a policy sees them
    episode_writer                  episodes of a simulator as bags
    contract*, resampling           bags of other robots
    lerobot_*                       LeRobot's data sets, both ways
    many, ray_pool                  the same work on many bags, on one machine or a Ray cluster

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
