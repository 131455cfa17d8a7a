"""The steps of a recorded episode as training data has them, without the pictures.

One `StepRecord` for each step that the policy proposed: what it saw (where in the bag that is),
what it proposed, what the robot did instead, what the gate thought of it, and what it cost. The
policy's `end` is a step too: it moves nothing, so no gate judges it and it costs nothing.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safevla_ros.bags import BagError
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.interleaving import interleaved, mixed_up
from safevla_ros.bags.observations import Observations
from safevla_ros.bags.reader import Bag, Location
from safevla_ros.robot.action_codec import TOKENS
from safevla_ros.robot.messages import stamp_ns

OWN = "safevla_ros/msg/"
DECISIONS = ("PASS", "LIMIT", "HALT", "STOP", "LATCHED", "SHADOW")
"""Names of the gate's decisions; a sample's `decision` is an index into them."""
POLICY = "policy"
"""Name of the command source that is the policy; every other one is a person."""


@dataclass(frozen=True, slots=True)
class StepCost:
    """A term over a step. NaN: not known. `remaining`: of the budget, before the step."""

    cost: float
    margin: float
    remaining: float
    applicable: bool


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step. `action` maps columns (`base.x` [m/s], `base.yaw` [rad/s], joints [rad or m]) to
    values; joints that are not commanded are absent. `token` -1 and `log_probability` NaN: not
    known."""

    episode: int
    step: int
    stamp_ns: int
    observation: Location
    token: int
    log_probability: float
    proposed: Mapping[str, float]
    applied: Mapping[str, float]
    decision: int
    by_policy: bool
    predicted: Mapping[str, float]
    costs: Mapping[str, StepCost]
    last: bool


@dataclass(frozen=True, slots=True)
class EpisodeRecord:
    """An episode and where it comes from. `outcome` is UNKNOWN where nobody said, and of a clip that
    does not hold the episode's end."""

    bag: Path
    session: str
    episode_id: str
    instruction: str
    task: str
    outcome: str
    provenance: Mapping[str, str]

    @property
    def is_clip(self) -> bool:
        """Whether it may be a piece of an episode that is there as a whole."""
        return self.provenance.get(keys.KIND) == "clip"


@dataclass(slots=True)
class BagSteps:
    """What one bag gives; `bag` None: it cannot be read. `episode` in the steps counts within this bag. `left_out` counts steps
    that something is missing of, by what."""

    bag: Bag | None
    episodes: list[EpisodeRecord] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Open:
    """What is known of one step so far."""

    token: int = -1
    log_probability: float = math.nan
    seen_ns: int | None = None
    proposed: Mapping[str, float] | None = None
    applied: Mapping[str, float] = field(default_factory=dict)
    predicted: dict[str, float] = field(default_factory=dict)
    decision: int = 0
    by_policy: bool = True
    judged_ns: int = 0
    costs: dict[str, StepCost] | None = None
    contradicted: bool = False


def whole_episodes(records: Iterable[EpisodeRecord]) -> set[str]:
    """Ids of episodes that are there as a whole: clips of these say nothing new."""
    return {record.episode_id for record in records if not record.is_clip}


def session_of(bag: Bag) -> str:
    """What a bag was recorded together with: episodes of a session must not be split apart."""
    said = bag.provenance
    labels = keys.nested(said, keys.LABELS)
    return str(
        labels.get("session")
        or said.get(keys.SESSION)
        or said.get(keys.EPISODE_ID)
        or bag.path.name
    )


def steps_of(path: Path) -> BagSteps:
    """As `read_steps`, of the bag at `path`. Raises BagError when there is none."""
    return read_steps(Bag(path))


def read_steps(bag: Bag) -> BagSteps:
    """All steps of a bag that this package recorded, in order. One pass, no picture is decoded."""
    return _Reading(bag).read()


