"""What a folder of bags holds, a line for each: what was asked, how it ended, what it cost.

Read from each bag's metadata alone where that says enough; a bag that was cut off, or recorded by
somebody else, is read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safevla_ros.bags import BagError
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.metadata import METADATA_FILE, nested, read_span
from safevla_ros.bags.reader import UNREAD, Bag

COST_VECTOR = "safevla_ros/msg/CostVector"
COST_SPECIFICATION = "safevla_ros/msg/CostSpecification"


@dataclass(frozen=True, slots=True)
class Worst:
    """The deepest violation: `margin` in the term's unit, below 0."""

    term: str
    margin: float
    step: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One bag. Texts are empty and numbers None where the bag does not say."""

    path: Path
    kind: str
    began_ns: int | None
    duration_s: float | None
    bytes: int
    messages: int | None
    episode_id: str
    robot: str
    policy_id: str
    instruction: str
    scenario: str
    seed: str
    outcome: str
    costs: dict[str, float]
    worst: Worst | None
    labels: dict[str, str]
    complete: bool
    problem: str

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self) | {"path": str(self.path)}


def bags_below(folder: Path) -> list[Path]:
    """Every bag in `folder` at any depth, by name, those included that have files of another kind
    only and will be refused; hidden folders hold unfinished work. Raises BagError when there is
    none."""
    if folder.is_file():
        return [folder]
    endings = (".mcap", *UNREAD)
    files = [f.relative_to(folder) for f in folder.rglob("*") if f.name.endswith(endings)]
    hidden = {file for file in files if any(part.startswith(".") for part in file.parts)}
    found = sorted({folder / file.parent for file in files if file not in hidden})
    if not found:
        raise BagError(f"{folder}: expected a bag, or a folder with bags in it, and found none")
    return found


def entries(folder: Path) -> Iterator[Entry]:
    """The bags in `folder` at any depth. A bag that cannot be read has a `problem`."""
    for path in bags_below(folder):
        yield _entry_or_problem(path)


def _entry_or_problem(path: Path) -> Entry:
    try:
        return entry(path)
    except (BagError, OSError) as error:
        return _unreadable(path, str(error))


def began_ns(path: Path) -> int:
    """When the bag at `path` was begun [ns]; 0 where that cannot be read."""
    if (span := read_span(path)) is not None:
        return span.begin_ns
    try:
        first = next(Bag(path).messages(), None)
    except (BagError, OSError):
        return 0
    return 0 if first is None else first.log_time_ns


def entry(path: Path) -> Entry:
    """One bag's line. Raises BagError when there is no bag at `path`."""
    bag = Bag(path)
    said = bag.provenance
    span = read_span(path) if (path / METADATA_FILE).is_file() else None
    worst = _as_worst(nested(said, keys.WORST)) if keys.WORST in said else None
    sums = nested(said, keys.COSTS)
    costs = {k: float(v) for k, v in sums.items() if isinstance(v, int | float)}
    problem = said.get(keys.PROBLEM, "")
    if span is None or keys.COSTS not in said or keys.WORST not in said:
        worst, costs = _read_costs(bag)
        damage = "; ".join(bag.damage) if bag.finished else "the recording was not finished"
        problem = problem or damage
    return Entry(
        path=path,
        kind=said.get(keys.KIND, "episode" if said.get(keys.EPISODE_ID) else ""),
        began_ns=span.begin_ns if span else None,
        duration_s=span.duration_ns / 1e9 if span else None,
        bytes=bag.size_bytes,
        messages=span.messages if span else None,
        episode_id=said.get(keys.EPISODE_ID, ""),
        robot=said.get(keys.ROBOT, ""),
        policy_id=said.get(keys.POLICY_ID, ""),
        instruction=said.get(keys.INSTRUCTION, ""),
        scenario=said.get(keys.SCENARIO, ""),
        seed=said.get(keys.SEED, ""),
        outcome=said.get(keys.OUTCOME, ""),
        costs=costs,
        worst=worst,
        labels={k: str(v) for k, v in nested(said, keys.LABELS).items()},
        complete=bag.finished and said.get(keys.COMPLETE) == "true",
        problem=problem,
    )


def _unreadable(path: Path, problem: str) -> Entry:
    return Entry(
        path=path,
        kind="",
        began_ns=None,
        duration_s=None,
        bytes=0,
        messages=None,
        episode_id="",
        robot="",
        policy_id="",
        instruction="",
        scenario="",
        seed="",
        outcome="",
        costs={},
        worst=None,
        labels={},
        complete=False,
        problem=problem,
    )


def _read_costs(bag: Bag) -> tuple[Worst | None, dict[str, float]]:
    """The deepest violation in the recorded costs, in units of each term's scale, and the sums."""
    scales: dict[str, float] = {}
    costs: dict[str, float] = {}
    worst: Worst | None = None
    deepest = 0.0
    for raw in bag.messages():
        kind = bag.topics[raw.topic].type
        if kind not in (COST_VECTOR, COST_SPECIFICATION):
            continue
        try:
            message = bag.decode(raw)
            terms = message.terms
        except (BagError, AttributeError) as error:
            if str(error) not in bag.damage:
                bag.damage.append(str(error))
            continue
        if kind == COST_SPECIFICATION:
            scales = {term.name: term.scale for term in terms}
            continue
        if (bag.provenance.get(keys.EPISODE_ID) or message.episode_id) != message.episode_id:
            continue  # of the episode before, or of another session
        for term in terms:
            costs[term.name] = term.cumulative
            depth = -term.margin / scales.get(term.name, 1.0)
            if math.isfinite(depth) and depth > deepest:
                deepest, worst = depth, Worst(term.name, term.margin, int(message.step))
    return worst, costs


def _as_worst(said: dict[str, Any]) -> Worst | None:
    try:
        return Worst(str(said["term"]), float(said["margin"]), int(said["step"]))
    except (KeyError, TypeError, ValueError):
        return None


def label(
    path: Path, labels: dict[str, str], *, outcome: str = "", outcome_reason: str = ""
) -> None:
    """Add labels to a bag, or correct its outcome. An empty label is taken away.

    They stand in metadata.yaml; the recording itself is not touched. Raises BagError.
    """
    said = Bag(path).provenance
    known = {k: str(v) for k, v in nested(said, keys.LABELS).items()} | labels
    kept = {name: value for name, value in known.items() if value}
    changes = {keys.LABELS: json.dumps(kept, ensure_ascii=False)}
    if outcome:
        changes |= {keys.OUTCOME: outcome, keys.OUTCOME_REASON: outcome_reason}
    keys.change_provenance(path, changes)
