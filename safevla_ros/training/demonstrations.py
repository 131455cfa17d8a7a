"""Plays episodes for imitation: the expert, the policy, or both in turns; the expert labels all.

Every visited state is labelled with what the expert of that episode's style would do there (DAgger),
so a policy also learns the way back from its own mistakes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from safevla_ros.policy.features import Features
from safevla_ros.policy.interface import Instruction, Observation
from safevla_ros.policy.vla.processor import NO_TOKEN, Processor
from safevla_ros.robot.action_codec import TOKENS
from safevla_ros.robot.profile import Roles
from safevla_ros.simulation.rollout import Labels, Rollout
from safevla_ros.simulation.seeds import require_training
from safevla_ros.simulation.tasks import FIND_RANGE_M, Outcome
from safevla_ros.training.curriculum import Plan

END = TOKENS["end"]
LARGE_TURNS = (TOKENS["rotate_left"], TOKENS["rotate_right"])
MOST_ENDS = 10
"""So many `end` labels of one episode count. A policy that does not end when it should would
otherwise fill the data with them, and a policy learnt from that ends too early."""

CIRCLE = 12
"""Large turns to one side after which all around has been seen. Steps of a policy that still turns
count no more: it would otherwise fill the data with turning, and learn nothing else from it."""
MOST_CIRCLES = 3
MOST_ASTRAY = 40
"""A policy alone that turned so many circles, or disagreed with the expert for so many steps, is
stuck: the rest of the episode has nothing to teach."""


class Actor(Protocol):
    """A policy that acts in several episodes at once; see policy/vla/torch_actor.py."""

    inputs: dict[int, dict[str, NDArray]]

    def begin(self, episode: int, instruction: Instruction) -> None:
        """Forget the last episode of that number."""

    def act(self, observations: Mapping[int, Observation]) -> dict[int, tuple[int, float]]:
        """Token and log-probability by episode; `inputs` then holds what the policy was given."""

    def acted(self, episode: int, token: int) -> None:
        """Another token was executed."""


class Spectator:
    """An actor that prepares what a policy would be given, and proposes nothing of use: for
    episodes in which only the expert acts."""

    def __init__(self, features: Features, roles: Roles, episodes: int) -> None:
        self.inputs: dict[int, dict[str, NDArray]] = {}
        self._processors = [Processor(features, roles) for _ in range(episodes)]
        self._previous = [NO_TOKEN] * episodes

    def begin(self, episode: int, instruction: Instruction) -> None:
        """See Actor."""
        self._processors[episode].reset(instruction)
        self._previous[episode] = NO_TOKEN

    def act(self, observations: Mapping[int, Observation]) -> dict[int, tuple[int, float]]:
        """See Actor."""
        self.inputs = {
            i: self._processors[i](observation, self._previous[i])
            for i, observation in observations.items()
        }
        return dict.fromkeys(observations, (NO_TOKEN, 0.0))

    def acted(self, episode: int, token: int) -> None:
        """See Actor."""
        self._previous[episode] = token


@dataclass(frozen=True)
class Recording:
    """A finished episode: `arrays` of shape (steps, ...), and its line in the index."""

    name: str
    arrays: Mapping[str, NDArray]
    about: Mapping[str, Any]


@dataclass
class _Episode:
    plan: Plan
    instruction: Instruction
    observation: Observation
    expert_turn: bool
    rows: list[dict[str, Any]] = field(default_factory=list)
    ends: int = 0
    turns: int = 0
    astray: int = 0
    abandoned: bool = False

    def acted(self, token: int, label: int) -> None:
        """Count what may show that a policy is stuck."""
        again = bool(self.rows) and token in LARGE_TURNS and self.rows[-1]["executed"] == token
        self.turns = self.turns + 1 if again else 0
        self.astray = self.astray + 1 if token != label else 0

    @property
    def stuck(self) -> bool:
        """Whether a policy gets nowhere."""
        return self.turns > MOST_CIRCLES * CIRCLE or self.astray > MOST_ASTRAY


class Demonstrator:
    """Plays episodes in lockstep, so that the policy acts on a batch.

    `rollouts`: one for each episode at once. `next_plan` gives the next episode to play, `rng`
    decides who acts; turns in mixed episodes last `turn_steps` on average.
    """

    def __init__(
        self,
        actor: Actor,
        rollouts: list[Rollout],
        next_plan: Callable[[], Plan],
        turn_steps: float,
        rng: np.random.Generator,
    ) -> None:
        self._actor = actor
        self._rollouts = rollouts
        self._next_plan = next_plan
        self._turn_steps = turn_steps
        self._rng = rng
        self._episodes = [self._begin(slot) for slot in range(len(rollouts))]

    def advance(self, expert_turns: float) -> list[Recording]:
        """One step of every episode; those that ended, with new ones begun in their place.

        `expert_turns`: the expert's share of the turns in mixed episodes.
        """
        # A policy with memory has to see all of an episode, also where it does not act.
        proposals = self._actor.act(
            {slot: episode.observation for slot, episode in enumerate(self._episodes)}
        )
        finished = []
        for slot, episode in enumerate(self._episodes):
            self._step(slot, episode, proposals[slot][0], expert_turns)
            if self._rollouts[slot].done or episode.abandoned:
                finished.append(self._recording(slot, episode))
                self._episodes[slot] = self._begin(slot)
        return finished

    def _begin(self, slot: int) -> _Episode:
        plan = self._next_plan()
        require_training(plan.scenario.seed)
        instruction, observation = self._rollouts[slot].reset(plan.scenario, plan.style)
        self._actor.begin(slot, instruction)
        return _Episode(plan, instruction, observation, expert_turn=plan.who != "policy")

    def _step(self, slot: int, episode: _Episode, proposal: int, expert_turns: float) -> None:
        rollout, who = self._rollouts[slot], episode.plan.who
        label, labels = rollout.expert_token(), rollout.labels()
        if who == "mixed" and self._rng.random() < 1.0 / self._turn_steps:
            episode.expert_turn = bool(self._rng.random() < expert_turns)
        token = label if episode.expert_turn else proposal
        if who == "mixed" and END in (label, token):
            token = label  # there is more to learn from going on, and nothing after a good end
        # An expert that says `end` because it gives up is no example.
        gives_up = label == END and not self._accomplished(slot, episode, labels)
        episode.acted(token, label)
        episode.abandoned = (gives_up and who != "policy") or (who == "policy" and episode.stuck)
        episode.ends += label == END
        teaches = not gives_up and episode.ends <= MOST_ENDS and episode.turns < CIRCLE
        episode.rows.append(
            {
                **self._actor.inputs[slot],
                "label": np.int64(label),
                "executed": np.int64(token),
                "weight": np.float32(teaches),
                "target_visible": np.bool_(labels.target_visible),
                "target_in_base": np.asarray(labels.target_in_base, np.float32),
                "free_ahead": np.asarray(labels.free_ahead, np.float32),
                **{f"classes_{camera}": cells for camera, cells in labels.classes.items()},
            }
        )
        if not episode.abandoned:
            episode.observation = rollout.step(token)
            self._actor.acted(slot, token)

    def _accomplished(self, slot: int, episode: _Episode, labels: Labels) -> bool:
        if episode.instruction.task == "find":
            x, y, _ = labels.target_in_base
            return labels.target_visible and math.hypot(x, y) <= FIND_RANGE_M
        return self._rollouts[slot].simulation.held in episode.instruction.target_ids

    def _recording(self, slot: int, episode: _Episode) -> Recording:
        rollout, plan, rows = self._rollouts[slot], episode.plan, episode.rows
        agreement = np.mean([row["label"] == row["executed"] for row in rows])
        return Recording(
            plan.name,
            {key: np.stack([row[key] for row in rows]) for key in rows[0]},
            {
                "seed": plan.scenario.seed,
                "task": plan.scenario.task,
                "target_class": episode.instruction.target_class,
                "rooms": plan.scenario.rooms,
                "style": plan.style,
                "who": plan.who,
                "steps": len(rows),
                "success": rollout.outcome is Outcome.SUCCESS,
                "agreement": round(float(agreement), 4),
                "costs": dict(rollout.costs),
            },
        )
