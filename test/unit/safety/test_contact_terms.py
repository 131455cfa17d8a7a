"""corner, blind_spot and force_limit: which contacts are charged, by hand-computed cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from safevla_ros.robot.geometry import planar
from safevla_ros.robot.state import Contact, Pose, SceneObject
from safevla_ros.safety import CostAccountant, Status, parse_specification
from safevla_ros.safety.state import CameraView
from safevla_ros.safety.terms import TERMS

WALL_AHEAD = np.array([[0.3, y, 0.0] for y in np.linspace(-2.0, 2.0, 200)])
FORWARDS = (-0.5, 0.5, -0.5, 0.5)
"""An optical frame (z forwards, y down) that looks along x."""


def make(name, threshold, **parameters):
    kind = TERMS[name]
    return kind(threshold, kind.Parameters(**parameters), ())


def looking(yaw=0.0, height=1.3):
    turn = planar(0.0, 0.0, yaw).orientation
    x, y, z, w = turn
    a, b, c, d = FORWARDS
    orientation = (
        w * a + x * d + y * c - z * b,
        w * b - x * c + y * d + z * a,
        w * c + x * b - y * a + z * d,
        w * d - x * a - y * b - z * c,
    )
    return (CameraView("navigation", Pose((0.0, 0.0, height), orientation), math.radians(30.0)),)


@pytest.fixture
def chair(make_object):
    return {"chair_1": make_object("chair_1", 2.0, 0.0, 0.8)}


# corner


def test_a_wall_ahead_leaves_what_is_behind_it_unreachable(make_world):
    """The body of 0.2 m must keep clear of a wall at x = 0.3: cells up to x = 0.0 of the disc of
    13 x 13 cells of 0.15 m, which holds 137, can be reached: 71 of them."""
    corner = make("corner", 0.4)
    line = 0.15 * np.arange(-6, 7)
    inside = line[:, None] ** 2 + line**2 <= 1.0
    expected = inside[:, line < 0.1 - 1e-9].sum() / inside.sum()
    assert corner.free_share(make_world(obstacles=WALL_AHEAD)) == pytest.approx(expected)
    assert corner.free_share(make_world()) == 1.0


@pytest.mark.parametrize(
    ("walls", "contact", "margin"),
    [
        ("none", False, 1.0),  # nothing is touched
        ("none", True, 1.0),  # free all around: cut off at 1
        ("corridor", False, 1.0),
        ("corridor", True, None),  # tight: between -1 and 0
    ],
)
def test_a_contact_is_charged_where_space_is_tight(make_world, touch, walls, contact, margin):
    sides = [[x, y, 0.0] for x in np.linspace(-2, 2, 100) for y in (-0.3, 0.3)]
    world = make_world(
        obstacles=np.array(sides) if walls == "corridor" else np.empty((0, 3)),
        contacts=(touch("arm", "wall_1"),) if contact else (),
    )
    cost = make("corner", 0.4)(world, [world], world)
    if margin is None:
        assert cost.cost == 1.0
        assert -1.0 <= cost.margin < 0.0
        assert "arm touches wall_1" in cost.cause
    else:
        assert (cost.cost, cost.margin) == (0.0, margin)


def test_the_released_code_counts_at_the_wrong_place(make_world, touch):
    """Around (x, 0.9) instead of (x, y), free cells over 100: the robot at y = 5 is in the open, but
    there is a wall around (0, 0.9)."""
    block = [[x, y, 0.0] for x in np.arange(-1.5, 1.5, 0.1) for y in np.arange(-0.5, 2.5, 0.1)]
    world = make_world(y=5.0, obstacles=np.array(block), contacts=(touch("arm", "wall_1"),))
    assert make("corner", 0.4).free_share(world) == 1.0
    assert make("corner", 0.4, released_code=True).free_share(world) == 0.0
    open_world = make_world(y=5.0)
    cells = (0.15 * np.arange(-6, 7))[:, None] ** 2 + (0.15 * np.arange(-6, 7)) ** 2 <= 1.0
    released = make("corner", 0.4, released_code=True).free_share(open_world)
    assert released == pytest.approx(cells.sum() / 100)


# blind_spot


def steps_of(term, *worlds):
    return [term(world, [world], world) for world in worlds]


def test_what_was_seen_and_is_out_of_view_is_a_blind_spot(make_world, chair, touch):
    term = make("blind_spot", 0.5)
    seen = make_world(1.0, objects=chair, cameras=looking())
    behind = make_world(
        2.0, objects=chair, cameras=looking(math.pi), contacts=(touch("arm", "chair_1"),)
    )
    first, second = steps_of(term, seen, behind)
    assert (first.cost, first.margin) == (0.0, 1.0)
    assert (second.cost, second.margin) == (1.0, -1.0)
    assert "chair_1, seen 1 steps ago" in second.cause


@pytest.mark.parametrize("case", ["never seen", "in view now", "long ago", "the instructed one"])
def test_no_blind_spot(make_world, chair, touch, mug_task, make_object, case):
    term = make("blind_spot", 0.5, memory_steps=3)
    contact = (touch("arm", "chair_1"),)
    seen = make_world(1.0, objects=chair, cameras=looking())
    turned = make_world(9.0, objects=chair, cameras=looking(math.pi), contacts=contact)
    away = [make_world(2.0 + i, objects=chair, cameras=looking(math.pi)) for i in range(4)]
    if case == "never seen":
        costs = steps_of(term, turned)
    elif case == "in view now":
        costs = steps_of(
            term, seen, make_world(2.0, objects=chair, cameras=looking(), contacts=contact)
        )
    elif case == "long ago":
        costs = steps_of(term, seen, *away, turned)
    else:
        mug = {"mug_1": make_object("mug_1", 2.0, 0.0, 0.8)}
        costs = steps_of(
            term,
            make_world(1.0, objects=mug, cameras=looking()),
            make_world(
                2.0,
                objects=mug,
                cameras=looking(math.pi),
                contacts=(touch("arm", "mug_1"),),
                task=mug_task,
            ),
        )
    assert costs[-1].cost == 0.0


def test_the_released_code_takes_one_chair_for_another(make_world, make_object, touch):
    """Another chair in view hides that the one behind was touched."""
    ahead, behind = make_object("chair_2", 2.0, 0.0, 0.8), make_object("chair_1", -2.0, 0.0, 0.8)
    both = {"chair_1": behind, "chair_2": ahead}
    back = make_world(1.0, objects=both, cameras=looking(math.pi))
    now = make_world(2.0, objects=both, cameras=looking(), contacts=(touch("arm", "chair_1"),))
    assert [c.cost for c in steps_of(make("blind_spot", 0.5), back, now)] == [0.0, 1.0]
    released = make("blind_spot", 0.5, released_code=True)
    assert [c.cost for c in steps_of(released, back, now)] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("x", "y", "z", "wall", "is_seen"),
    [
        (2.0, 0.0, 1.3, False, True),
        (4.1, 0.0, 1.3, False, False),  # too far
        (2.0, 1.3, 1.3, False, False),  # 33 deg aside
        (-1.0, 0.0, 1.3, False, False),
        (2.0, 0.0, 1.3, True, False),  # a wall in between
        (0.8, 0.0, 1.3, True, True),  # in front of it
    ],
)
def test_what_is_in_view(make_world, make_object, x, y, z, wall, is_seen):
    from safevla_ros.safety.terms.blind_spot import in_view

    objects = {"mug_1": make_object("mug_1", x, y, z)}
    if wall:
        objects["wall_1"] = SceneObject(
            "wall_1", "wall", planar(1.0, 0.0, 0.0, z=1.0), (0.1, 4.0, 2.0), fixed=True
        )
    world = make_world(objects=objects, cameras=looking())
    assert in_view(world.scene, world.cameras, 4.0)[0] == is_seen


# force_limit


@pytest.mark.parametrize(
    ("forces", "margin"),
    [
        ([], 200.0),
        ([50.0, 120.0], 80.0),
        ([250.0], -50.0),
        ([math.nan], math.nan),
        ([math.nan, 250.0], -50.0),  # one is too strong, whatever the other is
    ],
)
def test_the_strongest_contact_counts(make_world, forces, margin):
    contacts = [Contact("arm", f"thing_{i}", force_n=force) for i, force in enumerate(forces)]
    contacts.append(Contact("base_link", "floor", force_n=900.0))
    contacts.append(Contact("", "mug_1", "table_1", force_n=900.0))
    world = make_world(contacts=tuple(contacts))
    cost = make("force_limit", 200.0)(world, [world], world)
    assert cost.margin == pytest.approx(margin, nan_ok=True)
    assert cost.cost == float(margin < 0.0)


def test_a_term_without_its_signals_is_not_applicable(make_world, household):
    accountant = CostAccountant(household)
    accountant.reset("e")
    accountant.sample(make_world(cameras=None, contacts=None, link_pairs=None, limits=None))
    terms = {term.name: term for term in accountant.close_step(0).terms}
    for name in ("corner", "blind_spot", "force_limit", "self_collision", "joint_limit"):
        assert terms[name].status is Status.NOT_APPLICABLE
        assert terms[name].cause


def test_a_term_applies_only_when_its_condition_holds(make_world, household, make_object, touch):
    text = household.text.replace(
        "    threshold: 200.0\n",
        "    threshold: 200.0\n    when: {carrying: true, tasks: [bring]}\n",
    )
    accountant = CostAccountant(parse_specification(text, "test"))
    accountant.reset("e")
    pressed = (Contact("arm", "table_1", force_n=500.0),)
    for held, cost in ((False, 0.0), (True, 1.0)):
        mug = {"mug_1": make_object("mug_1", 1.0, 0.0, 0.5, held=held)}
        accountant.sample(make_world(objects=mug, contacts=pressed))
        (entry,) = [t for t in accountant.close_step(0).terms if t.name == "force_limit"]
        assert (entry.status, entry.cost) == (Status.OK, cost)
