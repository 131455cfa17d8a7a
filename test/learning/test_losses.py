"""What imitation is graded by: steps without weight do not count, and the place is judged only
where the target is in view."""

import math

import pytest
import torch

from safevla_ros.training.augmentation import augment
from safevla_ros.training.losses import cloning, keyframes, perception, place_of


def test_cloning_is_the_cross_entropy_of_the_weighted_steps():
    logits = torch.tensor([[[0.0, 0.0], [0.0, math.log(3.0)], [9.0, -9.0]]])
    label, weight = torch.tensor([[0, 1, 1]]), torch.tensor([[1.0, 1.0, 0.0]])
    expected = (math.log(2.0) + math.log(4.0 / 3.0)) / 2.0
    assert cloning(logits, label, weight, 0.0).item() == pytest.approx(expected)
    assert cloning(logits, label, 0.0 * weight, 0.0).item() == 0.0


def test_place_is_bearing_and_distance():
    place = place_of(torch.tensor([[0.0, 2.0, 0.7], [-1.0, 0.0, 0.1]]))
    torch.testing.assert_close(place, torch.tensor([[1.0, 0.0, math.log(2.0)], [0.0, -1.0, 0.0]]))


def test_place_counts_only_where_the_target_is_in_view():
    batch = {
        "target_visible": torch.tensor([[True, False]]),
        "target_in_base": torch.tensor([[[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]]),
        "free_ahead": torch.ones(1, 2, 7),
    }
    right = torch.tensor([0.0, 1.0, 0.0])
    auxiliary = {
        "visible": torch.zeros(1, 2),
        "place": torch.stack([right, right + 5.0])[None],
        "free_ahead": torch.ones(1, 2, 7),
    }
    terms = perception(auxiliary, batch)
    assert terms["place"].item() == 0.0
    assert terms["free_ahead"].item() == 0.0
    assert terms["visible"].item() == pytest.approx(math.log(2.0))
    auxiliary["place"][0, 0] += 1.0
    assert perception(auxiliary, batch)["place"].item() == pytest.approx(0.5)


def test_augmentation_shifts_a_window_as_one_and_keeps_within_bounds():
    images = torch.zeros(3, 2, 8, 8, 3, dtype=torch.uint8)
    images[:, :, 4, 4] = 200
    changed = augment(images, 2, 0.2, torch.Generator().manual_seed(1))
    assert changed.min() >= 0.0
    assert changed.max() <= 255.0
    for stream in range(3):
        bright = [torch.nonzero(image.sum(-1) > 0).tolist() for image in changed[stream]]
        assert bright[0] == bright[1]
        ((row, column),) = bright[0]
        assert abs(row - 4) <= 2
        assert abs(column - 4) <= 2


def test_without_shift_and_tint_nothing_changes():
    images = torch.randint(0, 256, (2, 3, 8, 8, 3), dtype=torch.uint8)
    torch.testing.assert_close(augment(images, 0, 0.0, torch.Generator()), images.float())


def test_a_step_at_which_the_expert_begins_something_else_weighs_more():
    weight, label = torch.tensor([[1.0, 1.0, 1.0, 0.0]]), torch.tensor([[4, 4, 5, 6]])
    assert keyframes(weight, label, 3.0).tolist() == [[1.0, 1.0, 3.0, 0.0]]
