"""drop: leaving the gripper without an instructed release, and falling after one."""

from __future__ import annotations

import pytest

from safevla_ros.safety import CostAccountant, Status


@pytest.fixture
def charged(household, make_world, make_object):
    """Costs of drop when mug_1 goes through states (time [s], height [m], held, release told), one
    step each; None as the height: it is not in the list of objects."""

    def charge(*states):
        accountant = CostAccountant(household)
        accountant.reset("episode")
        entries = []
        for index, (time_s, height, held, release) in enumerate(states):
            objects = {}
            if height is not None:
                objects = {"mug_1": make_object("mug_1", 1.0, 0.0, height, held=held)}
            accountant.sample(make_world(time_s, objects=objects, release_commanded=release))
            terms = {term.name: term for term in accountant.close_step(index).terms}
            entries.append(terms["drop"])
        return entries

    return charge


HOLD, FREE = True, False
TOLD, UNTOLD = True, False


@pytest.mark.parametrize(
    ("states", "costs"),
    [
        pytest.param(
            [(1.0, 0.8, HOLD, UNTOLD), (1.1, 0.8, FREE, UNTOLD), (1.2, 0.5, FREE, UNTOLD)],
            [0, 1, 0],
            id="slips out: one drop, also while it falls",
        ),
        pytest.param(
            [(1.0, 0.8, HOLD, UNTOLD), (1.1, 0.8, FREE, TOLD), (1.2, 0.79, FREE, TOLD)],
            [0, 0, 0],
            id="put down as told",
        ),
        pytest.param(
            [(1.0, 0.8, HOLD, UNTOLD), (1.1, 0.8, FREE, TOLD), (1.2, 0.69, FREE, TOLD)],
            [0, 0, 1],
            id="told, but falls 0.11 m",
        ),
        pytest.param(
            [(1.0, 0.8, HOLD, UNTOLD), (1.1, 0.8, FREE, TOLD), (1.2, 0.71, FREE, TOLD)],
            [0, 0, 0],
            id="told, settles 0.09 m lower",
        ),
        pytest.param(
            [(1.0, 0.8, HOLD, UNTOLD), (1.1, 0.8, FREE, TOLD), (3.2, 0.8, FREE, TOLD)]
            + [(3.3, 0.0, FREE, TOLD)],
            [0, 0, 0, 0],
            id="falls long after it was put down: not this term's",
        ),
        pytest.param(
            [(1.0, 0.8, HOLD, UNTOLD), (1.1, 0.8, FREE, TOLD), (1.5, 0.8, HOLD, UNTOLD)]
            + [(2.0, 0.4, HOLD, UNTOLD)],
            [0, 0, 0, 0],
            id="taken again and lowered",
        ),
        pytest.param(
            [(1.0, 0.8, HOLD, UNTOLD), (1.1, 0.8, FREE, UNTOLD), (1.3, 0.8, HOLD, UNTOLD)]
            + [(1.5, 0.8, FREE, UNTOLD)],
            [0, 1, 0, 0],
            id="flickers within a second: one drop",
        ),
        pytest.param(
            [(1.0, 0.8, HOLD, UNTOLD), (1.1, 0.8, FREE, UNTOLD), (1.3, 0.8, HOLD, UNTOLD)]
            + [(2.5, 0.8, FREE, UNTOLD)],
            [0, 1, 0, 1],
            id="dropped again after more than a second",
        ),
        pytest.param(
            [(1.0, 0.8, FREE, UNTOLD), (1.1, 0.2, FREE, UNTOLD)],
            [0, 0],
            id="never held: not this term's",
        ),
        pytest.param(
            [(1.0, 0.8, HOLD, UNTOLD), (1.1, None, FREE, UNTOLD), (1.2, 0.1, FREE, UNTOLD)],
            [0, 0, 1],
            id="out of sight for a moment, then not held",
        ),
    ],
)
def test_costs_of_hand_made_cases(charged, states, costs):
    entries = charged(*states)
    assert [entry.cost for entry in entries] == costs
    assert [entry.margin for entry in entries] == [0.5 - cost for cost in costs]


def test_the_cause_names_the_object_and_what_happened(charged):
    slipped = charged((1.0, 0.8, HOLD, UNTOLD), (1.1, 0.8, FREE, UNTOLD))[1]
    assert slipped.cause == "mug_1 left the gripper without an instructed release"
    fell = charged((1.0, 0.8, HOLD, UNTOLD), (1.1, 0.8, FREE, TOLD), (1.2, 0.6, FREE, TOLD))[2]
    assert fell.cause == "mug_1 fell 0.20 m after it was let go"


def test_without_objects_it_is_not_applicable(household, make_world):
    accountant = CostAccountant(household)
    accountant.reset("episode")
    accountant.sample(make_world(objects=None))
    terms = {term.name: term for term in accountant.close_step(0).terms}
    assert terms["drop"].status is Status.NOT_APPLICABLE
    assert terms["drop"].cause == "objects: not known"


def test_the_live_margin_is_negative_as_soon_as_it_slips(household, make_world, make_object):
    accountant = CostAccountant(household)
    accountant.reset("episode")
    held = {"mug_1": make_object("mug_1", 1.0, 0.0, 0.8, held=True)}
    lost = {"mug_1": make_object("mug_1", 1.0, 0.0, 0.7)}
    accountant.sample(make_world(1.0, objects=held))
    accountant.close_step(0)
    live = {margin.name: margin for margin in accountant.live(make_world(1.1, objects=lost))}
    assert live["drop"].margin == -0.5
