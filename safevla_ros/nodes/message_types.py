"""Message classes by the names that robot profiles use."""

from __future__ import annotations

import importlib

from safevla_ros.nodes.lifecycle import ConfigurationError


def message_type(name: str) -> type:
    """The class of `package/msg/Type`. Raises ConfigurationError."""
    package, _, kind = name.split("/")
    try:
        found: type = getattr(importlib.import_module(f"{package}.msg"), kind)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"message type {name}: expected an installed ROS package {package} that has it"
        ) from error
    return found
