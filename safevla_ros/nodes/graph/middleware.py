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


def missing_middleware(environment: Mapping[str, str]) -> str:
    """A sentence when the environment asks for a middleware that is not installed, else empty.

    To be asked before rclpy is imported, which would end the process.
    """
    wanted = environment.get("RMW_IMPLEMENTATION", "")
    prefixes = [p for p in environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    installed = sorted(
        {
            file.name
            for prefix in prefixes
            for file in Path(prefix, "share/ament_index/resource_index/rmw_typesupport").glob("*")
        }
        - {"rmw_implementation"}  # the one that loads the others
    )
    if not wanted or not installed or wanted in installed:
        return ""
    return (
        f"RMW_IMPLEMENTATION asks for {wanted}, and this installation of ROS 2 has "
        f"{', '.join(installed)}: unset it"
    )


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
