"""Imitation: cloning of the scripted experts with DAgger (Ross et al., arXiv 1011.0686).

One process learns, on a GPU where torch finds one; others (players.py) play episodes with the newest
policy and the experts, and the expert's token is the label of every state they visit. A run is a
folder:

    settings.json            what it was told
    state.safetensors        weights, averaged weights, optimizer, progress: to resume from
    acting.safetensors       the averaged weights, for the players
    log.jsonl                one line every LOG_S
    episodes/                the store of episodes (episodes.py)
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safevla_ros.policy.vla.modeling import CompactVla, Output
from safevla_ros.policy.vla.processor import image_key
from safevla_ros.training import losses
from safevla_ros.training.augmentation import augment, forget
from safevla_ros.training.checkpoint import Progress, load_part, load_run, save_run
from safevla_ros.training.episodes import EpisodeStore, IndexReader
from safevla_ros.training.model import make_model
from safevla_ros.training.naming import Names
from safevla_ros.training.online.distributed import device
from safevla_ros.training.perception import PerceptionTrainer
from safevla_ros.training.players import EPISODES, POLICY, hand_over, players
from safevla_ros.training.settings import ImitationSettings, save_settings
from safevla_ros.training.streams import Library, Streams
from safevla_ros.training.tally import Accuracy, RecentEpisodes

SETTINGS, STATE, LOG = "settings.json", "state.safetensors", "log.jsonl"
LOG_S = 15.0
FIRST_POLICY = 0.10
"""Share of the run after which the policy begins to act."""
GROUNDING_WEIGHT = 10.0
"""It is a mean over many squares, of which few show anything."""
LONGEST_UPDATE_S = 30.0
LEAST_RATE = 0.02
"""Share of the learning rate that is left at the end."""

Report = Callable[[Mapping[str, Any]], None]


def load_averaged(settings: ImitationSettings, folder: Path) -> tuple[CompactVla, Progress]:
    """The policy of a run as it was last written, and how far the run was. Raises
    CheckpointError."""
    tensors, progress = load_part(folder / STATE, "averaged.")
    model = make_model(settings).eval()
    model.load_state_dict(tensors)
    return model, progress


class Imitation:
    """A run in `folder`: a new one, or one that goes on where its state was last written."""

    def __init__(self, settings: ImitationSettings, folder: Path, report: Report) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(settings.episodes.seed)
        self._settings = settings
        self._folder = folder
        self._report = report
        self.model = make_model(settings).to(device())
        self.averaged = copy.deepcopy(self.model).requires_grad_(False).eval()
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.progress = Progress()
        if (folder / STATE).is_file():
            self.progress = load_run(folder / STATE, self.model, self.averaged, self._optimizer)
        save_settings(settings, folder / SETTINGS)
        # Not the episodes played and not the order of batches are those of an uninterrupted run.
        seed = [settings.episodes.seed, self.progress.updates]
        self._library = Library(
            EpisodeStore(folder / EPISODES, settings.store_gib), np.random.default_rng(seed)
        )
        self._generator = torch.Generator().manual_seed(sum(seed))
        self._index = IndexReader(folder / EPISODES)
        self._names = Names(self.model.configuration.features, np.random.default_rng(seed))
        self._recent = RecentEpisodes()
        self._accuracy = Accuracy()
        self._terms: dict[str, float] = {}

    @property
    def share_done(self) -> float:
        """How much of the run is over, 0 to 1."""
        return min(self.progress.elapsed_s / (60.0 * self._settings.minutes), 1.0)

    def run(self) -> None:
        """Learn until the minutes are over. Whatever ends it, the state is written."""
        with players(self._settings, self._folder) as check:
            try:
                self._wait_for_episodes(check)
                self._perceive(check)
                self._learn(check)
            finally:
                self.save()

    def save(self) -> None:
        """Write the state."""
        save_run(self._folder / STATE, self.model, self.averaged, self._optimizer, self.progress)

    def _wait_for_episodes(self, check: Callable[[], None]) -> None:
        self._take_episodes()
        while (missing := self._settings.streams - len(self._library)) > 0:
            self._report({"waiting_for": missing})
            check()
            time.sleep(1.0)
            self._take_episodes()

    def _perceive(self, check: Callable[[], None]) -> None:
        """The stage before cloning: see perception.py."""
        progress = self.progress
        total_s = 60.0 * self._settings.minutes * self._settings.perception
        trainer = PerceptionTrainer(self._settings, self.model, self._library, self._names)
        logged_s, images = progress.elapsed_s, 0
        while progress.elapsed_s < total_s:
            begun = time.monotonic()
            self._take_episodes()
            loss, told_apart, count = trainer.update(1.0 - progress.elapsed_s / total_s)
            self._terms["grounding"] = loss + 0.9 * (self._terms.get("grounding", loss) - loss)
            self._accuracy.add_told_apart(*told_apart)
            images += count
            progress.elapsed_s += min(time.monotonic() - begun, LONGEST_UPDATE_S)
            if progress.elapsed_s - logged_s > LOG_S:
                check()
                self._log(images / (progress.elapsed_s - logged_s))
                logged_s, images = progress.elapsed_s, 0
        if not progress.updates:
            self.averaged.load_state_dict(self.model.state_dict())

    def _learn(self, check: Callable[[], None]) -> None:
        settings, progress = self._settings, self.progress
        streams = Streams(self._library, settings.streams, settings.window)
        state = self.model.initial_state(settings.streams)
        logged_s = handed_s = saved_s = progress.elapsed_s
        frames = progress.frames
        while self.share_done < 1.0:
            begun = time.monotonic()
            self._take_episodes()
            state = self._update(streams.next_window(), state)
            # A machine that slept, or a process that was stopped, has not learnt meanwhile.
            progress.elapsed_s += min(time.monotonic() - begun, LONGEST_UPDATE_S)
            now = progress.elapsed_s
            if now - handed_s > settings.hand_over_s and self.share_done >= FIRST_POLICY:
                hand_over(self._folder / POLICY, self.averaged, self.share_done)
                handed_s = now
            if now - logged_s > LOG_S:
                check()
                self._log((progress.frames - frames) / (now - logged_s))
                logged_s, frames = now, progress.frames
            if now - saved_s > settings.checkpoint_s:
                self.save()
                saved_s = now

    def _take_episodes(self) -> None:
        lines = self._index.new()
        self._recent.add(lines)
        self._library.add([line["name"] for line in lines])

    def _update(self, window: Mapping[str, NDArray], state: Tensor) -> Tensor:
        """One step of the optimizer on a window; the policy's state after it."""
        settings = self._settings
        there = state.device
        batch = {key: torch.from_numpy(array).to(there) for key, array in window.items()}
        inputs = dict(batch)
        for camera in self.model.configuration.cameras:
            key = image_key(camera)
            inputs[key] = augment(batch[key], settings.shift_px, settings.tint, self._generator)
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate()
        inputs["previous_token"] = forget(
            batch["previous_token"], settings.forget_previous, self._generator
        )
        with torch.autocast(there.type, torch.bfloat16, enabled=settings.bfloat16):
            output = self.model(inputs, state)
            queries = self.model.queries(torch.from_numpy(self._names.draw()).to(there))
        label = batch["label"]
        weight = losses.keyframes(batch["weight"], label, settings.keyframe_weight)
        terms = {
            "cloning": losses.cloning(output.logits, label, weight, settings.label_smoothing),
            **losses.perception(output.auxiliary, batch),
            "grounding": self._grounding(output, queries, batch),
        }
        loss = terms["cloning"] + settings.auxiliary_weight * sum(
            term for name, term in terms.items() if name != "cloning"
        )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.gradient_norm)
        self._optimizer.step()
        self._average()
        self.progress.updates += 1
        self.progress.frames += label.numel()
        self._note(terms)
        chosen = output.logits.argmax(-1).cpu().numpy()
        self._accuracy.add(chosen, window["label"], window["weight"])
        return output.state.detach().float()

    def _grounding(self, output: Output, queries: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Loss of what each square shows, with every class asked for in some words."""
        total = queries.new_zeros(())
        for camera, cells in output.cells.items():
            there = losses.shown(batch[f"classes_{camera}"], len(queries))
            logits = self.model.grounding(cells, queries)
            total = total + losses.grounding(logits, there)
            self._accuracy.add_told_apart(*losses.told_apart(logits.detach(), there))
        return GROUNDING_WEIGHT * total

    def _learning_rate(self) -> float:
        settings = self._settings
        warm = min(1.0, (self.progress.updates + 1) / settings.warm_up_updates)
        cosine = 0.5 * (1.0 + math.cos(math.pi * self.share_done))
        return settings.learning_rate * warm * max(cosine, LEAST_RATE)

    def _average(self) -> None:
        """Move the averaged weights towards the model's; fast at first."""
        updates = self.progress.updates
        keep = min(self._settings.averaging, (1.0 + updates) / (10.0 + updates))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.averaged.parameters()), list(self.model.parameters()), 1.0 - keep
            )

    def _note(self, terms: Mapping[str, Tensor]) -> None:
        """Keep a running mean of each loss term."""
        for name, term in terms.items():
            value = float(term.detach())
            self._terms[name] = value + 0.9 * (self._terms.get(name, value) - value)

    def _log(self, frames_per_s: float) -> None:
        line = {
            "elapsed_s": round(self.progress.elapsed_s, 1),
            "share_done": round(self.share_done, 4),
            "updates": self.progress.updates,
            "frames": self.progress.frames,
            "frames_per_s": round(frames_per_s, 1),
            "episodes": self._recent.episodes,
            "episode_frames": self._recent.frames,
            "learning_rate": self._learning_rate(),
            "expert_turns": round(self._settings.episodes.expert_turns(self.share_done), 3),
            "losses": {name: round(value, 4) for name, value in self._terms.items()},
            "accuracy": self._accuracy.take(),
            "success": {who: self._recent.success(who) for who in ("expert", "policy")},
        }
        with (self._folder / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        self._report(line)
