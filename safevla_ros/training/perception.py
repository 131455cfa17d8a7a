"""Perception first: what things are called, from single images, before what to do about them.

The steps of an episode look alike, so windows of them teach the cameras slowly; images drawn from
many episodes at once do so in minutes, and cloning then begins with a policy that finds what it is
told to.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safevla_ros.policy.vla.modeling import CompactVla
from safevla_ros.policy.vla.processor import image_key
from safevla_ros.training import losses
from safevla_ros.training.augmentation import augment
from safevla_ros.training.naming import Names
from safevla_ros.training.settings import ImitationSettings
from safevla_ros.training.streams import Library

EPISODES = 48
"""So many episodes are mixed at a time."""
EVERY = 3
"""Of their steps every third is taken: neighbours are nearly the same image."""


class PerceptionTrainer:
    """Teaches a model's cameras and words, and nothing else of it."""

    def __init__(
        self, settings: ImitationSettings, model: CompactVla, library: Library, names: Names
    ) -> None:
        self._settings = settings
        self._model = model
        self._library = library
        self._names = names
        self._generator = torch.Generator().manual_seed(settings.episodes.seed)
        self._parameters = [
            parameter
            for part in (model.instruction, model.query, model.cameras)
            for parameter in part.parameters()
        ]
        self._optimizer = torch.optim.AdamW(
            self._parameters, settings.perception_rate, weight_decay=settings.weight_decay
        )
        self._device = self._parameters[0].device
        self._batches = self._shuffled()

    def update(self, left: float) -> tuple[float, tuple[int, int], int]:
        """One step of the optimizer. `left`: share of this stage that is left, for its rate.
        Returns the loss, `losses.told_apart`, and the number of images."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.perception_rate * max(left, 0.05)
        queries = self._model.queries(torch.from_numpy(self._names.draw()).to(self._device))
        loss, right, squares, images = queries.new_zeros(()), 0, 0, 0
        for camera, (pixels, classes) in next(self._batches).items():
            changed = augment(
                pixels[:, None], self._settings.shift_px, self._settings.tint, self._generator
            )
            _, cells = self._model.cameras[camera].seen(changed[:, 0])
            there = losses.shown(classes[:, None], len(queries))
            logits = self._model.grounding(cells[:, None], queries)
            loss = loss + losses.grounding(logits, there)
            told, of = losses.told_apart(logits.detach(), there)
            right, squares, images = right + told, squares + of, images + len(pixels)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, self._settings.gradient_norm)
        self._optimizer.step()
        return float(loss.detach()), (right, squares), images

    def _shuffled(self) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
        """Batches by camera: images (N, height, width, 3) and classes (N, G, G)."""
        size = self._settings.perception_batch
        cameras = self._model.configuration.cameras
        while True:
            episodes = [self._library.draw() for _ in range(EPISODES)]
            shuffled = {camera: self._images(episodes, camera) for camera in cameras}
            for start in range(0, min(len(c) for _, c in shuffled.values()), size):
                yield {
                    camera: (
                        torch.from_numpy(pixels[start : start + size]).to(self._device),
                        torch.from_numpy(classes[start : start + size]).to(self._device),
                    )
                    for camera, (pixels, classes) in shuffled.items()
                }

    def _images(
        self, episodes: list[dict[str, NDArray]], camera: str
    ) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
        """Those of the episodes' images that show something, in random order."""
        pixels = np.concatenate([episode[image_key(camera)][::EVERY] for episode in episodes])
        classes = np.concatenate([episode[f"classes_{camera}"][::EVERY] for episode in episodes])
        show = np.flatnonzero(classes.any(axis=(1, 2)))
        order = self._library.rng.permutation(show)
        return pixels[order], classes[order]
