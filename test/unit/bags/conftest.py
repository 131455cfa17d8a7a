"""Real ROS messages without ROS: rosbags knows the common definitions, ours come from msg/."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rosbags.typesys.store import Typestore

sys.path.insert(0, str(Path(__file__).parents[1]))

from bag_maker import BagMaker, all_types

from safevla_ros.bags import RawMessage
from safevla_ros.bags.definitions import Definition
from safevla_ros.bags.mcap_file import McapFile, Topic
from safevla_ros.bags.metadata import Qos

STRING = "std_msgs/msg/String"
IMAGE = "sensor_msgs/msg/Image"
SECOND = 1_000_000_000


@pytest.fixture(scope="session")
def types() -> Typestore:
    """Every message type of the package and of ROS 2."""
    return all_types()


@pytest.fixture
def make_bag(types: Typestore, tmp_path: Path) -> Callable[..., BagMaker]:
    """Begins a bag of the given name, with provenance."""

    def make(name: str = "bag", **provenance: str) -> BagMaker:
        return BagMaker(types, tmp_path / name, **provenance)

    return make


@pytest.fixture(scope="session")
def make_topic(types: Typestore) -> Callable[[str, str], Topic]:
    """A topic by name and type, with its definition."""

    def make(name: str, type_name: str) -> Topic:
        text, _ = types.generate_msgdef(type_name, ros_version=2)
        return Topic(name, type_name, Definition(text, types.hash_rihs01(type_name)))

    return make


@pytest.fixture(scope="session")
def make_text(types: Typestore) -> Callable[..., RawMessage]:
    """The n-th message of a topic of strings, a tenth of a second after the one before."""

    def make(number: int, *, topic: str = "/text", size: int = 0) -> RawMessage:
        message = types.types[STRING](data=f"{number}:" + "x" * size)
        data = bytes(types.serialize_cdr(message, STRING))
        stamp_ns = 1_700_000_000 * SECOND + number * SECOND // 10
        return RawMessage(topic, data, stamp_ns, stamp_ns - 1000)

    return make


@pytest.fixture
def latched_then_text(
    tmp_path: Path, make_topic: Callable[[str, str], Topic], make_text: Callable[..., RawMessage]
) -> Path:
    """A bag with two messages of a latched topic /status, then fifty of /text."""
    folder = tmp_path / "source"
    folder.mkdir()
    file = McapFile(folder / "source_0.mcap", {"robot": "sim"})
    status = make_topic("/status", STRING)
    file.add_topic(replace(status, qos=[Qos(durability="transient_local")]))
    file.add_topic(make_topic("/text", STRING))
    for number in range(50):
        file.write(make_text(number, topic="/status" if number < 2 else "/text"), number)
    file.finish({})
    return folder
