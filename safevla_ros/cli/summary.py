"""The closing words of a run: what its summary.json says, in a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console


def print_summary(console: Console, summary: Mapping[str, Any], folder: Path) -> None:
    """Print the outcome, the costs, the latency, and where everything lies."""
    console.print(summary)
    console.print(folder)