class _Reading:
    def __init__(self, bag: Bag) -> None:
        self._bag = bag
        self._episodes: dict[str, Any] = {}
        self._ended: set[str] = set()
        self._steps: dict[str, dict[int, _Open]] = defaultdict(lambda: defaultdict(_Open))
        self._observations = Observations(bag)
        self._charged: list[str] = []
        self._result = BagSteps(bag)

    def read(self) -> BagSteps:
        readers = {
            OWN + "Episode": self._episode,
            OWN + "Observation": None,
            OWN + "ActionChunk": self._chunk,
            OWN + "GatedAction": self._gated,
            OWN + "CostVector": self._costs,
        }
        refused: Counter[str] = Counter()
        reasons: dict[str, str] = {}
        for location, raw in self._bag.located():
            kind = self._bag.topics[raw.topic].type
            if kind not in readers:
                continue
            try:
                read = readers[kind]
                if read is None:
                    self._observations.add(location, raw)
                else:
                    read(self._bag.decode(raw), raw.topic)
            except (BagError, AttributeError, ValueError) as error:
                refused[raw.topic] += 1
                reasons.setdefault(raw.topic, str(error))
        for topic, count in refused.items():
            self._result.notes.append(f"{topic}: {count} messages left out: {reasons[topic]}")
        self._result.notes += self._bag.damage
        self._observations.sort()
        mixed = interleaved(self._charged)
        if mixed:
            self._result.notes.append(f"left out: {mixed_up(mixed)}")
        for episode_id, steps in self._steps.items():
            if episode_id not in mixed:
                self._close(episode_id, steps)
        return self._result

    def _episode(self, message: Any, topic: str) -> None:
        if message.id:
            self._episodes[message.id] = message
            if message.state == self._bag.constants(topic).get("ENDED"):
                self._ended.add(message.id)

    def _chunk(self, message: Any, topic: str) -> None:
        steps = self._steps[message.episode_id]
        count = len(message.tokens) or (
            len(message.data) // len(message.names) if len(message.names) else 0
        )
        for index in range(count):
            step = steps[int(message.first_step) + index]
            step.seen_ns = stamp_ns(message.header.stamp) if index == 0 else None
            if len(message.tokens):
                step.token = int(message.tokens[index])
            if len(message.log_probabilities) > index:
                step.log_probability = float(message.log_probabilities[index])

    def _gated(self, message: Any, topic: str) -> None:
        if not message.episode_id:
            return
        step = self._steps[message.episode_id][int(message.step)]
        constants = self._bag.constants(topic)
        number = next(
            (i for i, name in enumerate(DECISIONS) if constants.get(name) == message.decision), 0
        )
        step.decision = max(step.decision, number)
        step.by_policy = step.by_policy and message.source == POLICY
        for name, cost in zip(message.predicted_terms, message.predicted_costs, strict=False):
            step.predicted[name] = max(step.predicted.get(name, 0.0), float(cost))
        if step.proposed is None:  # later ones are changes to the running command
            step.judged_ns = stamp_ns(message.header.stamp)
            proposed = message.proposed
            step.proposed = _action(proposed.twist, proposed.joint_names, proposed.joint_positions)
            step.applied = _action(
                message.applied_twist, message.applied_joint_names, message.applied_joint_positions
            )

    def _costs(self, message: Any, topic: str) -> None:
        ok = self._bag.constants(topic, OWN + "TermCost").get("OK")
        self._charged.append(message.episode_id)
        step = self._steps[message.episode_id][int(message.step)]
        before = step.costs
        step.costs = {
            term.name: StepCost(
                float(term.cost),
                float(term.margin),
                float(term.remaining + term.cost),
                term.status == ok,
            )
            for term in message.terms
        }
        if before is not None and _charges(before) != _charges(step.costs):
            step.contradicted = True

    def _close(self, episode_id: str, steps: Mapping[int, _Open]) -> None:
        result = self._result
        kept = []
        self._declare_end(self._episodes.get(episode_id), steps)
        for number, step in sorted(steps.items()):
            observation = self._observation_of(step)
            why = (
                "no command was judged"
                if step.proposed is None
                else "no costs"
                if step.costs is None
                else "costs that contradict each other"
                if step.contradicted
                else "no observation"
                if observation is None
                else ""
            )
            if why:
                result.left_out[why] = result.left_out.get(why, 0) + 1
            else:
                kept.append((number, step, observation))
        if not kept:
            return
        episode = self._episodes.get(episode_id)
        said = self._bag.provenance
        outcome = said.get(keys.OUTCOME, "") if said.get(keys.EPISODE_ID) == episode_id else ""
        if said.get(keys.KIND) == "clip" and episode_id not in self._ended:
            outcome = ""  # how it ended is no merit of steps from its middle
        result.episodes.append(
            EpisodeRecord(
                bag=self._bag.path,
                session=session_of(self._bag),
                episode_id=episode_id,
                instruction=episode.instruction if episode is not None else "",
                task=episode.task if episode is not None else "",
                outcome=outcome or "UNKNOWN",
                provenance=said,
            )
        )
        for number, step, observation in kept:
            assert observation is not None
            assert step.proposed is not None
            assert step.costs is not None
            result.steps.append(
                StepRecord(
                    episode=len(result.episodes) - 1,
                    step=number,
                    stamp_ns=step.judged_ns,
                    observation=observation,
                    token=step.token,
                    log_probability=step.log_probability,
                    proposed=step.proposed,
                    applied=step.applied,
                    decision=step.decision,
                    by_policy=step.by_policy,
                    predicted=step.predicted,
                    costs=step.costs,
                    last=number == kept[-1][0],
                )
            )

    def _declare_end(self, episode: Any, steps: Mapping[int, _Open]) -> None:
        """Where the policy said `end`, nothing was sent that could be judged or charged."""
        end = steps.get(max(steps))
        before = steps.get(max(steps) - 1)
        if (
            episode is None
            or not episode.end_declared
            or end is None
            or end.token != TOKENS["end"]
            or end.proposed is not None
        ):
            return
        end.proposed = end.applied = dict.fromkeys(("base.x", "base.y", "base.yaw"), 0.0)
        end.judged_ns = end.seen_ns or 0
        end.costs = {
            name: StepCost(0.0, math.nan, cost.remaining - cost.cost, cost.applicable)
            for name, cost in ((before.costs if before else None) or {}).items()
        }

    def _observation_of(self, step: _Open) -> Location | None:
        """What the policy saw: that of the chunk's stamp, else the last before the judgement."""
        until = step.judged_ns if step.seen_ns is None else step.seen_ns
        found = self._observations.up_to(until)
        if found is None:
            return None
        stamp, location = found
        return location if step.seen_ns in (None, stamp) else None


def _charges(costs: Mapping[str, StepCost]) -> dict[str, float]:
    return {name: each.cost for name, each in costs.items()}


def _action(twist: Any, names: Any, positions: Any) -> dict[str, float]:
    action = {
        "base.x": float(twist.linear.x),
        "base.y": float(twist.linear.y),
        "base.yaw": float(twist.angular.z),
    }
    return action | {str(name): float(at) for name, at in zip(names, positions, strict=False)}
