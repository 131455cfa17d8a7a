"""What an imitation run is told. Kept in its folder, so that a resumed run is the same run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from safevla_ros.simulation.scenario import TASKS, PaperTask

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
StyleName = Literal["careful", "hurried"]


class SettingsError(ValueError):
    """Settings that cannot be used; the message names the file and the key."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EpisodeSettings(_Strict):
    """Which episodes are played, and who acts in them.

    `one_room` and `three_rooms` are the shares of smaller and larger homes; the rest has two rooms.
    `hazard_free`: share of homes in which nothing is put in the way, where a task is learnt sooner.
    `expert_only` and `policy_only` are the shares of episodes in which only one of the two acts. In
    the others they take turns of `turn_steps` on average; the expert's share of the turns falls
    from 1 to `expert_share` over the first `decay` of the run. `policy_steps` bounds the policy's own
    episodes, or those in which it is lost would be most of what is learnt from. `at_once`: episodes
    that a process plays side by side.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    tasks: tuple[PaperTask, ...] = TASKS
    styles: tuple[StyleName, ...] = ("careful", "hurried")
    one_room: Share = 0.25
    three_rooms: Share = 0.1
    hazard_free: Share = 0.5
    max_steps: Annotated[int, Field(ge=10, le=500)] = 300
    image_size: Annotated[int, Field(ge=16, le=256)] = 80
    expert_only: Share = 0.3
    policy_only: Share = 0.05
    policy_steps: Annotated[int, Field(ge=10, le=500)] = 200
    expert_share: Share = 0.5
    decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1 / 3
    turn_steps: Annotated[float, Field(ge=1.0)] = 8.0
    temperature: Positive = 0.6
    at_once: Annotated[int, Field(ge=1, le=256)] = 12

    @model_validator(mode="after")
    def _consistent(self) -> EpisodeSettings:
        for key in ("tasks", "styles"):
            values = getattr(self, key)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{key}: expected at least one, each once, got {list(values)}")
        for one, other in (("one_room", "three_rooms"), ("expert_only", "policy_only")):
            if getattr(self, one) + getattr(self, other) > 1.0:
                raise ValueError(f"{one} and {other}: expected at most 1 together")
        return self

    def expert_turns(self, progress: float) -> float:
        """The expert's share of the turns when `progress` (0 to 1) of the run is over."""
        return max(self.expert_share, 1.0 - (1.0 - self.expert_share) * progress / self.decay)


class ImitationSettings(_Strict):
    """An imitation run: `minutes` of learning beside `workers` processes that play episodes.

    The first share of it, `perception`, teaches what things are called (perception.py), at a higher
    rate and from batches of single images.
    Batches are `streams` episodes side by side in windows of `window` steps. `keyframe_weight` is
    the weight of a step at which the expert begins something else. `forget_previous`: share of the
    steps at which the policy is not told its last action. `shift_px` and `tint` bound the
    augmentation of images: a shift in pixels, and gains of brightness and colour.
    """

    minutes: Positive = 70.0
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    episodes: EpisodeSettings = EpisodeSettings()
    store_gib: Positive = 8.0
    perception: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.06
    perception_rate: Positive = 3e-3
    perception_batch: Annotated[int, Field(ge=1)] = 64
    streams: Annotated[int, Field(ge=1)] = 16
    window: Annotated[int, Field(ge=2)] = 10
    learning_rate: Positive = 1.5e-3
    warm_up_updates: Annotated[int, Field(ge=1)] = 100
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    gradient_norm: Positive = 1.0
    label_smoothing: Share = 0.02
    keyframe_weight: Annotated[float, Field(ge=1.0)] = 3.0
    auxiliary_weight: Annotated[float, Field(ge=0.0)] = 0.6
    averaging: Share = 0.995
    forget_previous: Share = 0.15
    shift_px: Annotated[int, Field(ge=0, le=8)] = 2
    tint: Share = 0.15
    bfloat16: bool = False
    hand_over_s: Positive = 20.0
    checkpoint_s: Positive = 180.0


def save_settings(settings: ImitationSettings, path: Path) -> None:
    """Write settings as JSON."""
    path.write_text(settings.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load_settings(path: Path) -> ImitationSettings:
    """Read settings. Raises SettingsError."""
    try:
        return ImitationSettings.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise SettingsError(f"{path}: expected the settings of an imitation run: {what}") from error
