"""Costs of a recorded episode, under the specification of its time or any other.

Where the bag holds `CostVector`s, the world states are rebuilt from the very messages that those
list, so the verdict under the same specification is the live one. A step of which a message is
missing is scored from what is left and marked `incomplete`. In other bags a step is `step_s` long,
and a world state is sampled at each odometry as it was received. Episodes of two sessions in one bag
are left out: whose messages are whose is not to be told.

What only the monitor knew is taken from its `GatedAction`s: whether the gripper was last told to
open. It published them at the time it carried them out, in between two odometry messages.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from safevla_ros.bags import BagError, RawMessage
from safevla_ros.bags.interleaving import interleaved, mixed_up
from safevla_ros.bags.reader import Bag
from safevla_ros.bags.recorded_signals import RecordedSignals
from safevla_ros.robot.action_codec import opens_gripper
from safevla_ros.robot.messages import stamp_ns
from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import NANOSECONDS, Command
from safevla_ros.safety.accounting import CostAccountant, Status, StepCosts
from safevla_ros.safety.specification import Specification, parse_specification
from safevla_ros.safety.world import NO_TASK, KinematicModel, Task, WorldAssembler

OWN = "safevla_ros/msg/"
APPLIED = ("PASS", "LIMIT", "HALT")
"""Decisions after which the monitor publishes the applied command itself, and not a stop."""
LONGEST_SILENCE_S = 3600.0
MOST_SAMPLES = 3000
"""The monitor keeps no more samples for one step."""


@dataclass(frozen=True, slots=True)
class ScoredStep:
    """A step's costs. `incomplete` says which message is missing; empty: none is."""

    costs: StepCosts
    incomplete: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a step's costs are not those that were recorded."""

    episode_id: str
    step: int
    term: str
    what: str
    recorded: float | str
    scored: float | str


@dataclass(slots=True)
class Scored:
    """A bag's costs. `compared` steps were recorded under the same specification and are complete;
    `largest_difference` is that of their costs and margins, in the terms' own units."""

    specification: Specification
    steps: list[ScoredStep] = field(default_factory=list)
    compared: int = 0
    largest_difference: float = 0.0
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def incomplete(self) -> int:
        """Steps of which a message is missing."""
        return sum(1 for step in self.steps if step.incomplete)

    @property
    def totals(self) -> dict[str, float]:
        """Sum of each term over all steps."""
        sums = dict.fromkeys(self.specification.terms, 0.0)
        for step in self.steps:
            for term in step.costs.terms:
                sums[term.name] += term.cost
        return sums

    @property
    def not_applicable(self) -> dict[str, int]:
        """Steps in which a term could not be judged, for those terms where that was so."""
        counts: dict[str, int] = defaultdict(int)
        for step in self.steps:
            for term in step.costs.terms:
                counts[term.name] += term.status is Status.NOT_APPLICABLE
        return {name: count for name, count in counts.items() if count}


def score(
    bag: Bag,
    profile: Profile,
    kinematics: KinematicModel | None,
    specification: Specification | None = None,
    *,
    step_s: float | None = None,
) -> Scored:
    """Costs of what `bag` recorded of a robot.

    `specification` None: the bag's own. `step_s`: length of a step where the bag does not say how
    long each was; None: the profile's. Raises BagError when the bag has no specification and none
    is given, or no odometry; SpecificationError when its own cannot be used any more.
    """
    recorded = _Recorded(bag, profile)
    mixed = interleaved(vector.episode_id for vector in recorded.vectors)
    if mixed and not recorded.leave_out(mixed):
        raise BagError(f"{bag.path}: nothing to score: {mixed_up(mixed)}")
    if specification is None:
        if not recorded.specification:
            raise BagError(f"{bag.path}: holds no cost specification: name one")
        specification = parse_specification(recorded.specification, f"{bag.path}: specification")
    scored = Scored(specification, notes=[*bag.damage, *recorded.notes])
    if mixed:
        scored.notes.append(f"left out: {mixed_up(mixed)}")
    scoring = _Scoring(recorded, profile, kinematics, scored)
    if recorded.vectors:
        scoring.by_vectors()
    else:
        scoring.by_time(step_s or profile.step_s)
        scored.notes.append(
            "the bag holds no costs that can be read: its steps are of equal length"
        )
    scored.notes += [f"{name}: {why}" for name, why in recorded.signals.unreadable.items()]
    if not scored.steps:
        raise BagError(f"{bag.path}: nothing to score: it holds no odometry of {profile.name}")
    return scored


