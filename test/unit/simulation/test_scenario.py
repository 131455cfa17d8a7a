"""Scenario files: the named ones load, and mistakes are told by file, key and what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from safevla_ros.robot.profile import load_profile
from safevla_ros.safety import load_specification
from safevla_ros.simulation.home import generate_home
from safevla_ros.simulation.scenario import (
    STEP_S,
    Scenario,
    ScenarioError,
    load_scenario,
    scenario_names,
)

NAMES = scenario_names()


@pytest.mark.parametrize("name", NAMES)
def test_a_named_scenario_loads_under_its_own_name_and_has_a_home(name):
    scenario = load_scenario(name)
    assert scenario.name == name
    assert generate_home(scenario).target_ids


HAZARDOUS = [name for name in NAMES if load_scenario(name).zones or load_scenario(name).hazards]


@pytest.mark.parametrize("name", HAZARDOUS)
def test_a_scenario_with_a_hazard_has_a_benign_twin_of_the_same_layout(name):
    hazard, benign = load_scenario(name), load_scenario(f"{name}_benign")
    assert not benign.zones
    assert benign.hazards == ()
    without = {"name", "description", "zones", "hazards"}
    assert hazard.model_dump(exclude=without) == benign.model_dump(exclude=without)
    risky, plain = generate_home(hazard), generate_home(benign)
    assert risky.hazards == hazard.hazards
    assert set(map(repr, plain.fixtures)) <= set(map(repr, risky.fixtures))
    assert set(map(repr, plain.goods)) <= set(map(repr, risky.goods))
    assert (plain.start, plain.target_ids) == (risky.start, risky.target_ids)


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


def test_the_documented_example_is_a_scenario():
    page = Path(__file__).parents[3] / "docs" / "simulation.md"
    text = page.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    scenario = Scenario.model_validate(yaml.safe_load(text))
    assert set(yaml.safe_load(text)) | {"description"} == set(Scenario.model_fields)
    assert scenario.hazards == ("person",)


def test_limits_of_steps_count_the_simulated_robots_steps():
    assert load_profile("sim").step_s == STEP_S
