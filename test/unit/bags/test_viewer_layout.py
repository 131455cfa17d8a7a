"""The layout for Foxglove: what its panels name exists."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from safevla_ros.bags.own_messages import OWN, message_types
from safevla_ros.paths import share_directory
from safevla_ros.robot.profile import load_profile
from safevla_ros.safety.specification import load_specification

PATH = re.compile(r'/safety_status\.(\w+)\[:\]\{name=="(\w+)"\}\.(\w+)')
"""A field of one entry of a list, in Foxglove's words."""


@pytest.fixture
def layout() -> dict[str, Any]:
    return json.loads((share_directory() / "config/viewers/foxglove.json").read_text())


def fields(type_name: str) -> dict[str, Any]:
    return dict(message_types().fielddefs[OWN + type_name][1])


def panels(layout: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [each for name, each in layout["configById"].items() if name.startswith(f"{kind}!")]


def test_every_panel_is_laid_out_and_every_place_has_a_panel(layout: dict[str, Any]) -> None:
    def places(node: Any) -> list[str]:
        return [node] if isinstance(node, str) else places(node["first"]) + places(node["second"])

    assert sorted(places(layout["layout"])) == sorted(layout["configById"])


def test_it_shows_the_cameras_and_the_pose_of_the_simulated_robot(layout: dict[str, Any]) -> None:
    profile = load_profile("sim")
    shown = {panel["imageMode"]["imageTopic"] for panel in panels(layout, "Image")}
    assert shown == {f"/{camera.topic}" for camera in profile.cameras}
    [top] = panels(layout, "3D")
    assert profile.signals.localisation is not None
    assert f"/{profile.signals.localisation.topic}" in top["topics"]


def test_each_curve_is_a_number_of_a_term_that_there_is(layout: dict[str, Any]) -> None:
    """One curve for each term: all of a list would be one curve that jumps between them."""
    specification = load_specification("household")
    budgeted = {name for name, term in specification.terms.items() if term.budget is not None}
    for panel in panels(layout, "Plot"):
        named = set()
        for path in panel["paths"]:
            match = PATH.fullmatch(path["value"])
            assert match, path["value"]
            assert match[1] in fields("SafetyStatus")
            assert match[3] in fields("TermMargin")
            named.add(match[2])
        assert named == budgeted
