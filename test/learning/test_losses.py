"""What imitation is graded by: steps without weight do not count, and the place is judged only
where the target is in view."""

import math

import pytest
import torch

from safevla_ros.policy.vla.processor import NO_TOKEN
from safevla_ros.training.augmentation import augment, forget
from safevla_ros.training.losses import (
    cloning,
    grounding,
    keyframes,
    perception,
    place_of,
    shown,
    told_apart,
)


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


def test_squares_show_the_classes_of_their_bits():
    classes = torch.tensor([[[[0, 5], [2, 0]]]], dtype=torch.int16)
    there = shown(classes, 3)
    assert there.shape == (1, 1, 3, 2, 2)
    assert there[0, 0].int().tolist() == [[[0, 1], [0, 0]], [[0, 0], [1, 0]], [[0, 1], [0, 0]]]


def test_grounding_falls_as_squares_are_named_rightly_and_only_single_things_are_told_apart():
    there = shown(torch.tensor([[[[0, 5], [2, 0]]]], dtype=torch.int16), 3)
    wrong, right = torch.full(there.shape, -2.0), torch.full(there.shape, -2.0)
    right[there] = 2.0
    wrong[:, :, 2, 1, 0] = 2.0
    assert grounding(right, there) < grounding(wrong, there)
    assert told_apart(right, there) == (1, 1)
    assert told_apart(wrong, there) == (0, 1)


def test_a_share_of_the_last_actions_is_forgotten():
    previous = torch.full((20, 50), 3)
    kept = forget(previous, 0.3, torch.Generator().manual_seed(0))
    assert set(kept.unique().tolist()) == {3, NO_TOKEN}
    assert 0.25 < (kept == NO_TOKEN).float().mean() < 0.35
    assert torch.equal(forget(previous, 0.0, torch.Generator()), previous)
