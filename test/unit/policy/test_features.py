"""What a learned policy is given: words, body and budgets as arrays."""

import numpy as np
import pytest
from pydantic import ValidationError

from safevla_ros.policy.features import BudgetTerm, Column, Features
from safevla_ros.policy.interface import Instruction, Observation
from safevla_ros.policy.vla.processor import NO_TOKEN, Processor, input_shapes
from safevla_ros.policy.vla.text import FIRST_WORD, PADDING, UNKNOWN, Tokenizer, vocabulary_of
from safevla_ros.robot.geometry import planar
from safevla_ros.robot.profile import load_profile
from safevla_ros.robot.state import BaseVelocity, Joint, Odometry

ROLES = load_profile("sim").roles
FEATURES = Features(
    cameras=("navigation",),
    image_height=8,
    image_width=16,
    proprioception=(
        Column(name="joint.lift", mean=0.5, std=0.25),
        Column(name="base.yaw", mean=0.0, std=2.0),
    ),
    vocabulary=("find", "mug", "the"),
    instruction_length=5,
    budget_terms=(BudgetTerm(name="collision", scale=4.0), BudgetTerm(name="drop", scale=1.0)),
)


def observe(**budget):
    return Observation(
        stamp_ns=0,
        images={"navigation": np.zeros((8, 16, 3), np.uint8)},
        joints={"lift": Joint(1.0)},
        odometry=Odometry("odom", planar(0.0, 0.0, 0.0), BaseVelocity(yaw=1.0)),
        object_in_hand=False,
        remaining_budget=budget,
    )


def test_words_become_tokens_without_case_and_punctuation():
    tokenizer = Tokenizer(FEATURES.vocabulary, 5)
    assert tokenizer.encode("Find the MUG!").tolist() == [
        FIRST_WORD, FIRST_WORD + 2, FIRST_WORD + 1, PADDING, PADDING,
    ]  # fmt: skip
    assert tokenizer.encode("find a mug").tolist()[1] == UNKNOWN
    assert tokenizer.unknown_words("find a red mug") == ["a", "red"]


@pytest.mark.parametrize("slip", ["appel", "aple", "appple", "appla", "pple", "apples"])
def test_a_slip_of_the_fingers_is_taken_for_the_word_that_is_meant(slip):
    assert Tokenizer(("apple", "find"), 3).encode(slip)[0] == FIRST_WORD


@pytest.mark.parametrize("word", ["pear", "appel2x", "ppla", "muf", "kettle"])
def test_what_is_more_than_one_slip_away_or_short_is_unknown(word):
    assert Tokenizer(("apple", "mug"), 3).encode(word)[0] == UNKNOWN


def test_a_slip_that_could_be_two_words_is_unknown():
    assert Tokenizer(("bottle", "mottle"), 3).encode("cottle")[0] == UNKNOWN


def test_a_text_that_is_too_long_is_cut_and_an_empty_one_is_padding():
    tokenizer = Tokenizer(FEATURES.vocabulary, 5)
    assert tokenizer.encode("the " * 9).tolist() == [FIRST_WORD + 2] * 5
    assert tokenizer.encode("").tolist() == [PADDING] * 5


def test_a_vocabulary_holds_every_word_once():
    assert vocabulary_of(["find the mug", "Find the apple"]) == ("apple", "find", "mug", "the")


def test_the_arrays_have_the_shapes_that_are_promised():
    processor = Processor(FEATURES, ROLES)
    processor.reset(Instruction("find the mug"))
    arrays = processor(observe(), NO_TOKEN)
    promised = input_shapes(FEATURES)
    assert {key: (value.dtype.type, value.shape) for key, value in arrays.items()} == promised
    assert arrays["proprioception"].tolist() == [2.0, 0.5]
    assert arrays["previous_token"] == NO_TOKEN


def test_a_budget_is_scaled_clipped_and_marked_where_it_is_known():
    arrays = Processor(FEATURES, ROLES)(observe(collision=2.0), NO_TOKEN)
    assert arrays["budget"].tolist() == [0.5, 0.0, 1.0, 0.0]
    arrays = Processor(FEATURES, ROLES)(observe(collision=99.0, drop=-7.0, other=1.0), NO_TOKEN)
    assert arrays["budget"].tolist() == [5.0, -1.0, 1.0, 1.0]


def test_names_that_occur_twice_are_refused():
    with pytest.raises(ValidationError, match="vocabulary: expected names that differ"):
        Features(**(FEATURES.model_dump() | {"vocabulary": ("a", "a")}))
