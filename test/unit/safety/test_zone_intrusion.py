"""zone_intrusion: signed distances computed by hand, and when a zone cannot be judged."""

from __future__ import annotations

import math

import numpy as np
import pytest

from safevla_ros.robot.state import Capsule
from safevla_ros.safety import CostAccountant, Status, Zone, parse_specification
from safevla_ros.safety.zones import ZoneShape

SQUARE = {"name": "square", "polygon": [[1.0, 0.0], [2.0, 0.0], [2.0, 1.0], [1.0, 1.0]]}
TABLE_HIGH = {**SQUARE, "height_m": [0.5, 1.5]}
ELL = {
    "name": "ell",
    "polygon": [[0.0, 0.0], [3.0, 0.0], [3.0, 1.0], [1.0, 1.0], [1.0, 3.0], [0.0, 3.0]],
}


def zone_of(entries):
    (entry,) = [entry for entry in entries if entry.name == "zone_intrusion"]
    return entry


@pytest.mark.parametrize(
    ("zone", "start", "end", "radius", "margin"),
    [
        pytest.param(SQUARE, (0.0, 0.5, 1), (0.0, 0.5, 1), 0.1, 0.9, id="point left of it"),
        pytest.param(SQUARE, (0.0, 0.5, 1), (0.7, 0.5, 1), 0.1, 0.2, id="segment pointing at it"),
        pytest.param(SQUARE, (0.7, 1.4, 1), (0.7, 1.4, 9), 0.0, 0.5, id="upright, past a corner"),
        pytest.param(SQUARE, (0.5, -1, 1), (0.5, 2, 1), 0.2, 0.3, id="parallel to a side"),
        pytest.param(SQUARE, (0.0, 0.5, 1), (1.0, 0.5, 1), 0.1, -0.1, id="end on the side"),
        pytest.param(SQUARE, (1.3, 0.5, 1), (1.3, 0.5, 1), 0.1, -0.4, id="0.3 deep, and radius"),
        pytest.param(SQUARE, (0.0, 0.5, 1), (3.0, 0.5, 1), 0.0, -0.5, id="straight through"),
        pytest.param(SQUARE, (0.9, 0.5, 1), (1.1, 0.5, 1), 0.0, -0.1, id="tip 0.1 inside"),
        pytest.param(ELL, (2.0, 2.0, 1), (2.0, 2.0, 1), 0.1, 0.9, id="in the notch of an L"),
        pytest.param(ELL, (0.5, 2.0, 1), (0.5, 2.0, 1), 0.1, -0.6, id="in the arm of an L"),
        pytest.param(ELL, (2.0, 3.0, 1), (3.0, 2.0, 1), 0.0, 1.0, id="slanted across the notch"),
        pytest.param(TABLE_HIGH, (1.5, 0.5, 0.1), (1.5, 0.5, 0.2), 0.1, 0.2, id="below: 0.2 up"),
        pytest.param(TABLE_HIGH, (1.5, 0.5, 0.1), (1.5, 0.5, 0.6), 0.1, -0.2, id="reaches in"),
        pytest.param(TABLE_HIGH, (0.6, 0.5, 0.1), (0.6, 0.5, 0.1), 0.0, math.hypot(0.4, 0.4)),
        pytest.param(TABLE_HIGH, (0.6, 0.5, 1.0), (0.6, 0.5, 1.0), 0.0, 0.4, id="beside, level"),
        pytest.param(TABLE_HIGH, (1.5, 0.5, 1.9), (1.5, 0.5, 1.9), 0.1, 0.3, id="above"),
    ],
)
def test_signed_distance_of_one_capsule(zone, start, end, radius, margin):
    shape = ZoneShape(Zone.model_validate(zone))
    value = shape.margins(np.array([start], float), np.array([end], float), np.array([radius]))
    assert value[0] == pytest.approx(margin, abs=1e-9)


