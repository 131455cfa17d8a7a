"""Names of the scripted policies: `scripted-STYLE`. What they do is in expert.py."""

from __future__ import annotations

from typing import Literal, get_args

from safevla_ros.policy.interface import PolicyError

Style = Literal["careful", "hurried"]
PREFIX = "scripted-"


def is_scripted(policy: str) -> bool:
    """Whether a policy's name asks for a scripted one, of whatever style."""
    return policy.startswith(PREFIX)


def style_of(policy: str) -> Style:
    """The style that a scripted policy's name asks for. Raises PolicyError."""
    style = policy.removeprefix(PREFIX)
    if style not in get_args(Style):
        names = ", ".join(PREFIX + known for known in get_args(Style))
        raise PolicyError(f"policy {policy!r}: expected one of {names}")
    return style  # type: ignore[return-value]
