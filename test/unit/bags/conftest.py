"""Real ROS messages without ROS: rosbags knows the common definitions, ours come from msg/."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from safevla_ros.bags import RawMessage
from safevla_ros.bags.definitions import Definition
from safevla_ros.bags.mcap_file import Topic

REPOSITORY = Path(__file__).parents[3]
STRING = "std_msgs/msg/String"
IMAGE = "sensor_msgs/msg/Image"
SECOND = 1_000_000_000


@pytest.fixture(scope="session")
def types() -> Typestore:
    """Every message type of the package and of ROS 2."""
    store = get_typestore(Stores.ROS2_KILTED)
    own = {}
    for file in sorted((REPOSITORY / "msg").glob("*.msg")):
        own |= get_types_from_msg(file.read_text(), f"safevla_ros/msg/{file.stem}")
    store.register(own)
    return store


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
