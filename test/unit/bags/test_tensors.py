"""A topic's images as a policy takes them: what it saw live, channels first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from safevla_ros.bags.reader import Bag
from safevla_ros.bags.tensors import read_tensors
from safevla_ros.robot.pictures import policy_picture


@pytest.mark.parametrize("rotate_deg", [0, 90])
def test_tensors_are_the_pictures_that_the_policy_saw(
    make_bag: Callable[..., Any], rotate_deg: int
) -> None:
    bag = make_bag()
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    bag.image(1.0, "navigation", (0, 0, 0), height=48, width=64, step=192, data=pixels.reshape(-1))
    read = Bag(bag.finish())
    (message,) = (message for _, message in read.decoded(["/camera/navigation"]))
    ((_, tensor),) = read_tensors(read, "/camera/navigation", 10, 12, rotate_deg=rotate_deg)
    assert tensor.shape == (3, 10, 12)
    assert tensor.flags.c_contiguous
    seen = policy_picture(message, 10, 12, rotate_deg)
    np.testing.assert_array_equal(tensor, seen.transpose(2, 0, 1))


def test_images_that_cannot_be_read_are_left_out_and_named(make_bag: Callable[..., Any]) -> None:
    bag = make_bag()
    bag.image(1.0, "navigation", (10, 20, 30))
    bag.image(1.1, "navigation", (0, 0, 0), data=np.empty(0, np.uint8))
    bag.image(1.2, "navigation", (0, 0, 0), encoding="32FC1")
    bag.image(1.3, "navigation", (40, 50, 60))
    read = Bag(bag.finish())
    found = [
        tensor[:, 0, 0].tolist() for _, tensor in read_tensors(read, "/camera/navigation", 8, 8)
    ]
    assert found == [[10, 20, 30], [40, 50, 60]]
    assert any("an image was left out: it has no data" in sentence for sentence in read.damage)
    assert any("32FC1" in sentence for sentence in read.damage)
