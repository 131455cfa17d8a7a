"""The options of verbs whose work can be spread over cores, or a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from safevla_ros.cli.failure import ExitCode, Failure
from safevla_ros.extras import missing

if TYPE_CHECKING:
    from safevla_ros.bags.ray_pool import RayPool

Workers = Annotated[
    int | None, typer.Option(help="Processes. Default: as many as there are cores.", min=1)
]
OnRay = Annotated[
    bool,
    typer.Option(
        "--ray", help="Work on a Ray cluster: the one there is, else one on this machine."
    ),
]
RayAddress = Annotated[
    str,
    typer.Option(
        help="Its address, as HOST:6379 or ray://HOST:10001; implies --ray. Default: RAY_ADDRESS, "
        "then what runs on this machine."
    ),
]


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def ray_pool(wanted: bool, address: str) -> Iterator[RayPool | None]:
    """The cluster that was asked for; None: none was. Raises Failure where there is none, or no
    Ray."""
    if not (wanted or address):
        yield None
        return
    try:
        from safevla_ros.bags.ray_pool import RayPool
    except ImportError as error:
        raise Failure(ExitCode.LACKS_SOFTWARE, missing(error) or str(error)) from error
    from safevla_ros.bags import BagError

    try:
        pool = RayPool(address)
    except BagError as error:
        raise Failure(ExitCode.FAILED, str(error)) from error
    with pool:
        yield pool
