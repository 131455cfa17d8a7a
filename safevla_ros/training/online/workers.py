"""A world over processes: each simulates some of the environments, the learner asks them in step."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safevla_ros.processes import work_for_parent
from safevla_ros.training.online.world import Begun, Environment, History, LocalWorld, Steps

JOIN_S = 10.0


class WorkerError(RuntimeError):
    """A process that simulated is gone, or has failed; the message says how."""


class WorkerWorld:
    """`environments` of them in `workers` processes; `make(index)` makes one there, and has to be a
    function that a new process can import. A context manager, or call `close`."""

    def __init__(
        self, make: Callable[[int], Environment], indices: Sequence[int], workers: int
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._parts = [list(part) for part in np.array_split(indices, min(workers, len(indices)))]
        self._connections: list[Connection] = []
        self._processes = []
        for number, part in enumerate(self._parts):
            here, there = context.Pipe()
            process = context.Process(
                target=_serve, args=(there, make, part), name=f"worker {number}", daemon=True
            )
            process.start()
            there.close()
            self._connections.append(here)
            self._processes.append(process)

    def begin(self, histories: Sequence[History]) -> Begun:
        """See World. Raises WorkerError."""
        bounds = np.cumsum([0, *map(len, self._parts)])
        parts = self._ask("begin", [list(histories[a:b]) for a, b in pairwise(bounds)])
        observations, tasks, replayed = zip(*parts, strict=True)
        return Begun(_joined(observations), np.concatenate(tasks), np.concatenate(replayed))

    def step(self, actions: NDArray) -> Steps:
        """See World. Raises WorkerError."""
        bounds = np.cumsum([0, *map(len, self._parts)])
        parts: list[Steps] = self._ask("step", np.split(actions, bounds[1:-1]))
        last = {
            int(start) + i: observation
            for start, part in zip(bounds, parts, strict=False)
            for i, observation in part.last.items()
        }
        return Steps(
            observation=_joined([part.observation for part in parts]),
            task=np.concatenate([part.task for part in parts]),
            reward=np.concatenate([part.reward for part in parts]),
            costs=np.concatenate([part.costs for part in parts]),
            ended=np.concatenate([part.ended for part in parts]),
            truncated=np.concatenate([part.truncated for part in parts]),
            success=np.concatenate([part.success for part in parts]),
            last=last,
        )

    def close(self) -> None:
        """End the processes."""
        for connection in self._connections:
            connection.close()  # they end when nobody is there to ask
        for process in self._processes:
            process.join(JOIN_S)
            if process.is_alive():
                process.kill()

    def _ask(self, what: str, arguments: Sequence[Any]) -> list[Any]:
        try:
            for connection, argument in zip(self._connections, arguments, strict=True):
                connection.send((what, argument))
            answers = [connection.recv() for connection in self._connections]
        except (EOFError, OSError) as error:
            gone = next((p for p in self._processes if p.exitcode is not None), None)
            how = (
                f"{gone.name} ended with exit code {gone.exitcode}" if gone else "a worker is gone"
            )
            raise WorkerError(how) from error
        for process, answer in zip(self._processes, answers, strict=True):
            if isinstance(answer, str):
                raise WorkerError(f"{process.name}: {answer}")
        return answers


def _serve(connection: Connection, make: Callable[[int], Environment], indices: list[int]) -> None:
    """Answer until the other side is closed; an error is answered as text."""
    work_for_parent()
    try:
        world = LocalWorld([make(int(index)) for index in indices])
        while True:
            what, argument = connection.recv()
            connection.send(world.begin(argument) if what == "begin" else world.step(argument))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:  # told to the learner, which names the worker
        connection.send(f"{type(error).__name__}: {error}")


def _joined(parts: Sequence[Any]) -> dict[str, NDArray]:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
