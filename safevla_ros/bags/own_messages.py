"""Messages made where no ROS is installed: of this package and of ROS 2's common interfaces."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from safevla_ros.bags.definitions import Definition
from safevla_ros.bags.mcap_file import Topic
from safevla_ros.bags.metadata import Qos
from safevla_ros.paths import share_directory

OWN = "safevla_ros/msg/"


@cache
def message_types() -> Typestore:
    """Every message type of the package and of ROS 2's common interfaces."""
    store = get_typestore(Stores.ROS2_JAZZY)
    own: dict[str, Any] = {}
    for file in sorted((share_directory() / "msg").glob("*.msg")):
        own |= get_types_from_msg(file.read_text(encoding="utf-8"), OWN + file.stem)
    store.register(own)
    return store


def new_message(type_name: str, /, **fields: Any) -> Any:
    """A message of `package/msg/Type`, or of this package's `Type`, all zero but for the fields
    given. Raises AttributeError for a field that it has not."""
    store = message_types()
    full = type_name if "/" in type_name else OWN + type_name
    message = store.types[full](**{name: _zero(field) for name, field in store.fielddefs[full][1]})
    for name, value in fields.items():
        if not hasattr(message, name):
            raise AttributeError(f"{full} has no field {name}")
        setattr(message, name, value)
    return message


def constant(type_name: str, name: str) -> int:
    """A constant in the definition of one of this package's types."""
    return int(next(v for n, _, v in _constants(type_name) if n == name))


def to_cdr(message: Any) -> bytes:
    """The bytes of a message; lists of numbers become arrays of the right type."""
    store = message_types()
    return bytes(store.serialize_cdr(_with_arrays(message), message.__msgtype__))


def own_topic(name: str, type_name: str, *, latched: bool = False) -> Topic:
    """A topic of such messages, with its definition."""
    store = message_types()
    full = type_name if "/" in type_name else OWN + type_name
    text, _ = store.generate_msgdef(full, ros_version=2)
    durability = "transient_local" if latched else "volatile"
    definition = Definition(text, store.hash_rihs01(full))
    return Topic(name, full, definition, [Qos(durability=durability)])


def _constants(type_name: str) -> Any:
    full = type_name if "/" in type_name else OWN + type_name
    return message_types().fielddefs[full][0]


def _zero(field: Any) -> Any:
    kind, detail = field
    if kind == Nodetype.BASE:
        name = detail[0]
        if name == "string":
            return ""
        return False if name == "bool" else 0.0 if "float" in name else 0
    if kind == Nodetype.NAME:
        return new_message(detail)
    inner, length = detail
    if inner[0] == Nodetype.BASE and inner[1][0] != "string":
        return np.zeros(length or 0, inner[1][0])
    return [_zero(inner) for _ in range(length if kind == Nodetype.ARRAY else 0)]


def _with_arrays(message: Any) -> Any:
    for name, (kind, detail) in message_types().fielddefs[message.__msgtype__][1]:
        value = getattr(message, name)
        if kind == Nodetype.NAME:
            _with_arrays(value)
        elif kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            inner = detail[0]
            if inner[0] == Nodetype.NAME:
                for item in value:
                    _with_arrays(item)
            elif inner[1][0] != "string":
                setattr(message, name, np.asarray(value, inner[1][0]))
    return message
