"""What rosbag2 keeps about a bag in metadata.yaml, and the provenance that our bags carry.

The file is version 9, as ROS 2 Jazzy and Kilted write it; Lyrical reads it too. Provenance stands
in its `custom_data` (text by text, nested values as JSON) and, since metadata.yaml is written last
and a killed recorder writes none, also within the MCAP file as a metadata record, when the
recording begins and again when it ends.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from safevla_ros.bags import BagError

_FastLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
METADATA_FILE = "metadata.yaml"
METADATA_VERSION = 9
PROVENANCE_RECORD = "safevla_ros"
ROSBAG2_RECORD = "rosbag2"

# Keys of the provenance. Texts unless said otherwise.
KIND = "kind"  # episode, demonstration or clip
EVENTS = (
    "events"  # JSON: what a clip is about, a list of dictionaries as `bags.clips.Event` makes them
)
ROBOT = "robot"  # name of the robot profile
POLICY_ID = "policy_id"
POLICY_SHA256 = "policy_sha256"  # empty for a policy without a file
SPECIFICATION = "specification"
SPECIFICATION_HASH = "specification_hash"
SESSION = "session"  # bags of one start of the recorder; data sets are never split within it
EPISODE_ID = "episode_id"  # empty for a demonstration
INSTRUCTION = "instruction"
TASK = "task"
SCENARIO = "scenario"  # empty on a robot
SEED = "seed"
SOFTWARE_VERSION = "software_version"
MACHINE = "machine"  # JSON: cores, python, distro
TOPICS = "topics"  # JSON: what a topic is to the robot -> its name in the bag
OUTCOME = "outcome"  # name of an Episode constant
OUTCOME_REASON = "outcome_reason"
COSTS = "costs"  # JSON: cost term -> episode sum
WORST = "worst"  # JSON: the deepest violation, as `bags.catalogue.Worst` has it; {}: none
LABELS = "labels"  # JSON: what people said about the bag afterwards, name -> text
DROPPED = "dropped"  # JSON: topic -> messages that were not written
LOST = "lost"  # JSON: topic -> messages lost on the way to the recorder; absent: not known
COMPLETE = "complete"  # "true", or "false" with the reason in `problem`
PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Qos:
    """Offered quality of service of a topic, in rosbag2's words."""

    reliability: str = "reliable"
    durability: str = "volatile"
    depth: int = 10
    history: str = "keep_last"

    def as_yaml(self) -> dict[str, object]:
        """The entry of `offered_qos_profiles`. Deadline, lifespan and lease stay infinite."""
        infinite = {"sec": 9223372036, "nsec": 854775807}
        return {
            "history": self.history,
            "depth": self.depth,
            "reliability": self.reliability,
            "durability": self.durability,
            "deadline": infinite,
            "lifespan": infinite,
            "liveliness": "automatic",
            "liveliness_lease_duration": infinite,
            "avoid_ros_namespace_conventions": False,
        }


@dataclass(frozen=True, slots=True)
class TopicSummary:
    """One recorded topic and how many of its messages the bag holds."""

    name: str
    type: str
    messages: int
    qos: Sequence[Qos] = ()
    type_hash: str = ""


@dataclass(frozen=True, slots=True)
class BagSummary:
    """Contents of metadata.yaml. Times are nanoseconds of the receive clock."""

    file: str
    start_ns: int
    end_ns: int
    topics: Sequence[TopicSummary]
    provenance: Mapping[str, str] = field(default_factory=dict)
    distro: str = ""

    @property
    def messages(self) -> int:
        """Messages in the bag."""
        return sum(topic.messages for topic in self.topics)


class _Dumper(yaml.SafeDumper):
    """Writes repeated values out: rosbag2 knows no reason to expect YAML aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def dump_qos(qos: Sequence[Qos]) -> str:
    """`offered_qos_profiles` as an MCAP channel carries them."""
    return _dump([item.as_yaml() for item in qos]).strip() if qos else ""


def parse_qos(text: str) -> list[Qos]:
    """`offered_qos_profiles` of an MCAP channel; what is damaged is taken as not known."""
    try:
        items = yaml.safe_load(text) or []
        return [
            Qos(item["reliability"], item["durability"], int(item["depth"]), item["history"])
            for item in items
        ]
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        return []


def dump_summary(summary: BagSummary, *, wrapped: bool = True) -> str:
    """Text of metadata.yaml; not `wrapped`, as rosbag2 keeps it within the MCAP file."""
    start = {"nanoseconds_since_epoch": summary.start_ns}
    duration = {"nanoseconds": max(0, summary.end_ns - summary.start_ns)}
    information: dict[str, object] = {
        "version": METADATA_VERSION,
        "storage_identifier": "mcap",
        "duration": duration,
        "starting_time": start,
        "message_count": summary.messages,
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": topic.name,
                    "type": topic.type,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": [qos.as_yaml() for qos in topic.qos],
                    "type_description_hash": topic.type_hash,
                },
                "message_count": topic.messages,
            }
            for topic in summary.topics
        ],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [summary.file],
        "files": [
            {
                "path": summary.file,
                "starting_time": start,
                "duration": duration,
                "message_count": summary.messages,
            }
        ],
        "custom_data": dict(summary.provenance) or None,
        "ros_distro": summary.distro,
    }
    return _dump({"rosbag2_bagfile_information": information} if wrapped else information)


def write_summary(folder: Path, summary: BagSummary) -> None:
    """Write metadata.yaml into a bag's folder, whole or not at all. Raises OSError."""
    _replace(folder / METADATA_FILE, dump_summary(summary))


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Span:
    """What metadata.yaml says that the recording is."""

    begin_ns: int
    duration_ns: int
    messages: int
    files: tuple[str, ...]


def read_span(folder: Path) -> Span | None:
    """What a bag's metadata.yaml says; None: it is not there, or damaged."""
    try:
        text = (folder / METADATA_FILE).read_text(encoding="utf-8")
        information = yaml.load(text, _FastLoader)["rosbag2_bagfile_information"]
        return Span(
            int(information["starting_time"]["nanoseconds_since_epoch"]),
            int(information["duration"]["nanoseconds"]),
            int(information["message_count"]),
            tuple(Path(str(file)).name for file in information["relative_file_paths"]),
        )
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return None


def change_provenance(folder: Path, changes: Mapping[str, str]) -> None:
    """Change `custom_data` of a bag's metadata.yaml. Raises BagError."""
    path = folder / METADATA_FILE
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _FastLoader)
        information = content["rosbag2_bagfile_information"]
        information["custom_data"] = dict(information.get("custom_data") or {}) | dict(changes)
        _replace(path, _dump(content))
    except FileNotFoundError as error:
        raise BagError(
            f"{path}: expected a finished bag; `safevla bags repair` makes it"
        ) from error
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError) as error:
        raise BagError(f"{path}: cannot be changed: {error!r}") from error


def read_provenance(folder: Path) -> dict[str, str]:
    """`custom_data` of a bag's metadata.yaml; empty when there is none or it is damaged."""
    try:
        data = yaml.load((folder / METADATA_FILE).read_text(encoding="utf-8"), _FastLoader)
        custom = data["rosbag2_bagfile_information"]["custom_data"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return {}
    return {str(key): str(value) for key, value in (custom or {}).items()}


def nested(provenance: Mapping[str, str], key: str) -> dict[str, object]:
    """A JSON value of the provenance as a dictionary; empty when it is missing or damaged."""
    try:
        value = json.loads(provenance.get(key, "{}"))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _dump(value: object) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=1 << 20, allow_unicode=True)
