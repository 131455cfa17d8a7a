"""Specifications: the shipped one, what it says, and that every broken file is named and explained."""

from __future__ import annotations

import copy
import hashlib
import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from safevla_ros.safety import (
    SpecificationError,
    Zone,
    load_specification,
    parse_specification,
)
from safevla_ros.safety.terms import TERMS

TEXT = load_specification("household").text
CONTENT = yaml.safe_load(TEXT)


def test_household_has_all_terms_with_their_margins():
    specification = load_specification("household")
    assert specification.terms.keys() == TERMS.keys()
    assert specification.terms["collision"].threshold == 0.5
    assert specification.terms["collision"].scale == 0.5
    assert specification.terms["zone_intrusion"].threshold == 0.0
    assert specification.terms["zone_intrusion"].scale > 0.0
    assert specification.hash == hashlib.sha256(specification.text.encode()).hexdigest()
    assert set(specification.make_terms()) <= set(TERMS)


def test_every_term_is_found_by_its_files_name():
    assert {name: term.name for name, term in TERMS.items()} == {name: name for name in TERMS}
    assert {"collision", "drop", "zone_intrusion"} <= set(TERMS)


def test_zones_are_added_into_one_complete_file(tmp_path):
    specification = load_specification("household")
    zone = {"name": "stairs", "polygon": [[0, 0], [1, 0], [1, 1]], "height_m": [0.0, 2.0]}
    both = specification.with_zones([zone]).with_zones(
        [Zone(name="desk", frame="odom", polygon=((3.0, 3.0), (4.0, 3.0), (4.0, 4.0)))]
    )
    assert [zone.name for zone in both.zones] == ["stairs", "desk"]
    assert both.terms == specification.terms
    assert both.hash != specification.hash
    path = tmp_path / "specification.yaml"
    path.write_text(both.text, encoding="utf-8")
    again = load_specification(str(path))
    assert (again.hash, again.zones, again.parameters) == (both.hash, both.zones, both.parameters)
    assert specification.zones == ()


@pytest.mark.parametrize(
    ("zone", "key"),
    [
        ({"name": "a", "polygon": [[0, 0], [1, 1]]}, "polygon"),
        ({"name": "a", "polygon": [[0, 0], [1, 1], [0, 1], [1, 0]]}, "sides do not cross"),
        ({"name": "a", "polygon": [[0, 0], [1, 1], [2, 2]]}, "with an area"),
        ({"name": "a", "polygon": [[0, 0], [1, 0], [1, "one"]]}, "polygon.2.1"),
        ({"name": "a", "polygon": [[0, 0], [1, 0], [1, math.nan]]}, "polygon.2.1"),
        ({"name": "a", "polygon": [[0, 0], [1, 0], [1, 1]], "height_m": [2, 1]}, "low < high"),
        ({"name": "a", "polygon": [[0, 0], [1, 0], [1, 1]], "colour": "red"}, "colour"),
        ({"polygon": [[0, 0], [1, 0], [1, 1]]}, "name"),
    ],
)
def test_a_zone_that_is_none_is_refused_by_key(zone, key):
    with pytest.raises(SpecificationError, match=key):
        load_specification("household").with_zones([zone])


def test_two_zones_of_one_name_are_refused():
    zone = {"name": "stairs", "polygon": [[0, 0], [1, 0], [1, 1]]}
    with pytest.raises(SpecificationError, match="zones: expected names that differ, got 'stairs'"):
        load_specification("household").with_zones([zone, zone])


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("scale: 0.1", "scale: -1", "terms.zone_intrusion.scale: expected greater than 0, got -1"),
        ("scale: 0.1", "scale: .nan", "terms.zone_intrusion.scale: expected a finite number"),
        ("scale: 0.1", "scale: true", "terms.zone_intrusion.scale: expected a valid number"),
        ("scale: 0.1", "", "terms.zone_intrusion.scale: expected a value, but the key is missing"),
        ("budget: 0\n", "budget: -2\n", "terms.zone_intrusion.budget: expected greater than or"),
        ("response: limit", "response: maybe", "expected 'log', 'limit', 'stop' or 'latch'"),
        ("if_missing: refuse", "if_missing: 3", "if_missing: expected 'refuse' or 'warn', got 3"),
        ("threshold: 0.0", "threshold: 11", "terms.zone_intrusion.threshold: expected 0 to 10"),
        ("threshold: 0.5", "threshold: 2", "terms.collision.threshold: expected 0.5, got 2"),
        (
            "  drop:",
            "  spill:",
            "terms.spill: expected one of blind_spot, bystander_displacement, collision",
        ),
        ("fall_m: 0.1", "fal_m: 0.1", "terms.drop.parameters.fal_m: no such key"),
        ("fall_m: 0.1", "fall_m: far", "terms.drop.parameters.fall_m: expected a valid number"),
        ("zones: []", "zones: []\nzone: []", "zone: no such key"),
        ("zones: []", "zones: 3", "zones: expected a valid tuple, got 3"),
        ("  drop:", "  collision:", "line 49: expected valid YAML: key 'collision' stands twice"),
        ("terms:", "terms: [", "line"),
        ("name: household", "name: ''", "name: "),
    ],
)
def test_a_broken_file_is_named_with_key_value_and_what_was_expected(old, new, sentence, tmp_path):
    assert old in TEXT
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SpecificationError) as error:
        load_specification(str(path))
    assert str(path) in str(error.value)
    assert sentence in str(error.value)


def test_an_unknown_name_lists_what_there_is(tmp_path):
    with pytest.raises(SpecificationError, match="expected one of household"):
        load_specification("houshold")
    with pytest.raises(SpecificationError, match="cannot be read"):
        load_specification(str(tmp_path / "absent.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecificationError, match="cannot be read"):
        load_specification(str(tmp_path / "binary.yaml"))


def complaint(text):
    """What is said about a text; empty: it is a specification."""
    try:
        parse_specification(text, "mine.yaml")
    except SpecificationError as error:
        return str(error)
    return ""


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_no_text_at_random_is_a_specification_and_the_error_names_the_file(text):
    assert complaint(text).startswith("mine.yaml: ")


values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.dates()
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_value_at_any_key_is_accepted_or_named(data):
    """One place of the shipped file is replaced, or dropped, or gets a stranger beside it."""
    content = copy.deepcopy(CONTENT)
    here, path = content, []
    while True:
        key = data.draw(st.sampled_from(sorted(here)))
        path.append(key)
        if not isinstance(here[key], dict) or data.draw(st.booleans()):
            break
        here = here[key]
    match data.draw(st.sampled_from(["replace", "drop", "add"])):
        case "replace":
            here[key] = data.draw(values)
        case "drop":
            del here[key]
        case "add":
            here["stranger"] = data.draw(values)
    for line in complaint(yaml.safe_dump(content)).splitlines():
        file, first, _ = line.split(": ", 2)
        assert file == "mine.yaml"
        assert first.split(".")[0] in {path[0], "stranger", "terms"}
