"""Bags of other robots as episodes of ours, by a contract; costs are computed on the way.

The episode's actions are a person's, or of a policy that we know nothing of: each passes the gate
that was not there. A step of which anything is missing is left out and counted.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safevla_ros.bags import BagError
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.contract import Contract, Number
from safevla_ros.bags.dataset import BASE
from safevla_ros.bags.episode_writer import EpisodeInfo, EpisodeWriter, WrittenStep
from safevla_ros.bags.reader import Bag, Location
from safevla_ros.bags.resampling import pick, sample
from safevla_ros.bags.scoring import score
from safevla_ros.robot.messages import stamp_ns
from safevla_ros.robot.pictures import policy_picture
from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import BaseVelocity, Command, Joint
from safevla_ros.safety.accounting import StepCosts
from safevla_ros.safety.specification import Specification
from safevla_ros.safety.world import KinematicModel

PERSON = "person"
LONGEST_GAP_S = 3600.0
"""Of the contract's clock within a bag [s]."""


@dataclass(slots=True)
class Imported:
    """What became of a bag. `left_out` counts steps by what was missing."""

    steps: int = 0
    left_out: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    notes: list[str] = field(default_factory=list)


def import_bag(
    source: Path,
    target: Path,
    contract: Contract,
    *,
    profile: Profile | None = None,
    kinematics: KinematicModel | None = None,
    specification: Specification | None = None,
) -> Imported:
    """Write the bag `source` as an episode into the new folder `target`.

    Costs are computed where `profile` and `specification` are given. Raises BagError when the bag
    lacks a topic of the contract, or when no step is whole; then nothing stays of `target`.
    """
    bag = Bag(source)
    series = _Series(bag, contract)
    times = _step_times(series, contract)
    costs: dict[int, StepCosts] | None = None
    if profile is not None and specification is not None:
        scored = score(bag, profile, kinematics, specification, step_s=1.0 / contract.rate_hz)
        # By time: the robot's odometry need not begin where the contract's clock does.
        costs = {
            int((step.costs.stamp_ns - times[0]) * contract.rate_hz // 1e9): step.costs
            for step in scored.steps
            if step.costs.sources
        }
    imported = Imported(notes=series.notes)
    numbers = {
        key: series.sampled(number, times)
        for key, number in [*_keyed("joint", contract.joints), *_keyed("action", contract.action)]
    }
    pictures = {name: series.picked(name, times) for name in contract.images}
    whole = []
    for index in range(len(times)):
        missing = [f"{kind} {name}" for (kind, name), v in numbers.items() if np.isnan(v[index])]
        missing += [f"camera {name}" for name, found in pictures.items() if found[index] is None]
        if costs is not None and index not in costs:
            missing.append("costs")
        for name in missing[:1]:
            imported.left_out[name] += 1
        if not missing:
            whole.append(index)
    if not whole:
        why = ", ".join(f"{name} in {count}" for name, count in imported.left_out.items())
        raise BagError(f"{source}: no step is whole: missing {why} of {len(times)} steps")
    asked = contract.instruction or bag.provenance.get(keys.INSTRUCTION, "")
    info = EpisodeInfo(target.name, asked, robot=contract.robot, session=target.name)
    step_ns = round(1e9 / contract.rate_hz)
    with EpisodeWriter(target, info, specification, begin_ns=int(times[0])) as writer:
        for index in whole:
            found = {name: series.image(name, pictures[name][index]) for name in contract.images}
            images = {name: image for name, image in found.items() if image is not None}
            if len(images) < len(found):
                unread = next(name for name in found if name not in images)
                imported.left_out[f"camera {unread}"] += 1
                continue
            imported.steps += 1
            values = {key: float(column[index]) for key, column in numbers.items()}
            action = {name: v for (kind, name), v in values.items() if kind == "action"}
            command = Command(
                BaseVelocity(*(action.get(name, 0.0) for name in BASE)),
                joints={name: v for name, v in action.items() if name not in BASE},
            )
            writer.add(
                WrittenStep(
                    stamp_ns=int(times[index]),
                    ends_ns=int(times[index]) + step_ns,
                    images=images,
                    joints={n: Joint(v) for (kind, n), v in values.items() if kind == "joint"},
                    velocity=command.velocity,
                    object_in_hand=False,
                    proposed=command,
                    applied=command,
                    costs=() if costs is None else costs[index].terms,
                    source=PERSON,
                )
            )
        writer.finish("UNKNOWN", end_ns=int(times[-1]) + step_ns)
    if not imported.steps:
        shutil.rmtree(target)
        raise BagError(f"{source}: no step is whole: {'; '.join(imported.notes)}")
    return imported


def _keyed(kind: str, numbers: Mapping[str, Number]) -> list[tuple[tuple[str, str], Number]]:
    return [((kind, name), number) for name, number in numbers.items()]


def _step_times(series: _Series, contract: Contract) -> NDArray[np.int64]:
    """Stamps [ns] at which steps begin: from the clock's first to its last. Raises BagError where it
    jumps, as from a time since start to one since 1970: the steps between would fill the memory."""
    stamps = series.stamps(contract.clock)
    longest_s = max(np.diff(stamps), default=0) * 1e-9
    if longest_s > LONGEST_GAP_S:
        raise BagError(
            f"topic {contract.clock}: its time jumps by {longest_s:.0f} s, expected "
            f"{LONGEST_GAP_S:.0f} at most: cut the bag there (`safevla bags cut`)"
        )
    step_ns = round(1e9 / contract.rate_hz)
    return np.arange(stamps[0], stamps[-1], step_ns, dtype=np.int64)


class _Series:
    """Stamps and values of the contract's topics. Messages that cannot be read and those whose
    stamps go back are left out, and counted in `notes`."""

    def __init__(self, bag: Bag, contract: Contract) -> None:
        self._bag = bag
        self._contract = contract
        self._stamps: dict[str, list[int]] = defaultdict(list)
        self._values: dict[tuple[str, str, str | int | None], list[tuple[int, float]]] = (
            defaultdict(list)
        )
        self._places: dict[str, list[Location]] = defaultdict(list)
        self.notes: list[str] = []
        numbers: dict[str, list[Number]] = defaultdict(list)
        for number in (*contract.joints.values(), *contract.action.values()):
            numbers[number.topic].append(number)
        image_topics = {each.topic for each in contract.images.values()}
        wanted = {contract.clock, *numbers, *image_topics}
        backwards: dict[str, int] = defaultdict(int)
        unstamped: dict[str, int] = defaultdict(int)
        unreadable: dict[str, list[str]] = defaultdict(list)
        for place, raw in bag.located(wanted):
            try:
                message = bag.decode(raw)
            except BagError as error:
                unreadable[raw.topic].append(str(error))
                continue
            header = getattr(message, "header", None)
            stamp = stamp_ns(header.stamp) if header is not None else raw.log_time_ns
            stamps = self._stamps[raw.topic]
            if not stamp:
                unstamped[raw.topic] += 1
                continue
            if stamps and stamp <= stamps[-1]:
                backwards[raw.topic] += 1
                continue
            stamps.append(stamp)
            if raw.topic in image_topics:
                self._places[raw.topic].append(place)
            for number in numbers.get(raw.topic, ()):
                value = _value(message, number, bag)
                if value is not None:
                    key = (number.topic, number.field, number.of)
                    self._values[key].append((stamp, value))
        for topic in sorted(wanted - set(self._stamps)):
            why = (unreadable[topic] or ["the contract names it, the bag has it not"])[0]
            raise BagError(f"{bag.path}: topic {topic}: {why}")
        for topic, why_each in unreadable.items():
            self.notes.append(f"topic {topic}: {len(why_each)} messages left out: {why_each[0]}")
        for topic, count in unstamped.items():
            self.notes.append(f"topic {topic}: {count} messages left out: their stamp is 0")
        for topic, count in backwards.items():
            self.notes.append(f"topic {topic}: {count} messages left out: time runs backwards")
        self.notes += bag.damage

    def stamps(self, topic: str) -> list[int]:
        """Stamps [ns] of a topic's messages."""
        return self._stamps[topic]

    def sampled(self, number: Number, times: NDArray[np.int64]) -> NDArray[np.float64]:
        found = self._values[number.topic, number.field, number.of]
        stamps = np.array([stamp for stamp, _ in found], np.int64)
        values = np.array([value for _, value in found], np.float64)
        return sample(stamps, values, times, number.resample, number.limit_s)

    def picked(self, camera: str, times: NDArray[np.int64]) -> list[Location | None]:
        picture = self._contract.images[camera]
        stamps = np.array(self._stamps[picture.topic], np.int64)
        places = self._places[picture.topic]
        found = pick(stamps, times, picture.resample, picture.limit_s)
        return [places[index] if index >= 0 else None for index in found]

    def image(self, camera: str, place: Location | None) -> NDArray[np.uint8] | None:
        """The picture at a place, as the contract wants it. None: it cannot be read, which
        is noted."""
        assert place is not None
        picture = self._contract.images[camera]
        message = self._bag.decode(self._bag.read_at(place))
        try:
            return policy_picture(message, picture.height, picture.width, picture.rotate_deg)
        except ValueError as error:
            note = f"topic {picture.topic}: an image was left out: {error}"
            if note not in self.notes:
                self.notes.append(note)
            return None


def _value(message: Any, number: Number, bag: Bag) -> float | None:
    """The number that a contract means. None: this message does not have it (of several publishers
    of joint states, each tells some). Raises BagError when no message of the type has."""
    value = message
    for part in number.field.split("."):
        if not hasattr(value, part):
            raise BagError(
                f"{bag.path}: topic {number.topic}: field {number.field}: expected a field of "
                f"{message.__msgtype__}"
            )
        value = getattr(value, part)
    if number.of is None:
        return float(value)
    index = number.of
    if isinstance(index, str):
        names = list(getattr(message, "name", ()))
        if index not in names:
            return None
        index = names.index(index)
    return float(value[index]) if index < len(value) else None
