"""What this machine has and lacks, one function per thing; `safevla doctor` shows it.

Nothing here fails where something is missing, and nothing is changed.
"""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Literal

from safevla_ros.cli.ros import HOW_TO_GET_ROS
from safevla_ros.extras import how_to_get
from safevla_ros.nodes.graph import middleware
from safevla_ros.nodes.graph.domain import DomainError, DomainLock, domain_id

MEGABYTE = 1 << 20
SEGMENT_WANTED_BYTES = 4 * MEGABYTE  # one 1280x720 RGB image and a half
SHARED_MEMORY_WANTED_BYTES = 160 * MEGABYTE  # a segment of 16 MB each for the nodes and a few tools
DISK_WANTED_BYTES = 1000 * MEGABYTE  # some runs of a few tens of megabytes each
MEMORY_WANTED_BYTES = 2000 * MEGABYTE

Status = Literal["ok", "note", "missing"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing. `note`: the simulation runs all the same; `missing`: it does not. `fix`: how to
    get it."""

    name: str
    status: Status
    text: str
    fix: str = ""


def python() -> Finding:
    """The interpreter that runs this."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", "ok", f"Python {version} ({sys.executable})")


def compiler() -> Finding:
    """What building the messages takes; once they are built it is only needed again for changes."""
    lacking = [name for name in ("g++", "make", "cmake") if shutil.which(name) is None]
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        lacking.append("Python.h")
    if not lacking:
        return Finding("compiler", "ok", "g++, make, cmake and the headers of Python")
    packages = [
        f"python{sys.version_info[0]}.{sys.version_info[1]}-dev" if name == "Python.h" else name
        for name in lacking
    ]
    status: Status = "note" if _is_importable("safevla_ros.msg") else "missing"
    text = f"{', '.join(lacking)} not found; needed to build the messages"
    return Finding("compiler", status, text, f"sudo apt-get install {' '.join(packages)}")


def ros() -> Finding:
    """rclpy, and where it comes from."""
    if sentence := middleware.missing_middleware(os.environ):
        return Finding("ros", "missing", sentence)
    try:
        import rclpy
    except ImportError as error:
        return Finding("ros", "missing", f"rclpy cannot be imported: {error}", HOW_TO_GET_ROS)
    place = Path(rclpy.__file__).parents[1]
    origin = "Python wheels" if Path(sys.prefix) in place.parents else "an installation"
    version = _ament_version("rclpy")
    distribution = os.environ.get("ROS_DISTRO") or _DISTRIBUTIONS.get(version.split(".")[0], "")
    name = f"ROS 2 {distribution.capitalize()}" if distribution else "ROS 2"
    return Finding("ros", "ok", f"{name}, rclpy {version} from {origin} in {place}")


_DISTRIBUTIONS = {"7": "jazzy", "9": "kilted"}
"""By the first number of rclpy's version. Wheels do not set ROS_DISTRO."""


def messages() -> Finding:
    """The generated messages of this package."""
    if _is_importable("safevla_ros.msg"):
        return Finding("messages", "ok", "the messages of safevla_ros are built")
    text = "the messages of safevla_ros are not built"
    return Finding("messages", "missing", text, HOW_TO_GET_ROS if util.find_spec("rclpy") else "")


def rmw() -> Finding:
    """The middleware in use."""
    if sentence := middleware.missing_middleware(os.environ):
        return Finding("rmw", "missing", sentence)
    try:
        from rclpy.utilities import get_rmw_implementation_identifier

        name = get_rmw_implementation_identifier()
    except (ImportError, OSError, RuntimeError) as error:  # of a broken installation
        return Finding("rmw", "missing", f"no middleware: {error}")
    if name == "rmw_fastrtps_cpp":
        return Finding("rmw", "ok", name)
    return Finding("rmw", "note", f"{name}; only rmw_fastrtps_cpp has been measured with images")


