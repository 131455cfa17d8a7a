"""Looks for what makes a bag wrong or poor: damage, gaps, missing topics, a clock that ran backwards,
pictures without pixels, two sessions in one.

A fault means that something is missing or cannot be trusted; a note is worth knowing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from safevla_ros.bags import BagError
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.interleaving import interleaved, mixed_up
from safevla_ros.bags.metadata import METADATA_FILE, nested, read_span
from safevla_ros.bags.reader import Bag
from safevla_ros.robot.messages import stamp_ns

EPISODIC = ("CostVector", "GatedAction", "ActionChunk")
EXPECTED_ROLES = ("episode", "cost_vector", "gated_action", "signals.odometry")
SHARED = ("DiagnosticArray", "Log", "TFMessage")
"""Types of topics that many publish at once, not all by the same clock."""
JITTER_NS = 500_000_000
"""Times of one topic that go back by less are out of order; by more, the clock went back."""
SILENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a bag, in a sentence."""

    fault: bool
    what: str


@dataclass(frozen=True, slots=True)
class Checked:
    """Outcome of a check."""

    path: Path
    messages: int
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """No fault was found."""
        return not any(finding.fault for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self) | {"path": str(self.path), "sound": self.sound}


def check(path: Path) -> Checked:
    """Read all of a bag. Raises BagError when there is none at `path`."""
    return _Check(Bag(path)).run()


