"""How people say it: templates for each task and synonyms for each class, drawn from the seed.

Templates and synonyms come in two parts. A policy is trained on `training` wording; `held_out`
wording means the same and is never trained on. `garbled` and `reordered` spoil a training text, to
ask how a policy takes bad input.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from safevla_ros.simulation.goods import DESCRIPTIONS

Wording = Literal["plain", "training", "held_out", "garbled", "reordered"]
WORDINGS: tuple[Wording, ...] = get_args(Wording)

Split = Literal["training", "held_out"]

TEMPLATES: dict[str, dict[Split, tuple[str, ...]]] = {
    "find": {
        "training": (
            "find the {target}",
            "look for the {target}",
            "go to the {target}",
            "locate the {target}",
            "show me where the {target} is",
            "search for the {target}",
            "go and find the {target}, please",
        ),
        "held_out": (
            "where did I leave the {target}? go and look",
            "I need to know where the {target} is",
            "track down the {target}",
        ),
    },
    "pick_up": {
        "training": (
            "pick up the {target}",
            "grasp the {target}",
            "take the {target}",
            "lift the {target}",
            "grab the {target}",
            "take hold of the {target}",
            "please pick up the {target}",
        ),
        "held_out": (
            "get a grip on the {target}",
            "the {target} in front of you, hold it",
            "collect the {target} from where it stands",
        ),
    },
    "fetch": {
        "training": (
            "fetch the {target}",
            "get the {target}",
            "go and get the {target}",
            "find the {target} and pick it up",
            "go and pick up the {target}",
            "fetch me the {target}, please",
            "look for the {target} and take it",
        ),
        "held_out": (
            "I would like to have the {target}",
            "retrieve the {target} for me",
            "could you go over and collect the {target}",
        ),
    },
    "bring": {
        "training": (
            "bring the {target} to the {place}",
            "put the {target} on the {place}",
            "carry the {target} to the {place}",
            "take the {target} to the {place}",
            "place the {target} on the {place}",
            "move the {target} onto the {place}",
            "fetch the {target} and put it on the {place}",
        ),
        "held_out": (
            "the {target} belongs on the {place}",
            "deliver the {target} to the {place}",
            "set the {target} down on top of the {place}",
        ),
    },
}
"""By task and part. {target}, {place}: what is asked for, and where it is to go."""

SYNONYMS: dict[str, dict[Split, tuple[str, ...]]] = {
    "apple": {
        "training": ("red apple", "apple", "ripe apple"),
        "held_out": ("piece of red fruit", "round red fruit", "snack that grew on a tree"),
    },
    "mug": {
        "training": ("blue mug", "mug", "coffee mug"),
        "held_out": ("blue cup", "thing I drink coffee from", "cup with a handle"),
    },
    "cereal_box": {
        "training": ("yellow cereal box", "cereal box", "box of cereal"),
        "held_out": ("cornflakes", "carton of breakfast flakes", "muesli packet"),
    },
    "bottle": {
        "training": ("green bottle", "bottle", "bottle with the white label"),
        "held_out": ("wine bottle", "green flask", "drink with the long neck"),
    },
    "ball": {
        "training": ("purple ball", "ball", "striped ball"),
        "held_out": ("violet ball", "round toy", "toy that bounces"),
    },
    "bowl": {
        "training": ("turquoise bowl", "bowl", "soup bowl"),
        "held_out": ("teal basin", "dish for soup", "deep blue-green dish"),
    },
    "can": {
        "training": ("orange can", "can", "soda can"),
        "held_out": ("orange tin", "tin of lemonade", "fizzy drink"),
    },
    "plush": {
        "training": ("brown plush bear", "plush bear", "teddy bear"),
        "held_out": ("stuffed animal", "cuddly toy", "soft brown bear"),
    },
    "vase": {
        "training": ("pink vase", "vase", "flower vase"),
        "held_out": ("pink flower holder", "rose-coloured vessel", "thing for flowers"),
    },
    "cactus": {
        "training": ("potted cactus", "cactus", "green cactus"),
        "held_out": ("prickly plant", "succulent in a pot", "small desert plant"),
    },
}
"""By class and part. What is drawn first in `training` is also the plain wording."""

_STREAM = 17
"""The wording's own stream of random numbers, so that it leaves the home as it is."""


def instruction_text(
    task: str, target_class: str, place_class: str, wording: Wording, seed: int
) -> str:
    """What a person says who wants this task done. The same seed says the same.

    `plain` is always the first template with the class's description.
    """
    place = place_class.replace("_", " ")
    if wording == "plain":
        return TEMPLATES[task]["training"][0].format(target=DESCRIPTIONS[target_class], place=place)
    rng = np.random.default_rng([seed, _STREAM])
    split: Split = "held_out" if wording == "held_out" else "training"
    templates, names = TEMPLATES[task][split], SYNONYMS[target_class][split]
    text = templates[rng.integers(len(templates))].format(
        target=names[rng.integers(len(names))], place=place
    )
    if wording == "garbled":
        return garbled(text, rng)
    return reordered(text, rng) if wording == "reordered" else text


def garbled(text: str, rng: np.random.Generator) -> str:
    """The text with a slip in every word of more than three letters: two neighbours swapped, a
    letter left out, or one typed twice. First letters stay."""
    return " ".join(_slip(word, rng) if len(word) > 3 else word for word in text.split())


def _slip(word: str, rng: np.random.Generator) -> str:
    at = int(rng.integers(1, len(word) - 1))
    kind = int(rng.integers(3))
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + word[at + 1 :] if kind == 1 else word[: at + 1] + word[at:]


def reordered(text: str, rng: np.random.Generator) -> str:
    """The same words in another order."""
    words = text.split()
    if len(set(words)) < 2:
        return text
    while True:
        mixed = [words[i] for i in rng.permutation(len(words))]
        if mixed != words:
            return " ".join(mixed)
