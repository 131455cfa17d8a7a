"""What all tiers share."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why a test that was run again had failed: pytest names it and keeps the reason."""
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.section(f"failed at first: {report.nodeid}", yellow=True)
        report.toterminal(terminalreporter._tw)
