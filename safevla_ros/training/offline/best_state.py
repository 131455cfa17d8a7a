"""Learning that keeps the state which was best on what was not learnt from."""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor, nn
from torch.optim import Optimizer


def keep_best(
    model: nn.Module,
    optimizer: Optimizer,
    loss: Callable[[], Tensor],
    look: Callable[[], float],
    *,
    updates: int,
    look_every: int,
    report: Callable[[int, int], None],
) -> None:
    """Train a model by `loss` of a batch that is drawn at each call, and leave it in the state, the one
    before the first update among them, in which `look` gave the least."""
    best, kept = look(), copy.deepcopy(model.state_dict())
    for update in range(updates):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        if (update + 1) % look_every == 0 or update + 1 == updates:
            report(update + 1, updates)
            if (found := look()) < best:
                best, kept = found, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