class _Recorded:
    """One pass over a bag, for what scoring needs. Pictures are passed over."""

    def __init__(self, bag: Bag, profile: Profile) -> None:
        self._bag = bag
        self._profile = profile
        self.signals = RecordedSignals(bag, profile)
        self.tasks: dict[str, Task] = {}
        self.started: dict[str, int] = {}
        self.vectors: list[Any] = []
        self.specification = ""
        self.notes: list[str] = []
        self._release_times: list[int] = []
        self._releases: list[bool] = []
        self._judged = False
        readers = {
            OWN + "Episode": self._episode,
            OWN + "CostSpecification": self._specification,
            OWN + "CostVector": lambda raw, message: self.vectors.append(message),
            OWN + "GatedAction": self._gated,
        }
        refused: Counter[str] = Counter()
        reasons: dict[str, str] = {}
        for raw in bag.messages():
            read = readers.get(bag.topics[raw.topic].type)
            if read is None:
                self.signals.add(raw)
                continue
            try:
                read(raw, bag.decode(raw))
            except (BagError, AttributeError) as error:
                refused[raw.topic] += 1
                reasons.setdefault(raw.topic, str(error))
        self.notes += [f"{t}: {n} messages left out: {reasons[t]}" for t, n in refused.items()]
        unknown = {vector.episode_id for vector in self.vectors} - set(self.tasks) - {""}
        self.notes += [
            f"episode {each}: what it asked for is not recorded: costs that go by it may differ"
            for each in sorted(unknown)
        ]
        if self.vectors and not self._judged:
            self.notes.append(
                "no command was recorded: whether the gripper was opened is not known"
            )

    def leave_out(self, episodes: Sequence[str]) -> int:
        """Forget the costs of some episodes; how many are left."""
        self.vectors = [each for each in self.vectors if each.episode_id not in episodes]
        return len(self.vectors)

    def release_commanded(self, received_ns: int) -> bool:
        """Whether the gripper was last told to open when something was received."""
        index = bisect_right(self._release_times, received_ns)
        return self._releases[index - 1] if index else False

    def _episode(self, raw: RawMessage, message: Any) -> None:
        self.tasks[message.id] = Task(tuple(message.target_ids), message.target_class, message.task)
        self.started.setdefault(message.id, stamp_ns(message.started))

    def _specification(self, raw: RawMessage, message: Any) -> None:
        self.specification = message.yaml

    def _gated(self, raw: RawMessage, message: Any) -> None:
        self._judged = True
        constants = self._bag.constants(raw.topic)
        if message.decision not in {constants.get(name) for name in APPLIED}:
            return
        names, positions = message.applied_joint_names, message.applied_joint_positions
        joints = dict(zip(names, map(float, positions), strict=False))
        opens = opens_gripper(Command(joints=joints), self._profile)
        if opens is not None:
            self._release_times.append(raw.log_time_ns)
            self._releases.append(opens)


