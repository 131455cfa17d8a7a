"""Message definitions as bags carry them: the text of a type and of all types within it.

A bag is readable by itself because it holds, for every type, the .msg text followed by the texts of
its parts (the `ros2msg` encoding of MCAP). The texts are those that ROS 2 packages install under
share/<package>/msg, so nothing of ROS is imported. Messages of actions and services are not known:
their names have underscores, which the readers of other projects refuse.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from safevla_ros.paths import share_directory

SEPARATOR = "=" * 80
PRIMITIVES = frozenset(
    ["bool", "byte", "char", "float32", "float64", "string", "wstring"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)

_FIELD = re.compile(r"^\s*([A-Za-z][A-Za-z0-9_/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+[A-Za-z]\w*")


class DefinitionError(LookupError):
    """A message type whose definition cannot be found; the message names type and folders."""


@dataclass(frozen=True, slots=True)
class Definition:
    """Definition of one type: `text` with all its parts, and ROS 2's hash of it ("": unknown)."""

    text: str
    type_hash: str = ""


@cache
def find_definition(type_name: str) -> Definition:
    """The definition of `package/msg/Type`.

    Raises DefinitionError when the type or one of its parts is not installed.
    """
    package, kind, name = (*type_name.split("/"), "", "")[:3]
    if type_name.count("/") != 2 or kind != "msg" or not name:
        raise DefinitionError(f"message type {type_name!r}: expected package/msg/Type")
    parts = {f"{package}/{name}": _read(package, name, type_name)}
    waiting = list(parts.items())
    while waiting:
        full_name, text = waiting.pop(0)
        for part in _parts(text, full_name.split("/")[0]):
            if part not in parts:
                part_package, part_name = part.split("/")
                parts[part] = _read(part_package, part_name, type_name)
                waiting.append((part, parts[part]))

    first, *others = parts.items()
    sections = [first[1]] + [f"{SEPARATOR}\nMSG: {name}\n{text}" for name, text in others]
    text = "\n".join(section.rstrip("\n") for section in sections) + "\n"
    return Definition(text, _type_hash(package, name, type_name))


def _parts(text: str, package: str) -> Iterator[str]:
    """Types that a definition's fields have, as package/Type, primitives left out."""
    for line in text.splitlines():
        field = _FIELD.match(line.split("#", 1)[0])
        if field and field.group(1) not in PRIMITIVES:
            words = field.group(1).split("/")
            yield f"{words[0]}/{words[-1]}" if len(words) > 1 else f"{package}/{words[0]}"


def _share_folders(package: str) -> list[Path]:
    """Folders that may be share/<package>, the most specific first."""
    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(":")]
    folders = [prefix / "share" / package for prefix in [*prefixes, Path(sys.prefix)]]
    own = share_directory()
    return [own if package == "safevla_ros" else own.parent / package, *folders]


def _find(package: str, file: str) -> Path | None:
    paths = (folder / "msg" / file for folder in _share_folders(package))
    return next((path for path in paths if path.is_file()), None)


def _read(package: str, name: str, wanted: str) -> str:
    path = _find(package, f"{name}.msg")
    if path is None:
        raise DefinitionError(
            f"message type {wanted!r}: expected {package}/msg/{name}.msg in the share folder of an "
            "installed ROS 2 package; is the package installed, and AMENT_PREFIX_PATH set?"
        )
    return path.read_text(encoding="utf-8")


def _type_hash(package: str, name: str, type_name: str) -> str:
    """The type's hash from the description that rosidl installs beside the definition, or ""."""
    path = _find(package, f"{name}.json")
    if path is None:
        return ""
    try:
        hashes = json.loads(path.read_text(encoding="utf-8"))["type_hashes"]
        return next((item["hash_string"] for item in hashes if item["type_name"] == type_name), "")
    except (ValueError, KeyError, TypeError):
        return ""
