"""Several processes that learn one policy: `torchrun` starts them; alone, all of this does nothing.

Each has environments of its own; gradients are averaged, sums and counts are added up.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def rank() -> int:
    """Number of this process; 0 writes files and talks."""
    return dist.get_rank() if _several() else 0


def processes() -> int:
    """How many learn together."""
    return dist.get_world_size() if _several() else 1


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that torchrun started, if it did."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _several():
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def device() -> torch.device:
    """Where this process computes: a GPU of its own where there is one."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def sum_over_processes(tensor: Tensor) -> Tensor:
    """The sum of every process's tensor; all of them must call."""
    if _several():
        tensor = tensor.clone()
        dist.all_reduce(tensor)
    return tensor


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Make every process's gradients their mean, in one exchange. Those without one are left out;
    the same parameters must have one everywhere."""
    if not _several():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= processes()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def same_everywhere(module: nn.Module) -> None:
    """Give every process the weights and buffers of the first."""
    if _several():
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, 0)


def wait_for_all() -> None:
    """Return when every process has come here."""
    sum_over_processes(torch.zeros(1))


def gather(value: Any) -> list[Any]:
    """What each process has, in order of rank; complete on rank 0 alone."""
    if not _several():
        return [value]
    values: list[Any] = [None] * processes()
    dist.gather_object(value, values if rank() == 0 else None)
    return values


def _several() -> bool:
    return dist.is_available() and dist.is_initialized()
