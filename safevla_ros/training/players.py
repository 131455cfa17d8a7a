"""The processes that play episodes beside the learner.

The learner hands its policy over through a file; the episodes come back through the store. Nothing
else is shared, so that a process may die, or be started again, at any moment.

Where only the expert plays, no torch is needed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from safevla_ros.processes import work_for_parent
from safevla_ros.robot.profile import load_profile
from safevla_ros.simulation.rollout import Rollout
from safevla_ros.training.curriculum import Curriculum
from safevla_ros.training.demonstrations import Demonstrator, Spectator
from safevla_ros.training.episodes import EpisodeStore, IndexReader
from safevla_ros.training.model import make_configuration, make_model
from safevla_ros.training.settings import ImitationSettings

if TYPE_CHECKING:
    import torch

    from safevla_ros.policy.vla.torch_actor import TorchActor

POLICY = "acting.safetensors"
EPISODES = "episodes"
LOOK_EVERY = 50
"""Steps between looks at the learner's file."""


class PlayerError(RuntimeError):
    """A process that played episodes is gone."""


@contextmanager
def players(
    settings: ImitationSettings, folder: Path, episodes: int | None = None
) -> Iterator[Callable[[], None]]:
    """Processes that play into the store of a run's folder, and are gone afterwards.

    With `episodes` the expert alone plays until the store's index has so many; without, policy and
    expert play on. Gives a check that raises PlayerError when one of them has failed.
    """
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    processes = [
        context.Process(
            target=play,
            args=(settings, number, folder, stop, os.getpid(), episodes),
            name=f"player {number}",
            daemon=True,
        )
        for number in range(settings.workers)
    ]
    for process in processes:
        process.start()

    def check() -> None:
        for process in processes:
            if process.exitcode:
                raise PlayerError(f"{process.name} ended with exit code {process.exitcode}")

    try:
        yield check
    finally:
        stop.set()
        for process in processes:
            process.join(timeout=20.0)
            if process.is_alive():
                process.kill()


def play(
    settings: ImitationSettings,
    number: int,
    folder: Path,
    stop: Event,
    parent: int,
    total: int | None,
) -> None:
    """Play episodes until `stop` is set, the parent is gone, or the index has `total` of them."""
    work_for_parent()  # it sets `stop`
    episodes = settings.episodes
    store = EpisodeStore(folder / EPISODES, settings.store_gib)
    index = IndexReader(store.folder)
    learner = _Learner(settings, number, folder / POLICY if total is None else None)
    played = [line["name"] for line in index.new()]
    curriculum = Curriculum(episodes, number, played)
    demonstrator = Demonstrator(
        learner.actor,
        [Rollout(image_size=episodes.image_size, explores=True) for _ in range(episodes.at_once)],
        lambda: curriculum.next_plan(with_policy=learner.has_policy),
        episodes.turn_steps,
        np.random.default_rng([episodes.seed, number]),
    )
    count, steps = len(played), 0
    while not stop.is_set() and os.getppid() == parent and (total is None or count < total):
        if steps % LOOK_EVERY == 0:
            learner.look()
        steps += 1
        for recording in demonstrator.advance(episodes.expert_turns(learner.progress)):
            store.add(recording.name, recording.arrays, recording.about)
            count += len(index.new())


def hand_over(path: Path, model: torch.nn.Module, progress: float) -> None:
    """Give the players a policy, and tell them how much of the run (0 to 1) is over."""
    from safevla_ros.training.checkpoint import save_tensors

    save_tensors(path, dict(model.state_dict()), {"progress": json.dumps(progress)})


class _Learner:
    """The learner as a player sees it. `path` None: there is none."""

    def __init__(self, settings: ImitationSettings, number: int, path: Path | None) -> None:
        episodes = settings.episodes
        self._path = path
        self._stamp_ns = 0
        self.progress = 0.0
        roles = load_profile("sim").roles
        self.actor: TorchActor | Spectator
        if path is None:
            self.actor = Spectator(make_configuration(settings).features, roles, episodes.at_once)
        else:
            import torch

            from safevla_ros.policy.vla.torch_actor import TorchActor

            torch.set_num_threads(1)
            self.actor = TorchActor(
                make_model(settings).eval(),
                roles,
                episodes.at_once,
                temperature=episodes.temperature,
                seed=episodes.seed + number,
            )

    @property
    def has_policy(self) -> bool:
        """Whether a policy was handed over yet."""
        return self._stamp_ns > 0

    def look(self) -> None:
        """Take over the newest policy."""
        if self._path is None or not self._path.is_file():
            return
        from safevla_ros.policy.vla.torch_actor import TorchActor
        from safevla_ros.training.checkpoint import load_tensors

        stamp_ns = self._path.stat().st_mtime_ns
        if stamp_ns != self._stamp_ns:
            assert isinstance(self.actor, TorchActor)
            self._stamp_ns = stamp_ns
            tensors, metadata = load_tensors(self._path)
            self.actor.model.load_state_dict(tensors)
            self.progress = json.loads(metadata["progress"])
