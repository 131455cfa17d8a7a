"""The policy that a run begins with, and the inputs of every step in its form."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from safevla_ros.bags.dataset import EpisodeDataset
from safevla_ros.policy.features import BudgetTerm
from safevla_ros.policy.load import policy_folder
from safevla_ros.policy.vla.checkpoint import load_checkpoint
from safevla_ros.policy.vla.configuration import VlaConfiguration
from safevla_ros.policy.vla.modeling import PERCEIVED, CompactVla
from safevla_ros.policy.vla.processor import image_key
from safevla_ros.policy.vla.text import vocabulary_of
from safevla_ros.robot.profile import Profile
from safevla_ros.training.episodes import EpisodeStore
from safevla_ros.training.offline.data import COMMAND, FIT, OfflineData, write_inputs
from safevla_ros.training.offline.learners import (
    ADVANTAGE,
    ChunkLearner,
    Learner,
    TokenLearner,
    new_chunk_policy,
)
from safevla_ros.training.offline.settings import (
    NEW,
    NEW_CHUNKS,
    TOLD,
    OfflineError,
    OfflineSettings,
)

Arrays = dict[str, NDArray]

CHUNK_STEPS = 4


def base_policy(
    settings: OfflineSettings,
    dataset: EpisodeDataset,
    data: OfflineData,
    store: EpisodeStore,
    profile: Profile,
    report: Callable[[int, int], None],
) -> Learner[Any]:
    """The policy of the settings; the store then holds the inputs of every step. Raises PolicyError,
    or OfflineError where an untrained policy cannot be made for the bags."""
    change: Callable[[Arrays], Arrays] | None = None
    if settings.policy in (NEW, NEW_CHUNKS):
        configuration = _configuration(settings, dataset, data)
    else:
        model = load_checkpoint(_checkpoint(settings.policy))
        configuration = model.configuration
        if settings.freeze_perception:
            change = partial(_perceived, model)
    write_inputs(dataset, data, configuration.features, profile.roles, store, report, change)
    if settings.policy == NEW:
        return TokenLearner(CompactVla(configuration))
    if settings.policy == NEW_CHUNKS:
        commands = _commands(data, store)
        return ChunkLearner(new_chunk_policy(configuration, commands, CHUNK_STEPS, profile.step_s))
    return TokenLearner(model)


def told(base: Learner[Any], settings: OfflineSettings, scales: NDArray) -> Learner[Any]:
    """A copy of the policy with the inputs that the method needs, for costs with these scales (K,).
    A scale that a policy was trained with stays."""
    if settings.method not in TOLD:
        return base.told(())
    known = {term.name: term.scale for term in base.terms}
    terms = [
        BudgetTerm(name=term, scale=known.get(term, float(scale)), asked=settings.budgets[term])
        for term, scale in zip(settings.terms, scales, strict=True)
    ]
    if settings.method == "condition":
        terms.append(BudgetTerm(name=ADVANTAGE, scale=1.0))
    return base.told(terms)


@torch.no_grad()
def _perceived(model: CompactVla, arrays: Arrays) -> Arrays:
    """An episode's arrays, with what the model makes of images and instruction in their place."""
    batch = {key: torch.from_numpy(array).unsqueeze(0) for key, array in arrays.items()}
    features, _ = model.perceive(batch)
    gone = ("instruction", *map(image_key, model.configuration.cameras))
    kept = {key: array for key, array in arrays.items() if key not in gone}
    return kept | {PERCEIVED: features[0].numpy()}


def _checkpoint(policy: str) -> Path:
    """Folder of a checkpoint: as it is named, or of a policy that is shipped."""
    folder = Path(policy).expanduser()
    return folder if folder.is_dir() else policy_folder(policy)


def _configuration(
    settings: OfflineSettings, dataset: EpisodeDataset, data: OfflineData
) -> VlaConfiguration:
    """Of an untrained policy: the cameras, the image size and the words of the bags."""
    image = dataset.observation(0).images[0]
    if image.height != image.width or image.height % 16:
        raise OfflineError(
            f"policy {settings.policy!r}: expected square images of a multiple of 16 px, got "
            f"{image.width} x {image.height}: name a policy that takes them"
        )
    return VlaConfiguration(
        cameras=dataset.cameras,
        image_size=image.height,
        vocabulary=vocabulary_of(data.instructions),
    )


def _commands(data: OfflineData, store: EpisodeStore) -> NDArray[np.float32]:
    """(N, len(COMMANDS)) what was commanded in the part that is fitted."""
    found = (
        store.load(name) for name, part in zip(data.names, data.part, strict=True) if part == FIT
    )
    return np.concatenate([arrays[COMMAND] for arrays in found if arrays is not None])