def fastdds_profile() -> Finding:
    """The profile that the graph's processes get, and the shared memory that it sets."""
    variable = next((name for name in middleware.PROFILE_VARIABLES if os.environ.get(name)), "")
    path = Path(os.environ[variable]) if variable else middleware.profile_file()
    whose = (
        f"yours, by {variable}" if variable else "shipped, set by `safevla up` and the launch files"
    )
    fix = f"add a shared-memory transport of 16 MB as in {middleware.profile_file()}"
    try:
        size = segment_size(path)
    except (OSError, ElementTree.ParseError) as error:
        return Finding("fastdds_profile", "missing", f"{path} cannot be read: {error}", fix)
    if size is None or size < SEGMENT_WANTED_BYTES:
        has = "no segment size" if size is None else f"segments of {_megabytes(size)}"
        text = f"{path} ({whose}) sets {has}: camera images will be lost"
        return Finding("fastdds_profile", "note", text, fix)
    return Finding(
        "fastdds_profile", "ok", f"shared-memory segments of {_megabytes(size)}: {path} ({whose})"
    )


def segment_size(profile: Path) -> int | None:
    """Bytes of the shared-memory segment that a Fast DDS profile sets; None where it sets none."""
    texts = (
        (element.text or "").strip()
        for element in ElementTree.parse(profile).iter()
        if element.tag.rpartition("}")[2] == "segment_size"
    )
    sizes = [int(text) for text in texts if text.isdigit()]
    return max(sizes, default=None)


def shared_memory() -> Finding:
    """Room for the middleware's segments."""
    folder = Path("/dev/shm")
    fix = "mount a tmpfs there; in a container: docker run --shm-size=512m"
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return Finding("shared_memory", "missing", f"{folder} cannot be written", fix)
    free = shutil.disk_usage(folder).free
    if free < SHARED_MEMORY_WANTED_BYTES:
        text = (
            f"{_megabytes(free)} free in {folder}, {_megabytes(SHARED_MEMORY_WANTED_BYTES)} wanted"
        )
        return Finding("shared_memory", "note", text, fix)
    return Finding("shared_memory", "ok", f"{_megabytes(free)} free in {folder}")


def domain() -> Finding:
    """Whether somebody else is on the ROS domain. Takes a moment: it listens."""
    try:
        number = domain_id()
        lock = DomainLock(number)
        lock.acquire()
        lock.release()
        if middleware.missing_middleware(os.environ):
            return Finding("domain", "note", "cannot be looked at without a middleware")
        from safevla_ros.nodes.graph.discovery import nodes_on_domain

        others = nodes_on_domain()
    except DomainError as error:
        return Finding("domain", "missing", str(error), "")
    except (ImportError, OSError, RuntimeError) as error:  # no ROS, or a broken one
        return Finding("domain", "note", f"cannot be looked at: {error}")
    if not others:
        return Finding("domain", "ok", f"ROS domain {number}, nobody else on it")
    shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
    return Finding(
        "domain",
        "note",
        f"ROS domain {number} has {len(others)} other nodes: {shown}",
        f"use another domain if they are not yours: ROS_DOMAIN_ID={(number + 1) % 102}",
    )


def simulator() -> Finding:
    """MuJoCo and what renders its cameras."""
    return _packages("simulator", ("mujoco", "numba", "shapely"))


def kinematics() -> Finding:
    """Pinocchio, which gives the links' poses."""
    return _packages("kinematics", ("pin",))


def recording() -> Finding:
    """What writes bags and reports."""
    return _packages("recording", ("mcap", "av", "matplotlib"))


def inference() -> Finding:
    """ONNX Runtime, and on what it can run."""
    try:
        import onnxruntime
    except ImportError as error:
        text = f"onnxruntime cannot be imported: {error}"
        return Finding("inference", "missing", text, "pip install onnxruntime")
    providers = [
        name.removesuffix("ExecutionProvider")
        for name in onnxruntime.get_available_providers()
        if name != "AzureExecutionProvider"  # a service far away
    ]
    text = f"onnxruntime {onnxruntime.__version__} on {', '.join(providers)}"
    gpus = _nvidia_gpus()
    if gpus and "CUDA" not in providers:
        return Finding(
            "inference",
            "note",
            f"{text}, although there is a GPU: {gpus[0]}",
            "pip uninstall onnxruntime && pip install onnxruntime-gpu",
        )
    return Finding(
        "inference", "ok", f"{text}; GPU: {gpus[0] if gpus else 'none, and none needed'}"
    )