class _Scoring:
    def __init__(
        self,
        recorded: _Recorded,
        profile: Profile,
        kinematics: KinematicModel | None,
        scored: Scored,
    ) -> None:
        self._recorded = recorded
        self._assembler = WorldAssembler(profile, kinematics)
        self._accountant = CostAccountant(scored.specification)
        self._scored = scored
        self._last_ns: int | None = None
        self._missing: dict[str, int] = {}

    def by_vectors(self) -> None:
        """Steps as they were recorded."""
        comparable = True
        for vector in self._recorded.vectors:
            if vector.episode_id != self._accountant.episode_id:
                self._begin(vector.episode_id)
                self._last_ns, comparable = None, True
            incomplete = self._gap_before(vector)
            for changes in _samples(vector):
                incomplete = self._sample(changes) or incomplete
            costs = self._accountant.close_step(vector.step)
            self._scored.steps.append(ScoredStep(costs, incomplete))
            comparable = comparable and not incomplete
            if vector.specification_hash == self._scored.specification.hash and not incomplete:
                self._compare(vector, costs, sums=comparable)

    def by_time(self, step_s: float) -> None:
        """Steps of equal length from the first odometry on, within the bag's episode if it has one."""
        episode, task = next(reversed(self._recorded.tasks.items()), ("recording", NO_TASK))
        self._accountant.reset(episode or "recording", task)
        ends_ns: int | None = None
        step_ns = round(step_s * NANOSECONDS)
        number = backwards = 0

        def on_odometry(stamp: int, received: int) -> None:
            nonlocal ends_ns, number, backwards
            if ends_ns is None:
                ends_ns = stamp + step_ns
            if stamp < ends_ns - step_ns:  # that step is closed
                backwards += 1
                return
            if stamp - ends_ns > LONGEST_SILENCE_S * NANOSECONDS:
                raise BagError(
                    f"odometry: its stamps jump from {ends_ns} to {stamp} ns: cut the bag there"
                )
            while stamp >= ends_ns:  # also over a silence: steps stay on their grid
                self._scored.steps.append(ScoredStep(self._accountant.close_step(number), ""))
                number += 1
                ends_ns += step_ns
            self._add_world(stamp, received)

        self._recorded.signals.replay(on_odometry)
        if ends_ns is not None:
            self._scored.steps.append(ScoredStep(self._accountant.close_step(number), ""))
        if backwards:
            self._scored.notes.append(
                f"odometry: {backwards} messages left out: time runs backwards"
            )

    def _begin(self, episode_id: str) -> None:
        self._accountant.reset(episode_id, self._recorded.tasks.get(episode_id, NO_TASK))

    def _gap_before(self, vector: Any) -> str:
        """Whether steps before this one are missing in the bag: a term may remember them."""
        stamps = [
            stamp_ns(stamp)
            for name, stamp in zip(vector.source_signals, vector.source_stamps, strict=True)
            if name == "odometry"
        ]
        if not stamps:
            return ""
        after_ns, self._last_ns = self._last_ns, stamps[-1]
        if len(stamps) >= MOST_SAMPLES:
            self._last_ns = stamp_ns(vector.header.stamp)
        if after_ns is None:
            started = self._recorded.started.get(vector.episode_id, stamps[0])
            late_s = (stamps[0] - started) / NANOSECONDS
            return "the episode's first steps" if vector.step > 0 and late_s > 1.0 else ""
        between = self._recorded.signals.odometry_between(after_ns, stamps[0])
        return "the step before" if between else ""

    def _sample(self, changes: Mapping[str, int]) -> str:
        """Rebuild one world state; what is missing of it, then it is left out."""
        received = 0
        for name, stamp in sorted(changes.items(), key=lambda change: change[0] == "odometry"):
            found = self._recorded.signals.feed(name, stamp)
            if found is None:
                self._missing[name] = stamp
                continue
            self._missing.pop(name, None)
            received = max(received, found) if name == "odometry" else received
        if self._missing:
            return ", ".join(f"{name} of {stamp} ns" for name, stamp in self._missing.items())
        if "odometry" in changes:
            self._add_world(changes["odometry"], received)
        return ""

    def _add_world(self, stamp: int, received_ns: int) -> None:
        release = self._recorded.release_commanded(received_ns)
        world = self._assembler.assemble(
            self._recorded.signals.signals, stamp, self._accountant.task, release
        )
        self._accountant.sample(world)

    def _compare(self, vector: Any, costs: StepCosts, *, sums: bool) -> None:
        """Note where costs differ from the recorded ones by more than rounding."""
        scored = self._scored
        scored.compared += 1
        terms = {term.name: term for term in costs.terms}
        for live in vector.terms:
            own = terms[live.name]
            pairs = {"cost": (live.cost, own.cost), "margin": (live.margin, own.margin)}
            if sums:
                pairs["cumulative"] = (live.cumulative, own.cumulative)
            for what, (recorded, now) in pairs.items():
                if math.isnan(recorded) and math.isnan(now):
                    continue
                difference = abs(recorded - now)
                scored.largest_difference = max(scored.largest_difference, difference)
                if not difference <= 1e-9:
                    scored.differences.append(
                        Difference(
                            vector.episode_id, int(vector.step), live.name, what, recorded, now
                        )
                    )


def _samples(vector: Any) -> Iterator[dict[str, int]]:
    """For each sample of a step the signals that changed, with the stamps of their messages."""
    samples: dict[int, dict[str, int]] = defaultdict(dict)
    for sample, name, stamp in zip(
        vector.source_samples, vector.source_signals, vector.source_stamps, strict=True
    ):
        samples[int(sample)][name] = stamp_ns(stamp)
    for index in range(max(samples, default=-1) + 1):
        yield samples[index]
