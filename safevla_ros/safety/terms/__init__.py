"""The cost terms, one a file, found by name: whatever stands in this folder can be specified."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

from safevla_ros.safety.terms.base import CostTerm


def _found() -> dict[str, type[CostTerm]]:
    terms: dict[str, type[CostTerm]] = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name == "base":
            continue
        for value in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            if isinstance(value, type) and getattr(value, "name", None) == module.name:
                terms[module.name] = value
    return terms


TERMS: Mapping[str, type[CostTerm]] = _found()
"""Cost terms by the names that specifications use."""
