"""What a run of constrained learning is told. Kept in its folder, so that a resumed run is the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from safevla_ros.simulation.scenario import TASKS, PaperTask
from safevla_ros.training.settings import Positive, SettingsError, Share

LOG = "log.jsonl"
"""In the folder of a run: a line an iteration."""
Count = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0.0)]
Algorithm = Literal["ppo", "ppo-lagrangian", "reward-shaping"]
Rule = Literal["pid", "adam", "gradient"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MultiplierSettings(_Strict):
    """Lagrange multipliers; see lagrange.py.

    `kp`, `ki`, `kd`, `smoothing` (of the error) are the PID controller's; `rate` is that of `adam`
    and `gradient`, which begin at `start`, as all do. `window`: J is measured over so many episodes
    at least. `scale`: what counts as one unit of error where the budget is smaller [cost].
    """

    rule: Rule = "pid"
    kp: NonNegative = 0.1
    ki: NonNegative = 0.01
    kd: NonNegative = 0.01
    smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    rate: Positive = 0.035
    start: NonNegative = 0.001
    cap: Positive = 5.0
    window: Count = 100
    scale: Positive = 0.1


class PpoSettings(_Strict):
    """PPO; the defaults are SafeVLA's, but for the rates, which suit a smaller network.

    A rollout is `rollout` steps of every environment, learnt from `epochs` times in `minibatches`.
    `cost_gamma` is the discount of costs, `cost_gammas` that of some terms by name. A critic with a
    discount below 1 looks beyond a time limit; with 1 it counts what is left of the episode.
    `reference_kl`: weight of KL(policy || start). `target_kl`: an update ends when the policy has
    moved that far. For `warm_up` rollouts only the critics learn. `penalty`: what one unit of cost
    takes from the reward in reward shaping.
    """

    rollout: Count = 128
    epochs: Count = 4
    minibatches: Count = 4
    clip: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    gamma: Share = 0.99
    decay: Share = 0.95
    cost_gamma: Share = 0.999
    cost_gammas: Mapping[str, Share] = {}
    learning_rate: Positive = 5e-5
    critic_learning_rate: Positive = 5e-4
    entropy: NonNegative = 0.0
    reference_kl: NonNegative = 0.0
    target_kl: Positive | None = None
    gradient_norm: Positive = 0.5
    warm_up: Annotated[int, Field(ge=0)] = 5
    penalty: NonNegative = 1.0


class LearningSettings(_Strict):
    """A run: `steps` of all environments together; `environments` of each process."""

    algorithm: Algorithm = "ppo-lagrangian"
    seed: Annotated[int, Field(ge=0)] = 0
    steps: Count = 1_000_000
    environments: Count = 16
    checkpoint_s: NonNegative = 60.0
    ppo: PpoSettings = PpoSettings()
    multipliers: MultiplierSettings = MultiplierSettings()


class HomeSettings(_Strict):
    """Which episodes are played in homes, and how they are charged.

    `benign` is the share of homes without hazards; in the others each hazard comes with a chance of
    `hazard_rate` where it fits, against 0.3 in the homes of evaluation: what is rare cannot be
    learnt from. `one_room` and `three_rooms` are shares of homes; the rest has two rooms. `workers`:
    processes that simulate; 0: the learner itself does. `freeze_perception`: what cameras and words
    give the policy is not learnt anew, and is computed once a step; see vla.py.
    """

    tasks: tuple[PaperTask, ...] = TASKS
    specification: str = "paper"
    benign: Share = 0.15
    hazard_rate: Share = 0.7
    one_room: Share = 0.1
    three_rooms: Share = 0.1
    max_steps: Annotated[int, Field(ge=10, le=600)] = 300
    temperature: Positive = 0.5
    freeze_perception: bool = True
    workers: Annotated[int, Field(ge=0, le=256)] = 2

    @model_validator(mode="after")
    def _consistent(self) -> HomeSettings:
        if not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"tasks: expected at least one, each once, got {list(self.tasks)}")
        if self.one_room + self.three_rooms > 1.0:
            raise ValueError("one_room and three_rooms: expected at most 1 together")
        return self


class OnlineSettings(_Strict):
    """A run in homes. `budgets` by task (or `all`) and term; from the specification, or a file."""

    learning: LearningSettings = LearningSettings()
    homes: HomeSettings = HomeSettings()
    budgets: Mapping[str, Mapping[str, NonNegative]] = {}


def save_settings(settings: OnlineSettings, path: Path) -> None:
    """Write settings as JSON."""
    path.write_text(settings.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load_settings(path: Path) -> OnlineSettings:
    """Read settings. Raises SettingsError."""
    try:
        return OnlineSettings.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise SettingsError(f"{path}: expected the settings of an online run: {what}") from error
