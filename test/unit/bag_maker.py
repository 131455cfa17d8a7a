"""Crafted bags of real messages, made without ROS."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.typesys.store import Typestore

from safevla_ros.bags import RawMessage
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.mcap_file import McapFile
from safevla_ros.bags.own_messages import message_types, new_message, own_topic, to_cdr
from safevla_ros.robot.messages import set_stamp

OWN = "safevla_ros/msg/"
WALL_NS = 1_700_000_000 * 10**9
TOPICS = {
    "signals.odometry": "/odom",
    "signals.localisation": "/pose",
    "signals.joint_states": "/joint_states",
    "signals.objects": "/scene_objects",
    "cameras.navigation": "/camera/navigation",
    "cameras.manipulation": "/camera/manipulation",
    "robot_description": "/robot_description",
}


def all_types() -> Typestore:
    """Every message type of the package and of ROS 2."""
    return message_types()


class BagMaker:
    """Writes messages at times given in seconds of ROS time; received at the same wall time."""

    def __init__(self, types: Typestore, folder: Path, **provenance: str) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.path = folder / f"{folder.name}_0.mcap"
        self.types = types
        self._file = McapFile(self.path, {keys.TOPICS: json.dumps(TOPICS), **provenance})
        self._counts: dict[str, int] = {}

    def new(self, type_name: str, /, **fields: Any) -> Any:
        """A message of a type, all zero but for the fields given."""
        return new_message(type_name, **fields)

    def put(self, time_s: float, topic: str, message: Any, *, stamp_ns: int | None = None) -> None:
        """Write a message; its header, if it has one, gets `stamp_ns`, else the time."""
        if hasattr(message, "header"):
            set_stamp(message.header.stamp, round(time_s * 1e9) if stamp_ns is None else stamp_ns)
        kind = message.__msgtype__
        if topic not in self._counts:
            self._file.add_topic(own_topic(topic, kind))
            self._counts[topic] = 0
        self._counts[topic] += 1
        data = to_cdr(message)
        received_ns = WALL_NS + round(time_s * 1e9)
        self._file.write(RawMessage(topic, data, received_ns, received_ns), self._counts[topic])

    def flush(self) -> None:
        self._file.flush(sync=False)

    def finish(self, **provenance: str) -> Path:
        self._file.finish({keys.COMPLETE: "true", **provenance})
        return self.folder

    # What an episode consists of.

    def episode(self, time_s: float, state: str, *, id: str = "e-1", **fields: Any) -> None:
        constants = {name: value for name, _, value in self.types.fielddefs[OWN + "Episode"][0]}
        fields["outcome"] = constants[fields.get("outcome", "UNKNOWN")]
        message = self.new("Episode", id=id, state=constants[state], **fields)
        message.instruction, message.policy_id = "find the mug", "scripted-careful"
        set_stamp(message.started, 10 * 10**9)
        self.put(time_s, "/episode", message)

    def costs(
        self, time_s: float, step: int, *, id: str = "e-1", **terms: Mapping[str, Any]
    ) -> None:
        entries = [self.new("TermCost", name=name, **values) for name, values in terms.items()]
        self.put(
            time_s, "/cost_vector", self.new("CostVector", episode_id=id, step=step, terms=entries)
        )

    def gated(self, time_s: float, step: int, decision: str, reason: str, **fields: Any) -> Any:
        constants = {name: value for name, _, value in self.types.fielddefs[OWN + "GatedAction"][0]}
        trace = fields.pop("trace", {})
        chunk = fields.pop("chunk", step)
        message = self.new(
            "GatedAction",
            episode_id=fields.pop("id", "e-1"),
            step=step,
            source="policy",
            decision=constants[decision],
            reason=reason,
            **fields,
        )
        message.proposed.chunk_id, message.proposed.step = chunk, step
        for stage, milliseconds in trace.items():
            set_stamp(getattr(message.trace, stage), WALL_NS + round(milliseconds * 1e6))
        self.put(time_s, "/gated_action", message)

    def pose(self, time_s: float, x: float, y: float) -> None:
        message = self.new("geometry_msgs/msg/PoseWithCovarianceStamped")
        message.header.frame_id = "map"
        message.pose.pose.position.x, message.pose.pose.position.y = x, y
        message.pose.pose.orientation.w = 1.0
        self.put(time_s, "/pose", message)

    def image(
        self,
        time_s: float,
        camera: str,
        colour: tuple[int, int, int],
        *,
        wall: bool = False,
        **fields: Any,
    ) -> None:
        """A picture of 32 x 24 in one colour; `wall`: its stamp is of the wall clock."""
        message = self.new(
            "sensor_msgs/msg/Image",
            height=24,
            width=32,
            step=96,
            encoding="rgb8",
            data=np.tile(np.array(colour, np.uint8), 24 * 32),
        )
        for name, value in fields.items():
            setattr(message, name, value)
        stamp_ns = WALL_NS + round(time_s * 1e9) if wall else None
        self.put(time_s, f"/camera/{camera}", message, stamp_ns=stamp_ns)
