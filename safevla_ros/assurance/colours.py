"""Colours that video and picture share, so that amber means the same in both."""

from __future__ import annotations

DECISION = {
    "PASS": "#2e9e5b",
    "LIMIT": "#e8a317",
    "HALT": "#e8711a",
    "STOP": "#d7263d",
    "LATCHED": "#8c1c6a",
    "SHADOW": "#6b7785",
}
OUTCOME = {
    "SUCCESS": "#2e9e5b",
    "FAILURE": "#d7263d",
    "ABORTED": "#e8711a",
    "UNKNOWN": "#6b7785",
}
INK = "#f2f4f7"
FAINT = "#8b97a5"
PANEL = "#161b22"
TROUGH = "#2b333d"
VIOLATION = "#d7263d"


def rgb(colour: str) -> tuple[int, int, int]:
    """A "#rrggbb" colour as three numbers."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
