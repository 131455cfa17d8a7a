"""Episodes on disk: one file an episode, one line of an index about each.

    STORE/index.jsonl      one JSON object a line, never rewritten: what each episode was
    STORE/<name>.npz       its arrays, all of shape (steps, ...); uncompressed

A file appears whole or not at all, and its line follows it, so a store survives a kill at any
moment. Several processes may write into one store. A bounded store drops its oldest files; the
index keeps their lines, as the record of what was learnt from.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

INDEX = "index.jsonl"
GIB = 2**30
_NAME = re.compile(r"[\w.-]+")


class EpisodeStore:
    """A folder of episodes. `limit_gib`: size beyond which the oldest go; None: no limit."""

    def __init__(self, folder: Path, limit_gib: float | None = None) -> None:
        self.folder = folder
        self._limit_bytes = None if limit_gib is None else limit_gib * GIB
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, arrays: Mapping[str, NDArray], about: Mapping[str, Any]) -> None:
        """Write an episode under a name of its own, and its line. ValueError on a bad name."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"episode {name!r}: expected letters, digits, '-', '_' and '.'")
        unfinished = self.folder / f".{name}.{os.getpid()}"
        with unfinished.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes any for a flag
        unfinished.rename(self._path(name))
        line = json.dumps({"name": name, **about}) + "\n"
        # One write in append mode: lines of several processes do not mix.
        with (self.folder / INDEX).open("ab", buffering=0) as index:
            index.write(line.encode())
        if self._limit_bytes is not None:
            self._drop_oldest()

    def load(self, name: str) -> dict[str, NDArray] | None:
        """The arrays of an episode; None when it was dropped. It is read into memory, so that
        nothing depends on the file afterwards."""
        try:
            with np.load(self._path(name), allow_pickle=False) as file:
                return dict(file)
        except FileNotFoundError:
            return None

    def __contains__(self, name: str) -> bool:
        return self._path(name).is_file()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npz"

    def _drop_oldest(self) -> None:
        assert self._limit_bytes is not None
        found = []
        for path in self.folder.glob("*.npz"):
            try:
                stat = path.stat()
            except FileNotFoundError:  # another writer dropped it
                continue
            found.append((stat.st_mtime_ns, stat.st_size, path))
        excess = sum(size for _, size, _ in found) - self._limit_bytes
        for _, size, path in sorted(found):
            if excess <= 0:
                break
            path.unlink(missing_ok=True)
            excess -= size


class IndexReader:
    """Reads an index that grows: each call gives the lines that came since the last one."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / INDEX
        self._offset = 0

    def new(self) -> list[dict[str, Any]]:
        """What was added, in order; a line that is not finished yet waits for the next call, and
        one that a kill left in pieces is passed over."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        self._offset += end
        return [line for line in map(_parsed, data[:end].splitlines()) if line is not None]


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except ValueError:
        return None
