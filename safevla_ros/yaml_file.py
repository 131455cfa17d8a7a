"""Reads a YAML file, or says in one sentence why it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def read_yaml(path: Path, fault: type[Exception]) -> Any:
    """What is in the file. Raises `fault` with a sentence that names it."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise fault(f"{path}: cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no such date
        raise fault(f"{path}: not valid YAML: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """An exception's text without line breaks, of which YAML's own errors have many."""
    return " ".join(str(error).split())
