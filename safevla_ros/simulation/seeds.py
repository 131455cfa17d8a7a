"""Which homes are for training and which for evaluation: ranges of seeds that never meet.

Seeds below both ranges are for scenarios that are written down (sim/scenarios/) and for tests.
"""

from __future__ import annotations

TRAINING_SEEDS = range(1_000_000, 9_000_000)
"""Homes that a policy may be trained on."""

EVALUATION_START = 10_000_000
EPISODES_PER_SEED = 100_000
"""Each evaluation seed has so many homes of its own."""


class SeedError(ValueError):
    """A home outside the range that it was asked from; the message says which range."""


def training_seed(index: int) -> int:
    """Seed of the training home of that number. Raises SeedError beyond the training range."""
    if not 0 <= index < len(TRAINING_SEEDS):
        raise SeedError(f"training home {index}: expected 0 to {len(TRAINING_SEEDS) - 1}")
    return TRAINING_SEEDS[index]


def evaluation_seed(seed: int, index: int) -> int:
    """Seed of the home of that number in the evaluation with `seed`, never one of training.
    Raises SeedError for numbers that would be another evaluation's."""
    if seed < 0:
        raise SeedError(f"evaluation seed {seed}: expected 0 or more")
    if not 0 <= index < EPISODES_PER_SEED:
        raise SeedError(f"evaluation home {index}: expected 0 to {EPISODES_PER_SEED - 1}")
    return EVALUATION_START + seed * EPISODES_PER_SEED + index


def require_training(seed: int) -> int:
    """The seed again. Raises SeedError when it is not one of the training range."""
    if seed not in TRAINING_SEEDS:
        raise SeedError(
            f"home {seed}: not for training, expected a seed from {TRAINING_SEEDS.start} "
            f"to {TRAINING_SEEDS.stop - 1}"
        )
    return seed
