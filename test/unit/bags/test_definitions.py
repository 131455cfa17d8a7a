"""Definitions are found as ROS 2 installs them, complete, and without ROS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from mcap_ros2._dynamic import generate_dynamic
from rosbags.typesys import get_types_from_msg

from safevla_ros.bags.definitions import DefinitionError, find_definition


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installation with three packages."""
    files = {
        "builtin_interfaces/msg/Time.msg": "int32 sec\nuint32 nanosec\n",
        "std_msgs/msg/Header.msg": "builtin_interfaces/Time stamp\nstring frame_id  # a/frame id\n",
        "toys_msgs/msg/Box.msg": (
            "# A box\nuint8 RED=1\nstring KIND='std_msgs/Other x'\nstd_msgs/Header header\n"
            "Lid[] lids\nLid[<=3] spare\nstring<=8 name 'box'\nfloat64[3] size\n"
        ),
        "toys_msgs/msg/Lid.msg": "builtin_interfaces/Time made\n",
        "toys_msgs/msg/Broken.msg": "gone_msgs/Gone gone\n",
        "toys_msgs/msg/Box.json": json.dumps(
            {"type_hashes": [{"type_name": "toys_msgs/msg/Box", "hash_string": "RIHS01_ab"}]}
        ),
    }
    for name, text in files.items():
        path = tmp_path / "share" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/nowhere:{tmp_path}")
    find_definition.cache_clear()
    yield tmp_path
    find_definition.cache_clear()


@pytest.mark.usefixtures("installed")
def test_a_definition_holds_each_part_once_in_the_form_that_readers_parse() -> None:
    definition = find_definition("toys_msgs/msg/Box")
    assert definition.type_hash == "RIHS01_ab"
    sections = [line for line in definition.text.splitlines() if line.startswith("MSG: ")]
    assert sections == [
        "MSG: std_msgs/Header",
        "MSG: toys_msgs/Lid",
        "MSG: builtin_interfaces/Time",
    ]
    fields = get_types_from_msg(definition.text, "toys_msgs/msg/Box")
    assert set(fields) == {
        "toys_msgs/msg/Box",
        "toys_msgs/msg/Lid",
        "std_msgs/msg/Header",
        "builtin_interfaces/msg/Time",
    }
    assert "toys_msgs/msg/Box" in generate_dynamic("toys_msgs/msg/Box", definition.text)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", ["toys_msgs/msg/Gone", "toys_msgs/msg/Broken"])
def test_a_missing_part_is_named(name: str) -> None:
    with pytest.raises(DefinitionError, match=r"expected (toys|gone)_msgs/msg/Gone\.msg"):
        find_definition(name)


@pytest.mark.parametrize("name", ["Box", "toys_msgs/", "a/b/c/d", "toys_msgs/action/Play_Goal"])
def test_a_name_that_is_no_message_type_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError):
        find_definition(name)


@pytest.mark.usefixtures("installed")
def test_the_packages_own_messages_are_found_beside_it() -> None:
    assert "uint64 sequence" in find_definition("safevla_ros/msg/Heartbeat").text
