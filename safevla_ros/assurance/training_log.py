"""The log that a training run leaves: a JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safevla_ros.assurance.records import ResultsError

NAME = "log.jsonl"


def read_training_log(path: Path) -> list[Mapping[str, Any]]:
    """The lines of a log; at least one. Raises ResultsError."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise ResultsError(
            f"{path}: cannot be read: expected the log of a training run: {error}"
        ) from error
    if not lines:
        raise ResultsError(f"{path}: expected the log of a training run, but it is empty")
    return lines
