"""docs/gate.md knows every decision and every fault that `safevla bench faults` injects."""

from __future__ import annotations

from pathlib import Path

from safevla_ros.cli.bench_faults import FAULTS
from safevla_ros.safety import Decision

PAGE = (Path(__file__).parents[3] / "docs" / "gate.md").read_text(encoding="utf-8")


def test_the_page_names_every_decision():
    for decision in Decision:
        assert f"| `{decision.name}` |" in PAGE


def test_the_page_names_every_fault_with_its_reason():
    for name, (_, reason) in FAULTS.items():
        assert f"| {name.replace('_', ' ')} | `{reason.word}` |" in PAGE
