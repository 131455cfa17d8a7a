"""The folder of one run: runs/<time>/ with bag/, logs/ and what is made of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from safevla_ros.cli.failure import ExitCode, Failure


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths within the folder of a run."""

    path: Path

    @property
    def bags(self) -> Path:
        """A folder for each recorded episode."""
        return self.path / "bag"

    @property
    def logs(self) -> Path:
        """A log and the parameters of each node."""
        return self.path / "logs"


def make_run_folder(parent: Path) -> RunFolder:
    """A new folder below `parent`, named after the time. Raises Failure."""
    name = time.strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        path = parent / f"{name}{suffix}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise Failure(ExitCode.BAD_INPUT, f"{path}: cannot be made: {error}") from error
        return RunFolder(path.absolute())
    raise Failure(ExitCode.BAD_INPUT, f"{parent}: has too many runs of this second")