def training() -> Finding:
    """Torch, and on what it can run; a robot needs none."""
    try:
        import torch
    except ImportError:
        return Finding(
            "training",
            "note",
            "torch is not installed; only training needs it",
            how_to_get("train"),
        )
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU"
    return Finding("training", "ok", f"torch {torch.__version__} on {device}")


def rendering() -> Finding:
    """OpenGL without a display. Cameras are rendered without it."""
    found = [name for name in ("EGL", "OSMesa") if ctypes.util.find_library(name)]
    if found:
        return Finding("rendering", "ok", f"{' and '.join(found)} found; the cameras need neither")
    return Finding(
        "rendering",
        "ok",
        "no EGL or OSMesa, and none needed: the cameras are rendered without OpenGL",
    )


def disk() -> Finding:
    """Room for runs in the current folder."""
    free = shutil.disk_usage(Path.cwd()).free
    text = f"{_megabytes(free)} free in {Path.cwd()}"
    if free < DISK_WANTED_BYTES:
        wanted = _megabytes(DISK_WANTED_BYTES)
        return Finding("disk", "note", f"{text}, {wanted} wanted", "free some, or go elsewhere")
    return Finding("disk", "ok", text)


def computer() -> Finding:
    """Processors and memory."""
    import psutil

    cores = len(os.sched_getaffinity(0))
    free = psutil.virtual_memory().available
    text = f"{cores} processor cores, {_megabytes(free)} of memory free"
    if cores < 2 or free < MEMORY_WANTED_BYTES:
        fix = "with less, run slower: safevla sim --real-time-factor 0.5"
        return Finding(
            "computer", "note", f"{text}; 2 and {_megabytes(MEMORY_WANTED_BYTES)} wanted", fix
        )
    return Finding("computer", "ok", text)


def clock() -> Finding:
    """The wall clock: stamps of different machines are compared on a robot."""
    year = time.gmtime().tm_year
    if year < 2025:
        return Finding(
            "clock", "note", f"the clock says {year}", "set the time, or start an NTP client"
        )
    try:
        answer = subprocess.run(
            ["timedatectl", "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=2.0,
            check=False,
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        answer = ""
    if answer == "no":
        return Finding(
            "clock",
            "note",
            "not synchronised; between a robot and another machine the age of data would be wrong",
            "sudo timedatectl set-ntp true",
        )
    known = (
        "synchronised" if answer == "yes" else "plausible; whether it is synchronised is unknown"
    )
    return Finding("clock", "ok", known)


CHECKS: tuple[Callable[[], Finding], ...] = (
    python,
    ros,
    messages,
    compiler,
    simulator,
    kinematics,
    inference,
    training,
    recording,
    rmw,
    fastdds_profile,
    shared_memory,
    domain,
    rendering,
    computer,
    disk,
    clock,
)


def _packages(name: str, packages: tuple[str, ...]) -> Finding:
    """Whether Python packages are installed, by their names on PyPI."""
    lacking = [
        package for package in packages if util.find_spec(_MODULES.get(package, package)) is None
    ]
    if lacking:
        text = f"{', '.join(lacking)} not installed"
        return Finding(name, "missing", text, f"pip install {' '.join(lacking)}")
    return Finding(name, "ok", ", ".join(f"{package} {_version(package)}" for package in packages))


_MODULES = {"pin": "pinocchio"}
"""What a package is imported as, where that differs."""


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # from apt, under another name
        return ""


def _nvidia_gpus() -> list[str]:
    try:
        answer = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=5.0,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]


def _ament_version(package: str) -> str:
    """Version of a ROS package, by the package.xml in its share folder."""
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        manifest = Path(prefix, "share", package, "package.xml")
        if prefix and manifest.is_file():
            return ElementTree.parse(manifest).findtext("version") or "?"
    return "?"


def _is_importable(module: str) -> bool:
    try:
        return util.find_spec(module) is not None
    except ImportError:
        return False


def _megabytes(size: int) -> str:
    megabytes = size / MEGABYTE
    return f"{megabytes:.0f} MB" if megabytes < 10_000 else f"{megabytes / 1024:.0f} GB"
