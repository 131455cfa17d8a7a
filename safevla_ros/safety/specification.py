"""Cost specifications: one YAML file under config/safety/, checked by this schema.

A specification names the cost terms that count, what each tolerates, and what is done about it.
config/safety/household.yaml is the commented example.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safevla_ros.paths import share_directory
from safevla_ros.safety.clauses import ClauseError, ClauseTerm, parse_clause
from safevla_ros.safety.conditions import Text, When
from safevla_ros.safety.hazards import EXACT
from safevla_ros.safety.terms import TERMS
from safevla_ros.safety.terms.base import CostTerm, NonNegative, TermParameters
from safevla_ros.safety.zones import Number, Zone
from safevla_ros.yaml_file import one_line

_M = TypeVar("_M", bound=BaseModel)

Response = Literal["log", "limit", "stop", "latch"]
Exhausted = Literal["log", "stop", "latch"]
IfMissing = Literal["refuse", "warn"]


class SpecificationError(ValueError):
    """A specification that cannot be used; the message names file, key and what was expected."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Debounce(_Strict):
    """How long a single bad reading is doubted [s]. `predicted_s`: a violation that only the latest
    reading predicts is not acted on for so long, where the robot can still stop afterwards.
    `measured_s`: a violation that goes on for a shorter time is charged, and not answered."""

    predicted_s: NonNegative = 0.0
    measured_s: NonNegative = 0.0


class TermSettings(_Strict):
    """One term as a specification sets it. Threshold, scale and warning are in the term's unit.

    `scale`: margins are divided by it to be compared. `warning`: smaller margins are near
    violation. `budget`: cost allowed per episode; None: no constraint. `exhausted`: what is done
    when more was charged. `when`: in which states the term applies. `hysteresis`: after the
    look-ahead held something back for this term, it asks for so much more margin for a second [m, for
    separation m/s]. `clause`: the term is this clause (see clauses.py), under a name of its own.
    """

    threshold: Number
    scale: Annotated[Number, Field(gt=0.0)]
    warning: NonNegative
    budget: NonNegative | None = None
    response: Response
    exhausted: Exhausted = "log"
    if_missing: IfMissing
    when: When = When()
    debounce: Debounce = Debounce()
    hysteresis: Annotated[NonNegative, Field(le=EXACT)] = 0.0
    clause: Text | None = None
    parameters: Mapping[str, Any] = {}


class _File(_Strict):
    name: Text
    description: str = ""
    terms: Annotated[dict[Text, TermSettings], Field(min_length=1)]
    zones: tuple[Zone, ...] = ()


@dataclass(frozen=True)
class Specification:
    """A checked specification. `text` is its YAML as it stands, `hash` the sha256 of it.

    `parameters` are the terms' own, checked. `origin` says in errors where it came from.
    """

    name: str
    description: str
    terms: Mapping[str, TermSettings]
    parameters: Mapping[str, TermParameters]
    zones: tuple[Zone, ...]
    text: str
    hash: str
    origin: str

    def make_terms(self) -> dict[str, CostTerm]:
        """New cost terms by name, in the file's order, as after a reset."""
        return {
            name: TERMS[name](settings.threshold, self.parameters[name], self.zones)
            if settings.clause is None
            else ClauseTerm(
                name, settings.threshold, parse_clause(settings.clause, settings.threshold)
            )
            for name, settings in self.terms.items()
        }

    @property
    def budgets(self) -> dict[str, float]:
        """Cost of an episode allowed, of the terms that have a budget."""
        return {
            name: float(term.budget) for name, term in self.terms.items() if term.budget is not None
        }

    def unit(self, name: str) -> str:
        """Of a term's margin, threshold and scale."""
        return self._units[name]

    @cached_property
    def _units(self) -> dict[str, str]:
        return {name: term.unit for name, term in self.make_terms().items()}

    def described(self) -> list[dict[str, Any]]:
        """Each term as the fields of the CostTermSpecification message; `budget` NaN: none."""
        return [
            {
                "name": name,
                "unit": self.unit(name),
                "threshold": float(term.threshold),
                "scale": float(term.scale),
                "warning": float(term.warning),
                "budget": math.nan if term.budget is None else float(term.budget),
                "response": term.response,
                "if_missing": term.if_missing,
            }
            for name, term in self.terms.items()
        ]

    def with_zones(self, zones: Iterable[Zone | Mapping[str, Any]]) -> Specification:
        """This specification with zones added, complete in `text` and with a hash of its own.

        Raises SpecificationError.
        """
        content = yaml.load(self.text, _Loader)
        added = [
            _checked(Zone, zone, self.origin, f"added zones.{index}").model_dump(mode="json")
            for index, zone in enumerate(zones)
        ]
        content["zones"] = [*(content.get("zones") or []), *added]
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        return parse_specification(text, f"{self.origin} with zones added")


