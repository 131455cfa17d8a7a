"""What an offline run is told. Kept in its folder, so that a resumed run is the same run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Part = Annotated[float, Field(gt=0.0, lt=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Budget = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]

Method = Literal["weights", "condition", "binary", "within_budget", "all"]
"""How a policy is made of the data.

`weights`: cloning weighted by the Lagrangian advantage, with the remaining budget as an input.
`condition`: unweighted, with the budget and the sign of the same advantage as inputs. Baselines:
`binary`, weights 0 or 1; `within_budget`, the episodes that kept the budget (BC-Safe of Liu et al.,
arXiv 2306.09303); `all`, every episode.
"""

Weigh = Literal["recorded", "own"]
"""Which actions `weights` weighs: those that were recorded, or the policy's own."""
TOLD: tuple[Method, ...] = ("weights", "condition", "binary")
"""Methods whose policy is told the budget."""

NEW = "new"
NEW_CHUNKS = "new-chunks"
"""Names that stand for an untrained policy: of tokens, and of continuous chunks."""


class OfflineError(ValueError):
    """A run that cannot be; the message says what was expected."""


class OfflineSettings(BaseModel):
    """An offline run.

    `policy`: a folder that holds a compact VLA, or NEW or NEW_CHUNKS, which first clone
    everything for `clone_updates`. `freeze_perception`: what a trained policy's cameras and words
    give stays as it is, and is computed once a step instead of in every fit and play. `budgets`:
    cost allowed per episode, by term. `charge_proposals`: what the gate refused or changed is
    charged with the cost it foresaw, else a policy learns to lean on it.

    `weigh`: the recorded actions are weighted, or all that the policy itself might have taken in the
    same places, as fits bags of its own; then nobody else's actions are cloned.

    The reward's advantages are over `steps_ahead` steps, those in costs count every further step
    `discount` times as much. `eps` bounds the divergence of the weighted data,
    `least_effective` the share of the samples that weights must leave, `largest_weight` a weight,
    `multiplier_cap` a price. `budget_vectors` budgets are taught, the one asked for among them.
    `untold_weight` is that of cloning everything without being told a budget, `untold` the share of
    the episodes for it. `positive`: share of the samples whose advantage counts as positive in
    `condition`. `rounds`: how often at most the budgets are tightened by what the estimate exceeds
    them. `robot`: name of the profile that says which joints play which roles.

    Batches are `streams` episodes in windows of `window` steps. `temperature` is that at which the
    policy draws its actions, in the loss and on the robot. `error`: probability that a bound of the
    test is exceeded.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: str = NEW
    budgets: dict[str, Budget]
    method: Method = "weights"
    weigh: Weigh = "recorded"
    seed: Annotated[int, Field(ge=0)] = 0
    freeze_perception: bool = True
    charge_proposals: bool = True
    shares: tuple[Part, Part, Part] = (0.6, 0.2, 0.2)
    steps_ahead: Count = 8
    discount: Share = 0.5
    eps: Positive = 0.2
    least_effective: Share = 0.3
    largest_weight: Annotated[float, Field(gt=1.0)] = 20.0
    multiplier_cap: Positive = 100.0
    budget_vectors: Count = 64
    untold_weight: Share = 0.2
    untold: Part = 0.3
    positive: Part = 0.3
    rounds: Annotated[int, Field(ge=1, le=3)] = 3
    clone_updates: Count = 2000
    updates: Count = 2000
    streams: Count = 16
    window: Annotated[int, Field(ge=2)] = 10
    learning_rate: Positive = 2e-4
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    gradient_norm: Positive = 1.0
    averaging: Share = 0.99
    critic_updates: Count = 2000
    estimate_updates: Count = 3000
    heads: Annotated[int, Field(ge=2, le=64)] = 8
    temperature: Positive = 0.5
    error: Part = 0.05
    robot: str = "sim"
    workers: Count = 1

    @field_validator("budgets")
    @classmethod
    def _some(cls, budgets: dict[str, float]) -> dict[str, float]:
        if not budgets:
            raise ValueError("expected a budget for at least one cost term")
        return budgets

    @field_validator("shares")
    @classmethod
    def _whole(cls, shares: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(shares) - 1.0) > 1e-9:
            raise ValueError(f"expected shares that add up to 1, got {list(shares)}")
        return shares

    @model_validator(mode="after")
    def _own_weights(self) -> OfflineSettings:
        if self.weigh == "own" and (self.method != "weights" or self.policy in (NEW, NEW_CHUNKS)):
            raise ValueError("weigh 'own': expected method 'weights' and a policy that can act")
        return self

    @property
    def terms(self) -> tuple[str, ...]:
        """The constrained terms, in the order of all arrays of costs."""
        return tuple(sorted(self.budgets))


def save_settings(settings: OfflineSettings, path: Path) -> None:
    """Write settings as JSON."""
    path.write_text(settings.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load_settings(path: Path) -> OfflineSettings:
    """Read settings. Raises OfflineError."""
    try:
        return OfflineSettings.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise OfflineError(f"{path}: expected the settings of an offline run: {what}") from error
