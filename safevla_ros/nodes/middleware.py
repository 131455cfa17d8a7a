"""Environment variables that every process of the graph runs with.

Images need shared memory with segments of several megabytes: with Fast DDS' own 512 KB they fall
back to UDP fragments, and best-effort images are lost. A variable that the user has set stays as it
is, and other middlewares ignore all of this.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from safevla_ros.paths import share_directory

PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Fast DDS 3 (Kilted and later) reads the first; Fast DDS 2 (Jazzy) only the second, of which
Fast DDS 3 complains."""

DISCOVERY_VARIABLES = ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY")


def profile_file() -> Path:
    """The Fast DDS profile that this package ships."""
    return share_directory() / "config" / "fastdds.xml"


def profile_variable(environment: Mapping[str, str]) -> str:
    """Which of PROFILE_VARIABLES the Fast DDS of this installation reads."""
    prefixes = environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    # Fast DDS 2 is a package named fastrtps, Fast DDS 3 one named fastdds.
    old = any(Path(prefix, "share", "fastrtps").is_dir() for prefix in prefixes if prefix)
    return PROFILE_VARIABLES[1] if old else PROFILE_VARIABLES[0]


def graph_environment(environment: Mapping[str, str], *, simulated: bool) -> dict[str, str]:
    """What is missing in `environment` for the processes of a graph.

    A simulated robot stays on this machine: on a laboratory's network its commands would otherwise
    reach whatever real robot listens to the same topic.
    """
    missing: dict[str, str] = {}
    if not any(environment.get(name) for name in PROFILE_VARIABLES):
        missing[profile_variable(environment)] = str(profile_file())
    if simulated and not any(environment.get(name) for name in DISCOVERY_VARIABLES):
        missing["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    return missing
