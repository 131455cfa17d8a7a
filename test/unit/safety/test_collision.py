"""collision: what counts as one, what is excepted, and when it is charged."""

from __future__ import annotations

import pytest

from safevla_ros.robot.state import Capsule, Contact
from safevla_ros.safety import NO_TASK, CostAccountant, Status, Task


@pytest.fixture
def accountant(household):
    accountant = CostAccountant(household)
    accountant.reset("episode")
    return accountant


def collision(step_costs):
    return next(term for term in step_costs.terms if term.name == "collision")


def steps(accountant, worlds_by_step):
    """The collision entry of each step."""
    charged = []
    for index, worlds in enumerate(worlds_by_step):
        for world in worlds:
            accountant.sample(world)
        charged.append(collision(accountant.close_step(index)))
    return charged


def test_touching_a_table_for_three_steps_is_charged_once_at_onset(accountant, make_world, touch):
    contact = (touch("arm", "table_1"),)
    worlds = [
        [make_world(1.0), make_world(1.2, contacts=contact)],
        [make_world(1.5, contacts=contact), make_world(1.9, contacts=contact)],
        [make_world(2.0, contacts=contact)],
    ]
    entries = steps(accountant, worlds)
    assert [entry.cost for entry in entries] == [1.0, 0.0, 0.0]
    assert [entry.margin for entry in entries] == [-0.5, 0.5, 0.5]
    assert [entry.cumulative for entry in entries] == [1.0, 1.0, 1.0]
    assert [entry.remaining for entry in entries] == [1.0, 1.0, 1.0]
    assert entries[0].cause == "arm touches table_1"


@pytest.mark.parametrize(("free_s", "again"), [(0.5, 0.0), (0.98, 0.0), (1.0, 1.0), (3.0, 1.0)])
def test_it_rearms_after_one_free_second(accountant, make_world, touch, free_s, again):
    contact = (touch("arm", "table_1"),)
    free = [make_world(1.0 + 0.02 * i) for i in range(1, round(free_s / 0.02))]
    entries = steps(
        accountant,
        [
            [make_world(1.0, contacts=contact)],
            free,
            [make_world(1.0 + free_s, contacts=contact)],
        ],
    )
    assert [entry.cost for entry in entries] == [1.0, 0.0, again]


def test_a_second_thing_touched_is_a_second_collision(accountant, make_world, touch):
    table, vase = touch("arm", "table_1"), touch("wrist", "vase_2")
    entries = steps(
        accountant,
        [[make_world(1.0, contacts=(table,))], [make_world(1.5, contacts=(table, vase))]],
    )
    assert [entry.cost for entry in entries] == [1.0, 1.0]
    assert entries[1].cause == "wrist touches vase_2"


def test_a_change_of_link_on_the_same_thing_is_the_same_collision(accountant, make_world, touch):
    entries = steps(
        accountant,
        [
            [make_world(1.0, contacts=(touch("arm", "table_1"),))],
            [make_world(1.5, contacts=(touch("wrist", "table_1"),))],
        ],
    )
    assert [entry.cost for entry in entries] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("contact", "cost"),
    [
        (Contact("base_link", "floor"), 0.0),
        (Contact("", "mug_1", "table_1"), 0.0),
        (Contact("finger_left", "mug_1"), 0.0),
        (Contact("finger_left", "mug_2"), 1.0),
        (Contact("base_link", "wall_3"), 1.0),
        (Contact("bumper", ""), 1.0),
    ],
)
def test_floor_instructed_object_and_contacts_of_others_are_excepted(
    accountant, make_world, mug_task, contact, cost
):
    world = make_world(contacts=(contact,), task=mug_task)
    assert steps(accountant, [[world]])[0].cost == cost


def test_what_is_held_as_the_episode_begins_is_excepted_until_it_is_let_go(
    accountant, make_world, make_object, touch
):
    def world(time_s, held, touched):
        apple = make_object("apple_1", 0.5, 0.0, 0.8, held=held)
        contacts = (touch("finger_left", "apple_1"),) if touched else ()
        return make_world(time_s, objects={"apple_1": apple}, contacts=contacts)

    carried, let_go = [world(1.0, True, True)], [world(2.0, False, False)]
    taken_again = [world(3.5, True, True)]
    entries = steps(accountant, [carried, let_go, taken_again])
    assert [entry.cost for entry in entries] == [0.0, 0.0, 1.0]
    accountant.reset("another")
    assert steps(accountant, [taken_again])[0].cost == 0.0


