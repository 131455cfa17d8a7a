"""Scheduling priority of the safety nodes.

They need a few milliseconds every 20, in time. On a busy machine the default scheduler may let them
wait for longer than the heartbeat's timeout, and a robot stops for nothing. So they ask for the
lowest real-time priority, which needs root, CAP_SYS_NICE or an rtprio limit; else for a negative
nice value; else they run as started, and /diagnostics says so.
"""

from __future__ import annotations

import contextlib
import os

REAL_TIME_PRIORITY = 1
NICE = -10


def raise_priority() -> str:
    """Raise this thread's priority, and that of all threads started later. What was achieved.

    To be called before rclpy.init, so that the middleware's threads inherit it.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(REAL_TIME_PRIORITY))
    except OSError:
        pass
    else:
        return "real time"
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        # On Linux desktops a nice value counts within its session only; sessions have their own.
        with contextlib.suppress(OSError), open("/proc/self/autogroup", "wb", 0) as group:
            group.write(b"%d" % NICE)
    except OSError:
        return f"normal (nice {os.getpriority(os.PRIO_PROCESS, 0)})"
    return f"nice {NICE}"
