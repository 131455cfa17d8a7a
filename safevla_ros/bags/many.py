"""The same work on many bags, over the cores of one machine or of a cluster.

A bag that fails is reported and passed over. With a file for the results the work can be
interrupted and taken up again: each line is one bag's, and a bag that has one, and has not changed
since, is not worked on again.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from safevla_ros.bags import BagError
from safevla_ros.processes import work_for_parent

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """What became of a bag: its `result`, or else the sentence why there is none."""

    path: Path
    result: T | None
    error: str = ""


class Pool(Protocol):
    """Processes somewhere else, as many as `workers`. A future raises one of `lost` when its process
    has died."""

    workers: int
    lost: tuple[type[Exception], ...]

    def submit(self, work: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Call `work` in one of them."""


def each_bag(
    work: Callable[[Path], T],
    paths: Sequence[Path],
    *,
    workers: int = 1,
    pool: Pool | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Done[T]]:
    """Call `work` on every bag, in the order of `paths`.

    `work` is called in `workers` processes (1, or one bag: in this one), or in those of `pool`, so it must be a
    function of a module or a `functools.partial` of one. It may raise BagError or ValueError. Few
    results wait in memory.
    """
    if pool is not None:
        absolute = [path.absolute() for path in paths]  # the others do not stand where we do
        found = _in_order(work, absolute, pool, pool.workers, pool.lost, progress)
        for path, done in zip(paths, found, strict=True):
            yield replace(done, path=path)
        return
    count = min(workers, len(paths))
    if count <= 1:
        for number, path in enumerate(paths):
            progress(number, len(paths))
            yield _work(work, path)
        progress(len(paths), len(paths))
        return
    # Spawned: a fork would copy locks that threads of this process hold.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, work_for_parent) as processes:
        yield from _in_order(work, paths, processes, count, (), progress)


def _in_order(
    work: Callable[[Path], T],
    paths: Sequence[Path],
    pool: Pool | ProcessPoolExecutor,
    workers: int,
    lost: tuple[type[Exception], ...],
    progress: Callable[[int, int], None],
) -> Iterator[Done[T]]:
    waiting: dict[int, Future[Done[T]]] = {}
    submitted = 0
    for number, path in enumerate(paths):
        while submitted < len(paths) and len(waiting) < 2 * workers:
            waiting[submitted] = pool.submit(_work, work, paths[submitted])
            submitted += 1
        while not waiting[number].done():
            wait(waiting.values(), timeout=0.5, return_when=FIRST_COMPLETED)
            finished = sum(future.done() for future in waiting.values())
            progress(number + finished, len(paths))
        try:
            yield waiting.pop(number).result()
        except lost as error:
            yield Done(path, None, f"{path}: the process that worked on it died: {error}")
    progress(len(paths), len(paths))


def _work(work: Callable[[Path], T], path: Path) -> Done[T]:
    try:
        return Done(path, work(path))
    except (BagError, ValueError, OSError) as error:
        return Done(path, None, str(error))


class ResultsFile:
    """Results as lines of JSON, one for each bag; written as they come."""

    def __init__(self, path: Path, *, asked: str = "") -> None:
        """Read what is there. A line that was cut off is worked on again, and so is one whose bag was
        `asked` something else. Raises BagError."""
        self._path = path
        self._asked = hashlib.sha256(asked.encode()).hexdigest()[:16] if asked else ""
        self._known: dict[str, dict[str, object]] = {}
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        except OSError as error:
            raise BagError(f"{path}: cannot be read: {error.strerror}") from error
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                if entry.get("asked", "") == self._asked:
                    self._known[f"{entry['bag']} {entry['state']}"] = entry
        # The next line must not follow on one that was cut off.
        self._torn = bool(lines) and not path.read_bytes().endswith(b"\n")

    def get(self, bag: Path) -> dict[str, object] | None:
        """The result of a bag that has not changed since."""
        return self._known.get(f"{bag} {_state(bag)}")

    def add(self, bag: Path, result: dict[str, object]) -> None:
        """Write a bag's result. Raises OSError."""
        entry = {"bag": str(bag), "state": _state(bag), "asked": self._asked} | result
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(("\n" if self._torn else "") + json.dumps(entry) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        self._torn = False
        self._known[f"{bag} {entry['state']}"] = entry


def _state(bag: Path) -> str:
    """Changes when the bag does."""
    files = sorted(bag.iterdir()) if bag.is_dir() else [bag]
    states = ((file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file())
    return "-".join(f"{size}.{time}" for size, time in states)