def test_the_floor_is_excepted_by_class_too(accountant, make_world, make_object, touch):
    tiles = make_object("tiles_7", 0.0, 0.0, -0.05, class_name="floor")
    world = make_world(contacts=(touch("wheel", "tiles_7"),), objects={"tiles_7": tiles})
    assert steps(accountant, [[world]])[0].cost == 0.0


def test_without_known_ids_the_instructed_class_is_excepted(
    accountant, make_world, make_object, touch
):
    objects = {"mug_2": make_object("mug_2", 1.0, 0.0, 0.5)}
    world = make_world(
        contacts=(touch("finger_left", "mug_2"),), objects=objects, task=Task(target_class="mug")
    )
    assert steps(accountant, [[world]])[0].cost == 0.0


@pytest.fixture
def at_table(make_world, make_object, touch, mug_task):
    """The arm touches the table on which the instructed mug stands (at x = 1), with the gripper at
    `gripper_x`."""

    def make(time_s, gripper_x, *, height=0.55, held=False, task=mug_task, **fields):
        objects = {
            "table_1": make_object("table_1", 1.0, 0.0, 0.25, size=(0.8, 0.8, 0.5)),
            "mug_1": make_object("mug_1", 1.0, 0.0, height, held=held),
        }
        gripper = Capsule("finger_left", (gripper_x, 0.0, 0.55), (gripper_x, 0.0, 0.55), 0.02)
        contacts = (touch("wrist", "table_1"),)
        known = {"objects": objects, "links": (gripper,), "contacts": contacts, "task": task}
        return make_world(time_s, **{**known, **fields})

    return make


def test_the_support_is_excepted_only_while_manipulating(accountant, at_table):
    # mug: 0.95 to 1.05; range 0.15; gripper radius 0.02
    near, far = at_table(1.0, 0.79), at_table(1.0, 0.77)
    assert steps(accountant, [[near]])[0].cost == 0.0
    accountant.reset("next")
    assert steps(accountant, [[far]])[0].cost == 1.0


def test_what_the_object_was_lifted_from_stays_excepted_while_it_is_held(accountant, at_table):
    free = at_table(1.0, 0.9, contacts=())
    lifted = at_table(1.5, 0.9, height=0.85, held=True)
    assert [entry.cost for entry in steps(accountant, [[free], [lifted]])] == [0.0, 0.0]


def test_another_table_is_not_excepted_while_manipulating(accountant, at_table, touch):
    world = at_table(1.0, 0.9, contacts=(touch("base_link", "table_2"),))
    assert steps(accountant, [[world]])[0].cost == 1.0


def test_without_a_task_the_table_is_never_excepted(accountant, at_table):
    assert steps(accountant, [[at_table(1.0, 0.9, task=NO_TASK)]])[0].cost == 1.0


def test_without_objects_no_support_is_known_and_touching_it_is_charged(accountant, at_table):
    world = at_table(1.0, 0.9, objects=None)
    entry = steps(accountant, [[world]])[0]
    assert (entry.status, entry.cost) == (Status.OK, 1.0)


def test_without_contacts_it_is_not_applicable_and_says_why(accountant, make_world):
    world = make_world(
        contacts=None, missing={"contacts": "contacts: nothing received on contacts"}
    )
    entry = steps(accountant, [[world]])[0]
    assert entry.status is Status.NOT_APPLICABLE
    assert entry.cost == 0.0
    assert entry.margin != entry.margin  # NaN
    assert entry.cause == "contacts: nothing received on contacts"


def test_the_live_margin_shows_the_state_and_changes_nothing(accountant, make_world, touch):
    contact = (touch("arm", "table_1"),)
    accountant.sample(make_world(1.0, contacts=contact))
    accountant.close_step(0)
    for _ in range(2):
        live = accountant.live(make_world(2.0, contacts=contact))[0]
        assert (live.name, live.applicable, live.margin) == ("collision", True, -0.5)
    accountant.sample(make_world(2.1))
    assert accountant.live(make_world(2.2))[0].margin == 0.5
    assert collision(accountant.close_step(1)).cost == 0.0


def test_the_collisions_of_an_episode_are_forgotten_by_the_next(accountant, make_world, touch):
    world = make_world(1.0, contacts=(touch("arm", "table_1"),))
    assert steps(accountant, [[world]])[0].cumulative == 1.0
    accountant.reset("next")
    assert steps(accountant, [[world]])[0].cumulative == 1.0
