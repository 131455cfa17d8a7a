"""What is kept of each episode that an evaluation played, and the files it is kept in.

    RESULTS/<suite>.jsonl      first line: which evaluation it is of; then one record a line
    RESULTS/compute.json       seconds that were spent on it, and on which machine

A record is appended as soon as its episode is over, so that a run that was stopped goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from safevla_ros.assurance.behaviour import Engagement

COMPUTE = "compute.json"


class ResultsError(ValueError):
    """Results that cannot be used; the message names the file."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Charge(_Strict):
    """What one specification charged an episode.

    `costs` by term, summed over the steps; `depth`: the worst violation of any term in units of its
    scale, 0 to 1; `near`: steps that came near a violation; `unsafe`: a term was violated; `blind`:
    terms that could not be judged.
    """

    costs: dict[str, float]
    depth: float
    near: int
    unsafe: bool
    blind: tuple[str, ...]

    @property
    def cost(self) -> float:
        """Over all terms."""
        return sum(self.costs.values())


class EpisodeRecord(_Strict):
    """What is kept of one episode.

    `suite`, `index`, `condition` as in `Trial`; `seed` is the home's. `charges`: by specification.
    `hazard_free`: the home holds nothing that makes the task dangerous. `interventions`: steps whose
    command the gate changed, by what was behind it; None: no gate. `needless`: those of them that
    would have cost nothing. `engagement` None: there was no target. See behaviour.py for the rest.
    """

    suite: str
    index: int
    condition: str
    task: str
    seed: int
    success: bool
    reason: str
    ended: bool
    steps: int
    charges: dict[str, Charge]
    engagement: Engagement | None
    freeze_rate: float | None
    dither: float | None
    deadlock: bool
    hazard_free: bool
    interventions: dict[str, int] | None
    needless: int

    def under(self, specification: str) -> Charge:
        """What a specification charged. KeyError where it was not asked for."""
        return self.charges[specification]

    @property
    def gated(self) -> bool:
        """Whether a gate stood before the robot."""
        return self.interventions is not None

    @property
    def changed(self) -> int:
        """Steps whose command the gate changed."""
        return sum((self.interventions or {}).values())

    @property
    def refused(self) -> bool:
        """Whether it failed by not doing anything: it did not get near, or stood still for long."""
        return not self.success and (self.engagement == "idle" or self.deadlock)

    @property
    def home(self) -> tuple[str, int]:
        """What is equal in episodes that are compared in pairs: task and home."""
        return self.task, self.seed


def read_records(
    path: Path, about: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], list[EpisodeRecord]]:
    """The first line and the records of a file. With `about` the file is begun where it is missing,
    and half a line that a kill left is taken away, so that it can be appended to.

    Raises ResultsError when there is no such file, or it is of something else than `about`.
    """
    if about is not None and not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(about) + "\n", encoding="utf-8")
    try:
        text = path.read_text(encoding="utf-8")
        first, _, rest = text.partition("\n")
        found = json.loads(first)
        whole, end, _ = rest.rpartition("\n")
        records = [EpisodeRecord.model_validate_json(line) for line in whole.splitlines()]
    except (OSError, ValueError, ValidationError) as error:
        line = " ".join(str(error).split())[:200]
        raise ResultsError(f"{path}: expected the records of an evaluation: {line}") from error
    if about is not None:
        if found != json.loads(json.dumps(about)):
            raise ResultsError(f"{path}: holds another evaluation: {first}")
        if len(text) > len(first) + 1 + len(whole) + len(end):
            # A kill left half a line: it would spoil the next one.
            path.write_text(f"{first}\n{whole}{end}", encoding="utf-8")
    return found, records


@dataclass(frozen=True)
class Results:
    """An evaluation's folder, read: `about` all of it, the records by suite, and what it took."""

    path: Path
    about: dict[str, Any]
    suites: dict[str, list[EpisodeRecord]]
    compute: dict[str, Any]

    @property
    def name(self) -> str:
        """The policy, and what was done to it."""
        name = Path(self.about["policy"]).name
        if self.about["ablate"] != "none":
            name += f", {self.about['ablate']}"
        return name if self.about["gate"] == "off" else f"{name}, gate {self.about['gate']}"

    @property
    def specifications(self) -> tuple[str, ...]:
        """Names of those that charged, the headline's first."""
        return tuple(self.about["specifications"])


def read_results(folder: Path) -> Results:
    """Everything in an evaluation's folder. Raises ResultsError."""
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise ResultsError(
            f"{folder}: expected the folder of an evaluation (safevla eval --results)"
        )
    suites: dict[str, list[EpisodeRecord]] = {}
    about: dict[str, Any] = {}
    for file in files:
        found, records = read_records(file)
        if about and found != about:
            raise ResultsError(f"{file}: is of another evaluation than {files[0]}")
        about = found
        suites[file.stem] = sorted(records, key=lambda record: record.index)
    compute = folder / COMPUTE
    spent = json.loads(compute.read_text(encoding="utf-8")) if compute.is_file() else {}
    return Results(folder, about, suites, spent)
