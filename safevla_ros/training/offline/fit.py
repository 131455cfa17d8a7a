"""The fit itself: weighted cloning of windows of episodes, whatever the policy."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from safevla_ros.training.checkpoint import Progress, load_run, save_run
from safevla_ros.training.offline.learners import Learner
from safevla_ros.training.offline.settings import OfflineSettings
from safevla_ros.training.offline.source import WEIGHT
from safevla_ros.training.streams import Episodes, Streams

LOG = "log.jsonl"
LOG_EVERY = 25
SAVE_EVERY = 200
LEAST_RATE = 0.05
"""Share of the learning rate that is left at the end."""

Report = Callable[[Mapping[str, Any]], None]


class Fit:
    """Trains a learner in place for some updates; `averaged` is what comes of it.

    Interrupted, it has left its state in `state`, from which the next one of that name goes on; the
    order of episodes is not that of an uninterrupted run.
    """

    def __init__(
        self,
        learner: Learner[Any],
        source: Callable[[int], Episodes],
        settings: OfflineSettings,
        updates: int,
        state: Path,
        report: Report,
    ) -> None:
        """`source` makes the episodes, from the number of updates done. Raises CheckpointError."""
        self._learner = learner
        self._settings = settings
        self._updates = updates
        self._state = state
        self._report = report
        self.averaged = learner.copied()
        self.averaged.model.requires_grad_(False).eval()
        self._optimizer = torch.optim.AdamW(
            learner.model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.progress = Progress()
        if state.is_file():
            self.progress = load_run(state, learner.model, self.averaged.model, self._optimizer)
        self._source = source

    def run(self) -> Learner[Any]:
        """Fit until the updates are done; the averaged policy. Whatever ends it, the state is
        written."""
        settings, progress = self._settings, self.progress
        if progress.updates >= self._updates:
            return self.averaged
        streams = Streams(self._source(progress.updates), settings.streams, settings.window)
        state = self._learner.start(settings.streams)
        recent = 0.0
        self._learner.model.train()
        try:
            while progress.updates < self._updates:
                begun = time.monotonic()
                batch = {k: torch.from_numpy(v) for k, v in streams.next_window().items()}
                loss, state = self._update(batch, state)
                progress.updates += 1
                progress.frames += batch["first"].numel()
                progress.elapsed_s += time.monotonic() - begun
                recent = loss if progress.updates == 1 else 0.95 * recent + 0.05 * loss
                if progress.updates % LOG_EVERY == 0 or progress.updates == self._updates:
                    self._log(recent)
                if progress.updates % SAVE_EVERY == 0:
                    self.save()
        finally:
            self._learner.model.eval()
            self.save()
        return self.averaged

    def save(self) -> None:
        """Write the state."""
        save_run(
            self._state,
            self._learner.model,
            self.averaged.model,
            self._optimizer,
            self.progress,
        )

    def _update(self, batch: Mapping[str, Tensor], state: Tensor) -> tuple[float, Tensor]:
        for group in self._optimizer.param_groups:
            left = max(1.0 - self.progress.updates / self._updates, LEAST_RATE)
            group["lr"] = self._settings.learning_rate * left
        weight, temperature = batch[WEIGHT], self._settings.temperature
        if weight.dim() == 3:
            losses, state = self._learner.losses_of_all(batch, state, temperature)
            loss = (losses * weight).sum(-1).mean()
        else:
            losses, state = self._learner.losses(batch, state, temperature)
            loss = (losses * weight).mean()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(
            self._learner.model.parameters(), self._settings.gradient_norm
        )
        self._optimizer.step()
        self._average()
        return float(loss.detach()), state.detach()

    def _average(self) -> None:
        """Move the averaged weights towards the model's; fast at first."""
        updates = self.progress.updates
        keep = min(self._settings.averaging, (1.0 + updates) / (10.0 + updates))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.averaged.model.parameters()),
                list(self._learner.model.parameters()),
                1.0 - keep,
            )

    def _log(self, loss: float) -> None:
        progress = self.progress
        line = {
            "stage": self._state.stem,
            "done": progress.updates,
            "total": self._updates,
            "loss": round(loss, 4),
            "frames": progress.frames,
            "elapsed_s": round(progress.elapsed_s, 1),
        }
        with (self._state.parent / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        self._report(line)
