"""Clauses: on-line margins with bounded memory are the off-line ones, sample by sample."""

from __future__ import annotations

import math

import numpy as np
import pytest

from safevla_ros.robot.state import BaseVelocity
from safevla_ros.safety import CostAccountant, SpecificationError, parse_specification
from safevla_ros.safety.clauses import ClauseTerm, parse_clause

PERIOD_S = 0.1
CLAUSES = [
    "always (base_speed < threshold)",
    "always (base_speed > 0.1)",
    "always (turn_rate > 0.5 -> base_speed < threshold)",
    "always (once[1s] (turn_rate > 0.9) -> base_speed < threshold)",
    "always (turn_rate > 0.5 -> historically[0.5s] (base_speed < threshold))",
    "always (once[0.7s] (base_speed < 0.05))",
]
IN_RTAMT = [
    "{threshold} - speed >= 0",
    "speed >= 0.1",
    "(rate - 0.5 >= 0) implies ({threshold} - speed >= 0)",
    "(once[0:10] (rate - 0.9 >= 0)) implies ({threshold} - speed >= 0)",
    "(rate - 0.5 >= 0) implies (historically[0:5] ({threshold} - speed >= 0))",
    "once[0:7] (0.05 - speed >= 0)",
]
THRESHOLD = 0.6
HOUSE = """
name: mine
terms:
  gentle:
    clause: {clause}
    threshold: 0.6
    scale: 0.1
    warning: 0.0
    response: log
    if_missing: warn
"""


@pytest.fixture
def trace(make_world):
    rng = np.random.default_rng(3)
    speeds, rates = rng.uniform(0.0, 1.0, 120), rng.uniform(0.0, 1.0, 120)
    worlds = [
        make_world(10.0 + PERIOD_S * i, velocity=BaseVelocity(x=speed, yaw=-rate))
        for i, (speed, rate) in enumerate(zip(speeds, rates, strict=True))
    ]
    return speeds, rates, worlds


def offline(clause, speeds, rates):
    """Robustness at every sample, from the whole trace: windows as slices."""

    def part(comparison):
        values = speeds if comparison.name == "base_speed" else rates
        rho = comparison.bound - values if comparison.is_below else values - comparison.bound
        if not comparison.quantifier:
            return rho
        length = round(comparison.window_s / PERIOD_S)
        best = np.max if comparison.quantifier == "once" else np.min
        return np.array([best(rho[max(0, i - length) : i + 1]) for i in range(len(rho))])

    body = part(clause.body)
    return body if clause.gate is None else np.maximum(-part(clause.gate), body)


@pytest.mark.parametrize("text", CLAUSES)
def test_online_margins_are_the_offline_ones(trace, text):
    speeds, rates, worlds = trace
    clause = parse_clause(text, THRESHOLD)
    term = ClauseTerm("mine", THRESHOLD, clause)
    online = []
    for world in worlds:
        peeked = term.live(world).value
        cost = term(world, [world], world)
        assert peeked == cost.margin
        assert cost.cost == float(cost.margin < 0.0)
        online.append(cost.margin)
    assert np.abs(online - offline(clause, speeds, rates)).max() <= 1e-9
    assert all(len(window._kept) <= 11 for window in term._windows)


@pytest.mark.parametrize(("text", "theirs"), list(zip(CLAUSES, IN_RTAMT, strict=True)))
def test_they_are_those_of_rtamt(trace, text, theirs):
    rtamt = pytest.importorskip("rtamt", reason="rtamt is not installed: pip install rtamt")
    speeds, rates, worlds = trace
    term = ClauseTerm("mine", THRESHOLD, parse_clause(text, THRESHOLD))
    ours = [term(world, [world], world).margin for world in worlds]
    specification = rtamt.StlDiscreteTimeSpecification()
    specification.declare_var("speed", "float")
    specification.declare_var("rate", "float")
    specification.spec = theirs.format(threshold=THRESHOLD)
    specification.parse()
    for index, (speed, rate) in enumerate(zip(speeds, rates, strict=True)):
        value = specification.update(index, [("speed", speed), ("rate", rate)])
        assert value == pytest.approx(ours[index], abs=1e-9)


def test_a_clause_is_a_term_of_a_specification(make_world):
    clause = "always (once[1s] (turn_rate > 0.5) -> base_speed < threshold)"
    specification = parse_specification(HOUSE.format(clause=clause), "mine.yaml")
    accountant = CostAccountant(specification)
    accountant.reset("e")
    charged = []
    for time_s, speed, rate in ((1.0, 0.7, 0.0), (2.0, 0.1, 0.8), (2.5, 0.7, 0.0), (4.0, 0.7, 0.0)):
        world = make_world(time_s, velocity=BaseVelocity(x=speed, yaw=rate))
        accountant.sample(world)
        (live,) = accountant.live(world)
        (entry,) = accountant.close_step(len(charged)).terms
        assert live.margin == entry.margin
        charged.append(entry.cost)
    assert charged == [0.0, 0.0, 1.0, 0.0]
    assert specification.unit("gentle") == "m/s"


def test_a_clause_whose_scalar_is_not_known_is_not_applicable(make_world):
    term = ClauseTerm("mine", 1.0, parse_clause("always (joint:elbow < threshold)", 1.0))
    world = make_world()
    assert math.isnan(term(world, [world], world).margin)


@pytest.mark.parametrize(
    ("clause", "sentence"),
    [
        ("base_speed < threshold", "expected always (x < threshold)"),
        ("always (base_speed <= threshold)", "expected x < number"),
        ("always (base_sped < threshold)", "'base_sped': expected one of base_speed"),
        ("always (a > 1 -> b > 2 -> c > 3)", "expected one -> at most"),
        ("always (once[two] (base_speed < 1))", "expected x < number"),
    ],
)
def test_a_clause_that_cannot_be_read_is_named(clause, sentence):
    text = HOUSE.format(clause=clause)
    if "-> b" in clause:
        text = text.replace("a > 1 -> b > 2 -> c > 3", "carrying > 1 -> reach > 2 -> reach > 3")
    with pytest.raises(SpecificationError) as error:
        parse_specification(text, "mine.yaml")
    assert "mine.yaml: terms.gentle.clause:" in str(error.value)
    assert sentence in str(error.value)
