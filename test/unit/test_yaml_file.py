"""A YAML file that cannot be used gets one sentence, whatever YAML itself says about it."""

from __future__ import annotations

import pytest

from safevla_ros.robot.profile import ProfileError, load_profile
from safevla_ros.safety.specification import SpecificationError, load_zones
from safevla_ros.simulation.scenario import ScenarioError, load_scenario
from safevla_ros.yaml_file import read_yaml


class FaultError(ValueError):
    """Of whoever reads."""


@pytest.mark.parametrize(
    "text", [b"a: [", b"a: {b", b"a: 2026-13-45", b"\t", b"\xff\xfe", b"[" * 500]
)
def test_what_is_no_yaml_is_named_in_one_line(tmp_path, text):
    path = tmp_path / "file.yaml"
    path.write_bytes(text)
    with pytest.raises(FaultError, match=r"file\.yaml: ") as fault:
        read_yaml(path, FaultError)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("load", "error"),
    [
        (load_profile, ProfileError),
        (load_scenario, ScenarioError),
        (load_zones, SpecificationError),
    ],
)
def test_so_say_those_who_read_one(tmp_path, load, error):
    path = tmp_path / "file.yaml"
    path.write_text("a: [")
    with pytest.raises(error, match=r"file\.yaml: not valid YAML: ") as fault:
        load(str(path))
    assert "\n" not in str(fault.value)