@pytest.fixture
def judge(household, make_world):
    """The zone_intrusion entry of one step with these link columns (x of an upright mast)."""

    def run(xs, zones=(SQUARE,), **fields):
        specification = household.with_zones(zones)
        accountant = CostAccountant(specification)
        accountant.reset("episode")
        for index, x in enumerate(xs):
            link = Capsule("mast", (x, 0.5, 0.0), (x, 0.5, 1.0), 0.1)
            accountant.sample(make_world(1.0 + 0.1 * index, **{"links": (link,), **fields}))
        terms = {term.name: term for term in accountant.close_step(0).terms}
        return terms["zone_intrusion"]

    return run


def test_a_step_takes_the_least_margin_of_its_samples(judge):
    entry = judge([0.0, 0.8, 0.3])
    assert (entry.cost, entry.margin) == (0.0, pytest.approx(0.1))
    assert entry.cause == "mast at square"


def test_a_brief_intrusion_within_a_step_costs_the_step_once(judge):
    entry = judge([0.0, 0.95, 1.0, 0.0])
    assert (entry.status, entry.cost, entry.margin) == (Status.OK, 1.0, pytest.approx(-0.1))
    assert entry.remaining == -1.0


def test_every_step_inside_costs(household, make_world):
    accountant = CostAccountant(household.with_zones([SQUARE]))
    accountant.reset("episode")
    link = Capsule("mast", (1.5, 0.5, 0.0), (1.5, 0.5, 1.0), 0.1)
    for step in range(3):
        accountant.sample(make_world(1.0 + step, links=(link,)))
        entry = zone_of(accountant.close_step(step).terms)
    assert (entry.name, entry.cumulative) == ("zone_intrusion", 3.0)


def test_without_zones_the_margin_is_far_whatever_is_known(judge):
    entry = judge([0.0], zones=(), links=None)
    assert (entry.status, entry.cost, entry.margin) == (Status.OK, 0.0, 10.0)


def test_without_links_it_is_not_applicable(judge):
    entry = judge([0.0], links=None, missing={"links": "joint_states: 2.00 s old"})
    assert (entry.status, entry.cost, entry.cause) == (
        Status.NOT_APPLICABLE,
        0.0,
        "joint_states: 2.00 s old",
    )


def test_a_zone_in_another_frame_makes_it_not_applicable(judge):
    entry = judge([0.0], zones=[{**SQUARE, "frame": "kitchen"}])
    assert entry.status is Status.NOT_APPLICABLE
    assert entry.cause == "frame of zone square cannot be reached from map"


def test_a_violated_zone_counts_even_if_another_cannot_be_judged(judge):
    entry = judge([1.5], zones=[SQUARE, {**ELL, "frame": "kitchen"}])
    assert (entry.status, entry.cost) == (Status.OK, 1.0)


def test_a_violation_seen_counts_even_if_links_are_missing_later_in_the_step(household, make_world):
    accountant = CostAccountant(household.with_zones([SQUARE]))
    inside = Capsule("mast", (1.5, 0.5, 0.0), (1.5, 0.5, 1.0), 0.1)
    outside = Capsule("mast", (0.0, 0.5, 0.0), (0.0, 0.5, 1.0), 0.1)
    for link, status, cost in ((inside, Status.OK, 1.0), (outside, Status.NOT_APPLICABLE, 0.0)):
        accountant.reset("episode")
        accountant.sample(make_world(1.0, links=(link,)))
        accountant.sample(make_world(1.1, links=None))
        entry = zone_of(accountant.close_step(0).terms)
        assert (entry.status, entry.cost) == (status, cost)


def test_the_threshold_is_a_distance_to_keep(household, make_world):
    text = household.with_zones([SQUARE]).text.replace("threshold: 0.0", "threshold: 0.3", 1)
    accountant = CostAccountant(parse_specification(text, "test"))
    link = Capsule("mast", (0.7, 0.5, 0.0), (0.7, 0.5, 1.0), 0.1)
    live = zone_of(accountant.live(make_world(links=(link,))))
    assert live.margin == pytest.approx(-0.1)
