"""A bag scored again gives the live verdict: world states are rebuilt from the listed messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from live_bag import PERIOD_NS, STEPS, TYPES, ZONE, Live, fill, readings

from safevla_ros.bags import BagError
from safevla_ros.bags.reader import Bag
from safevla_ros.bags.scoring import score
from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.profile import load_profile, urdf_path
from safevla_ros.robot.state import NANOSECONDS
from safevla_ros.safety.accounting import CostAccountant
from safevla_ros.safety.specification import load_specification

MakeBag = Callable[..., Any]


@pytest.fixture(scope="module")
def specification() -> Any:
    return load_specification("household").with_zones([ZONE])


def score_bag(folder: Path, **options: Any) -> Any:
    profile = load_profile("sim")
    return score(Bag(folder), profile, Kinematics(urdf_path(profile)), **options)


def test_the_verdict_is_the_live_one(make_bag: MakeBag, specification: Any) -> None:
    bag = make_bag(robot="sim")
    live = Live(bag, specification)
    scored = score_bag(bag.finish())
    assert scored.compared == STEPS
    assert scored.differences == []
    assert scored.largest_difference <= 1e-9
    assert [step.costs for step in scored.steps] == live.steps
    # It is worth comparing: the brief contact and the zone cost something, the release excuses.
    assert scored.totals["collision"] == 1.0
    assert scored.totals["drop"] == 0.0
    assert scored.totals["zone_intrusion"] > 3.0


def test_a_step_with_a_message_missing_is_counted_and_not_compared(
    make_bag: MakeBag, specification: Any
) -> None:
    bag = make_bag(robot="sim")
    Live(bag, specification, leave_out=("odometry", 25))
    scored = score_bag(bag.finish())
    assert [step.costs.step for step in scored.steps if step.incomplete] == [2]
    assert "odometry of 1500000000 ns" in scored.steps[2].incomplete
    assert scored.compared == STEPS - 1
    assert scored.incomplete == 1
    assert scored.differences == []


def test_another_specification_gives_other_costs(make_bag: MakeBag, specification: Any) -> None:
    bag = make_bag(robot="sim")
    Live(bag, specification)
    scored = score_bag(bag.finish(), specification=load_specification("household"))
    assert scored.totals["zone_intrusion"] == 0.0
    assert scored.totals["collision"] == 1.0
    assert scored.compared == 0


def test_a_verdict_that_was_tampered_with_is_noticed(
    make_bag: MakeBag, specification: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = CostAccountant.close_step

    def tampered(self: CostAccountant, step: int) -> Any:
        costs = close(self, step)
        if step != 4:
            return costs
        first, *others = costs.terms
        return SimpleNamespace(
            **{name: getattr(costs, name) for name in ("sources", "stamp_ns")},
            terms=[SimpleNamespace(**_fields(first) | {"margin": first.margin + 1e-6}), *others],
        )

    bag = make_bag(robot="sim")
    monkeypatch.setattr(CostAccountant, "close_step", tampered)
    Live(bag, specification)
    monkeypatch.undo()
    scored = score_bag(bag.finish())
    [difference] = scored.differences
    assert (difference.step, difference.what) == (4, "margin")
    assert scored.largest_difference == pytest.approx(1e-6)


def _fields(term: Any) -> dict[str, Any]:
    return {name: getattr(term, name) for name in type(term).__dataclass_fields__}


def test_a_bag_without_costs_is_scored_in_steps_of_equal_length(
    make_bag: MakeBag, specification: Any
) -> None:
    bag = make_bag("foreign")
    for index in range(100):
        for order, (name, delay_ns, value) in enumerate(readings(index)):
            stamp_ns = NANOSECONDS + index * PERIOD_NS + delay_ns
            topic = f"/{TYPES[name][0]}"
            bag.put(
                (stamp_ns + order * 1000) / 1e9, topic, fill(bag, name, value), stamp_ns=stamp_ns
            )
    folder = bag.finish()
    with pytest.raises(BagError, match="holds no cost specification"):
        score_bag(folder)
    scored = score_bag(folder, specification=specification, step_s=0.5)
    assert [step.costs.step for step in scored.steps] == [0, 1, 2, 3]
    assert scored.totals["collision"] == 1.0
    assert scored.totals["drop"] == 1.0  # nobody says that it was told to let go
    assert "the bag holds no costs that can be read: its steps are of equal length" in scored.notes


def test_a_bag_of_something_else_has_nothing_to_score(make_bag: MakeBag) -> None:
    bag = make_bag()
    bag.image(1.0, "navigation", (1, 2, 3))
    with pytest.raises(BagError, match="holds no odometry of sim"):
        score_bag(bag.finish(), specification=load_specification("household"))
