"""How a verb ends when it cannot do its work: one sentence and an exit code."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What scripts can rely on. The text of `safevla --help` lists them too."""

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    DOMAIN_IN_USE = 3
    LACKS_SOFTWARE = 4
    INTERRUPTED = 130


class Failure(Exception):
    """Ends the command: the sentence goes to standard error, the code to the caller."""

    def __init__(self, code: ExitCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
