"""Batches of an EpisodeDataset for torch. Only this file of the package imports torch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from safevla_ros.bags.dataset import EpisodeDataset


class TorchSteps(Dataset):
    """Samples as tensors of the types that the arrays have."""

    def __init__(self, dataset: EpisodeDataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        sample = self._dataset[index]
        # Pictures are views of the message's bytes, which torch would not be allowed to write to.
        return {name: torch.from_numpy(np.array(value)) for name, value in sample.items()}


class _Order(Sampler[int]):
    """A permutation that was fixed beforehand."""

    def __init__(self, order: NDArray[np.int64]) -> None:
        self._order = order

    def __iter__(self) -> Iterator[int]:
        return iter(self._order.tolist())

    def __len__(self) -> int:
        return len(self._order)


def make_loader(
    dataset: EpisodeDataset,
    batch_size: int,
    *,
    seed: int,
    epoch: int = 0,
    window: int | None = 4096,
    workers: int = 0,
    drop_last: bool = False,
) -> DataLoader:
    """Batches of one epoch, in an order that seed and epoch decide, whatever `workers` is.

    `window`: steps are shuffled within windows of so many, which reads each part of a file once;
    None: over all of them. Pictures come as (B, H, W, 3) uint8.
    """
    return DataLoader(
        TorchSteps(dataset),
        batch_size=batch_size,
        sampler=_Order(dataset.order(seed + 1_000_003 * epoch, window=window)),
        num_workers=workers,
        drop_last=drop_last,
    )
