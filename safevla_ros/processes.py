"""What a process does that works for another one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import wait


def work_for_parent() -> None:
    """Called first in a process that `multiprocessing` started: Ctrl-C, which goes to all of them, is
    left to the parent; and when the parent is gone, killed even, this process ends too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(parent: int) -> None:
    wait([parent])
    os._exit(1)
