"""One graph per ROS domain and machine, held by a lock that the kernel frees with its process.

Two graphs on one domain would share topics: two monitors would command one robot.
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO


class DomainError(RuntimeError):
    """The domain cannot be used; the message says by whom it is, or what is wrong with its id."""


def domain_id(environment: Mapping[str, str] = os.environ) -> int:
    """ROS_DOMAIN_ID, 0 where it is not set. Raises DomainError."""
    text = environment.get("ROS_DOMAIN_ID") or "0"
    if not text.isdecimal() or int(text) > 232:
        raise DomainError(f"ROS_DOMAIN_ID: expected a number from 0 to 232, got {text!r}")
    return int(text)


class DomainLock:
    """Held while a graph of this machine runs on a domain.

    The file stays behind and says nothing by itself: only a lock on it does, and that ends with the
    process that holds it, however it ends.
    """

    def __init__(self, domain: int, folder: Path | None = None) -> None:
        self._path = (folder or Path(tempfile.gettempdir())) / f"safevla_ros-domain-{domain}.lock"
        self._domain = domain
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the domain. Raises DomainError, naming who has it."""
        try:
            file = self._open()
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DomainError(
                f"another graph runs on ROS domain {self._domain} of this machine"
                f"{self._holder()}: stop it, or choose another domain "
                f"(ROS_DOMAIN_ID={(self._domain + 1) % 102})"
            ) from None
        except OSError as error:
            raise DomainError(f"{self._path}: cannot be locked: {error}") from error
        self._file = file
        if file.writable():
            file.truncate()
            file.write(f"process {os.getpid()}, {' '.join(map(os.path.basename, sys.argv[:2]))}\n")
            file.flush()

    def release(self) -> None:
        """Free the domain; harmless without the lock."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> IO[str]:
        # Another user's file in a sticky folder can be locked, but neither created nor written.
        if self._path.exists() and not os.access(self._path, os.W_OK):
            return self._path.open(encoding="utf-8")
        return self._path.open("r+" if self._path.exists() else "w", encoding="utf-8")

    def _holder(self) -> str:
        try:
            text = self._path.read_text(encoding="utf-8").strip()
        except OSError:
            return ""
        return f" ({text})" if text else ""
