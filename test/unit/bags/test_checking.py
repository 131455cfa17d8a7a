"""What a check says about bags that are wrong in known ways."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from safevla_ros.bags.checking import check
from safevla_ros.bags.metadata import METADATA_FILE

MakeBag = Callable[..., Any]
TOPICS = {"episode": "/episode", "cost_vector": "/cost_vector", "signals.odometry": "/pose"}


def sound(bag: Any) -> None:
    bag.episode(10.0, "RUNNING")
    for step in range(5):
        bag.pose(10.0 + step / 2, 0.1 * step, 0.0)
        bag.image(10.0 + step / 2, "navigation", (1, 2, 3))
        bag.costs(10.5 + step / 2, step, drop={})


def faults(bag: Any) -> list[str]:
    return [finding.what for finding in check(bag.folder).findings if finding.fault]


def test_a_sound_bag_has_no_fault(make_bag: MakeBag) -> None:
    bag = make_bag(episode_id="e-1", topics=json.dumps(TOPICS))
    sound(bag)
    bag.finish()
    assert check(bag.folder).sound
    assert check(bag.folder).messages == 16


def test_a_missing_topic_is_named(make_bag: MakeBag) -> None:
    bag = make_bag(episode_id="e-1", topics=json.dumps(TOPICS | {"cameras.front": "/front"}))
    sound(bag)
    bag.finish()
    assert faults(bag) == ["/front: no message, though it is the robot's cameras.front"]


def test_a_clock_that_ran_backwards_and_messages_out_of_order_are_told_apart(
    make_bag: MakeBag,
) -> None:
    bag = make_bag()
    for time_s in (10.0, 10.5, 10.4, 10.6, 3.0, 3.1):
        bag.pose(time_s, 0.0, 0.0)
    bag.finish()
    assert faults(bag) == ["/pose: time runs backwards at 1 places"]


@pytest.mark.parametrize(
    "fields",
    [
        {"data": np.empty(0, np.uint8)},
        {"data": np.zeros(100, np.uint8)},
        {"height": 0, "width": 0, "step": 0, "data": np.empty(0, np.uint8)},
    ],
)
def test_pictures_without_pixels_are_counted(make_bag: MakeBag, fields: dict[str, Any]) -> None:
    bag = make_bag()
    bag.image(10.0, "navigation", (1, 2, 3))
    bag.image(10.1, "navigation", (1, 2, 3), **fields)
    bag.finish()
    assert faults(bag) == [
        "/camera/navigation: 1 images without pixels, or with too few or too many"
    ]


def test_two_sessions_in_one_bag_are_noticed(make_bag: MakeBag) -> None:
    bag = make_bag()
    for step in range(3):
        bag.costs(10.0 + step, step, id="mine", drop={})
        bag.costs(10.5 + step, step, id="yours", drop={})
    bag.finish()
    assert faults(bag) == [
        "two sessions interleaved: the messages alternate between episodes mine, yours"
    ]


def test_steps_without_costs_are_named(make_bag: MakeBag) -> None:
    bag = make_bag()
    for step in (0, 1, 4):
        bag.costs(10.0 + step, step, drop={})
    bag.finish()
    assert faults(bag) == ["episode e-1: 2 steps have no costs: 2, 3"]


def test_a_bag_that_was_cut_off_and_one_without_metadata(make_bag: MakeBag) -> None:
    bag = make_bag("cut")
    sound(bag)
    bag.flush()
    assert any("was not finished" in fault for fault in faults(bag))
    other = make_bag("bare")
    sound(other)
    other.finish()
    (other.folder / METADATA_FILE).unlink()
    assert faults(other) == ["metadata.yaml is missing or damaged: `safevla bags repair` makes it"]


def test_what_the_recorder_lost_is_a_fault(make_bag: MakeBag) -> None:
    bag = make_bag()
    sound(bag)
    bag.finish(dropped=json.dumps({"/image": 3}), lost=json.dumps({"/scan": 2}))
    assert faults(bag) == [
        "messages were not written by the recorder: /image 3",
        "messages were lost by DDS: /scan 2",
    ]
