"""A Ray cluster that work on many bags is spread over, instead of the cores of one machine.

The cluster's machines must have this package installed, in the version that calls it, and must find
the bags under the paths that they have here: on a file system that all of them share.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, TypeVar

# A robot's data is nobody else's business: Ray would tell its makers how it is used.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
import ray
from ray import exceptions

from safevla_ros.bags import BagError

T = TypeVar("T")
ANSWER_S = 5.0
"""So long a cluster may take to answer at its address."""


class RayPool(AbstractContextManager["RayPool"]):
    """Connected to a cluster while it is entered; for `each_bag`."""

    lost: tuple[type[Exception], ...] = (
        exceptions.WorkerCrashedError,
        exceptions.NodeDiedError,
        exceptions.OutOfMemoryError,
        exceptions.ObjectLostError,
    )

    def __init__(self, address: str = "") -> None:
        """`address`: of a cluster, as `host:6379` or `ray://host:10001`; empty: the one that Ray
        finds (RAY_ADDRESS, then this machine), else one that lives as long as this. Raises BagError
        when there is no cluster at the address."""
        _require_answer(address)
        try:
            ray.init(address or None, log_to_driver=False, logging_level="error")
        except Exception as error:  # a head that does not come up raises no narrower one
            where = f"no cluster at {address}" if address else "no cluster, and none can be started"
            raise BagError(f"Ray: {where}: {error!r}") from error
        self.workers = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def submit(self, work: Callable[..., T], /, *arguments: Any) -> Future[T]:
        """Call `work` on one core of the cluster. A machine or process that dies is made up for by
        another three times; then the future raises one of `lost`."""
        future: Future[T] = ray.remote(work).remote(*arguments).future()
        return future

    def __exit__(self, *error: object) -> None:
        """Leave the cluster; what it still works on for us is given up."""
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Raises BagError where nothing answers at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return  # a word of Ray's own, as auto
    try:
        socket.create_connection((host, int(port)), ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise BagError(f"Ray: no cluster at {address}: {error}") from error