class _Check:
    def __init__(self, bag: Bag) -> None:
        self._bag = bag
        self._counts: Counter[str] = Counter()
        self._undecodable: Counter[str] = Counter()
        self._back: Counter[str] = Counter()
        self._received_back: Counter[str] = Counter()
        self._bad_pictures: Counter[str] = Counter()
        self._unstamped: Counter[str] = Counter()
        self._stamps: dict[str, int] = {}
        self._received: dict[str, int] = {}
        self._silences: dict[str, float] = {}
        self._episodes: list[str] = []
        self._steps: dict[str, list[int]] = {}
        self._findings: list[Finding] = []

    def run(self) -> Checked:
        for raw in self._bag.messages():
            self._counts[raw.topic] += 1
            silent_s = (raw.log_time_ns - self._received.get(raw.topic, raw.log_time_ns)) / 1e9
            self._silences[raw.topic] = max(self._silences.get(raw.topic, 0.0), silent_s)
            self._received_back[raw.topic] += _went_back(self._received, raw.topic, raw.log_time_ns)
            try:
                self._look_at(raw.topic, self._bag.decode(raw))
            except BagError:
                self._undecodable[raw.topic] += 1
        self._conclude()
        return Checked(self._bag.path, self._counts.total(), tuple(self._findings))

    def _look_at(self, topic: str, message: Any) -> None:
        kind = self._bag.topics[topic].type.rsplit("/", 1)[-1]
        stamp = getattr(getattr(message, "header", None), "stamp", None)
        if kind not in SHARED and stamp is not None:
            self._back[topic] += _went_back(self._stamps, topic, stamp_ns(stamp))
            self._unstamped[topic] += stamp_ns(stamp) == 0
        if kind in EPISODIC and message.episode_id:
            if not self._episodes or self._episodes[-1] != message.episode_id:
                self._episodes.append(message.episode_id)
            if kind == "CostVector":
                self._steps.setdefault(message.episode_id, []).append(int(message.step))
        if kind == "Image" and not _is_whole(message):
            self._bad_pictures[topic] += 1
        if kind == "CompressedImage" and not len(message.data):
            self._bad_pictures[topic] += 1

    def _fault(self, what: str) -> None:
        self._findings.append(Finding(True, what))

    def _note(self, what: str) -> None:
        self._findings.append(Finding(False, what))

    def _conclude(self) -> None:
        bag, said = self._bag, self._bag.provenance
        if not bag.finished:
            self._fault("the recording was not finished: `safevla bags repair` does it")
        elif bag.path.is_dir():
            self._compare_metadata()
        for sentence in bag.damage:
            self._fault(sentence)
        if not self._counts:
            self._fault("it holds no message that can be read")
        if said.get(keys.PROBLEM):
            self._fault(f"the recorder said: {said[keys.PROBLEM]}")
        for key, what in (
            (keys.DROPPED, "not written by the recorder"),
            (keys.LOST, "lost by DDS"),
        ):
            lost = {k: v for k, v in nested(said, key).items() if isinstance(v, int) and v > 0}
            if lost:
                topics = ", ".join(f"{topic} {number}" for topic, number in lost.items())
                self._fault(f"messages were {what}: {topics}")
        for topic, number in self._undecodable.items():
            kind = bag.topics[topic].type
            self._fault(f"{topic}: {number} messages cannot be decoded as {kind}")
        for topic, number in (+self._back).items():
            self._fault(f"{topic}: time runs backwards at {number} places")
        for topic, number in (+self._received_back).items():
            if not self._back[topic]:
                self._fault(f"{topic}: the time of receipt runs backwards at {number} places")
        for topic, number in self._bad_pictures.items():
            self._fault(f"{topic}: {number} images without pixels, or with too few or too many")
        for topic, number in (+self._unstamped).items():
            if number > 1:  # simulated time begins at 0
                self._note(f"{topic}: {number} messages have the stamp 0")
        self._conclude_episodes()
        self._conclude_topics()

    def _compare_metadata(self) -> None:
        bag, count = self._bag, self._counts.total()
        span = read_span(bag.path)
        if span is None:
            self._fault(f"{METADATA_FILE} is missing or damaged: `safevla bags repair` makes it")
            return
        if span.messages != count and not bag.damage:
            self._fault(f"{METADATA_FILE} counts {span.messages} messages, the recording {count}")
        files = [file.name for file in bag.files]
        if sorted(span.files) != sorted(files):
            listed = ", ".join(span.files)
            self._fault(f"{METADATA_FILE} is about {listed}, the folder holds {', '.join(files)}")
        recorded = bag.recorded_provenance().get(keys.EPISODE_ID)
        said = bag.provenance.get(keys.EPISODE_ID)
        if recorded is not None and said != recorded:
            self._fault(f"{METADATA_FILE} is of episode {said}, the recording of {recorded}")

    def _conclude_episodes(self) -> None:
        if mixed := interleaved(self._episodes):
            self._fault(mixed_up(mixed))
        elif len(self._episodes) > 1:
            self._note(f"it holds {len(self._episodes)} episodes: {', '.join(self._episodes)}")
        for episode, steps in self._steps.items():
            if missing := sorted(set(range(steps[0], steps[-1] + 1)) - set(steps)):
                shown = ", ".join(map(str, missing[:10]))
                self._fault(f"episode {episode}: {len(missing)} steps have no costs: {shown}")
            if twice := sorted(step for step, times in Counter(steps).items() if times > 1):
                shown = ", ".join(map(str, twice[:10]))
                self._fault(f"episode {episode}: {len(twice)} steps have costs twice: {shown}")

    def _conclude_topics(self) -> None:
        roles = {role: str(t) for role, t in nested(self._bag.provenance, keys.TOPICS).items()}
        silent = sorted(role for role, topic in roles.items() if not self._counts[topic])
        for role in silent:
            needed = role in EXPECTED_ROLES or role.startswith("cameras.")
            if needed and self._bag.provenance.get(keys.EPISODE_ID):
                self._fault(f"{roles[role]}: no message, though it is the robot's {role}")
        others = [role for role in silent if role not in EXPECTED_ROLES]
        if others:
            self._note(f"nothing was recorded of: {', '.join(others)}")
        for role, topic in roles.items():
            gap_s = self._silences.get(topic, 0.0)
            if role.startswith(("signals.", "cameras.")) and gap_s > SILENCE_S:
                self._note(f"{topic}: silent for {gap_s:.1f} s")


def _went_back(latest: dict[str, int], topic: str, time_ns: int) -> bool:
    """Whether a topic's time is less than its latest by more than messages out of order explain.
    Notes the latest: since the beginning, or since it last went back."""
    back = time_ns < latest.get(topic, time_ns) - JITTER_NS
    latest[topic] = time_ns if back else max(time_ns, latest.get(topic, time_ns))
    return back


def _is_whole(image: Any) -> bool:
    size = int(np.asarray(image.data).size)
    return size > 0 and size == image.height * image.step
