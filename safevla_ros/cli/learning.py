"""What the verbs that learn share."""

from __future__ import annotations

import os

from pydantic import ValidationError

from safevla_ros.cli.failure import ExitCode, Failure
from safevla_ros.extras import missing


def require_torch() -> None:
    """Raises Failure where torch cannot be imported. One thread: the processes share the cores."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        import torch
    except ImportError as error:
        raise Failure(ExitCode.LACKS_SOFTWARE, missing(error) or str(error)) from error
    torch.set_num_threads(1)


def names(text: str) -> list[str]:
    """The names in a list that is separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def bad_input(error: ValidationError) -> Failure:
    """The first fault of settings as a Failure."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    return Failure(ExitCode.BAD_INPUT, f"{key}: {first['msg']}" if key else first["msg"])
