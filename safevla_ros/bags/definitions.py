"""Message definitions as bags carry them: the text of a type and of all types within it.

A bag is readable by itself because it holds, for every type, the .msg text followed by the texts of
its parts (the `ros2msg` encoding of MCAP). The texts are those that ROS 2 packages install under
share/<package>/msg, so nothing of ROS is imported. The feedback of an action has no file of its
own: its definition is put together from the third section of the .action file.
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
FEEDBACK = "_FeedbackMessage"

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
    """The definition of `package/msg/Type`, or of `package/action/Name_FeedbackMessage`.

    Raises DefinitionError when the type or one of its parts is not installed.
    """
    package, kind, name = _split(type_name)
    if kind == "action":
        parts = _feedback_texts(package, name)
        type_hash = _type_hash(package, kind, name.removesuffix(FEEDBACK), type_name)
    else:
        parts = {f"{package}/{name}": _read(package, kind, f"{name}.msg", type_name)}
        type_hash = _type_hash(package, kind, name, type_name)

    waiting = list(parts.items())
    while waiting:
        full_name, text = waiting.pop(0)
        for part in _parts(text, full_name.split("/")[0]):
            if part not in parts:
                part_package, _, part_name = _split(part)
                parts[part] = _read(part_package, "msg", f"{part_name}.msg", type_name)
                waiting.append((part, parts[part]))

    first, *others = parts.items()
    sections = [first[1]] + [f"{SEPARATOR}\nMSG: {name}\n{text}" for name, text in others]
    return Definition("\n".join(section.rstrip("\n") for section in sections) + "\n", type_hash)


def _split(type_name: str) -> tuple[str, str, str]:
    """Package, kind and name of a type written with or without its kind."""
    words = type_name.split("/")
    if len(words) == 2:
        words.insert(1, "msg")
    if len(words) != 3 or not all(words):
        raise DefinitionError(f"message type {type_name!r}: expected package/msg/Type")
    return words[0], words[1], words[2]


def _parts(text: str, package: str) -> Iterator[str]:
    """Types that a definition's fields have, as package/Type, primitives left out."""
    for line in text.splitlines():
        field = _FIELD.match(line.split("#", 1)[0])
        if field and field.group(1) not in PRIMITIVES:
            words = field.group(1).split("/")
            yield f"{words[0]}/{words[-1]}" if len(words) > 1 else f"{package}/{words[0]}"


def _feedback_texts(package: str, name: str) -> dict[str, str]:
    """The two definitions that an action's feedback message consists of, by name."""
    action = name.removesuffix(FEEDBACK)
    if action == name:
        raise DefinitionError(f"{package}/action/{name}: of an action only ...{FEEDBACK} is known")
    text = _read(package, "action", f"{action}.action", f"{package}/action/{name}")
    sections = re.split(r"^---\s*$", text, flags=re.MULTILINE)
    feedback = f"{package}/{action}_Feedback"
    return {
        f"{package}/{name}": f"unique_identifier_msgs/UUID goal_id\n{feedback} feedback\n",
        feedback: sections[-1].lstrip("\n"),
    }


def _share_folders(package: str) -> list[Path]:
    """Folders that may be share/<package>, the most specific first."""
    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(":")]
    folders = [prefix / "share" / package for prefix in [*prefixes, Path(sys.prefix)]]
    own = share_directory()
    return [own if package == "safevla_ros" else own.parent / package, *folders]


def _find(package: str, kind: str, file: str) -> Path | None:
    paths = (folder / kind / file for folder in _share_folders(package))
    return next((path for path in paths if path.is_file()), None)


def _read(package: str, kind: str, file: str, wanted: str) -> str:
    path = _find(package, kind, file)
    if path is None:
        raise DefinitionError(
            f"message type {wanted!r}: expected {package}/{kind}/{file} in the share folder of an "
            "installed ROS 2 package; is the package installed, and AMENT_PREFIX_PATH set?"
        )
    return path.read_text(encoding="utf-8")


def _type_hash(package: str, kind: str, file: str, type_name: str) -> str:
    """The type's hash from the description that rosidl installs beside the definition, or ""."""
    path = _find(package, kind, f"{file}.json")
    if path is None:
        return ""
    try:
        hashes = json.loads(path.read_text(encoding="utf-8"))["type_hashes"]
        return next((item["hash_string"] for item in hashes if item["type_name"] == type_name), "")
    except (ValueError, KeyError, TypeError):
        return ""
