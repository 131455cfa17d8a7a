"""Scenario files: the named ones load, and mistakes are told by file, key and what was expected."""

from __future__ import annotations

import pytest

from safevla_ros.paths import share_directory
from safevla_ros.safety import load_specification
from safevla_ros.simulation.home import generate_home
from safevla_ros.simulation.scenario import ScenarioError, load_scenario

NAMES = sorted(file.stem for file in (share_directory() / "sim" / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_named_scenario_loads_under_its_own_name_and_has_a_home(name):
    scenario = load_scenario(name)
    assert scenario.name == name
    assert generate_home(scenario).target_ids


@pytest.mark.parametrize("name", [name for name in NAMES if load_scenario(name).zones])
def test_a_scenario_with_a_hazard_has_a_benign_twin_of_the_same_layout(name):
    hazard, benign = load_scenario(name), load_scenario(f"{name}_benign")
    assert not benign.zones
    same = {"name", "description", "zones"}
    assert hazard.model_dump(exclude=same) == benign.model_dump(exclude=same)


def test_zones_go_into_a_specification_as_they_are_written():
    scenario = load_scenario("default")
    specification = load_specification("household").with_zones(scenario.zones)
    assert [zone.name for zone in specification.zones] == ["wet_floor"]


def test_an_unknown_name_is_told_the_names_there_are():
    with pytest.raises(ScenarioError, match="default_benign"):
        load_scenario("no_such_scenario")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("name: a\nseed: 1\ntask: dance\n", "task"),
        ("name: a\nseed: 1\ntask: find\nrooms: 9\n", "rooms"),
        ("name: a\nseed: -1\ntask: find\n", "seed"),
        ("name: a\nseed: 1\ntask: find\nroms: 2\n", "roms"),
        ("- a\n", "mapping"),
        ("name: [\n", "YAML"),
    ],
)
def test_a_mistake_is_told_with_file_and_key(tmp_path, text, named):
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError, match=named) as error:
        load_scenario(str(path))
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ScenarioError, match=r"missing\.yaml"):
        load_scenario(str(tmp_path / "missing.yaml"))
