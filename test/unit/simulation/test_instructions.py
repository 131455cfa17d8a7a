"""Instructions: varied, the same from the same seed, and what is held out is never trained on."""

from __future__ import annotations

import numpy as np
import pytest

from safevla_ros.simulation.goods import GOODS
from safevla_ros.simulation.instructions import (
    SYNONYMS,
    TEMPLATES,
    garbled,
    instruction_text,
    reordered,
)

TASKS = ("find", "pick_up", "fetch", "bring")


def texts(task: str, class_name: str, wording: str, count: int = 400) -> set[str]:
    return {
        instruction_text(task, class_name, "coffee_table", wording, seed) for seed in range(count)
    }


def test_there_are_many_ways_to_say_it():
    assert set(TEMPLATES) == set(TASKS)
    assert all(len(parts["training"]) >= 6 for parts in TEMPLATES.values())
    assert set(SYNONYMS) == set(GOODS)
    assert all(len(names) >= 3 for parts in SYNONYMS.values() for names in parts.values())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("class_name", list(GOODS))
def test_no_held_out_instruction_is_ever_a_training_one(task, class_name):
    training, held_out = (texts(task, class_name, name) for name in ("training", "held_out"))
    assert not training & held_out
    assert len(training) >= 6
    assert len(held_out) >= 6


def test_synonyms_name_one_class_only():
    names = [name for parts in SYNONYMS.values() for part in parts.values() for name in part]
    assert len(names) == len(set(names))


def test_the_same_seed_says_the_same_and_plain_always_does():
    assert instruction_text("fetch", "mug", "", "training", 7) == instruction_text(
        "fetch", "mug", "", "training", 7
    )
    assert texts("bring", "mug", "plain") == {"bring the blue mug to the coffee table"}


@pytest.mark.parametrize("spoil", [garbled, reordered])
def test_spoilt_text_differs_but_keeps_its_words_about(spoil):
    text = "fetch the turquoise bowl"
    spoilt = {spoil(text, np.random.default_rng(seed)) for seed in range(20)}
    assert text not in spoilt
    assert all(len(other.split()) == 4 for other in spoilt)
    assert all(
        sorted(word[0] for word in other.split()) == ["b", "f", "t", "t"] for other in spoilt
    )


def test_reordered_words_are_the_same_words():
    words = ["put", "the", "can", "on", "the", "table"]
    assert sorted(reordered(" ".join(words), np.random.default_rng(0)).split()) == sorted(words)


def test_what_cannot_be_reordered_stays():
    assert reordered("stop stop", np.random.default_rng(0)) == "stop stop"
