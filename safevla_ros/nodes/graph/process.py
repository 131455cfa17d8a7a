"""One node's operating-system process: started so that it cannot outlive its supervisor."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from safevla_ros.nodes.graph.bringup import Graph, NodeSpec
from safevla_ros.paths import share_directory

_PR_SET_PDEATHSIG = 1
# Loaded here: between fork and exec there must be no import.
_libc = ctypes.CDLL(None, use_errno=True)

# "[ERROR] [1700000000.123456789] [cost_monitor]: sentence", the format that the graph's processes
# log in (CONSOLE_FORMAT).
_RECORD = re.compile(r"^\[(DEBUG|INFO|WARN|ERROR|FATAL)\] \[[0-9.]+\] \[[^\]]*\]: (.*)$")
CONSOLE_FORMAT = "[{severity}] [{time}] [{name}]: {message}"


def programs_folder() -> Path:
    """lib/safevla_ros of this installation, where the nodes' programs are."""
    return share_directory().parent.parent / "lib" / "safevla_ros"


def node_command(
    graph: Graph,
    node: NodeSpec,
    programs: Path,
    own_parameters: Path,
    params_file: Path | None = None,
    log_level: str = "info",
) -> list[str]:
    """Command line of a node. The file `own_parameters` is written here and outdoes `params_file`.

    Raises FileNotFoundError when `programs` lacks the node's.
    """
    program = programs / node.executable
    if not program.is_file():
        raise FileNotFoundError(
            f"{program} is missing: the graph runs from an installation, which `make build` or "
            "`colcon build` makes"
        )
    text = yaml.safe_dump({graph.full_name(node): {"ros__parameters": dict(node.parameters)}})
    own_parameters.write_text(text, encoding="utf-8")
    command = [str(program), "--ros-args", "-r", f"__node:={node.name}"]
    if graph.namespace:
        command += ["-r", f"__ns:={graph.namespace}"]
    for source, target in node.remappings:
        command += ["-r", f"{source}:={target}"]
    for file in (params_file, own_parameters):
        if file is not None:
            command += ["--params-file", str(file)]
    return [*command, "--log-level", log_level, "--disable-external-lib-logs"]


class NodeProcess:
    """A process in a session of its own, so that Ctrl-C in a terminal reaches only the supervisor.

    It gets SIGTERM when its supervisor dies, however that happens. The kernel ties this to the
    thread that started it, so it must be started from the main thread.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path, nice: int
    ) -> None:
        self.log = log
        self._log_start = log.stat().st_size if log.exists() else 0
        parent = os.getpid()

        def prepare() -> None:
            # System calls only: in a forked child, a lock that another thread held stays locked.
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it died before the line above
                os._exit(1)
            # To give way takes no permission; to go first does, and without it nothing changes.
            with contextlib.suppress(PermissionError):
                os.nice(nice)
            # Linux desktops group processes by session, and a nice value counts within its session
            # only. The session has one of its own.
            with contextlib.suppress(OSError), open("/proc/self/autogroup", "wb", 0) as group:
                group.write(b"%d" % nice)

        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
                preexec_fn=prepare,  # noqa: PLW1509
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        already_known = self._process.returncode is not None
        code = self._process.poll()
        if code is not None and not already_known:
            self.kill()  # what it started itself must not stay behind either
        return code

    def stop(self, grace_s: float) -> bool:
        """End it: SIGTERM, and SIGKILL after `grace_s`. False when it had to be killed."""
        if self.exit_code() is not None:
            return True
        self._process.send_signal(signal.SIGTERM)
        obeyed = True
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            obeyed = False
        self.kill()
        self._process.wait()
        return obeyed

    def kill(self) -> None:
        """End it at once, with all processes of its session's group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def complaint(self) -> str:
        """Why it refused or fell, in its own last words: the last error it logged, else the last
        line of its output, else empty."""
        try:
            with self.log.open("rb") as file:
                file.seek(self._log_start)
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return last_complaint(text)


def last_complaint(output: str) -> str:
    """The last error in a node's output, with the lines that continue it, or the last line of a
    traceback after it; the last line of all where there is neither."""
    complaint: list[str] = []
    within = ""
    for line in output.splitlines():
        record = _RECORD.match(line)
        if record:
            within = "error" if record[1] in ("ERROR", "FATAL") else ""
            if within:
                complaint = [record[2]]
        elif line.startswith("Traceback "):
            within = "traceback"
        elif within == "traceback" and line.strip():
            complaint = [line.strip()]
        elif within == "error" and line.strip():
            complaint.append(line.strip())
    if complaint:
        return "\n".join(complaint)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else ""
