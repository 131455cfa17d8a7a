"""Cost specifications: one YAML file under config/safety/, checked by this schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Response = Literal["log", "limit", "stop", "latch"]
IfMissing = Literal["refuse", "warn"]


class SpecificationError(ValueError):
    """A specification that cannot be used; the message names file, key and what was expected."""


class Zone(BaseModel):
    """A forbidden area: polygon of (x, y) corners [m] in `frame`, optionally within a height range
    (low, high) [m] above its origin."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    frame: str = "map"
    polygon: tuple[tuple[float, float], ...]
    height_m: tuple[float, float] | None = None


class TermSettings(BaseModel):
    """One term as a specification sets it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    threshold: float
    scale: float
    warning: float
    budget: float | None = None
    response: Response
    if_missing: IfMissing
    parameters: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Specification:
    """A checked specification. `text` is its YAML as it stands, `hash` the sha256 of it."""

    name: str
    description: str
    terms: Mapping[str, TermSettings]
    zones: tuple[Zone, ...]
    text: str
    hash: str

    def with_zones(self, zones: Iterable[Zone | Mapping[str, Any]]) -> Specification:
        """This specification with zones added, complete in `text` and with a hash of its own."""
        raise NotImplementedError


def load_specification(name_or_path: str) -> Specification:
    """Read and check a specification by name or path. Raises SpecificationError."""
    raise NotImplementedError


def parse_specification(text: str, origin: str) -> Specification:
    """Check the text of a specification; `origin` names it in errors. Raises SpecificationError."""
    raise NotImplementedError