def load_zones(path: str | Path) -> list[Any]:
    """The list under `zones` of a YAML file that may say other things too, such as a scenario; for
    `with_zones`, which checks them. Raises SpecificationError.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise SpecificationError(f"{path}: cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecificationError(f"{path}: not valid YAML: {one_line(error)}") from error
    zones = content.get("zones") if isinstance(content, dict) else None
    if zones is not None and not isinstance(zones, list):
        raise SpecificationError(f"{path}: zones: expected a list, got {zones!r}")
    return zones or []


def specification_path(name_or_path: str) -> Path:
    """File of a specification: a path as it is, or a name under config/safety/.

    Raises SpecificationError, naming the specifications there are.
    """
    if name_or_path.endswith((".yaml", ".yml")):
        return Path(name_or_path)
    folder = share_directory() / "config" / "safety"
    path = folder / f"{name_or_path}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise SpecificationError(
            f"specification {name_or_path!r}: expected one of {known}, or a path to a .yaml file"
        )
    return path


def load_specification(name_or_path: str) -> Specification:
    """Read and check a specification by name or path. Raises SpecificationError."""
    path = specification_path(name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecificationError(f"{path}: cannot be read: {error}") from error
    return parse_specification(text, str(path))


def parse_specification(text: str, origin: str) -> Specification:
    """Check the text of a specification; `origin` names it in errors. Raises SpecificationError."""
    file = _checked(_File, _content(text, origin), origin, "")
    parameters: dict[str, TermParameters] = {}
    for name, settings in file.terms.items():
        key = _key("terms", (name,))
        if settings.clause is not None:
            _check_clause(name, settings, origin, key)
            continue
        if name not in TERMS:
            known = ", ".join(sorted(TERMS))
            raise SpecificationError(f"{origin}: {key}: expected one of {known}, or a `clause`")
        low, high = TERMS[name].threshold_range
        if not low <= settings.threshold <= high:
            expected = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            raise SpecificationError(
                f"{origin}: {key}.threshold: expected {expected}, got {settings.threshold:g}"
            )
        parameters[name] = _checked(
            TERMS[name].Parameters, settings.parameters, origin, f"{key}.parameters"
        )
    names = [zone.name for zone in file.zones]
    for name in names:
        if names.count(name) > 1:
            raise SpecificationError(
                f"{origin}: zones: expected names that differ, got {name!r} twice"
            )
    return Specification(
        name=file.name,
        description=file.description,
        terms=file.terms,
        parameters=parameters,
        zones=file.zones,
        text=text,
        hash=hashlib.sha256(text.encode()).hexdigest(),
        origin=origin,
    )


def _check_clause(name: str, settings: TermSettings, origin: str, key: str) -> None:
    if name in TERMS:
        raise SpecificationError(f"{origin}: {key}: expected a name that no built-in term has")
    if settings.parameters:
        raise SpecificationError(f"{origin}: {key}.parameters: a clause has none")
    try:
        parse_clause(settings.clause or "", settings.threshold)
    except ClauseError as error:
        raise SpecificationError(
            f"{origin}: {key}.clause: {error}, got {settings.clause!r}"
        ) from error


class _Loader(yaml.SafeLoader):
    """Safe, and strict about keys that stand twice: the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping = super().construct_mapping(node, deep=deep)
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value!r} stands twice", key.start_mark
                )
            seen.add(key.value)
        return mapping


def _content(text: str, origin: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = "end" if mark is None else f"line {mark.line + 1}"
        raise SpecificationError(
            f"{origin}: {line}: expected valid YAML: {error.problem or error}"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecificationError(
            f"{origin}: top: expected valid YAML: {one_line(error)}"
        ) from error


def _checked(model: type[_M], data: Any, origin: str, prefix: str) -> _M:
    """The data as a model; every error as one line with file, key, value and what was expected."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [
            f"{origin}: {_key(prefix, item['loc'])}: {_expectation(item)}"
            for item in error.errors()
        ]
        raise SpecificationError("\n".join(lines)) from error


def _key(prefix: str, location: tuple[int | str, ...]) -> str:
    parts = [str(part) for part in location]
    shown = [part if part.isprintable() and part else repr(part) for part in parts]
    return ".".join([prefix, *shown] if prefix else shown) or "top"


def _expectation(item: Any) -> str:
    if item["type"] == "missing":
        return "expected a value, but the key is missing"
    if item["type"] == "extra_forbidden":
        return "no such key"
    if item["type"] in ("model_type", "dict_type"):
        text = "expected a mapping"
    else:
        text = item["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    value = repr(item["input"])
    return f"{text}, got {value if len(value) <= 80 else value[:77] + '...'}"
